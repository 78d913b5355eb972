// Single floats: conversions from shorter ones, and the fused multiply-add.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

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
  // The product corrects the exponent's bias and normalises subnormals.
  float value = bits_to_float(magnitude << 20) * 0x1p120f;
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = magnitude == 0x7fu ? 0x7fc00000u : bits;
  return bits_to_float(bits | (byte & 0x80u) << 24);
}

inline void halves_to_floats(const uint16_t* in, float* out, int count) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, load_half(in + i));
  for (; i < count; ++i) out[i] = half_to_float(in[i]);
}

}  // namespace lutmac::LUTMAC_TARGET
