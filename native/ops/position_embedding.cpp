// Learned positions: a row of a matrix for the position of each token.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(position_embedding, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/program.h"

namespace lutmac {
namespace {

class PositionEmbedding final : public RowOperation {
 public:
  explicit PositionEmbedding(Fields& fields)
      : RowOperation(fields), matrix_(fields.table("weight")), first_(fields.integer("first", 0, 1 << 24)) {
    fields.require(matrix_->columns() == width() && rows() == Rows{}, "it writes a row of its matrix per token");
    fields.require(matrix_->rows() - first_ >= fields.program().max_context(), "its matrix has too few positions");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    matrix_->unpack_row(first_ + step.batch.token_position[row], out);
    return out;
  }

  MatrixPtr matrix_;
  int first_;
};

}  // namespace

LUTMAC_OPERATION(position_embedding, PositionEmbedding)

}  // namespace lutmac

#endif
