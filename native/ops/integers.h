// Rows of floats as integers under a step.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// What a row's magnitudes say about its step. `poison` is 0, or NaN where the row holds a NaN or an infinity: added to
// the step it keeps them from being lost, which a maximum would do.
struct Magnitude {
  float max = 0.0f;
  float poison = 0.0f;
};

class MagnitudeOf {
 public:
  void add(Floats x) {
    max_ = maximum(magnitude(x), max_);
    poison_ = multiply_add(x, Floats{}, poison_);
  }
  Magnitude result() const { return {reduce_max(max_), reduce_add(poison_)}; }

 private:
  Floats max_{}, poison_{};
};

// Steps below this are as good as zero in a sum that floats hold; their inverse would not be finite.
inline constexpr float kSmallestStep = 1e-32f;

// count: a multiple of 16. Writes the integers nearest to x / step, step being max |x| / limit, and returns the step.
inline float to_words(const float* x, int count, float limit, int16_t* out) {
  MagnitudeOf magnitude_of;
  for (int i = 0; i < count; i += kLanes) magnitude_of.add(load(x + i));
  const Magnitude magnitude = magnitude_of.result();
  const float step = magnitude.max / limit;
  const float inverse = step > kSmallestStep ? 1.0f / step : 0.0f;
  for (int i = 0; i < count; i += kLanes) store_words(out + i, nearest_integers(load(x + i) * inverse));
  return step + magnitude.poison;
}

}  // namespace lutmac::LUTMAC_TARGET
