// The order in which products of bf16 take k: pairs, which the processor multiplies together.
#pragma once

#include "simd/bfloat16.h"

namespace lutmac::LUTMAC_TARGET {

// Of 32 k, k and k + 16 are pair k.
inline constexpr int kStepColumns = 32, kStepPairs = 16;

// 32 bf16 in pairs.
inline void store_pairs(const float* x, uint8_t* out) {
  store(reinterpret_cast<int32_t*>(out), (Ints)join_bfloat16(load(x), load(x + kStepPairs)));
}

// The form bf16 of a token.
inline void prepare_bfloat16(const float* x, int64_t k, uint8_t* out) {
  for (int64_t at = 0; at < k; at += kStepColumns) store_pairs(x + at, out + at * 2);
}

}  // namespace lutmac::LUTMAC_TARGET
