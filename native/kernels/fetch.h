// Weights on their way from memory.
//
// What serves best depends on how much there is to do between the loads. The rules were found by measuring on Zen 4, where a core
// reads 33 GB/s: without any prefetch products of one token reach 0.4 to 1.0 of memory's rate, with these 0.85 to 1.0.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// How far ahead of the loads weights are fetched: a page, so that the prefetch crosses into the next one in time.
inline constexpr int kWeightPrefetch = 4096;

// Weights of a product of one token, which waits for memory, are fetched into the second cache first, so far ahead that memory
// answers in time (at 32 GB/s 16 KB take half a microsecond): a prefetch into the first cache alone holds one of its few miss buffers
// until then. On Zen 4 avx512 reads up to twice as fast for it (Q6_K: 14 and 27 GB/s).
inline constexpr int kFarPrefetch = 16384;

// The compiler leaves prefetches where they stand: it would move those of a block to its beginning, where they wait for each other.
[[gnu::always_inline]] inline void stay_here() { asm volatile(""); }

// For much work: each line, into both caches.
[[gnu::always_inline]] inline void fetch_far(const uint8_t* weights) {
  prefetch_far(weights + kFarPrefetch);
  prefetch(weights + kWeightPrefetch);
  stay_here();
}

// The same for a number of tokens: for several, into the first cache alone.
template <int kTokens>
[[gnu::always_inline]] inline void fetch(const uint8_t* weights) {
  if constexpr (kTokens == 1) fetch_far(weights);
  if constexpr (kTokens > 1 && kTokens < 8) prefetch(weights + kWeightPrefetch);  // of eight the processor's own come in time
}

// For little work: a page ahead, so that the processor, which foresees loads within a page, crosses into the next one in time.
[[gnu::always_inline]] inline void fetch_near(const uint8_t* weights) {
  prefetch(weights + kWeightPrefetch);
  stay_here();
}

// For less, and beside fetch_near for what lies between: one line in four, into the second cache. The processor foresees the others.
inline constexpr int kMiddlePrefetch = 8192;
[[gnu::always_inline]] inline void fetch_quarter(const uint8_t* weights) {
  prefetch_far(weights + kMiddlePrefetch);
  stay_here();
}

// Which of the last two a loop does for each piece: of 256 bytes, or for fetch_near alone of any lines.
enum class Fetch { near, quarter, near_and_quarter };
template <Fetch fetch, int kBytes>
[[gnu::always_inline]] inline void fetch_piece(const uint8_t* weights) {
  static_assert(fetch == Fetch::near || kBytes == 256, "one line in four");
  if constexpr (fetch != Fetch::near) fetch_quarter(weights);
  if constexpr (fetch != Fetch::quarter) {
#pragma GCC unroll 4
    for (int line = 0; line < kBytes; line += 64) fetch_near(weights + line);
  }
}

}  // namespace lutmac::LUTMAC_TARGET
