// One matrix for each expert (and a bias, where they have one), all of the same shape and form, over that expert's rows.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(expert_matmul, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <tuple>

#include "ops/experts.h"

namespace lutmac {
namespace {

// A claim costs about a tenth of a small tile; the experts of one token are tasks enough for few threads each.
constexpr int64_t kTasksPerExpert = 8;

class ExpertMatmul final : public Operation {
 public:
  explicit ExpertMatmul(Fields& fields)
      : matrices_(fields.matrices("weights")),
        x_(fields.reads_form("x")),
        starts_(fields.reads("starts")),
        out_(fields.writes("out")) {
    const PackedMatrix& first = *matrices_.front();
    for (const MatrixPtr& matrix : matrices_) {
      fields.require(matrix->rows() == out_.width && matrix->columns() == x_.width, "the experts' matrices differ in shape");
      fields.require(matrix->reads(x_.form), "the experts' matrices want different forms of their input");
    }
    fields.require(x_.rows == out_.rows && !x_.rows.outputs_only &&
                       starts_.width == 2 * static_cast<int64_t>(matrices_.size()) + 1,
                   "its rows are not those of the experts");
    if (fields.has("biases")) {
      int64_t count = 0;
      std::tie(biases_, count) = fields.vectors("biases");
      fields.require(count == static_cast<int64_t>(matrices_.size()) &&
                         static_cast<int64_t>(biases_.size()) == count * out_.width,
                     "its biases are not those of the experts");
    }
    task_tiles_ = std::max<int64_t>(1, first.tiles() / kTasksPerExpert);
    tasks_per_block_ = (first.tiles() + task_tiles_ - 1) / task_tiles_;
    block_rows_ = tokens_per_task(x_.stride());
  }

  // At most so many, whatever the experts' shares: a late thread asks when starts may be another layer's already.
  int64_t tasks(const Step& step, int) const override {
    const int64_t rows = row_count(step, x_.rows), generated = generated_row_count(step, x_.rows);
    return (most_blocks(generated, false) + most_blocks(rows - generated, true)) * tasks_per_block_;
  }

  void run(const Step& step, int, int64_t task) const override {
    const int32_t* first_row = reinterpret_cast<const int32_t*>(starts_.floats(step, 0));
    int64_t block = task / tasks_per_block_;
    const size_t experts = matrices_.size();
    size_t list = 0;  // the experts' rows of generated tokens, then those of prompts
    for (; list < 2 * experts; ++list) {
      const int64_t own = blocks(first_row[list + 1] - first_row[list], list >= experts);
      if (block < own) break;
      block -= own;
    }
    if (list == 2 * experts) return;
    const bool prompt = list >= experts;
    const size_t expert = list % experts;
    const PackedMatrix& matrix = *matrices_[expert];
    const int64_t tile_begin = task % tasks_per_block_ * task_tiles_;
    const int64_t row_begin = first_row[list] + block * block_rows(prompt);
    MatmulArgs args;
    args.x = x_.row(step.arena, 0);
    args.x_stride = x_.stride();
    args.y = out_.floats(step, 0);
    args.y_stride = float_stride(out_.width);
    args.bias = biases_.empty() ? nullptr : biases_.data() + static_cast<int64_t>(expert) * out_.width;
    multiply(matrix, args, x_.form, prompt,
             {tile_begin, std::min(matrix.tiles(), tile_begin + task_tiles_), row_begin,
              std::min<int64_t>(first_row[list + 1], row_begin + block_rows(prompt))});
  }

 private:
  int64_t block_rows(bool prompt) const { return prompt ? kPromptTokens : block_rows_; }
  int64_t blocks(int64_t rows, bool prompt) const { return (rows + block_rows(prompt) - 1) / block_rows(prompt); }
  // Of all experts that share these rows.
  int64_t most_blocks(int64_t rows, bool prompt) const {
    return rows / block_rows(prompt) + std::min<int64_t>(rows, static_cast<int64_t>(matrices_.size()));
  }

  std::vector<MatrixPtr> matrices_;
  Buffer x_, starts_, out_;
  std::vector<float> biases_;
  int64_t task_tiles_, tasks_per_block_, block_rows_;
};

}  // namespace

LUTMAC_OPERATION(expert_matmul, ExpertMatmul)

}  // namespace lutmac

#endif
