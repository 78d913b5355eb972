// The sum of two rows, which other operations take as well.
#pragma once

namespace lutmac {

struct AddLoops {
  // out[i] = a[i] + scale * b[i], one row of `width`; out may be a or b.
  void (*add_scaled)(const float* a, const float* b, float scale, int width, float* out);
};

}  // namespace lutmac
