// For each row that wants outputs, the mean of all rows of its sequence in this step.
#include "ops/op.h"

namespace lutmac {

struct SequenceMeansLoops {
  // out[i] = the mean of `count` rows' elements i, which are `stride` floats apart; summed in the order of the rows.
  void (*mean)(const float* x, int64_t stride, int count, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {
namespace {

void mean(const float* x, int64_t stride, int count, int width, float* out) {
  for (int i = 0; i < width; ++i) out[i] = 0.0f;
  for (int row = 0; row < count; ++row, x += stride)
    for (int i = 0; i < width; ++i) out[i] += x[i];
  for (int i = 0; i < width; ++i) out[i] /= static_cast<float>(count);
}

}  // namespace

LUTMAC_LOOPS(sequence_means, SequenceMeansLoops, {mean});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class SequenceMeans final : public Operation {
 public:
  explicit SequenceMeans(Fields& fields)
      : loops_(fields.loops<SequenceMeansLoops>()), x_(fields.reads("x")), out_(fields.writes("out")) {
    fields.require(x_.width == out_.width && x_.rows == Rows{} && out_.rows == Rows{true, 1},
                   "it makes rows of outputs of the rows of tokens");
  }

  int64_t tasks(const Step& step, int) const override { return row_tasks(step, out_.rows); }

  void run(const Step& step, int, int64_t task) const override {
    const Batch& batch = step.batch;
    for_rows(step, out_.rows, task, [&](int64_t row) {
      const int sequence = batch.token_sequence[batch.output_rows[row]];
      const int first = batch.sequence_start[sequence], count = batch.sequence_start[sequence + 1] - first;
      loops_.mean(x_.floats(step, first), float_stride(x_.width), count, static_cast<int>(x_.width), out_.floats(step, row));
    });
  }

 private:
  const SequenceMeansLoops& loops_;
  Buffer x_, out_;
};

}  // namespace

LUTMAC_OPERATION(sequence_means, SequenceMeans)

}  // namespace lutmac

#endif
