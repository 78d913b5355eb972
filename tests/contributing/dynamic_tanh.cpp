// Dynamic Tanh (Zhu et al. 2025, https://arxiv.org/abs/2503.10622).
#include "ops/op.h"

namespace lutmac {

struct DynamicTanhLoops {
  // out[i] = tanh(alpha x[i]) * weight[i] + bias[i], one row of `width`; out may be x.
  void (*dynamic_tanh)(const float* x, float alpha, const float* weight, const float* bias, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void dynamic_tanh(const float* x, float alpha, const float* weight, const float* bias, int width, float* out) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) store(out + i, tanh(alpha * load(x + i)) * load(weight + i) + load(bias + i));
  if (i < width) {
    const int rest = width - i;
    const Floats squashed = tanh(alpha * load_first(x + i, rest));
    store_first(out + i, rest, squashed * load_first(weight + i, rest) + load_first(bias + i, rest));
  }
}

}  // namespace

LUTMAC_LOOPS(dynamic_tanh, DynamicTanhLoops, {dynamic_tanh});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class DynamicTanh final : public RowOperation {
 public:
  explicit DynamicTanh(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<DynamicTanhLoops>()),
        x_(input(fields, "x")),
        alpha_(fields.vector("alpha", 1)[0]),
        weight_(fields.vector("weight", width())),
        bias_(fields.vector("bias", width())) {
    fields.require(x_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    const int count = static_cast<int>(width());
    loops_.dynamic_tanh(x_.floats(step, row), alpha_, weight_.data(), bias_.data(), count, out);
    return out;
  }

  const DynamicTanhLoops& loops_;
  Buffer x_;
  float alpha_;
  std::vector<float> weight_, bias_;
};

}  // namespace

LUTMAC_OPERATION(dynamic_tanh, DynamicTanh)

}  // namespace lutmac

#endif
