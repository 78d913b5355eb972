// Registers of 128 bits: NEON with dot products, and with products of 8-bit matrices (i8mm) where the target has them.
#pragma once

#include <arm_neon.h>

#include "simd/vectors.h"

namespace lutmac::LUTMAC_TARGET {

// ---- floats ----

inline Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
// Not fmax and fmin, whose result is NaN whichever operand is one.
inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
inline float half_to_float(uint16_t half) {
  __fp16 value;
  __builtin_memcpy(&value, &half, 2);
  return value;
}
inline Floats load_half(const uint16_t* from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}
inline Floats load_signed(const uint8_t* from) {
  uint32_t bytes;
  __builtin_memcpy(&bytes, from, 4);
  return to_floats(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(bytes))))));
}
inline Bits load_unsigned(const uint8_t* from) {
  uint32_t bytes;
  __builtin_memcpy(&bytes, from, 4);
  return (Bits)vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)))));
}
inline void store_rounded(uint8_t* to, const Floats* values, int flip) {
  uint16x4_t words[4];
  for (int i = 0; i < 4; ++i) words[i] = vmovn_u32(vcvtnq_u32_f32(values[i]));
  const uint8x8_t first = vmovn_u16(vcombine_u16(words[0], words[1])), second = vmovn_u16(vcombine_u16(words[2], words[3]));
  vst1q_u8(to, veorq_u8(vcombine_u8(first, second), vdupq_n_u8((uint8_t)flip)));
}
inline void store_rounded_signed(uint8_t* to, const Floats* values, int flip) {
  int16x4_t words[4];
  for (int i = 0; i < 4; ++i) words[i] = vmovn_s32(vcvtnq_s32_f32(values[i]));
  const int8x8_t first = vmovn_s16(vcombine_s16(words[0], words[1])), second = vmovn_s16(vcombine_s16(words[2], words[3]));
  vst1q_u8(to, veorq_u8((uint8x16_t)vcombine_s8(first, second), vdupq_n_u8((uint8_t)flip)));
}

// ---- integers ----

inline Words load_widened(const int8_t* from) { return vmovl_s8(vld1_s8(from)); }
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  return sum + vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}
inline Words dot_byte_pairs(Bytes a, Bytes b) {
  const int8x16_t s = (int8x16_t)b;
  const Words low = (Words)vmovl_u8(vget_low_u8(a)) * vmovl_s8(vget_low_s8(s));
  return vpaddq_s16(low, (Words)vmovl_high_u8(a) * vmovl_high_s8(s));
}
inline Words add_words(Words a, Words b) { return (Words)((UnsignedWords)a + (UnsignedWords)b); }
// To each lane the products of its four u8 of a, or s8, with the four at place `dword` of b.
template <int dword>
inline Ints dot_bytes_at(Bytes a, Bytes b, Ints sum) {
  return (Ints)vdotq_laneq_u32((uint32x4_t)sum, a, b, dword);
}
template <int dword>
inline Ints dot_signed_at(Bytes a, Bytes b, Ints sum) {
  return vdotq_laneq_s32(sum, (int8x16_t)a, (int8x16_t)b, dword);
}
#if defined(__ARM_FEATURE_MATMUL_INT8)
// a, b: two rows of 8 s8 each. To lane 2 i + j row i of a times row j of b.
inline Ints multiply_pairs_of_rows(Bytes a, Bytes b, Ints sum) { return vmmlaq_s32(sum, (int8x16_t)a, (int8x16_t)b); }
#endif
// The first two dwords of a and b in turns, the last two; every other lane of a, then of b.
inline Bytes low_dwords(Bytes a, Bytes b) { return (Bytes)vzip1q_u32((uint32x4_t)a, (uint32x4_t)b); }
inline Bytes high_dwords(Bytes a, Bytes b) { return (Bytes)vzip2q_u32((uint32x4_t)a, (uint32x4_t)b); }
// The first four words of a and b in turns, the last four.
inline Bytes low_words(Bytes a, Bytes b) { return (Bytes)vzip1q_u16((uint16x8_t)a, (uint16x8_t)b); }
inline Bytes high_words(Bytes a, Bytes b) { return (Bytes)vzip2q_u16((uint16x8_t)a, (uint16x8_t)b); }
// 8 words of 256 * high + low + 128: 8 high s8, 8 low s8.
inline Bytes split_words(const int16_t* from) {
  static constexpr Bytes kOddThenEven = {1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14};
  return vqtbl1q_u8(veorq_u8((uint8x16_t)vld1q_s16(from), (uint8x16_t)vdupq_n_u16(128)), kOddThenEven);
}
inline Ints even_lanes(Ints a, Ints b) { return vuzp1q_s32(a, b); }
inline Ints odd_lanes(Ints a, Ints b) { return vuzp2q_s32(a, b); }
// To each word the sum of its two u8.
inline Words add_byte_pairs(Words sum, Bytes x) { return (Words)vpadalq_u8((uint16x8_t)sum, x); }
// To the lanes of two vectors the products of a's words with `factor`.
inline void add_products(Ints& first, Ints& second, Words a, int16_t factor) {
  first = vmlal_n_s16(first, vget_low_s16(a), factor);
  second = vmlal_high_n_s16(second, a, factor);
}
inline Bytes masked_or(Bytes x, Bytes mask, Bytes rest) { return vbslq_u8(mask, x, rest); }

using Signs = Bytes;
inline Signs signs_of(Bytes x) { return vcltzq_s8((int8x16_t)x); }
inline Bytes add_signed(Bytes sum, Bytes x, Signs signs) { return sum + ((x ^ signs) - signs); }
inline Bytes magnitude(Bytes x) { return (Bytes)vabsq_s8((int8x16_t)x); }

// ---- lookups ----

inline Bytes load_table(const void* from) { return vld1q_u8((const uint8_t*)from); }
inline Bytes look_up(Bytes table, Bytes indices) { return vqtbl1q_u8(table, indices); }

// Two tables of 16; indices 0 to 31.
using TwoTables = uint8x16x2_t;
inline TwoTables load_two_tables(const uint8_t* from) { return vld1q_u8_x2(from); }
inline Bytes look_up(TwoTables tables, Bytes indices) { return vqtbl2q_u8(tables, indices); }

}  // namespace lutmac::LUTMAC_TARGET
