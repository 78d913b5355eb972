// One product by ISA target from a core's second-level cache, without Python: what the inner loops reach.
//
// Built by cmake -DLUTMAC_BUILD_BENCHMARKS=ON. Targets take turns; a figure is the median of rounds by the thread's own CPU
// time, so that other tenants of the machine cost less. A target with an arithmetic of its own for prompts' rows has a second
// figure for them.
//
//   kernel_bench [tokens] [group size] [targets, as in avx2,avxvnni: default, all that run here]
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/codebook.h"
#include "runtime/packed_matrix.h"
#include "runtime/targets.h"

using namespace lutmac;

namespace {

constexpr int kRounds = 41, kBytes = 192 << 10;
constexpr int64_t kColumns = 1024;

struct Kind {
  const char* name;
  CodeKind kind;
  int bits;
};
constexpr Kind kKinds[] = {{"1 bit", CodeKind::affine, 1},   {"2 bits", CodeKind::affine, 2},
                           {"3 bits", CodeKind::affine, 3},  {"4 bits", CodeKind::affine, 4},
                           {"5 bits", CodeKind::affine, 5},  {"6 bits", CodeKind::affine, 6},
                           {"7 bits", CodeKind::affine, 7},  {"8 bits", CodeKind::affine, 8},
                           {"ternary", CodeKind::ternary, 2}, {"codebook", CodeKind::codebook, 4}};

double cpu_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// A target, and which of its products.
struct Entry {
  const TargetEntry* target;
  bool prompt;
};

// A matrix and prepared activations, and the seconds of a product.
class Contestant {
 public:
  Contestant(const Entry& entry, const Kind& kind, int64_t rows, int64_t group_size, int tokens)
      : entry_(entry), matrix_(make(*entry.target, kind, rows, group_size)), tokens_(tokens), y_(rows * tokens) {
    const Kernels& kernels = *entry.target->kernels;
    stride_ = form_stride(matrix_.form(), kColumns);
    forms_.resize(stride_ * tokens + 64);
    x_ = forms_.data() + (64 - reinterpret_cast<uintptr_t>(forms_.data()) % 64) % 64;
    std::vector<float> activations(kColumns);
    for (float& value : activations) value = static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) - 0.5f;
    for (int token = 0; token < tokens; ++token) {
      const Form form = entry.prompt ? prompt_form(kernels, matrix_.form()) : matrix_.form();
      kernels.prepare(form, activations.data(), kColumns, x_ + token * stride_);
    }
  }
  std::string name() const { return std::string(entry_.target->name) + (entry_.prompt ? ", prompts" : ""); }

  double seconds() {
    MatmulArgs args;
    args.x = x_;
    args.x_stride = stride_;
    args.y = y_.data();
    args.y_stride = matrix_.rows();
    constexpr int kRepeat = 20;
    const double begin = cpu_seconds();
    for (int i = 0; i < kRepeat; ++i) multiply(matrix_, args, matrix_.form(), entry_.prompt, {0, matrix_.tiles(), 0, tokens_});
    return (cpu_seconds() - begin) / kRepeat;
  }

 private:
  static PackedMatrix make(const TargetEntry& entry, const Kind& kind, int64_t rows, int64_t group_size) {
    std::vector<uint8_t> codes(rows * kColumns);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(std::rand() % (kind.kind == CodeKind::ternary ? 3 : 1 << kind.bits));
    std::vector<uint16_t> scales(rows * (kColumns / group_size), 0x2000);
    const float book[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    LowBitSource source;
    source.rows = rows;
    source.columns = kColumns;
    source.kind = kind.kind;
    if (kind.kind == CodeKind::codebook) source.codebook = make_codebook(book);
    source.bits = kind.bits;
    source.group_size = group_size;
    source.bytes = codes.data();
    source.row_bytes = kColumns;
    source.block_weights = source.block_bytes = 32;
    source.codes = BlockNumbers({BitFields{0, 32, 0, 0, 8, 0, 8, {}}});
    if (kind.kind == CodeKind::ternary) source.zero_point = 1.0f;
    source.scale.kind = ParamKind::f16;
    source.scale_array.values = scales.data();
    PackedMatrix matrix(entry, source);
    for (int64_t tile = 0; tile < matrix.tiles(); ++tile) matrix.fill_tile(source, tile);
    return matrix;
  }

  const Entry entry_;
  PackedMatrix matrix_;
  int tokens_;
  std::vector<float> y_;
  std::vector<uint8_t> forms_;
  uint8_t* x_ = nullptr;
  int64_t stride_ = 0;
};

void report(const Kind& kind, const std::vector<Entry>& entries, int64_t group_size, int tokens) {
  const int64_t rows = std::max<int64_t>(64, kBytes * 8 / (kColumns * kind.bits) / 64 * 64);
  const int64_t group = kind.kind == CodeKind::ternary && group_size % 128 != 0 ? kColumns : group_size;
  std::vector<Contestant> contestants;
  contestants.reserve(entries.size());
  for (const Entry& entry : entries) contestants.emplace_back(entry, kind, rows, group, tokens);
  std::vector<std::vector<double>> seconds(entries.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < entries.size(); ++i) seconds[i].push_back(contestants[i].seconds());
  }
  std::printf("%-9s", kind.name);
  for (size_t i = 0; i < entries.size(); ++i) {
    std::nth_element(seconds[i].begin(), seconds[i].begin() + kRounds / 2, seconds[i].end());
    const double rate = static_cast<double>(rows * kColumns * tokens) / seconds[i][kRounds / 2] / 1e9;
    std::printf("  %s %.0f", contestants[i].name().c_str(), rate);
  }
  std::printf(" GMAC/s\n");
}

}  // namespace

int main(int argc, char** argv) {
  const int tokens = argc > 1 ? std::atoi(argv[1]) : 1;
  const int64_t group_size = argc > 2 ? std::atoi(argv[2]) : 128;
  const std::string wanted = std::string(",") + (argc > 3 ? argv[3] : "") + ",";
  std::vector<Entry> entries;
  for (const TargetEntry& entry : targets()) {
    const bool chosen = argc <= 3 || wanted.find("," + std::string(entry.name) + ",") != std::string::npos;
    if (!chosen || !entry.runs_here()) continue;
    entries.push_back({&entry, false});
    if (entry.kernels->by_role()) entries.push_back({&entry, true});
  }
  for (const Kind& kind : kKinds) report(kind, entries, group_size, tokens);
  return 0;
}
