// AltUp's correction of all streams by what a layer made of one (Baykal et al. 2023, https://arxiv.org/abs/2301.13310).
#include "ops/op.h"

namespace lutmac {

struct AltupCorrectLoops {
  // out[j] = x[j] + factors[j] * change: `streams` segments of `width` floats each, change one; out may be x.
  void (*spread)(const float* x, const float* change, const float* factors, int streams, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void spread(const float* x, const float* change, const float* factors, int streams, int width, float* out) {
  for (int j = 0; j < streams; ++j) {
    const float factor = factors[j];
    map_rows(x + int64_t{j} * width, change, width, out + int64_t{j} * width,
             [factor](Floats v, Floats c) { return multiply_add(broadcast(factor), c, v); });
  }
}

}  // namespace

LUTMAC_LOOPS(altup_correct, AltupCorrectLoops, {spread});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <optional>

#include "ops/altup.h"

namespace lutmac {
namespace {

class AltupCorrect final : public RowOperation {
 public:
  explicit AltupCorrect(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<AltupCorrectLoops>()),
        x_(input(fields, "x")),
        change_(input(fields, "change")) {
    fields.require(x_.width == width() && change_.width > 0 && width() % change_.width == 0 &&
                       width() / change_.width <= kMaxStreams,
                   "it makes other streams than it reads");
    streams_ = static_cast<int>(width() / change_.width);
    if (fields.has("routed")) {
      routed_ = input(fields, "routed");
      fields.require(routed_.width == streams_, "what is routed is not one float for each stream");
      map_.emplace(fields, streams_, streams_);
    } else {
      fields.number("scale");
    }
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    float factors[kMaxStreams] = {};
    if (map_) map_->apply(routed_.floats(step, row), factors);
    for (int j = 0; j < streams_; ++j) factors[j] += map_ || j > 0 ? 1.0f : 0.0f;
    loops_.spread(x_.floats(step, row), change_.floats(step, row), factors, streams_, static_cast<int>(change_.width), out);
    return out;
  }

  const AltupCorrectLoops& loops_;
  Buffer x_, change_, routed_;
  std::optional<AltupMap> map_;
  int streams_ = 1;
};

}  // namespace

LUTMAC_OPERATION(altup_correct, AltupCorrect)

}  // namespace lutmac

#endif
