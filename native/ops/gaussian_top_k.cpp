// What a row's floats are above a cutoff, mean + deviations * standard deviation: of normal ones a share that is known.
#include "ops/op.h"

namespace lutmac {

struct GaussianTopKLoops {
  // out[i] = max(0, x[i] - mean - deviations * standard deviation), one row of `width`; out may be x.
  void (*cut)(const float* x, float deviations, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

// The sum of what `term` makes of each float; two sums, whose order depends on the width alone.
template <typename Term>
float sum_of(const float* x, int width, Term term) {
  Floats sum[2] = {};
  int i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes)
    for (int s = 0; s < 2; ++s) sum[s] = sum[s] + term(load(x + i + s * kLanes));
  float total = reduce_add(sum[0] + sum[1]);
  for (; i < width; ++i) total += term(broadcast(x[i]))[0];
  return total;
}

void cut(const float* x, float deviations, int width, float* out) {
  const float mean = sum_of(x, width, [](Floats v) { return v; }) / static_cast<float>(width);
  const float variance = sum_of(x, width, [mean](Floats v) { return (v - mean) * (v - mean); }) / static_cast<float>(width);
  const float cutoff = mean + deviations * __builtin_sqrtf(variance);
  map_row(x, width, out, [cutoff](Floats v) { return maximum(v - cutoff, Floats{}); });
}

}  // namespace

LUTMAC_LOOPS(gaussian_top_k, GaussianTopKLoops, {cut});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class GaussianTopK final : public RowOperation {
 public:
  explicit GaussianTopK(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<GaussianTopKLoops>()),
        x_(input(fields, "x")),
        deviations_(fields.number("deviations")) {
    fields.require(x_.width == width(), "its rows differ in width");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    loops_.cut(x_.floats(step, row), deviations_, static_cast<int>(width()), out);
    return out;
  }

  const GaussianTopKLoops& loops_;
  Buffer x_;
  float deviations_;
};

}  // namespace

LUTMAC_OPERATION(gaussian_top_k, GaussianTopK)

}  // namespace lutmac

#endif
