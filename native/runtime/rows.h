// What operations that work row by row share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/program.h"

namespace lutmac {

// Rows that one task of a row-wise operation takes: a claim costs about as much as a tenth of a row. Where there are few,
// one each, so that no thread is without.
inline constexpr int64_t kRowsPerTask = 4;
inline constexpr int64_t kFewRows = 64;
// Widest row that a fused operation computes on its thread's stack when no later operation reads it as f32.
inline constexpr int64_t kStackRow = 65536;

inline int64_t rows_per_task(int64_t rows) { return rows <= kFewRows ? 1 : kRowsPerTask; }

inline int64_t row_tasks(const Step& step, Rows rows) {
  const int64_t count = row_count(step, rows), each = rows_per_task(count);
  return (count + each - 1) / each;
}

inline float* float_row(const Step& step, int64_t buffer, int64_t width, int64_t row) {
  return reinterpret_cast<float*>(step.arena + buffer + row * form_stride(Form::plain, width));
}

inline int64_t float_stride(int64_t width) { return form_stride(Form::plain, width) / 4; }

template <typename Function>
void for_rows(const Step& step, Rows rows, int64_t task, Function&& function) {
  const int64_t count = row_count(step, rows), each = rows_per_task(count), end = std::min(count, (task + 1) * each);
  for (int64_t row = task * each; row < end; ++row) function(row);
}

}  // namespace lutmac
