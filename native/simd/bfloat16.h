// Floats to bf16 and products of bf16, as the processor's instructions do them: rounded to nearest, ties to even, denormals zero.
// Where they are lacking, or are emulated, plain C++ does the same, to the bit.
#pragma once

#include "simd/flush.h"

namespace lutmac::LUTMAC_TARGET {

typedef uint16_t HalfWords __attribute__((vector_size(2 * kLanes)));

// The bits of each lane's bf16, in plain C++.
inline Bits bfloat16_bits(Floats x) {
  const Bits bits = (Bits)x, size = bits & 0x7fffffffu;
  const Bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const Bits finite = size < 0x00800000u ? bits >> 16 & 0x8000 : rounded;
  return size > 0x7f800000u ? bits >> 16 | 0x40 : finite;
}

// The bf16 of `low`, then those of `high`.
#if defined(__AVX512BF16__)
inline Bits concatenate_bfloat16(Floats low, Floats high) { return (Bits)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low); }
#else
inline Bits concatenate_bfloat16(Floats low, Floats high) {
  const HalfWords halves[] = {__builtin_convertvector(bfloat16_bits(low), HalfWords),
                              __builtin_convertvector(bfloat16_bits(high), HalfWords)};
  return load_as<Bits>(halves);
}
#endif

// To each lane the bf16 of `low` in its lower half, and that of `high` in its upper half.
#if defined(__AVX512BF16__)
inline Bits join_bfloat16(Floats low, Floats high) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (Bits)_mm512_permutexvar_epi16(load_as<__m512i>(kOrder), (__m512i)concatenate_bfloat16(low, high));
}
#else
inline Bits join_bfloat16(Floats low, Floats high) {
  const Bits both = concatenate_bfloat16(low, high);
  HalfWords halves[2];
  __builtin_memcpy(halves, &both, sizeof(both));
  return __builtin_convertvector(halves[0], Bits) | __builtin_convertvector(halves[1], Bits) << 16;
}
#endif

// The two bf16 of each lane as floats.
inline Floats lower_bfloat16(Bits pair) { return (Floats)(pair << 16); }
inline Floats upper_bfloat16(Bits pair) { return (Floats)(pair & 0xffff0000u); }

// sum += the products of a lane's two bf16: by two FMAs, that of the upper halves first (Intel's manual, VDPBF16PS; that the first
// sum is rounded, and nothing else, was found on a processor).
#if defined(__AVX512BF16__)
inline void add_dot_bfloat16(Floats& sum, Bits a, Bits b) {
  sum = (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
inline void add_dot_bfloat16(Floats& sum, Bits a, Bits b) {
  for (int i = 0; i < kLanes; ++i) {
    const float first = flushed_multiply_add(upper_bfloat16(a)[i], upper_bfloat16(b)[i], sum[i]);
    sum[i] = flushed_multiply_add(lower_bfloat16(a)[i], lower_bfloat16(b)[i], first);
  }
}
#endif

}  // namespace lutmac::LUTMAC_TARGET
