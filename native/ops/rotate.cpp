// The rotation of heads that go through something else before they are kept.
#include "ops/op.h"
#include "ops/rotation.h"

namespace lutmac {

struct RotateLoops {
  // The heads of a row, `heads` of `head_dim` floats. x and out may be the same, and only the same.
  void (*rotate_heads)(RopeStyle style, int rotary_dim, const float* cos_sin, const float* x, int64_t heads, int head_dim,
                       float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {
namespace {

void rotate_heads(RopeStyle style, int rotary_dim, const float* cos_sin, const float* x, int64_t heads, int head_dim,
                  float* out) {
  if (out != x) __builtin_memcpy(out, x, sizeof(float) * heads * head_dim);
  for (int64_t head = 0; head < heads; ++head, out += head_dim) rotate(style, rotary_dim, cos_sin, out, out);
}

}  // namespace

LUTMAC_LOOPS(rotate, RotateLoops, {rotate_heads});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Rotate final : public RowOperation {
 public:
  explicit Rotate(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<RotateLoops>()),
        x_(input(fields, "x")),
        angles_(input(fields, "angles")),
        style_(rope_style(fields)),
        head_dim_(fields.integer("head_dim", 1, kMaxHeadDim)) {
    fields.require(x_.width == width() && width() % head_dim_ == 0, "its rows are not whole heads");
    fields.require(angles_.width % 2 == 0 && angles_.width <= head_dim_,
                   "it must rotate an even number of dimensions, at most head_dim");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.rotate_heads(style_, static_cast<int>(angles_.width), angles_.floats(step, row), x_.floats(step, row),
                        width() / head_dim_, head_dim_, out);
    return out;
  }

  const RotateLoops& loops_;
  Buffer x_, angles_;
  RopeStyle style_;
  int head_dim_;
};

}  // namespace

LUTMAC_OPERATION(rotate, Rotate)

}  // namespace lutmac

#endif
