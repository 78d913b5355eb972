// Attention of one layer, next to the rate at which the same threads read memory: how fast it reads the cache (decode) and
// how fast it multiplies (prefill), for f16 and int8 caches. Layers take turns, each with its own cache, so that decode
// reads memory as a whole model does. Seconds are those of the busiest thread: what other processes take is not counted.
//
//   attention_bench [context] [threads] [targets] [shape]      targets: avx512,avx2,portable (default: the best)
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <numeric>
#include <vector>

#include "ops/attention.h"
#include "runtime/operation_list.h"
#include "runtime/memory.h"
#include "runtime/thread_pool.h"

using namespace lutmac;

namespace {

struct Shape {
  const char* name;
  int num_heads, num_kv_heads, head_dim;
};
constexpr Shape kShapes[] = {{"llama-2-7b", 32, 32, 128}, {"llama-3-8b", 32, 8, 128}, {"smollm2-135m", 9, 3, 64}};

// A cache several times as large as the last-level cache.
constexpr int64_t kCacheBytes = int64_t{512} << 20;
constexpr int kRuns = 25;

double thread_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Runs tasks 0 .. count-1, claimed one at a time; seconds of the thread that worked the longest.
template <typename Function>
double run_tasks(int threads, int count, Function&& function) {
  std::atomic<int> next{0};
  std::vector<double> seconds(threads);
  auto job = [&](int thread) {
    const double begin = thread_seconds();
    for (int task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;) function(task);
    seconds[thread] = thread_seconds() - begin;
  };
  ThreadPool::instance().run(threads, job);
  return *std::max_element(seconds.begin(), seconds.end());
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Seconds to read so many bytes and do nothing with them.
double read_memory(int threads, const uint8_t* memory, int64_t bytes) {
  constexpr int64_t kPiece = int64_t{1} << 18;
  static std::atomic<uint64_t> sink;
  return run_tasks(threads, static_cast<int>(bytes / kPiece), [&](int piece) {
    uint64_t sums[8] = {};
    const uint8_t* from = memory + piece * kPiece;
    for (int64_t line = 0; line < kPiece; line += 64) {
      __builtin_prefetch(from + line + 4096);
      uint64_t words[8];
      std::memcpy(words, from + line, 64);
      for (int i = 0; i < 8; ++i) sums[i] += words[i];
    }
    sink += std::accumulate(sums, sums + 8, uint64_t{0});
  });
}

// One sequence's last `tokens` tokens in every layer of a cache.
class Bench {
 public:
  Bench(const TargetEntry& target, const Shape& shape, CacheType type, int context, int tokens, uint8_t* memory)
      : ops_(*static_cast<const AttentionLoops*>(*target.loops[operation_number("attention")])),
        shape_(shape), context_(context), tokens_(tokens), memory_(memory), start_{0, tokens} {
    page_bytes_ = page_bytes(type, shape.num_kv_heads, shape.head_dim, shape.head_dim);
    const int pages = (context + kPageTokens - 1) / kPageTokens;
    layers_ = static_cast<int>(std::max<int64_t>(1, kCacheBytes / (page_bytes_ * pages)));
    pages_.resize(pages);
    std::iota(pages_.begin(), pages_.end(), 0);
    position_.resize(tokens);
    std::iota(position_.begin(), position_.end(), context - tokens);
    sequence_.assign(tokens, 0);
    batch_.num_tokens = tokens;
    batch_.num_sequences = 1;
    batch_.sequence_start = start_;
    batch_.first_position = batch_.token_position = position_.data();
    batch_.generated_rows = tokens == 1 ? 1 : 0;
    batch_.token_sequence = sequence_.data();
    const int64_t width = int64_t{shape.num_heads} * shape.head_dim;
    q_.resize(tokens * width);
    for (size_t i = 0; i < q_.size(); ++i) q_[i] = static_cast<float>(i * 7919 % 255) / 127.0f - 1.0f;
    out_.resize(q_.size());
    args_.batch = &batch_;
    args_.q = q_.data();
    args_.out = out_.data();
    args_.q_stride = args_.out_stride = width;
    args_.num_heads = shape.num_heads;
    args_.num_kv_heads = shape.num_kv_heads;
    args_.head_dim = args_.value_dim = shape.head_dim;
    args_.cache_type = type;
    args_.attend_prompt = target.kernels->attend_prompt;
    args_.scale = 0.125f;
    args_.scratch_bytes = ops_.scratch_bytes(tokens, context, shape.num_heads, shape.head_dim);
    scratch_.resize(args_.scratch_bytes / sizeof(float));
    args_.scratch = reinterpret_cast<uint8_t*>(scratch_.data());
  }

  // Seconds of one layer: pages of all layers lie side by side, as the engine has them.
  double layer(int index, int threads) {
    args_.cache = {memory_ + index % layers_ * page_bytes_, pages_.data(), static_cast<int>(pages_.size()),
                   page_bytes_ * layers_};
    double seconds = run_tasks(threads, ops_.tasks(args_), [&](int task) { ops_.attend(args_, task); });
    seconds += run_tasks(threads, ops_.combine_tasks(args_), [&](int task) { ops_.combine(args_, task); });
    return seconds;
  }

  int64_t cache_bytes() const { return page_bytes_ * static_cast<int64_t>(pages_.size()); }
  double operations() const {
    return 4.0 * tokens_ * (context_ - tokens_ / 2.0) * shape_.num_heads * shape_.head_dim;
  }

 private:
  const AttentionLoops& ops_;
  const Shape& shape_;
  int context_, tokens_, layers_;
  int64_t page_bytes_;
  uint8_t* memory_;
  int32_t start_[2];
  std::vector<int32_t> pages_, position_, sequence_;
  std::vector<float> q_, out_, scratch_;
  Batch batch_;
  AttentionArgs args_;
};

void report(const TargetEntry& target, const Shape& shape, CacheType type, int context, int threads, uint8_t* memory) {
  const char* type_name = type == CacheType::int8 ? "int8" : "f16";
  {
    Bench bench(target, shape, type, context, 1, memory);
    std::vector<double> rates, fractions;
    for (int run = 0; run < kRuns; ++run) {
      const double rate = static_cast<double>(bench.cache_bytes()) / bench.layer(run, threads);
      const int64_t bytes = int64_t{32} << 20, offset = run * bytes % kCacheBytes;
      const double read = static_cast<double>(bytes) / read_memory(threads, memory + offset, bytes);
      rates.push_back(rate * 1e-9);
      fractions.push_back(rate / read);
    }
    std::printf("%-8s %-12s %-4s %dT decode  %6.2f GB/s, %4.2f of memory reads\n", target.name, shape.name, type_name, threads,
                median(rates), median(fractions));
  }
  for (const int tokens : {8, 128, 512}) {
    if (tokens > context) continue;
    Bench bench(target, shape, type, context, tokens, memory);
    std::vector<double> rates;
    for (int run = 0; run < 5; ++run) rates.push_back(bench.operations() / bench.layer(run, threads) * 1e-9);
    std::printf("%-8s %-12s %-4s %dT %3d tokens %7.1f GFLOP/s\n", target.name, shape.name, type_name, threads, tokens,
                median(rates));
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int context = argc > 1 ? std::atoi(argv[1]) : 4096, threads = argc > 2 ? std::atoi(argv[2]) : 1;
  const auto best = std::find_if(targets().begin(), targets().end(), [](const TargetEntry& t) { return t.runs_here(); });
  const char* wanted = argc > 3 ? argv[3] : best->name;
  const Mapping memory(static_cast<size_t>(kCacheBytes * 2), true);
  // Small positive numbers as f16, and so as scales; as codes anything is right.
  auto* halves = reinterpret_cast<uint16_t*>(memory.data());
  for (size_t i = 0; i < memory.bytes() / 2; ++i) halves[i] = static_cast<uint16_t>(0x2000 + i * 7919 % 0x800);
  for (const Shape& shape : kShapes) {
    if (argc > 4 && std::strstr(shape.name, argv[4]) == nullptr) continue;
    for (const CacheType type : {CacheType::f16, CacheType::int8}) {
      for (const TargetEntry& target : targets()) {
        if (std::strstr(wanted, target.name) == nullptr || !target.runs_here()) continue;
        report(target, shape, type, context, threads, memory.data());
      }
    }
  }
  return 0;
}
