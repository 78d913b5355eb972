// What is left of x as int8 with one scale per token (BitNet b1.58, https://arxiv.org/abs/2402.17764).
#include "ops/op.h"

namespace lutmac {

struct RoundLoops {
  // out[i] = round(x[i] * s) / s with s = 127 / max |x|, one row of `width`. The maximum counts as 1e-5 where it is less.
  void (*round_to_int8)(const float* x, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

float largest_magnitude(const float* x, int width) {
  Floats largest{};
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) largest = maximum(largest, magnitude(load(x + i)));
  if (i < width) largest = maximum(largest, magnitude(load_first(x + i, width - i)));
  return reduce_max(largest);
}

void round_to_int8(const float* x, int width, float* out) {
  constexpr float kLeast = 1e-5f;  // below this a row counts as zeros, in the reference too
  const float largest = largest_magnitude(x, width);
  const float scale = 127.0f / (largest > kLeast ? largest : kLeast);
  map_row(x, width, out, [scale](Floats v) { return to_floats(nearest_integers(v * scale)) / scale; });
}

}  // namespace

LUTMAC_LOOPS(round_to_int8, RoundLoops, {round_to_int8});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class RoundToInt8 final : public RowOperation {
 public:
  explicit RoundToInt8(Fields& fields)
      : RowOperation(fields), loops_(fields.loops<RoundLoops>()), x_(input(fields, "x")) {
    fields.require(x_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.round_to_int8(x_.floats(step, row), static_cast<int>(width()), out);
    return out;
  }

  const RoundLoops& loops_;
  Buffer x_;
};

}  // namespace

LUTMAC_OPERATION(round_to_int8, RoundToInt8)

}  // namespace lutmac

#endif
