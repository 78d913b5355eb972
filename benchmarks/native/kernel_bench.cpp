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

#include "product.h"

using namespace lutmac;

namespace {

constexpr int kRounds = 41, kBytes = 192 << 10;
constexpr int64_t kColumns = 1024;

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

double seconds_of(Product& product) {
  constexpr int kRepeat = 20;
  const double begin = cpu_seconds();
  for (int i = 0; i < kRepeat; ++i) product.run();
  return (cpu_seconds() - begin) / kRepeat;
}

void report(const ProductKind& kind, const std::vector<Entry>& entries, int64_t group_size, int tokens) {
  const int64_t rows = std::max<int64_t>(64, kBytes * 8 / (kColumns * kind.bits) / 64 * 64);
  const int64_t group = kind.kind == CodeKind::ternary && group_size % 128 != 0 ? kColumns : group_size;
  std::vector<Product> contestants;
  contestants.reserve(entries.size());
  const ProductShape shape{rows, kColumns, group, tokens};
  for (const Entry& entry : entries) contestants.emplace_back(*entry.target, kind, shape, entry.prompt);
  std::vector<std::vector<double>> seconds(entries.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < entries.size(); ++i) seconds[i].push_back(seconds_of(contestants[i]));
  }
  std::printf("%-9s", kind.name);
  for (size_t i = 0; i < entries.size(); ++i) {
    std::nth_element(seconds[i].begin(), seconds[i].begin() + kRounds / 2, seconds[i].end());
    const double rate = static_cast<double>(rows * kColumns * tokens) / seconds[i][kRounds / 2] / 1e9;
    std::printf("  %s%s %.0f", entries[i].target->name, entries[i].prompt ? ", prompts" : "", rate);
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
  for (const ProductKind& kind : kProductKinds) report(kind, entries, group_size, tokens);
  return 0;
}
