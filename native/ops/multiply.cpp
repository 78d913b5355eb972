// a * b.
#include "ops/op.h"

namespace lutmac {

struct MultiplyLoops {
  // out[i] = a[i] * b[i], one row of `width`; out may be a or b.
  void (*multiply)(const float* a, const float* b, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void multiply(const float* a, const float* b, int width, float* out) {
  map_rows(a, b, width, out, [](Floats x, Floats y) { return x * y; });
}

}  // namespace

LUTMAC_LOOPS(multiply, MultiplyLoops, {multiply});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Multiply final : public RowOperation {
 public:
  explicit Multiply(Fields& fields)
      : RowOperation(fields), loops_(fields.loops<MultiplyLoops>()), a_(input(fields, "a")), b_(input(fields, "b")) {
    fields.require(a_.width == width() && b_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.multiply(a_.floats(step, row), b_.floats(step, row), static_cast<int>(width()), out);
    return out;
  }

  const MultiplyLoops& loops_;
  Buffer a_, b_;
};

}  // namespace

LUTMAC_OPERATION(multiply, Multiply)

}  // namespace lutmac

#endif
