// Some neighbouring columns of a row.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(slice, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

namespace lutmac {
namespace {

class Slice final : public RowOperation {
 public:
  explicit Slice(Fields& fields)
      : RowOperation(fields), x_(input(fields, "x")), first_(fields.integer("first", 0, 0x7fffffff)) {
    fields.require(first_ + width() <= x_.width, "it reads beyond the end of a row");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    std::memcpy(out, x_.floats(step, row) + first_, static_cast<size_t>(width()) * sizeof(float));
    return out;
  }

  Buffer x_;
  int64_t first_;
};

}  // namespace

LUTMAC_OPERATION(slice, Slice)

}  // namespace lutmac

#endif
