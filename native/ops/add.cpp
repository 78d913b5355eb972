// a + scale * b.
#include "ops/add.h"

#include "ops/op.h"

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void add_scaled(const float* a, const float* b, float scale, int width, float* out) {
  map_rows(a, b, width, out, [scale](Floats x, Floats y) { return x + scale * y; });
}

}  // namespace

LUTMAC_LOOPS(add, AddLoops, {add_scaled});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Add final : public RowOperation {
 public:
  explicit Add(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<AddLoops>()),
        a_(input(fields, "a")),
        b_(input(fields, "b")),
        scale_(fields.number("scale")) {
    fields.require(a_.width == width() && b_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.add_scaled(a_.floats(step, row), b_.floats(step, row), scale_, static_cast<int>(width()), out);
    return out;
  }

  const AddLoops& loops_;
  Buffer a_, b_;
  float scale_;
};

}  // namespace

LUTMAC_OPERATION(add, Add)

}  // namespace lutmac

#endif
