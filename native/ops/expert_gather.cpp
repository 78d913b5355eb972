// Copies each token's row, in whatever form, to all rows that the token has with experts.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(expert_gather, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

#include "ops/experts.h"

namespace lutmac {
namespace {

class ExpertGather final : public Operation {
 public:
  explicit ExpertGather(Fields& fields)
      : x_(fields.reads_form("x")), choices_(fields.reads("choices")), out_(fields.writes_form("out")) {
    fields.require(x_.form == out_.form && x_.width == out_.width, "it copies rows as they are");
    fields.require(x_.rows == Rows{} && choices_.rows == Rows{} && choices_.width == 3 * out_.rows.per_token &&
                       !out_.rows.outputs_only,
                   "it copies a token's row to as many as the token has choices");
  }

  int64_t tasks(const Step& step, int) const override { return row_tasks(step, Rows{}); }

  void run(const Step& step, int, int64_t task) const override {
    for_rows(step, Rows{}, task, [&](int64_t token) {
      const Choices choices = Choices::of(step, choices_, token);
      for (int i = 0; i < out_.rows.per_token; ++i) {
        std::memcpy(out_.row(step.arena, choices.rows[i]), x_.row(step.arena, token), static_cast<size_t>(x_.stride()));
      }
    });
  }

 private:
  Buffer x_, choices_, out_;
};

}  // namespace

LUTMAC_OPERATION(expert_gather, ExpertGather)

}  // namespace lutmac

#endif
