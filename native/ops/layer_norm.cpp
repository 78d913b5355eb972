// LayerNorm (Ba et al. 2016, https://arxiv.org/abs/1607.06450).
#include "ops/op.h"

namespace lutmac {

struct LayerNormLoops {
  // out[i] = (x[i] - mean) / sqrt(variance + eps) * weight[i] + bias[i], one row of `width`; bias may be null, out may be x.
  // The variance is the mean square of what is left when the mean has been taken off. Sums are taken in a fixed order.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

// The sum that `add` makes of all elements. Four sums hide the latency of
// an addition; their order depends on the width alone.
template <typename Add>
float sum_of(const float* x, int width, Add add) {
  Floats sum[4] = {};
  int i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes)
    for (int s = 0; s < 4; ++s) sum[s] = add(sum[s], load(x + i + s * kLanes));
  for (; i + kLanes <= width; i += kLanes) sum[0] = add(sum[0], load(x + i));
  float total = reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; i < width; ++i) total += add(Floats{}, broadcast(x[i]))[0];
  return total;
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int width, float* out) {
  const float count = static_cast<float>(width);
  const float mean = sum_of(x, width, [](Floats sum, Floats v) { return sum + v; }) / count;
  const float square = sum_of(x, width, [mean](Floats sum, Floats v) { return multiply_add(v - mean, v - mean, sum); });
  const float inverse = 1.0f / __builtin_sqrtf(square / count + eps);
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const Floats normed = (load(x + i) - mean) * inverse * load(weight + i);
    store(out + i, bias == nullptr ? normed : normed + load(bias + i));
  }
  if (i < width) {
    const int rest = width - i;
    const Floats normed = (load_first(x + i, rest) - mean) * inverse * load_first(weight + i, rest);
    store_first(out + i, rest, bias == nullptr ? normed : normed + load_first(bias + i, rest));
  }
}

}  // namespace

LUTMAC_LOOPS(layer_norm, LayerNormLoops, {layer_norm});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <tuple>

namespace lutmac {
namespace {

// Of each of as many equal segments of a row as there are weights.
class LayerNorm final : public RowOperation {
 public:
  explicit LayerNorm(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<LayerNormLoops>()),
        x_(input(fields, "x")),
        eps_(fields.number("eps")) {
    std::tie(weight_, segments_) = fields.vectors("weights");
    if (fields.has("bias")) bias_ = fields.vector("bias");
    fields.require(x_.width == width() && static_cast<int64_t>(weight_.size()) == width(),
                   "its weights and its rows differ in width");
    const int64_t bias = static_cast<int64_t>(bias_.size()), segment = width() / segments_;
    fields.require(bias == 0 || bias == width() || bias == segment, "its bias is as wide as neither its rows nor a segment");
    for (int64_t i = bias; bias > 0 && i < width(); i += bias) bias_.insert(bias_.end(), bias_.begin(), bias_.begin() + bias);
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    const float* x = x_.floats(step, row);
    const int64_t segment = width() / segments_;
    for (int64_t i = 0; i < width(); i += segment) {
      loops_.layer_norm(x + i, weight_.data() + i, bias_.empty() ? nullptr : bias_.data() + i, eps_, static_cast<int>(segment),
                        out + i);
    }
    return out;
  }

  const LayerNormLoops& loops_;
  Buffer x_;
  std::vector<float> weight_, bias_;
  float eps_;
  int64_t segments_;
};

}  // namespace

LUTMAC_OPERATION(layer_norm, LayerNorm)

}  // namespace lutmac

#endif
