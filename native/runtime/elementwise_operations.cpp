#include "runtime/elementwise_operations.h"

#include "runtime/rows.h"

namespace lutmac {

Combine::Combine(const TargetEntry& target, Rows rows, Kind kind, int64_t a, int64_t b, float scale, RowOutput output)
    : RowOperation(rows, {a, b}, std::move(output)), ops_(target.ops), kind_(kind), scale_(scale) {}

void Combine::compute(const Step& step, int64_t row, uint8_t* form_arena) const {
  const int64_t width = output_.width();
  const float *a = float_row(step, inputs_[0], width, row), *b = float_row(step, inputs_[1], width, row);
  float* out = output_.row(step, row, nullptr);
  if (kind_ == Kind::sum) {
    ops_->add_scaled(a, b, scale_, static_cast<int>(width), out);
  } else {
    ops_->multiply(a, b, static_cast<int>(width), out);
  }
  output_.finish(form_arena, row, out);
}

RoundToInt8::RoundToInt8(const TargetEntry& target, Rows rows, int64_t x, RowOutput output)
    : RowOperation(rows, {x}, std::move(output)), ops_(target.ops) {}

void RoundToInt8::compute(const Step& step, int64_t row, uint8_t* form_arena) const {
  const int64_t width = output_.width();
  float* out = output_.row(step, row, nullptr);
  ops_->round_to_int8(float_row(step, inputs_[0], width, row), static_cast<int>(width), out);
  output_.finish(form_arena, row, out);
}

}  // namespace lutmac
