// Sums, products and rounding of one row.
#include "ops/elementwise.h"

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

namespace {

// out[i] = function(a[i], b[i]); out may be a or b.
template <typename Function>
void for_each(const float* a, const float* b, int width, float* out, Function&& function) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) store(out + i, function(load(a + i), load(b + i)));
  if (i < width) store_first(out + i, width - i, function(load_first(a + i, width - i), load_first(b + i, width - i)));
}

float largest_magnitude(const float* x, int width) {
  Floats largest{};
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) largest = maximum(largest, magnitude(load(x + i)));
  if (i < width) largest = maximum(largest, magnitude(load_first(x + i, width - i)));
  return reduce_max(largest);
}

}  // namespace

void add_scaled(const float* a, const float* b, float scale, int width, float* out) {
  for_each(a, b, width, out, [scale](Floats x, Floats y) { return x + scale * y; });
}

void multiply(const float* a, const float* b, int width, float* out) {
  for_each(a, b, width, out, [](Floats x, Floats y) { return x * y; });
}

void round_to_int8(const float* x, int width, float* out) {
  constexpr float kLeast = 1e-5f;  // below this a row counts as zeros, in the reference too
  const float largest = largest_magnitude(x, width);
  const float scale = 127.0f / (largest > kLeast ? largest : kLeast);
  for_each(x, x, width, out, [scale](Floats v, Floats) {
    return to_floats(nearest_integers(v * scale)) / scale;
  });
}

}  // namespace lutmac::LUTMAC_TARGET
