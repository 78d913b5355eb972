// Weights on their way from memory.
//
// What serves best depends on how much there is to do between the loads. The rules were found by measuring on Zen 4, where a core
// reads 30 GB/s: without any prefetch products of one token reach 0.4 to 1.0 of memory's rate, with these 0.85 to 1.0.
#pragma once

#include "kernels/integer_product.h"

namespace lutmac::LUTMAC_TARGET {

// The compiler leaves prefetches where they stand: it would move those of a block to its beginning, where they wait for each other.
[[gnu::always_inline]] inline void stay_here() { asm volatile(""); }

// For much work, as of several tokens: each line, into both caches.
[[gnu::always_inline]] inline void fetch_far(const uint8_t* weights) {
  prefetch_far(weights + kFarPrefetch);
  prefetch(weights + kWeightPrefetch);
  stay_here();
}

// For little work: a page ahead, so that the processor, which foresees loads within a page, crosses into the next one in time.
[[gnu::always_inline]] inline void fetch_near(const uint8_t* weights) {
  prefetch(weights + kWeightPrefetch);
  stay_here();
}

// For what lies between, and beside fetch_near: one line in four, into the second cache. The processor foresees the others.
inline constexpr int kMiddlePrefetch = 8192;
[[gnu::always_inline]] inline void fetch_quarter(const uint8_t* weights) {
  prefetch_far(weights + kMiddlePrefetch);
  stay_here();
}

}  // namespace lutmac::LUTMAC_TARGET
