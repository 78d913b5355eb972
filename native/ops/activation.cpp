// An activation without a gate.
#include "ops/activation_kinds.h"
#include "ops/op.h"

namespace lutmac {

struct ActivationLoops {
  // out[i] = activation(x[i]), one row of `width`; out may be x.
  void (*activation)(ActivationKind kind, const float* x, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void activation(ActivationKind kind, const float* x, int width, float* out) {
  with_activation(kind, [=](auto chosen) {
    map_row(x, width, out, [](Floats v) { return decltype(chosen)::apply(v); });
  });
}

}  // namespace

LUTMAC_LOOPS(activation, ActivationLoops, {activation});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Activation final : public RowOperation {
 public:
  explicit Activation(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<ActivationLoops>()),
        kind_(activation_kind(fields)),
        x_(input(fields, "x")) {
    fields.require(x_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.activation(kind_, x_.floats(step, row), static_cast<int>(width()), out);
    return out;
  }

  const ActivationLoops& loops_;
  ActivationKind kind_;
  Buffer x_;
};

}  // namespace

LUTMAC_OPERATION(activation, Activation)

}  // namespace lutmac

#endif
