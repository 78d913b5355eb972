// Operations on whole rows that stand alone: sums, products, rounding.
#pragma once

#include "runtime/operations.h"

namespace lutmac {

// out = a + scale * b, or a * b.
class Combine final : public RowOperation {
 public:
  enum class Kind { sum, product };
  Combine(const TargetEntry& target, Rows rows, Kind kind, int64_t a, int64_t b, float scale, RowOutput output);

 private:
  void compute(const Step& step, int64_t row, uint8_t* form_arena) const override;

  const Ops* ops_;
  Kind kind_;
  float scale_;
};

// x as int8 with a scale per row would have it.
class RoundToInt8 final : public RowOperation {
 public:
  RoundToInt8(const TargetEntry& target, Rows rows, int64_t x, RowOutput output);

 private:
  void compute(const Step& step, int64_t row, uint8_t* form_arena) const override;

  const Ops* ops_;
};

}  // namespace lutmac
