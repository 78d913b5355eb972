// log(1 + e^x).
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// Relative error below 4e-7. max(x, 0) + log(1 + y) with y = e^-|x| in 0..1, and log(1 + y) = 2 artanh(y / (2 + y)), whose
// series in s <= 1/3 leaves 2e-9 behind s^15.
inline Floats softplus(Floats x) {
  const Floats y = exp(-magnitude(x));
  const Floats s = y / (y + 2.0f), s2 = s * s;
  Floats p = broadcast(1.0f / 15);
  for (int n = 13; n >= 3; n -= 2) p = multiply_add(p, s2, broadcast(1.0f / static_cast<float>(n)));
  const Floats log = 2.0f * multiply_add(p * s2, s, s);
  return maximum(Floats{}, x) + log;
}

}  // namespace lutmac::LUTMAC_TARGET
