// Registers of 512 bits: AVX-512 F, BW, DQ and VL with VNNI, and VBMI for four tables at once.
//
// Masks of all ones, which cost nothing, stand where GCC 12 warns of its own header's undefined operand otherwise.
#pragma once

#include <immintrin.h>

#include "simd/vectors.h"

namespace lutmac::LUTMAC_TARGET {

// ---- floats ----

// a * b + c, rounded once where the target has the instruction (all but portable).
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
// The second operand where one is NaN.
inline Floats maximum(Floats a, Floats b) { return _mm512_maskz_max_ps(0xffff, a, b); }
inline Floats minimum(Floats a, Floats b) { return _mm512_maskz_min_ps(0xffff, a, b); }
inline float half_to_float(uint16_t half) { return _cvtsh_ss(half); }
inline Floats load_half(const uint16_t* from) {
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)from));
}
inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  _mm256_storeu_si256((__m256i*)to, _mm512_maskz_cvtps_ph(0xffff, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
// kLanes s8 as floats.
inline Floats load_signed(const uint8_t* from) {
  return to_floats((Ints)_mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128((const __m128i*)from)));
}
// kLanes u8, one to a lane.
inline Bits load_unsigned(const uint8_t* from) {
  return (Bits)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128((const __m128i*)from));
}
// 16 values from 0 to 255, rounded to bytes; each byte xor-ed with `flip`.
inline void store_rounded(uint8_t* to, const Floats* values, int flip) {
  const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(values[0]));
  _mm_storeu_si128((__m128i*)to, _mm_xor_si128(bytes, _mm_set1_epi8((char)flip)));
}
// Of values from -127 to 127.
inline void store_rounded_signed(uint8_t* to, const Floats* values, int flip) { store_rounded(to, values, flip); }

// ---- integers ----

// 2 x kLanes bytes, widened.
inline Words load_widened(const int8_t* from) {
  return (Words)_mm512_maskz_cvtepi8_epi16(~__mmask32{}, _mm256_loadu_si256((const __m256i*)from));
}
// To each lane the products of its two words.
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  return (Ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
// To each lane the products of its four u8 of a and s8 of b.
inline constexpr bool kHasDotBytes = true;
inline Ints dot_bytes(Bytes a, Bytes b, Ints sum) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
// The same in place, opaque to the compiler: GCC 12 would copy every sum in every round.
inline void add_dot_bytes(Ints& sum, Bytes a, Bytes b) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }
// With the same four s8 for every lane, read from memory by the instruction.
inline void add_dot_bytes(Ints& sum, Bytes a, const uint8_t* b) {
  struct [[gnu::packed, gnu::may_alias]] Dword {
    int32_t value;
  };
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(a), "m"(*reinterpret_cast<const Dword*>(b)));
}
// Of each word the products of its two u8 of a and s8 of b.
inline Words dot_byte_pairs(Bytes a, Bytes b) { return (Words)_mm512_maddubs_epi16((__m512i)a, (__m512i)b); }
// Opaque to the compiler: GCC puts additions off until the registers are full of what is to be added.
inline Words add_words(Words a, Words b) {
  asm("vpaddw %1, %0, %0" : "+v"(a) : "v"(b));
  return a;
}
// The same bits as load. Opaque to the compiler, which would load twice what is read twice.
inline Bytes load_once(const uint8_t* from) {
  Bytes x;
  asm("vmovdqu64 %1, %0" : "=v"(x) : "m"(*(const __m512i_u*)from));
  return x;
}
// (x & mask) | rest; rest has no bits in the mask.
inline Bytes masked_or(Bytes x, Bytes mask, Bytes rest) {
  return (Bytes)_mm512_ternarylogic_epi32((__m512i)x, (__m512i)mask, (__m512i)rest, 0xea);
}

// Signs of bytes; sum + x, or sum - x where the sign is set; x or -x; magnitudes.
using Signs = __mmask64;
inline Signs signs_of(Bytes x) { return _mm512_movepi8_mask((__m512i)x); }
inline Bytes add_signed(Bytes sum, Bytes x, Signs signs) {
  return (Bytes)_mm512_mask_sub_epi8((__m512i)(sum + x), signs, (__m512i)sum, (__m512i)x);
}
inline Bytes with_signs(Bytes x, Signs signs) {
  return (Bytes)_mm512_mask_sub_epi8((__m512i)x, signs, _mm512_setzero_si512(), (__m512i)x);
}
inline Bytes magnitude(Bytes x) { return (Bytes)_mm512_abs_epi8((__m512i)x); }

// Items of kBytes bytes of a and b by turns: of each 128 bits the lower, or the upper half.
template <int kBytes>
inline Bytes interleave_low(Bytes a, Bytes b) {
  if constexpr (kBytes == 1) return (Bytes)_mm512_unpacklo_epi8((__m512i)a, (__m512i)b);
  if constexpr (kBytes == 2) return (Bytes)_mm512_unpacklo_epi16((__m512i)a, (__m512i)b);
  if constexpr (kBytes == 4) return (Bytes)_mm512_unpacklo_epi32((__m512i)a, (__m512i)b);
  return (Bytes)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b);
}
template <int kBytes>
inline Bytes interleave_high(Bytes a, Bytes b) {
  if constexpr (kBytes == 1) return (Bytes)_mm512_unpackhi_epi8((__m512i)a, (__m512i)b);
  if constexpr (kBytes == 2) return (Bytes)_mm512_unpackhi_epi16((__m512i)a, (__m512i)b);
  if constexpr (kBytes == 4) return (Bytes)_mm512_unpackhi_epi32((__m512i)a, (__m512i)b);
  return (Bytes)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b);
}
// kLanes / 2 bytes of a and of b by turns, one to a lane.
inline Ints interleave_widened(const uint8_t* a, const uint8_t* b) {
  const __m128i both = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i*)a), _mm_loadl_epi64((const __m128i*)b));
  return (Ints)_mm512_maskz_cvtepu8_epi32(0xffff, both);
}
// Bit j of byte i of each 8 bytes is what bit i of byte 7 - j was.
#if defined(__GFNI__)
inline Bytes transpose_bits_of_8(Bytes x) {
  constexpr long long kColumns = (long long)0x8040201008040201ull;
  return (Bytes)_mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64(kColumns), (__m512i)x, 0);
}
#endif

// ---- lookups ----

// In each lane the entry of 16 floats at its lower 4 bits.
inline Floats look_up_floats(Floats table, Ints indices) {
  return _mm512_maskz_permutexvar_ps(0xffff, (__m512i)indices, table);
}

// 16 bytes, repeated in each 128 bits; of them the first `count`, with zeros behind them.
inline Bytes load_table(const void* from) {
  return (Bytes)_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)from));
}
inline Bytes load_table_first(const void* from, int count) {
  return (Bytes)_mm512_broadcast_i32x4(_mm_maskz_loadu_epi8((__mmask16)((1 << count) - 1), from));
}
// In each 128 bits the entries of its table at indices 0 to 15.
inline Bytes look_up(Bytes table, Bytes indices) { return (Bytes)_mm512_shuffle_epi8((__m512i)table, (__m512i)indices); }

// The entries of four tables of 16 at indices 0 to 63; of eight, in two vectors, at the lower 7 bits of the indices.
#if defined(__AVX512VBMI__)
inline Bytes look_up_four(Bytes tables, Bytes indices) {
  return (Bytes)_mm512_permutexvar_epi8((__m512i)indices, (__m512i)tables);
}
inline Bytes look_up_eight(Bytes low, Bytes high, Bytes indices) {
  return (Bytes)_mm512_permutex2var_epi8((__m512i)low, (__m512i)indices, (__m512i)high);
}
#elif defined(LUTMAC_EMULATE_avx512vbmi)
inline Bytes look_up_four(Bytes tables, Bytes indices) {
  for (int i = 0; i < 64; ++i) indices[i] = tables[indices[i] & 63];
  return indices;
}
inline Bytes look_up_eight(Bytes low, Bytes high, Bytes indices) {
  for (int i = 0; i < 64; ++i) {
    const uint8_t index = indices[i];
    indices[i] = index & 64 ? high[index & 63] : low[index & 63];
  }
  return indices;
}
#endif

}  // namespace lutmac::LUTMAC_TARGET
