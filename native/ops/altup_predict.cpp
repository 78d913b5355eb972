// AltUp's prediction of each stream from all of them (Baykal et al. 2023, https://arxiv.org/abs/2301.13310).
#include "ops/op.h"

namespace lutmac {

struct AltupPredictLoops {
  // out[j] = x[j] + sum of coefficients[j * streams + i] * x[i] over i: `streams` segments of `width` floats each.
  void (*mix)(const float* x, const float* coefficients, int streams, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void mix(const float* x, const float* coefficients, int streams, int width, float* out) {
  for (int column = 0; column < width; column += kLanes) {
    const int count = width - column < kLanes ? width - column : kLanes;
    for (int j = 0; j < streams; ++j) {
      Floats sum = load_first(x + int64_t{j} * width + column, count);
      for (int i = 0; i < streams; ++i)
        sum = multiply_add(broadcast(coefficients[j * streams + i]), load_first(x + int64_t{i} * width + column, count), sum);
      store_first(out + int64_t{j} * width + column, count, sum);
    }
  }
}

}  // namespace

LUTMAC_LOOPS(altup_predict, AltupPredictLoops, {mix});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "ops/altup.h"

namespace lutmac {
namespace {

class AltupPredict final : public RowOperation {
 public:
  explicit AltupPredict(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<AltupPredictLoops>()),
        x_(input(fields, "x")),
        routed_(input(fields, "routed")),
        map_(fields, static_cast<int>(routed_.width), routed_.width * routed_.width) {
    fields.require(x_.width == width() && width() % routed_.width == 0, "it makes other streams than it reads");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    float coefficients[kMaxStreams * kMaxStreams];
    map_.apply(routed_.floats(step, row), coefficients);
    const int streams = static_cast<int>(routed_.width);
    loops_.mix(x_.floats(step, row), coefficients, streams, static_cast<int>(width()) / streams, out);
    return out;
  }

  const AltupPredictLoops& loops_;
  Buffer x_, routed_;
  AltupMap map_;
};

}  // namespace

LUTMAC_OPERATION(altup_predict, AltupPredict)

}  // namespace lutmac

#endif
