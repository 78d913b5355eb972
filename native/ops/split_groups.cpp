// Takes apart what a row holds group by group: of every group the first part, then of every group the second, and so on.
#include "ops/op.h"

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(split_groups, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>
#include <numeric>

namespace lutmac {
namespace {

class SplitGroups final : public Operation {
 public:
  explicit SplitGroups(Fields& fields)
      : x_(fields.reads("x")), out_(fields.writes("out")), parts_(fields.integers("parts", 1, 1 << 30)) {
    const int64_t group = std::accumulate(parts_.begin(), parts_.end(), int64_t{0});
    fields.require(group > 0 && x_.width % group == 0, "its parts do not divide the width of its rows");
    groups_ = x_.width / group;
    if (fields.has("rest")) rest_ = fields.writes("rest");
    const int64_t rest = rest_.offset >= 0 ? groups_ * parts_.back() : 0;
    fields.require(out_.width == x_.width - rest && (rest == 0 || rest_.width == rest), "its parts have other widths");
    fields.require(out_.rows == x_.rows && (rest == 0 || rest_.rows == x_.rows), "it writes other rows than it reads");
    fields.require(out_.offset != x_.offset && rest_.offset != x_.offset, "it cannot work in place");
  }

  int64_t tasks(const Step& step, int) const override { return row_tasks(step, x_.rows); }

  void run(const Step& step, int, int64_t task) const override {
    for_rows(step, x_.rows, task, [&](int64_t row) { split(step, row); });
  }

 private:
  void split(const Step& step, int64_t row) const {
    const float* x = x_.floats(step, row);
    float* out = out_.floats(step, row);
    const int64_t group = x_.width / groups_;
    int64_t first = 0;
    for (size_t part = 0; part < parts_.size(); ++part) {
      const int64_t size = parts_[part];
      if (part + 1 == parts_.size() && rest_.offset >= 0) out = rest_.floats(step, row);
      for (int64_t i = 0; i < groups_; ++i, out += size)
        std::memcpy(out, x + i * group + first, static_cast<size_t>(size) * 4);
      first += size;
    }
  }

  Buffer x_, out_, rest_;  // rest_: offset -1 where there is none
  std::vector<int64_t> parts_;
  int64_t groups_ = 1;
};

}  // namespace

LUTMAC_OPERATION(split_groups, SplitGroups)

}  // namespace lutmac

#endif
