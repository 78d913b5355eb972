// Final hidden states of the rows that want outputs, to the caller's array, where there is one.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(hidden_states, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

#include "runtime/program.h"

namespace lutmac {
namespace {

class HiddenStates final : public Operation {
 public:
  explicit HiddenStates(Fields& fields) : x_(fields.reads("x")) {
    fields.require(x_.rows == Rows{true, 1}, "it copies rows of outputs");
    fields.program().set_hidden_size(x_.width);
  }

  int64_t tasks(const Step& step, int) const override { return step.hidden ? row_tasks(step, x_.rows) : 0; }

  void run(const Step& step, int, int64_t task) const override {
    for_rows(step, x_.rows, task, [&](int64_t row) {
      std::memcpy(step.hidden + row * x_.width, x_.floats(step, row), static_cast<size_t>(x_.width) * 4);
    });
  }

 private:
  Buffer x_;
};

}  // namespace

LUTMAC_OPERATION(hidden_states, HiddenStates)

}  // namespace lutmac

#endif
