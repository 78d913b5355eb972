// Turns rows into the forms that products take.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(prepare, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Prepare final : public RowOperation {
 public:
  explicit Prepare(Fields& fields) : RowOperation(fields), x_(input(fields, "x")) {
    fields.require(x_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float*) const override { return x_.floats(step, row); }

  Buffer x_;
};

}  // namespace

LUTMAC_OPERATION(prepare, Prepare)

}  // namespace lutmac

#endif
