// Segments of a row, each times the activation of a float of its own: heads with a gate each, or a whole row with one.
#include "ops/activation_kinds.h"
#include "ops/op.h"

namespace lutmac {

struct GateSegmentsLoops {
  // out[i] = x[i] * activation(gate[i / segment]), one row of `segments` segments; out may be x.
  void (*gate_segments)(ActivationKind kind, const float* x, const float* gate, int segments, int segment, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void gate_segments(ActivationKind kind, const float* x, const float* gate, int segments, int segment, float* out) {
  with_activation(kind, [=](auto activation) {
    for (int i = 0; i < segments; ++i) {
      const Floats factor = decltype(activation)::apply(broadcast(gate[i]));
      map_row(x + int64_t{i} * segment, segment, out + int64_t{i} * segment, [factor](Floats v) { return v * factor; });
    }
  });
}

}  // namespace

LUTMAC_LOOPS(gate_segments, GateSegmentsLoops, {gate_segments});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class GateSegments final : public RowOperation {
 public:
  explicit GateSegments(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<GateSegmentsLoops>()),
        kind_(activation_kind(fields)),
        x_(input(fields, "x")),
        gate_(input(fields, "gate")) {
    fields.require(x_.width == width() && width() % gate_.width == 0, "its gates do not divide its rows");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.gate_segments(kind_, x_.floats(step, row), gate_.floats(step, row), static_cast<int>(gate_.width),
                     static_cast<int>(width() / gate_.width), out);
    return out;
  }

  const GateSegmentsLoops& loops_;
  ActivationKind kind_;
  Buffer x_, gate_;
};

}  // namespace

LUTMAC_OPERATION(gate_segments, GateSegments)

}  // namespace lutmac

#endif
