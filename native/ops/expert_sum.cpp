// For each token the sum of its rows, times their weights, in the order of the choices; onto out where it accumulates.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(expert_sum, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

#include "ops/add.h"
#include "ops/experts.h"

namespace lutmac {
namespace {

class ExpertSum final : public Operation {
 public:
  explicit ExpertSum(Fields& fields)
      : add_(fields.loops_of<AddLoops>("add")),
        x_(fields.reads("x")),
        choices_(fields.reads("choices")),
        out_(fields.writes("out")),
        accumulate_(fields.flag("accumulate")) {
    fields.require(choices_.width == 3 * x_.rows.per_token && choices_.rows == Rows{} && out_.rows == Rows{} &&
                       !x_.rows.outputs_only && x_.width == out_.width,
                   "its rows are not those of the choices");
  }

  int64_t tasks(const Step& step, int) const override { return row_tasks(step, Rows{}); }

  void run(const Step& step, int, int64_t task) const override {
    for_rows(step, Rows{}, task, [&](int64_t token) {
      const Choices choices = Choices::of(step, choices_, token);
      float* out = out_.floats(step, token);
      if (!accumulate_) std::memset(out, 0, static_cast<size_t>(out_.width) * 4);
      for (int i = 0; i < x_.rows.per_token; ++i) {
        add_.add_scaled(out, x_.floats(step, choices.rows[i]), choices.weights[i], static_cast<int>(out_.width), out);
      }
    });
  }

 private:
  const AddLoops& add_;
  Buffer x_, choices_, out_;
  bool accumulate_;
};

}  // namespace

LUTMAC_OPERATION(expert_sum, ExpertSum)

}  // namespace lutmac

#endif
