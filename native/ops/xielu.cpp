// xIELU (Huang and Schlag 2024, https://arxiv.org/abs/2411.13010), whose parameters were trained.
#include "ops/activation_kinds.h"
#include "ops/op.h"

namespace lutmac {

// positive and negative: factors of the two sides, softplus taken; eps: what x counts as at most on the negative side.
struct XieluParameters {
  float positive = 0.0f, negative = 0.0f, beta = 0.0f, eps = 0.0f;
};

struct XieluLoops {
  // One row of `width`; out may be x.
  void (*xielu)(const XieluParameters& parameters, const float* x, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

// e^x - 1 - x of x <= 0. Its series to x^9 where it would cancel: 2e-7 of the result.
Floats rest_of_exp(Floats x) {
  Floats sum = broadcast(1.0f / 9.0f);
  for (int i = 8; i > 2; --i) sum = multiply_add(sum, x, broadcast(1.0f)) * (1.0f / static_cast<float>(i));
  return select(x > -0.75f, 0.5f * x * x * multiply_add(sum, x, broadcast(1.0f)), exp(x) - 1.0f - x);
}

void xielu(const XieluParameters& parameters, const float* x, int width, float* out) {
  map_row(x, width, out, [&parameters](Floats v) {
    const Floats most = minimum(broadcast(parameters.eps), v);
    const Floats below = parameters.negative * (rest_of_exp(most) + (most - v));
    return select(v > 0.0f, parameters.positive * v * v, below) + parameters.beta * v;
  });
}

}  // namespace

LUTMAC_LOOPS(xielu, XieluLoops, {xielu});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cmath>

namespace lutmac {
namespace {

class Xielu final : public RowOperation {
 public:
  explicit Xielu(Fields& fields)
      : RowOperation(fields), loops_(fields.loops<XieluLoops>()), x_(input(fields, "x")) {
    fields.require(x_.width == width(), "its rows differ in width");
    parameters_.beta = fields.vector("beta", 1)[0];
    parameters_.eps = fields.vector("eps", 1)[0];
    parameters_.positive = softplus(fields.vector("alpha_p", 1)[0]);
    parameters_.negative = parameters_.beta + softplus(fields.vector("alpha_n", 1)[0]);
  }

 private:
  static float softplus(double x) { return static_cast<float>(std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x)))); }

  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.xielu(parameters_, x_.floats(step, row), static_cast<int>(width()), out);
    return out;
  }

  const XieluLoops& loops_;
  Buffer x_;
  XieluParameters parameters_;
};

}  // namespace

LUTMAC_OPERATION(xielu, Xielu)

}  // namespace lutmac

#endif
