// x times a number of the model, and one that was trained.
#include "ops/op.h"

namespace lutmac {

struct ScaleLoops {
  // out[i] = factor * x[i], one row of `width`; out may be x.
  void (*scale)(const float* x, float factor, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void scale_row(const float* x, float factor, int width, float* out) {
  map_row(x, width, out, [factor](Floats v) { return factor * v; });
}

}  // namespace

LUTMAC_LOOPS(scale, ScaleLoops, {scale_row});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Scale final : public RowOperation {
 public:
  explicit Scale(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<ScaleLoops>()),
        x_(input(fields, "x")),
        factor_(fields.number("factor")) {
    if (fields.has("trained")) factor_ *= fields.vector("trained", 1)[0];
    fields.require(x_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.scale(x_.floats(step, row), factor_, static_cast<int>(width()), out);
    return out;
  }

  const ScaleLoops& loops_;
  Buffer x_;
  float factor_;
};

}  // namespace

LUTMAC_OPERATION(scale, Scale)

}  // namespace lutmac

#endif
