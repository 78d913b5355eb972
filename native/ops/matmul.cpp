// out = weight x (+ bias), onto the result where it accumulates; products side by side are one operation.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(matmul, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/product.h"

namespace lutmac {
namespace {

class Matmul final : public ProductOperation {
 public:
  explicit Matmul(Fields& fields) {
    Product product = read_product(fields);
    product.out = fields.writes("out");
    fields.require(product.out.rows == product.x.rows && product.out.width == product.matrix->rows(),
                   "it writes other rows than its matrix makes");
    if (fields.has("bias")) product.bias = fields.vector("bias", product.matrix->rows());
    product.accumulate = fields.flag("accumulate");
    add_product(std::move(product));
  }

  void join(Operation& other) override {
    auto* products = dynamic_cast<Matmul*>(&other);
    if (products == nullptr || products->products_.front().x.rows != products_.front().x.rows) Operation::join(other);
    for (Product& product : products->products_) add_product(std::move(product));
  }
};

}  // namespace

LUTMAC_OPERATION(matmul, Matmul)

}  // namespace lutmac

#endif
