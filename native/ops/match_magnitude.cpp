// A row as long as another: x times rms(like) / rms(x), as AltUp has it (Baykal et al. 2023, https://arxiv.org/abs/2301.13310).
#include "ops/op.h"

namespace lutmac {

struct MatchMagnitudeLoops {
  // out = x * rms(like) / max(rms(x), sqrt(least)), rows of `width`; out may be x or like.
  void (*match)(const float* x, const float* like, float least, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

float mean_of_squares(const float* x, int width) {
  Floats sum[2] = {};
  int i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes)
    for (int s = 0; s < 2; ++s) {
      const Floats v = load(x + i + s * kLanes);
      sum[s] = multiply_add(v, v, sum[s]);
    }
  for (; i < width; i += kLanes) {
    const Floats v = width - i < kLanes ? load_first(x + i, width - i) : load(x + i);
    sum[0] = multiply_add(v, v, sum[0]);
  }
  return reduce_add(sum[0] + sum[1]) / static_cast<float>(width);
}

void match(const float* x, const float* like, float least, int width, float* out) {
  const float own = mean_of_squares(x, width), wanted = mean_of_squares(like, width);
  const float factor = __builtin_sqrtf(wanted) / __builtin_sqrtf(own > least ? own : least);
  map_row(x, width, out, [factor](Floats v) { return v * factor; });
}

}  // namespace

LUTMAC_LOOPS(match_magnitude, MatchMagnitudeLoops, {match});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class MatchMagnitude final : public RowOperation {
 public:
  explicit MatchMagnitude(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<MatchMagnitudeLoops>()),
        x_(input(fields, "x")),
        like_(input(fields, "like")),
        least_(fields.number("least")) {
    fields.require(x_.width == width() && like_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.match(x_.floats(step, row), like_.floats(step, row), least_, static_cast<int>(width()), out);
    return out;
  }

  const MatchMagnitudeLoops& loops_;
  Buffer x_, like_;
  float least_;
};

}  // namespace

LUTMAC_OPERATION(match_magnitude, MatchMagnitude)

}  // namespace lutmac

#endif
