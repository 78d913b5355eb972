#include "runtime/clock_rate.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace lutmac {

double clock_rate() {
  constexpr int kRounds = 40, kChains = 20000, kLength = 64;
  // Not a constant, which some cores add for nothing while they rename registers.
  uint64_t sum = 1, step = 3;
  asm volatile("" : "+r"(step));
  double best = 0.0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int chain = 0; chain < kChains; ++chain) {
#pragma GCC unroll 64
      for (int i = 0; i < kLength; ++i) {
        sum += step;
        asm volatile("" : "+r"(sum));
      }
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, kChains * kLength / seconds.count());
  }
  return best;
}

}  // namespace lutmac
