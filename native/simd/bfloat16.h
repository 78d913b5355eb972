// Floats to bf16, as the processor's instruction for it rounds: to nearest, ties to even, denormals to zero.
#pragma once

#include "simd.h"

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
inline Bits join_bfloat16(Floats low, Floats high) {
  const Bits both = concatenate_bfloat16(low, high);
  HalfWords halves[2];
  __builtin_memcpy(halves, &both, sizeof(both));
  return __builtin_convertvector(halves[0], Bits) | __builtin_convertvector(halves[1], Bits) << 16;
}

// The two bf16 of each lane as floats.
inline Floats lower_bfloat16(Bits pair) { return (Floats)(pair << 16); }
inline Floats upper_bfloat16(Bits pair) { return (Floats)(pair & 0xffff0000u); }

}  // namespace lutmac::LUTMAC_TARGET
