// The trained map of AltUp's operations, from what a router makes of a row to coefficients of streams.
#pragma once

#include <cmath>
#include <vector>

#include "runtime/fields.h"

namespace lutmac {

inline constexpr int kMaxStreams = 16;

// coefficients = matrix @ tanh(scale * routed).
class AltupMap {
 public:
  AltupMap(Fields& fields, int streams, int64_t coefficients)
      : streams_(streams), count_(static_cast<int>(coefficients)), scale_(fields.number("scale")) {
    fields.require(streams > 0 && streams <= kMaxStreams, "there are too many streams");
    matrix_ = fields.vector("coefficients", count_ * streams_);
  }

  void apply(const float* routed, float* coefficients) const {
    float open[kMaxStreams];
    for (int i = 0; i < streams_; ++i) open[i] = std::tanh(scale_ * routed[i]);
    for (int c = 0; c < count_; ++c) {
      float sum = 0.0f;
      for (int i = 0; i < streams_; ++i) sum += matrix_[static_cast<size_t>(c * streams_ + i)] * open[i];
      coefficients[c] = sum;
    }
  }

 private:
  int streams_, count_;
  float scale_;
  std::vector<float> matrix_;
};

}  // namespace lutmac
