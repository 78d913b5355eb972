// The rows that want logits or final hidden states, to the front.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(gather_outputs, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

namespace lutmac {
namespace {

class GatherOutputs final : public Operation {
 public:
  explicit GatherOutputs(Fields& fields) : x_(fields.reads("x")), out_(fields.writes("out")) {
    fields.require(x_.width == out_.width && x_.rows == Rows{} && out_.rows == Rows{true, 1},
                   "it copies rows of tokens to rows of outputs");
  }

  int64_t tasks(const Step& step, int) const override { return row_tasks(step, out_.rows); }

  void run(const Step& step, int, int64_t task) const override {
    for_rows(step, out_.rows, task, [&](int64_t row) {
      std::memcpy(out_.floats(step, row), x_.floats(step, step.batch.output_rows[row]), static_cast<size_t>(x_.width) * 4);
    });
  }

 private:
  Buffer x_, out_;
};

}  // namespace

LUTMAC_OPERATION(gather_outputs, GatherOutputs)

}  // namespace lutmac

#endif
