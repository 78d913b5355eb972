// activation(gate) * up (Shazeer 2020, https://arxiv.org/abs/2002.05202).
#include "ops/activation_kinds.h"
#include "ops/op.h"

namespace lutmac {

struct GatedActivationLoops {
  // out[i] = activation(gate[i]) * up[i], one row of `width`.
  void (*gated_activation)(ActivationKind kind, const float* gate, const float* up, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void gated_activation(ActivationKind kind, const float* gate, const float* up, int width, float* out) {
  with_activation(kind, [=](auto activation) {
    map_rows(gate, up, width, out, [](Floats g, Floats u) { return decltype(activation)::apply(g) * u; });
  });
}

}  // namespace

LUTMAC_LOOPS(gated_activation, GatedActivationLoops, {gated_activation});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class GatedActivation final : public RowOperation {
 public:
  explicit GatedActivation(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<GatedActivationLoops>()),
        kind_(activation_kind(fields)),
        gate_(input(fields, "gate")),
        up_(input(fields, "up")) {
    fields.require(gate_.width == width() && up_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.gated_activation(kind_, gate_.floats(step, row), up_.floats(step, row), static_cast<int>(width()), out);
    return out;
  }

  const GatedActivationLoops& loops_;
  ActivationKind kind_;
  Buffer gate_, up_;
};

}  // namespace

LUTMAC_OPERATION(gated_activation, GatedActivation)

}  // namespace lutmac

#endif
