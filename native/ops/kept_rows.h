// The last rows of a sequence, kept in its slot for an operation that reads rows before a step's own.
#pragma once

#include <cstring>

#include "runtime/program.h"

namespace lutmac {

// [count, width], the oldest first, zeros before the first position.
class KeptRows {
 public:
  // Reads the field "state".
  KeptRows(Fields& fields, int64_t width, int count)
      : state_(fields.slot("state", (width * count * 4 + 63) / 64 * 64)), width_(width), count_(count) {}

  // The row `back` positions before a row of the step, as `here` gives it of a row of this step or `kept` of a kept one.
  template <typename Here, typename Kept>
  auto before(const Step& step, int64_t row, int back, Here here, Kept kept) const {
    const int sequence = step.batch.token_sequence[row];
    const int64_t at = row - back, first = step.batch.sequence_start[sequence];
    return at >= first ? here(at) : kept(of(step, sequence) + (count_ - (first - at)) * width_);
  }

  // Writes a sequence's last rows to its slot. To be called once no task reads older rows; copy(row, out) writes one.
  template <typename Copy>
  void keep(const Step& step, int sequence, Copy copy) const {
    const Batch& batch = step.batch;
    const int last = batch.sequence_start[sequence + 1] - 1;
    const size_t bytes = static_cast<size_t>(width_) * 4;
    for (int j = 0; j < count_; ++j) {  // oldest first: an older one is never written before it is read
      const int back = count_ - 1 - j;
      float* out = of(step, sequence) + j * width_;
      if (batch.token_position[last] < back) {
        std::memset(out, 0, bytes);
      } else {
        before(step, last, back, [&](int64_t row) { copy(row, out); },
               [&](const float* kept) { std::memmove(out, kept, bytes); });
      }
    }
  }

 private:
  float* of(const Step& step, int sequence) const {
    const LayerCache cache = state_.of(step);
    return reinterpret_cast<float*>(cache.base + cache.page_table[int64_t{sequence} * cache.table_stride] * cache.page_stride);
  }

  ProgramState state_;
  int64_t width_;
  int count_;
};

// A convolution over the last positions of each channel: first the results, from what was kept; then what is kept from now on.
class ConvolutionOperation : public Operation {
 public:
  static constexpr int kLongestKernel = 16;

  int phases() const override { return 2; }

  int64_t tasks(const Step& step, int phase) const override {
    return phase == 0 ? row_tasks(step, out_.rows) : step.batch.num_sequences;
  }

  void run(const Step& step, int phase, int64_t task) const override {
    if (phase == 0) {
      for_rows(step, out_.rows, task, [&](int64_t row) { convolve(step, row); });
    } else {
      kept_.keep(step, static_cast<int>(task), [&](int64_t row, float* out) { keep_row(step, row, out); });
    }
  }

 protected:
  // Reads the fields "x", "out", "kernel", and "state", of rows of the width of out.
  explicit ConvolutionOperation(Fields& fields)
      : x_(fields.reads("x")),
        out_(fields.writes("out")),
        kernel_(fields.integer("kernel", 2, kLongestKernel)),
        kept_(fields, out_.width, kernel_ - 1) {}

  virtual void convolve(const Step& step, int64_t row) const = 0;
  // What is kept of a row.
  virtual void keep_row(const Step& step, int64_t row, float* out) const = 0;

  Buffer x_, out_;
  int kernel_;
  KeptRows kept_;
};

// A convolution's weight [channels, kernel] as [kernel, channels].
inline std::vector<float> kernel_rows(const std::vector<float>& weight, int kernel) {
  const int64_t width = static_cast<int64_t>(weight.size()) / kernel;
  std::vector<float> rows(weight.size());
  for (int64_t i = 0; i < width; ++i) {
    for (int j = 0; j < kernel; ++j) rows[j * width + i] = weight[i * kernel + j];
  }
  return rows;
}

}  // namespace lutmac
