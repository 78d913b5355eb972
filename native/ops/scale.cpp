// x times a number of the model, and numbers that were trained: one, or one for each column; or a number for each part of it.
#include "ops/op.h"

namespace lutmac {

struct ScaleLoops {
  // out[i] = factor * x[i], one row of `width`; out may be x.
  void (*scale)(const float* x, float factor, int width, float* out);
  // out[i] = factors[i] * x[i].
  void (*scale_columns)(const float* x, const float* factors, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void scale_row(const float* x, float factor, int width, float* out) {
  map_row(x, width, out, [factor](Floats v) { return factor * v; });
}

void scale_columns(const float* x, const float* factors, int width, float* out) {
  map_rows(x, factors, width, out, [](Floats v, Floats factor) { return factor * v; });
}

}  // namespace

LUTMAC_LOOPS(scale, ScaleLoops, {scale_row, scale_columns});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Scale final : public RowOperation {
 public:
  explicit Scale(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<ScaleLoops>()),
        x_(input(fields, "x")),
        factor_(fields.number("factor")) {
    fields.require(x_.width == width(), "its rows differ in width");
    if (fields.has("factors")) {
      columns_ = parts(fields);
    } else if (fields.has("trained")) {
      columns_ = fields.vector("trained");
    } else {
      return;
    }
    fields.require(columns_.size() == 1 || static_cast<int64_t>(columns_.size()) == width(), "it has too many numbers");
    for (float& column : columns_) column *= factor_;
    if (static_cast<int64_t>(columns_.size()) == width()) return;
    factor_ = columns_[0];
    columns_.clear();
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    if (columns_.empty()) {
      loops_.scale(x_.floats(step, row), factor_, static_cast<int>(width()), out);
    } else {
      loops_.scale_columns(x_.floats(step, row), columns_.data(), static_cast<int>(width()), out);
    }
    return out;
  }

  std::vector<float> parts(Fields& fields) const {
    const std::vector<int64_t> widths = fields.integers("widths", 1, 1 << 30);
    const std::vector<float> factors = fields.vector("factors", static_cast<int64_t>(widths.size()));
    std::vector<float> columns;
    for (size_t part = 0; part < widths.size(); ++part) {
      fields.require(widths[part] <= width() - static_cast<int64_t>(columns.size()), "its parts are wider than its rows");
      columns.insert(columns.end(), static_cast<size_t>(widths[part]), factors[part]);
    }
    fields.require(static_cast<int64_t>(columns.size()) == width(), "its parts are not its rows");
    return columns;
  }

  const ScaleLoops& loops_;
  Buffer x_;
  float factor_;
  std::vector<float> columns_;  // empty: one factor for all
};

}  // namespace

LUTMAC_OPERATION(scale, Scale)

}  // namespace lutmac

#endif
