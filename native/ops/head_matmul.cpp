// A matrix for each head, with a row of its own for each token; results lie side by side in the token's row.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(head_matmul, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/product.h"

namespace lutmac {
namespace {

class HeadMatmul final : public ProductOperation {
 public:
  explicit HeadMatmul(Fields& fields) {
    const std::vector<MatrixPtr> matrices = fields.matrices("weights");
    const Buffer x = fields.reads_form("x"), out = fields.writes("out");
    const auto heads = static_cast<int64_t>(matrices.size());
    fields.require(x.rows.per_token == heads && !x.rows.outputs_only && out.rows == Rows{} && out.width % heads == 0,
                   "its heads are not those of its matrices");
    const int64_t each = out.width / heads;
    for (int64_t head = 0; head < heads; ++head) {
      const MatrixPtr& matrix = matrices[head];
      fields.require(matrix->columns() == x.width && matrix->rows() <= each, "its matrices have other shapes");
      fields.require(matrix->reads(x.form), "its matrices do not read that form");
      Product product;
      product.matrix = matrix;
      product.x = x;
      product.out = out;
      product.first_row = head;
      product.row_step = heads;
      product.first_column = head * each;
      add_product(std::move(product));
    }
  }

 protected:
  Rows counted() const override { return {}; }
};

}  // namespace

LUTMAC_OPERATION(head_matmul, HeadMatmul)

}  // namespace lutmac

#endif
