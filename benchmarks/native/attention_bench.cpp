// Attention of one layer, one thread, per ISA target: microseconds, and the rate at which it reads the cache (decode) or
// multiplies (prefill). Layers take turns, each with its own cache, so that decode reads memory as a whole model would.
//
//   attention_bench [context] [num_heads] [num_kv_heads] [head_dim] [layers]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <vector>

#include "ops/ops.h"

using namespace lutmac;

namespace {

struct Shape {
  int context, num_heads, num_kv_heads, head_dim, layers;
};

// Of this thread's work: what other processes take is not counted.
double now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Median seconds of one layer, for the last `tokens` tokens of the context.
double measure(const Ops& ops, const Shape& shape, int tokens, std::vector<uint16_t>& memory) {
  const int first = shape.context - tokens;
  std::vector<int32_t> start = {0, tokens}, position(tokens), sequence(tokens, 0);
  std::iota(position.begin(), position.end(), first);
  std::vector<int32_t> pages((shape.context + kPageTokens - 1) / kPageTokens);
  std::iota(pages.begin(), pages.end(), 0);
  Batch batch;
  batch.num_tokens = tokens;
  batch.num_sequences = 1;
  batch.sequence_start = start.data();
  batch.first_position = &first;
  batch.token_sequence = sequence.data();
  batch.token_position = position.data();
  const int64_t width = int64_t{shape.num_heads} * shape.head_dim;
  std::vector<float> q(tokens * width, 0.1f), out(tokens * width);
  AttentionArgs args;
  args.batch = &batch;
  args.q = q.data();
  args.out = out.data();
  args.q_stride = args.out_stride = width;
  args.num_heads = shape.num_heads;
  args.num_kv_heads = shape.num_kv_heads;
  args.head_dim = shape.head_dim;
  args.scale = 0.125f;
  args.scratch_bytes = ops.attention_scratch_bytes(tokens, shape.context, shape.num_heads, shape.head_dim);
  std::vector<float> scratch(args.scratch_bytes / sizeof(float));
  args.scratch = reinterpret_cast<uint8_t*>(scratch.data());
  std::vector<double> times;
  const int64_t layer_bytes = page_bytes(shape.num_kv_heads, shape.head_dim) * static_cast<int64_t>(pages.size());
  for (int run = 0; run < std::max(9, shape.layers * 2); ++run) {
    args.cache = {reinterpret_cast<uint8_t*>(memory.data()) + run % shape.layers * layer_bytes, pages.data(),
                  static_cast<int>(pages.size())};
    const double begin = now();
    const int tasks = ops.attention_tasks(args), combine_tasks = ops.attention_combine_tasks(args);
    for (int task = 0; task < tasks; ++task) ops.attention(args, task);
    for (int task = 0; task < combine_tasks; ++task) ops.attention_combine(args, task);
    times.push_back(now() - begin);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void report(const char* name, const Ops& ops, const Shape& shape, std::vector<uint16_t>& memory) {
  for (const int tokens : {1, 64, 512}) {
    if (tokens > shape.context) continue;
    const double seconds = measure(ops, shape, tokens, memory);
    const double cache_bytes = 4.0 * shape.context * shape.num_kv_heads * shape.head_dim;
    const double operations = 4.0 * tokens * (shape.context - tokens / 2.0) * shape.num_heads * shape.head_dim;
    std::printf("%-9s %4d tokens %10.1f us   cache %6.2f GB/s   %7.1f GFLOP/s\n", name, tokens, seconds * 1e6,
                cache_bytes / seconds * 1e-9, operations / seconds * 1e-9);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto option = [&](int index, int otherwise) { return argc > index ? std::atoi(argv[index]) : otherwise; };
  const Shape shape = {option(1, 4096), option(2, 9), option(3, 3), option(4, 64), option(5, 30)};
  const int64_t pages = (shape.context + kPageTokens - 1) / kPageTokens;
  std::vector<uint16_t> memory(pages * page_bytes(shape.num_kv_heads, shape.head_dim) / 2 * shape.layers);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<uint16_t>(0x3000 + i * 7919 % 0x800);
  std::printf("context %d, heads %d/%d, head_dim %d, %d layers\n", shape.context, shape.num_heads, shape.num_kv_heads,
              shape.head_dim, shape.layers);
  report("portable", portable::kOps, shape, memory);
  if (__builtin_cpu_supports("avx2")) report("avx2", avx2::kOps, shape, memory);
  if (__builtin_cpu_supports("avx512vnni")) report("avx512", avx512::kOps, shape, memory);
  return 0;
}
