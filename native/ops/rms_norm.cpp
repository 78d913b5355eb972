// RMSNorm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467).
#include "ops/op.h"

namespace lutmac {

struct RMSNormLoops {
  // out[i] = x[i] / rms(x) * (weight[i] + weight_bias), one row of `width`. The sum is taken in float in a fixed order.
  void (*rms_norm)(const float* x, const float* weight, float weight_bias, float eps, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

// Four sums hide the latency of an addition (4 cycles); their order depends on the width alone.
float sum_of_squares(const float* x, int width) {
  Floats sum[4] = {};
  int i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes)
    for (int s = 0; s < 4; ++s) {
      const Floats v = load(x + i + s * kLanes);
      sum[s] = multiply_add(v, v, sum[s]);
    }
  for (; i < width; i += kLanes) {
    const Floats v = width - i < kLanes ? load_first(x + i, width - i) : load(x + i);
    sum[0] = multiply_add(v, v, sum[0]);
  }
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

void rms_norm(const float* x, const float* weight, float weight_bias, float eps, int width, float* out) {
  const float mean = sum_of_squares(x, width) / static_cast<float>(width);
  const float inverse = 1.0f / __builtin_sqrtf(mean + eps);
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) store(out + i, load(x + i) * inverse * (load(weight + i) + weight_bias));
  if (i < width) {
    const int rest = width - i;
    store_first(out + i, rest, load_first(x + i, rest) * inverse * (load_first(weight + i, rest) + weight_bias));
  }
}

}  // namespace

LUTMAC_LOOPS(rms_norm, RMSNormLoops, {rms_norm});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

// Over segments of the weight's width, or of `segment` floats. A weight that is wider than a segment has its own part for each.
class RMSNorm final : public RowOperation {
 public:
  explicit RMSNorm(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<RMSNormLoops>()),
        x_(input(fields, "x")),
        segment_(fields.has("segment") ? fields.integer("segment", 1, 1 << 24) : 0),
        weight_(fields.has("weight") ? fields.vector("weight") : std::vector<float>(segment_, 1.0f)),
        weight_bias_(fields.number("weight_bias")),
        eps_(fields.number("eps")) {
    fields.require(x_.width == width(), "its rows differ in width");
    fields.require(!weight_.empty() && width() % static_cast<int64_t>(weight_.size()) == 0,
                   "its weight does not divide the width of its rows");
    if (segment_ == 0) segment_ = static_cast<int>(weight_.size());
    fields.require(weight_.size() % segment_ == 0, "its segments do not divide its weight");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    const float* x = x_.floats(step, row);
    const int64_t weights = static_cast<int64_t>(weight_.size());
    for (int64_t i = 0; i < width(); i += segment_)
      loops_.rms_norm(x + i, weight_.data() + i % weights, weight_bias_, eps_, segment_, out + i);
    return out;
  }

  const RMSNormLoops& loops_;
  Buffer x_;
  int segment_;
  std::vector<float> weight_;
  float weight_bias_, eps_;
};

}  // namespace

LUTMAC_OPERATION(rms_norm, RMSNorm)

}  // namespace lutmac

#endif
