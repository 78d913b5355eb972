// Dot products of 256 bits: in one instruction on the target avxvnni, in two and more on avx2. The sums are the same.
#pragma once

#include <immintrin.h>

#include "target.h"

namespace lutmac::LUTMAC_TARGET {

#if defined(LUTMAC_EMULATE_avxvnni)

// For tests, on processors that have the instructions only as a part of AVX-512: the same registers, another encoding.
#define LUTMAC_HAS_VNNI 1
inline __m256i dot_words(__m256i sum, __m256i a, __m256i b) {
  asm("%{evex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "xm"(b));
  return sum;
}
inline __m256i dot_bytes(__m256i sum, __m256i a, __m256i b) {
  asm("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "xm"(b));
  return sum;
}

#elif defined(__AVXVNNI__)

#define LUTMAC_HAS_VNNI 1
// To each 32-bit lane of sum the products of its two s16 of a and b.
inline __m256i dot_words(__m256i sum, __m256i a, __m256i b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
// To each 32-bit lane of sum the products of its four u8 of a and s8 of b.
inline __m256i dot_bytes(__m256i sum, __m256i a, __m256i b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }

#elif defined(__AVX2__)

#define LUTMAC_HAS_VNNI 0
inline __m256i dot_words(__m256i sum, __m256i a, __m256i b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }

#endif

}  // namespace lutmac::LUTMAC_TARGET
