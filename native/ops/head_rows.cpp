// The heads of a row, or the first part of each, as rows of their own.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(head_rows, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

namespace lutmac {
namespace {

class HeadRows final : public RowOperation {
 public:
  explicit HeadRows(Fields& fields) : RowOperation(fields), x_(fields.reads("x")), heads_(rows().per_token) {
    fields.require(x_.rows == Rows{} && !rows().outputs_only && x_.width % heads_ == 0 && x_.width / heads_ >= width(),
                   "its rows are not heads of what it reads");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    const float* head = x_.floats(step, row / heads_) + row % heads_ * (x_.width / heads_);
    std::memcpy(out, head, static_cast<size_t>(width()) * sizeof(float));
    return out;
  }

  Buffer x_;
  int heads_;
};

}  // namespace

LUTMAC_OPERATION(head_rows, HeadRows)

}  // namespace lutmac

#endif
