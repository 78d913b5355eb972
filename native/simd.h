// Vectors as wide as the ISA target's registers, and the functions on them: the one layer over intrinsics.
//
//   simd/vectors.h   the types, and what the language itself does with them
//   simd/avx512.h, avx2.h, neon.h, scalar.h   what it cannot say, once for each family of registers
//   here             what is made of both
//
// Operations and kernels are written over these alone. Everything lives in the target's namespace (see target.h), and
// includes nothing that would instantiate a template of the standard library.
#pragma once

#include "simd/vectors.h"
#include LUTMAC_FAMILY

namespace lutmac::LUTMAC_TARGET {

inline float reduce_max(Floats x) { return reduce(x, [](Floats a, Floats b) { return maximum(a, b); })[0]; }

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
