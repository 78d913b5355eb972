// Loops over the elements of a row.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// out[i] = function(x[i]); out may be x.
template <typename Function>
inline void map_row(const float* x, int width, float* out, Function function) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) store(out + i, function(load(x + i)));
  if (i < width) store_first(out + i, width - i, function(load_first(x + i, width - i)));
}

// out[i] = function(a[i], b[i]); out may be a or b.
template <typename Function>
inline void map_rows(const float* a, const float* b, int width, float* out, Function function) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) store(out + i, function(load(a + i), load(b + i)));
  if (i < width) store_first(out + i, width - i, function(load_first(a + i, width - i), load_first(b + i, width - i)));
}

}  // namespace lutmac::LUTMAC_TARGET
