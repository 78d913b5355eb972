// A row of a matrix for the type of each token: the first or the second text of a pair.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(type_embedding, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/program.h"

namespace lutmac {
namespace {

// Types that it has no row for are taken as 0: models of one type read pairs, too.
class TypeEmbedding final : public RowOperation {
 public:
  explicit TypeEmbedding(Fields& fields) : RowOperation(fields), matrix_(fields.table("weight")) {
    fields.require(matrix_->columns() == width() && rows() == Rows{}, "it writes a row of its matrix per token");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    const int32_t type = step.batch.token_types == nullptr ? 0 : step.batch.token_types[row];
    matrix_->unpack_row(type < matrix_->rows() ? type : 0, out);
    return out;
  }

  MatrixPtr matrix_;
};

}  // namespace

LUTMAC_OPERATION(type_embedding, TypeEmbedding)

}  // namespace lutmac

#endif
