// Float helpers that every target compiles for itself: conversions of half floats and the fused multiply-add.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

namespace lutmac::LUTMAC_TARGET {

// One rounding where the target has FMA (a library call elsewhere would cost more than everything around it).
inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline float bfloat16_to_float(uint16_t bits) { return bits_to_float(uint32_t{bits} << 16); }

// OCP microscaling's exponent byte: 2^(byte - 127), the smallest of them subnormal in f32. 255, NaN there, is infinite.
inline float e8m0_to_float(uint8_t byte) {
  const uint32_t bits = uint32_t{byte} << 23;
  return bits_to_float(bits > 0x400000u ? bits : 0x400000u);
}

// OCP's FP8 E4M3: no infinities, and NaN where all bits but the sign are set.
inline float e4m3_to_float(uint8_t byte) {
  const uint32_t magnitude = byte & 0x7fu;
  // As in half_to_float: the product corrects the exponent's bias and normalises subnormals.
  float value = bits_to_float(magnitude << 20) * 0x1p120f;
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = magnitude == 0x7fu ? 0x7fc00000u : bits;
  return bits_to_float(bits | (byte & 0x80u) << 24);
}

// IEEE 754 binary16, subnormals, infinities and NaN included.
inline float half_to_float(uint16_t half) {
#if defined(__F16C__)
  return _cvtsh_ss(half);
#elif defined(__ARM_FEATURE_DOTPROD)
  __fp16 value;
  std::memcpy(&value, &half, 2);
  return value;
#else
  // Shift exponent and mantissa into place; the multiplication by 2^112 corrects the exponent's bias and normalises
  // subnormals. Infinities and NaN (exponent 31) get the exponent of their float counterparts.
  const uint32_t magnitude = half & 0x7fffu, sign = uint32_t{half & 0x8000u} << 16;
  float value = bits_to_float(magnitude << 13) * 0x1p112f;
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (magnitude >= 0x7c00u) bits = 0x7f800000u | (magnitude << 13 & 0x7fffffu);
  return bits_to_float(bits | sign);
#endif
}

inline void halves_to_floats(const uint16_t* in, float* out, int count) {
  int i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
  }
#elif defined(__ARM_FEATURE_DOTPROD)
  for (; i + 4 <= count; i += 4) vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(in + i))));
#endif
  for (; i < count; ++i) out[i] = half_to_float(in[i]);
}

}  // namespace lutmac::LUTMAC_TARGET
