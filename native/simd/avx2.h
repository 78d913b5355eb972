// Registers of 256 bits: AVX2, with FMA and F16C. Dot products take one instruction with AVX-VNNI, else two or more; the sums
// are the same.
#pragma once

#include <immintrin.h>

#include "simd/vectors.h"

namespace lutmac::LUTMAC_TARGET {

// ---- floats ----

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats minimum(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline float half_to_float(uint16_t half) { return _cvtsh_ss(half); }
inline Floats load_half(const uint16_t* from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from)); }
inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline Floats load_signed(const uint8_t* from) {
  return to_floats((Ints)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from)));
}
inline Bits load_unsigned(const uint8_t* from) { return (Bits)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from)); }
inline __m256i rounded_words(const Floats* values) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(values[0]), _mm256_cvtps_epi32(values[1]));
  return _mm256_permute4x64_epi64(words, 0xd8);
}
inline void store_rounded(uint8_t* to, const Floats* values, int flip) {
  const __m256i words = rounded_words(values);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128((__m128i*)to, _mm_xor_si128(bytes, _mm_set1_epi8((char)flip)));
}
inline void store_rounded_signed(uint8_t* to, const Floats* values, int flip) {
  const __m256i words = rounded_words(values);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128((__m128i*)to, _mm_xor_si128(bytes, _mm_set1_epi8((char)flip)));
}

// ---- integers ----

inline Words load_widened(const int8_t* from) {
  return (Words)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)from));
}
#if defined(LUTMAC_EMULATE_avxvnni)
// For tests, on processors that have the instructions only as a part of AVX-512: the same registers, another encoding.
inline constexpr bool kHasDotBytes = true;
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  asm("%{evex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "xm"(b));
  return sum;
}
inline Ints dot_bytes(Bytes a, Bytes b, Ints sum) {
  asm("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "xm"(b));
  return sum;
}
#elif defined(__AVXVNNI__)
inline constexpr bool kHasDotBytes = true;
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  return (Ints)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
}
inline Ints dot_bytes(Bytes a, Bytes b, Ints sum) {
  return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
}
#else
inline constexpr bool kHasDotBytes = false;
inline Ints dot_pairs(Words a, Words b, Ints sum) { return sum + (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b); }
Ints dot_bytes(Bytes a, Bytes b, Ints sum);  // there is none
#endif
inline Words dot_byte_pairs(Bytes a, Bytes b) { return (Words)_mm256_maddubs_epi16((__m256i)a, (__m256i)b); }
inline Words add_words(Words a, Words b) {
  asm("vpaddw %1, %0, %0" : "+x"(a) : "x"(b));
  return a;
}
inline Bytes masked_or(Bytes x, Bytes mask, Bytes rest) { return (x & mask) | rest; }

using Signs = Bytes;
inline Signs signs_of(Bytes x) { return x; }
inline Bytes add_signed(Bytes sum, Bytes x, Signs signs) { return sum + (Bytes)_mm256_sign_epi8((__m256i)x, (__m256i)signs); }
inline Bytes magnitude(Bytes x) { return (Bytes)_mm256_abs_epi8((__m256i)x); }

// ---- lookups ----

inline Bytes load_table(const void* from) {
  return (Bytes)_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)from));
}
inline Bytes look_up(Bytes table, Bytes indices) { return (Bytes)_mm256_shuffle_epi8((__m256i)table, (__m256i)indices); }

}  // namespace lutmac::LUTMAC_TARGET
