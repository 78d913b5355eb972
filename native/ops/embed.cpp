// Rows of an embedding matrix for the tokens of the step.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(embed, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <algorithm>

#include "runtime/program.h"

namespace lutmac {
namespace {

class Embed final : public Operation {
 public:
  explicit Embed(Fields& fields)
      : matrix_(fields.table("weight")), out_(fields.writes("out")), scale_(fields.number("scale")) {
    fields.require(matrix_->columns() == out_.width && out_.rows == Rows{}, "it writes a row of its matrix per token");
    Program& program = fields.program();
    program.set_vocab_size(std::max(program.vocab_size(), matrix_->rows()));
  }

  int64_t tasks(const Step& step, int) const override { return row_tasks(step, out_.rows); }

  void run(const Step& step, int, int64_t task) const override {
    for_rows(step, out_.rows, task, [&](int64_t row) {
      float* out = out_.floats(step, row);
      const int32_t token = step.batch.tokens[row];
      matrix_->unpack_row(token < matrix_->rows() ? token : 0, out);
      if (scale_ != 1.0f) {
        for (int64_t i = 0; i < out_.width; ++i) out[i] *= scale_;
      }
    });
  }

 private:
  MatrixPtr matrix_;
  Buffer out_;
  float scale_;
};

}  // namespace

LUTMAC_OPERATION(embed, Embed)

}  // namespace lutmac

#endif
