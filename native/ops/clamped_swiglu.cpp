// gate sigmoid(alpha gate) (up + offset), of a gate that is cut off above and an up that is cut off on both sides: gpt-oss
// (https://arxiv.org/abs/2508.10925), and Maple without alpha and offset.
#include "ops/activation_kinds.h"
#include "ops/op.h"

namespace lutmac {

struct ClampedSwigluLoops {
  // One row of `width`; out may be gate or up.
  void (*clamped_swiglu)(const float* gate, const float* up, float limit, float alpha, float offset, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void clamped_swiglu(const float* gate, const float* up, float limit, float alpha, float offset, int width, float* out) {
  map_rows(gate, up, width, out, [=](Floats g, Floats u) {
    g = minimum(broadcast(limit), g);
    u = maximum(broadcast(-limit), minimum(broadcast(limit), u));
    return times_sigmoid(g, alpha * g) * (u + offset);
  });
}

}  // namespace

LUTMAC_LOOPS(clamped_swiglu, ClampedSwigluLoops, {clamped_swiglu});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class ClampedSwiglu final : public RowOperation {
 public:
  explicit ClampedSwiglu(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<ClampedSwigluLoops>()),
        gate_(input(fields, "gate")),
        up_(input(fields, "up")),
        limit_(fields.number("limit")),
        alpha_(fields.number("alpha")),
        offset_(fields.number("offset")) {
    fields.require(gate_.width == width() && up_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.clamped_swiglu(gate_.floats(step, row), up_.floats(step, row), limit_, alpha_, offset_,
                          static_cast<int>(width()), out);
    return out;
  }

  const ClampedSwigluLoops& loops_;
  Buffer gate_, up_;
  float limit_, alpha_, offset_;
};

}  // namespace

LUTMAC_OPERATION(clamped_swiglu, ClampedSwiglu)

}  // namespace lutmac

#endif
