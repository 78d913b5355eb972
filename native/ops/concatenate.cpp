// The columns of one row, then those of another.
#include "ops/op.h"


#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(concatenate, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

namespace lutmac {
namespace {

class Concatenate final : public RowOperation {
 public:
  explicit Concatenate(Fields& fields) : RowOperation(fields), a_(input(fields, "a")), b_(input(fields, "b")) {
    fields.require(a_.width + b_.width == width(), "its result is not as wide as both");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    std::memcpy(out, a_.floats(step, row), static_cast<size_t>(a_.width) * sizeof(float));
    std::memcpy(out + a_.width, b_.floats(step, row), static_cast<size_t>(b_.width) * sizeof(float));
    return out;
  }

  Buffer a_, b_;
};

}  // namespace

LUTMAC_OPERATION(concatenate, Concatenate)

}  // namespace lutmac

#endif
