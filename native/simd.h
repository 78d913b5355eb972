// A vector of floats as wide as the ISA target has, and the few functions that the operations need on it.
//
// Floats is a vector of the compiler (GCC, Clang), so + - * / and comparisons work on it as they do on a float. Only what
// the language cannot say is an intrinsic. Everything lives in the target's namespace (see target.h), and includes nothing
// that would instantiate a template of the standard library.
#pragma once

#include <cstdint>

#include "target.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>

#include "vnni.h"
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

namespace lutmac::LUTMAC_TARGET {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
inline constexpr int kRegisters = 32;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
inline constexpr int kRegisters = 16;
#elif defined(__ARM_FEATURE_DOTPROD)
inline constexpr int kLanes = 4;
inline constexpr int kRegisters = 32;
#else
inline constexpr int kLanes = 4;
inline constexpr int kRegisters = 16;
#endif

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));  // what a comparison gives
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef int16_t Words __attribute__((vector_size(4 * kLanes)));  // pairs of 16-bit integers

// Largest finite f16. Keys and values beyond it are stored as it, so that no infinity enters the cache.
inline constexpr float kHalfMax = 65504.0f;

inline Floats broadcast(float x) { return x - Floats{}; }
inline Floats load(const float* from) {
  Floats x;
  __builtin_memcpy(&x, from, sizeof(x));
  return x;
}
inline void store(float* to, Floats x) { __builtin_memcpy(to, &x, sizeof(x)); }

// The first `count` lanes; the others are zero.
inline Floats load_first(const float* from, int count) {
  Floats x{};
  __builtin_memcpy(&x, from, sizeof(float) * count);
  return x;
}
inline void store_first(float* to, int count, Floats x) { __builtin_memcpy(to, &x, sizeof(float) * count); }

inline Floats select(Ints mask, Floats where_set, Floats elsewhere) { return mask ? where_set : elsewhere; }

#if defined(__AVX512F__)

// Masks of all ones, which cost nothing, where GCC 12 warns of its own header's undefined operand otherwise.

// a * b + c, rounded once where the target has the instruction (all but portable).
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
// The second operand where one is NaN.
inline Floats maximum(Floats a, Floats b) { return _mm512_maskz_max_ps(0xffff, a, b); }
inline Floats minimum(Floats a, Floats b) { return _mm512_maskz_min_ps(0xffff, a, b); }
inline Floats load_half(const uint16_t* from) {
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)from));
}
inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  _mm256_storeu_si256((__m256i*)to, _mm512_maskz_cvtps_ph(0xffff, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#elif defined(__AVX2__)

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats minimum(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats load_half(const uint16_t* from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from)); }
inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#elif defined(__ARM_FEATURE_DOTPROD)

inline Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
// Not fmax and fmin, whose result is NaN whichever operand is one.
inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
inline Floats load_half(const uint16_t* from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}

#else

typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

inline Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats minimum(Floats a, Floats b) { return a < b ? a : b; }

inline Floats load_half(const uint16_t* from) {
  Halves half;
  __builtin_memcpy(&half, from, sizeof(half));
  const Bits bits = __builtin_convertvector(half, Bits);
  // The exponent is rebiased by a product with 2^112, which is right for subnormals too; all ones stay all ones.
  const Bits scaled = (Bits)((Floats)((bits & 0x7fff) << 13) * 0x1p112f);
  const Bits special = (Bits)((bits & 0x7c00) == 0x7c00) & 0x7f800000u;
  return (Floats)(scaled | special | (bits & 0x8000) << 16);
}

inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  const Bits bits = (Bits)x & 0x7fffffffu;
  const Bits normal = (bits + 0xfff + (bits >> 13 & 1)) >> 13;  // to nearest, ties to even
  // Below 2^-14 the unit is 2^-24, which is the last place of 0.5.
  const Bits subnormal = (Bits)((Floats)bits + 0.5f) - 0x3f000000u;
  Bits half = bits < 0x38800000u ? subnormal : normal - (112u << 10);
  half = bits > 0x7f800000u ? Bits{} + 0x7e00u : half;
  half |= (Bits)x >> 16 & 0x8000;
  const Halves out = __builtin_convertvector(half, Halves);
  __builtin_memcpy(to, &out, sizeof(out));
}

#endif

// The lanes' numbers: as a vector, and as a pack for what wants constants.
template <int... i>
struct LaneNumbers {
  static constexpr Ints kIndex = {i...};
  // Lane l becomes lane l ^ distance.
  template <int distance, typename Vector>
  static Vector swap(Vector x) {
    return __builtin_shufflevector(x, x, (i ^ distance)...);
  }
};
#if defined(__AVX512F__)
using Lanes = LaneNumbers<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#elif defined(__AVX2__)
using Lanes = LaneNumbers<0, 1, 2, 3, 4, 5, 6, 7>;
#else
using Lanes = LaneNumbers<0, 1, 2, 3>;
#endif

// Integers. A lane of Words is a pair.

inline Floats magnitude(Floats x) { return (Floats)((Bits)x & 0x7fffffffu); }
inline Floats to_floats(Ints x) { return __builtin_convertvector(x, Floats); }
// To nearest, ties to even; |x| < 2^22.
inline Ints nearest_integers(Floats x) { return (Ints)(x + 0x1.8p23f) - 0x4b400000; }

// Each lane becomes the pair at `from`.
inline Words broadcast_pair(const int16_t* from) {
  int32_t pair;
  __builtin_memcpy(&pair, from, sizeof(pair));
  return (Words)(pair - Ints{});
}
inline void store_words(int16_t* to, Ints x) {
  typedef int16_t Halved __attribute__((vector_size(2 * kLanes)));
  const Halved words = __builtin_convertvector(x, Halved);
  __builtin_memcpy(to, &words, sizeof(words));
}

// 2 x kLanes bytes, widened; and to each lane the sum of the products of its two pairs.
#if defined(__AVX512F__)
inline Words load_bytes(const int8_t* from) {
  return (Words)_mm512_maskz_cvtepi8_epi16(~__mmask32{}, _mm256_loadu_si256((const __m256i*)from));
}
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  return (Ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
#elif defined(__AVX2__)
inline Words load_bytes(const int8_t* from) {
  return (Words)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)from));
}
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  return (Ints)dot_words((__m256i)sum, (__m256i)a, (__m256i)b);
}
#else
inline Words load_bytes(const int8_t* from) {
  typedef int8_t Bytes __attribute__((vector_size(2 * kLanes)));
  Bytes bytes;
  __builtin_memcpy(&bytes, from, sizeof(bytes));
  return __builtin_convertvector(bytes, Words);
}
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  const Ints even = (((Ints)a << 16) >> 16) * (((Ints)b << 16) >> 16);
  const Ints odd = ((Ints)a >> 16) * ((Ints)b >> 16);
  return sum + even + odd;
}
#endif

// Joins the two halves with `join` until every lane holds the result.
template <int distance = kLanes / 2, typename Vector, typename Join>
inline Vector reduce(Vector x, Join join) {
  if constexpr (distance == 0) {
    return x;
  } else {
    return reduce<distance / 2>(join(x, Lanes::swap<distance>(x)), join);
  }
}
inline float reduce_add(Floats x) {
  return reduce(x, [](Floats a, Floats b) { return a + b; })[0];
}
inline float reduce_max(Floats x) { return reduce(x, [](Floats a, Floats b) { return maximum(a, b); })[0]; }
inline Ints larger_of(Ints a, Ints b) { return a > b ? a : b; }

// x = n ln 2 + r with |r| <= ln 2 / 2: 2^n, and e^r - 1.
struct ExpParts {
  Floats power;  // 2^n, -126 <= n <= 127
  Floats rest;   // e^r - 1
};

// For -87.3 <= x <= 88; elsewhere the parts mean nothing.
inline ExpParts exp_parts(Floats x) {
  constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits
  const Floats shifted = multiply_add(x, broadcast(0x1.715476p0f), broadcast(kRound));
  const Floats n = shifted - kRound;
  // ln 2 in two parts, the first with so few bits that its product with n is exact.
  Floats r = multiply_add(n, broadcast(-0x1.62e4p-1f), x);
  r = multiply_add(n, broadcast(-0x1.7f7d1cp-20f), r);
  // Minimax for e^r - 1 - r, relative to e^r: 3.1e-9.
  Floats p = broadcast(0x1.6a23d2p-10f);
  p = multiply_add(p, r, broadcast(0x1.123a2p-7f));
  p = multiply_add(p, r, broadcast(0x1.5558f2p-5f));
  p = multiply_add(p, r, broadcast(0x1.555492p-3f));
  p = multiply_add(p, r, broadcast(0x1.fffffcp-2f));
  p = multiply_add(p, r * r, r);
  const Floats power = (Floats)(((Bits)shifted << 23) + (127u << 23));
  return {power, p};
}

// e^x, relative error below 1.5e-7 (8.5e-8 seen). 0 below -87.3 (and at -inf), infinity above 88.
inline Floats exp(Floats x) {
  const ExpParts parts = exp_parts(x);
  Floats y = multiply_add(parts.rest, parts.power, parts.power);
  y = select(x < -87.3f, Floats{}, y);
  return select(x > 88.0f, broadcast(__builtin_inff()), y);
}

// The same for x <= 88, e^-87.3 where it is less: 0 beside a sum of 1.
inline Floats exp_weight(Floats x) {
  const ExpParts parts = exp_parts(maximum(broadcast(-87.3f), x));
  return multiply_add(parts.rest, parts.power, parts.power);
}

// tanh x, relative error below 3e-7 (1.8e-7 seen).
inline Floats tanh(Floats x) {
  // (e^2x - 1) / (e^2x + 1), the numerator without cancellation near 0; beyond 10 it is 1 in float.
  const Floats twice = 2.0f * maximum(broadcast(-10.0f), minimum(broadcast(10.0f), x));
  const ExpParts parts = exp_parts(twice);
  const Floats numerator = multiply_add(parts.rest, parts.power, parts.power - 1.0f);
  return numerator / (numerator + 2.0f);
}

}  // namespace lutmac::LUTMAC_TARGET
