// The rotation of a head's pairs (Su et al. 2021, https://arxiv.org/abs/2104.09864), which several operations do.
#pragma once

#include <cstdint>

#ifdef LUTMAC_TARGET

#include "target.h"

#else

#include "runtime/fields.h"

#endif

namespace lutmac {

enum class RopeStyle { half_split, interleaved };  // pairs (i, i + d/2), or (2i, 2i + 1)

#ifdef LUTMAC_TARGET

namespace LUTMAC_TARGET {

// Pairs (x[i kStride], x[i kStride + other]). x and out may be the same, and only the same.
template <int kStride>
inline void rotate_pairs(int half, int other, const float* cos_sin, const float* x, float* out) {
#pragma GCC ivdep
  for (int i = 0; i < half; ++i) {
    const float cosine = cos_sin[i], sine = cos_sin[half + i];
    const float a = x[i * kStride], b = x[i * kStride + other];
    out[i * kStride] = a * cosine - b * sine;
    out[i * kStride + other] = b * cosine + a * sine;
  }
}

// The first rotary_dim floats of a head, by what rope_angles wrote.
inline void rotate(RopeStyle style, int rotary_dim, const float* cos_sin, const float* x, float* out) {
  const int half = rotary_dim / 2;
  style == RopeStyle::half_split ? rotate_pairs<1>(half, half, cos_sin, x, out) : rotate_pairs<2>(half, 1, cos_sin, x, out);
}

}  // namespace LUTMAC_TARGET

#else

// The style that an operation's field names.
inline RopeStyle rope_style(Fields& fields) {
  return fields.choice<RopeStyle>("style", {{"half_split", RopeStyle::half_split}, {"interleaved", RopeStyle::interleaved}});
}

#endif

}  // namespace lutmac
