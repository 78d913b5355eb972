// Rows of floats as integers under a scale.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// Bits of the largest magnitude so far. As integers they have the order of the floats. A NaN is above all others, so it
// becomes the maximum and then the scale.
inline Ints larger_magnitude(Ints max, Floats x) { return larger_of(max, (Ints)magnitude(x)); }
inline float magnitude_of(Ints max) { return ((Floats)reduce(max, larger_of))[0]; }

// Scales below this are as good as zero in a sum that floats hold; their inverse would not be finite.
inline constexpr float kSmallestScale = 1e-32f;

// count: a multiple of 16. Writes the integers nearest to x / scale, scale being max |x| / limit, and returns the scale.
inline float to_words(const float* x, int count, float limit, int16_t* out) {
  Ints max{};
  for (int i = 0; i < count; i += kLanes) max = larger_magnitude(max, load(x + i));
  const float scale = magnitude_of(max) / limit;
  const float inverse = scale > kSmallestScale ? 1.0f / scale : 0.0f;
  for (int i = 0; i < count; i += kLanes) store_words(out + i, nearest_integers(load(x + i) * inverse));
  return scale;
}

}  // namespace lutmac::LUTMAC_TARGET
