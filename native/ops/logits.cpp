// The head: softcap(scale * (weight x + bias)) of the rows that want logits, to the caller's array.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(logits, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cmath>

#include "runtime/product.h"
#include "runtime/program.h"

namespace lutmac {
namespace {

class Logits final : public ProductOperation {
 public:
  explicit Logits(Fields& fields) : scale_(fields.number("scale")), softcap_(fields.number("softcap")) {
    Product product = read_product(fields);
    fields.require(product.x.rows == Rows{true, 1}, "it reads rows of outputs");
    if (fields.has("bias")) product.bias = fields.vector("bias", product.matrix->rows());
    fields.program().set_logits_size(product.matrix->rows());
    add_product(std::move(product));
  }

 private:
  int64_t token_count(const Step& step) const override { return step.num_logits_rows; }

  void finish(float* y, int64_t rows) const override {
    if (scale_ == 1.0f && softcap_ == 0.0f) return;
    for (int64_t row = 0; row < rows; ++row) {
      y[row] *= scale_;
      if (softcap_ != 0.0f) y[row] = softcap_ * std::tanh(y[row] / softcap_);
    }
  }

  float scale_, softcap_;
};

}  // namespace

LUTMAC_OPERATION(logits, Logits)

}  // namespace lutmac

#endif
