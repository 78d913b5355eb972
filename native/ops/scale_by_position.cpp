// Rows that grow with the logarithm of their position, as Llama 4 scales its queries.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(scale_by_position, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cmath>

namespace lutmac {
namespace {

class ScaleByPosition final : public RowOperation {
 public:
  explicit ScaleByPosition(Fields& fields)
      : RowOperation(fields),
        x_(input(fields, "x")),
        beta_(fields.number("beta")),
        period_(fields.integer("period", 1, 0x7fffffff)) {
    fields.require(x_.width == width() && rows() == Rows{}, "it works on the rows of tokens");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    const double periods = step.batch.token_position[row] / period_;
    const float factor = static_cast<float>(1.0 + beta_ * std::log1p(periods));
    const float* x = x_.floats(step, row);
    for (int64_t i = 0; i < width(); ++i) out[i] = x[i] * factor;
    return out;
  }

  Buffer x_;
  float beta_;
  int period_;
};

}  // namespace

LUTMAC_OPERATION(scale_by_position, ScaleByPosition)

}  // namespace lutmac

#endif
