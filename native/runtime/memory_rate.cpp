#include "runtime/memory_rate.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "runtime/memory.h"
#include "runtime/thread_pool.h"

namespace lutmac {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;
constexpr int64_t kAhead = 4096;  // as the kernels prefetch their weights

// Sums 64-bit words so that the loads cannot be left out. Reads on past the piece only by prefetching.
uint64_t read_piece(const uint8_t* data) {
  uint64_t sums[8] = {};
  for (int64_t line = 0; line < kPiece; line += 64) {
    __builtin_prefetch(data + line + kAhead);
    const uint64_t* words = reinterpret_cast<const uint64_t*>(data + line);
    for (int i = 0; i < 8; ++i) sums[i] += words[i];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double memory_read_rate(int threads, int megabytes, int passes) {
  const int64_t bytes = int64_t{megabytes} << 20, pieces = bytes / kPiece;
  const Mapping memory(static_cast<size_t>(bytes), true);
  std::vector<uint64_t> sums(static_cast<size_t>(pieces) * 8);
  ThreadPool& pool = ThreadPool::instance();
  pool.for_each(threads, pieces, [&](int64_t i) {
    std::fill_n(memory.data() + i * kPiece, kPiece, static_cast<uint8_t>(i));
  });
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.for_each(threads, pieces, [&](int64_t i) { sums[i * 8] += read_piece(memory.data() + i * kPiece); });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(bytes) / took.count());
  }
  return best;
}

}  // namespace lutmac
