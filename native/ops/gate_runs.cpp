// Runs of a row, each times the activation of a float of its own: heads with a gate each, or a whole row with one.
#include "ops/activation_kinds.h"
#include "ops/op.h"

namespace lutmac {

struct GateRunsLoops {
  // out[i] = x[i] * activation(gate[i / run]), one row of `runs` runs; out may be x.
  void (*gate_runs)(ActivationKind kind, const float* x, const float* gate, int runs, int run, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void gate_runs(ActivationKind kind, const float* x, const float* gate, int runs, int run, float* out) {
  with_activation(kind, [=](auto activation) {
    for (int i = 0; i < runs; ++i) {
      const Floats factor = decltype(activation)::apply(broadcast(gate[i]));
      map_row(x + int64_t{i} * run, run, out + int64_t{i} * run, [factor](Floats v) { return v * factor; });
    }
  });
}

}  // namespace

LUTMAC_LOOPS(gate_runs, GateRunsLoops, {gate_runs});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class GateRuns final : public RowOperation {
 public:
  explicit GateRuns(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<GateRunsLoops>()),
        kind_(activation_kind(fields)),
        x_(input(fields, "x")),
        gate_(input(fields, "gate")) {
    fields.require(x_.width == width() && width() % gate_.width == 0, "its gates do not divide its rows");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.gate_runs(kind_, x_.floats(step, row), gate_.floats(step, row), static_cast<int>(gate_.width),
                     static_cast<int>(width() / gate_.width), out);
    return out;
  }

  const GateRunsLoops& loops_;
  ActivationKind kind_;
  Buffer x_, gate_;
};

}  // namespace

LUTMAC_OPERATION(gate_runs, GateRuns)

}  // namespace lutmac

#endif
