// An operation of a program: what it does in a step. The operations themselves are native/ops/, one file each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/lut.h"
#include "ops/ops.h"
#include "runtime/cache.h"

namespace lutmac {

// Where an operation finds what changes from step to step.
struct Step {
  Batch batch;
  uint8_t* arena = nullptr;
  uint8_t* own_arena = nullptr;  // the calling thread's, in which it keeps its own forms at the offsets that `arena` has
  const Cache* cache = nullptr;
  std::vector<LayerCache> groups;  // per cache group: page table and stride; base is the state's
  float* logits = nullptr;         // [num_logits_rows, vocab], of the first of the output rows
  int num_logits_rows = 0;
  float* hidden = nullptr;         // [num_output_rows, hidden size] of final hidden states; null: nobody wants them
  uint8_t* scratch = nullptr;
  int64_t scratch_bytes = 0;
};

// Which rows an operation works on; how many there are is read at run time. per_token: each token has so many rows of its
// own, one for each expert that it goes to.
struct Rows {
  bool outputs_only = false;
  int per_token = 1;
  bool operator==(const Rows&) const = default;
};

inline int64_t row_count(const Step& step, Rows rows) {
  return int64_t{rows.outputs_only ? step.batch.num_output_rows : step.batch.num_tokens} * rows.per_token;
}

// Rows of the arena in some form, their floats put in an order before (element i of a row is order[i] of what comes; empty:
// as it comes). Fields has checked that they lie in the arena.
struct Buffer {
  int64_t offset = -1;
  Form form = Form::plain;
  int64_t width = 0;
  Rows rows;
  std::vector<int32_t> order;

  int64_t stride() const { return form_stride(form, width); }
  uint8_t* row(uint8_t* arena, int64_t index) const { return arena + offset + index * stride(); }
  // Of plain floats.
  float* floats(const Step& step, int64_t index) const { return reinterpret_cast<float*>(row(step.arena, index)); }
};

class Fields;
class RowOperation;

class Operation {
 public:
  virtual ~Operation() = default;
  virtual int phases() const { return 1; }
  // The number of tasks of a phase: every thread asks, and all get the same answer.
  virtual int64_t tasks(const Step& step, int phase) const = 0;
  // What a thread does before the first task that it claims of a phase.
  virtual void begin(const Step&) const {}
  virtual void run(const Step& step, int phase, int64_t task) const = 0;
  // This operation, where in steps of one row it leaves its forms to the threads of what follows.
  virtual const RowOperation* leaves_forms() const { return nullptr; }
  // Told that it follows such an operation. Throws std::invalid_argument where it cannot make the forms itself.
  virtual void take_over(const RowOperation& maker);
  // Takes in an operation of its kind, to run side by side. Throws std::invalid_argument where that cannot be.
  virtual void join(Operation& other);
};

// Rows that one task of a row-wise operation takes: a claim costs about as much as a tenth of a row. Where there are few,
// one each, so that no thread is without.
inline constexpr int64_t kRowsPerTask = 4;
inline constexpr int64_t kFewRows = 64;

inline int64_t rows_per_task(int64_t rows) { return rows <= kFewRows ? 1 : kRowsPerTask; }

inline int64_t row_tasks(const Step& step, Rows rows) {
  const int64_t count = row_count(step, rows), each = rows_per_task(count);
  return (count + each - 1) / each;
}

inline int64_t float_stride(int64_t width) { return form_stride(Form::plain, width) / 4; }

template <typename Function>
void for_rows(const Step& step, Rows rows, int64_t task, Function&& function) {
  const int64_t count = row_count(step, rows), each = rows_per_task(count), end = std::min(count, (task + 1) * each);
  for (int64_t row = task * each; row < end; ++row) function(row);
}

// An operation that makes each row of its result from the same row of what it reads. It can write the row in forms that
// products take, beside the plain one or instead, and add the row onto what the result's buffer holds. Its fields: out
// (may be missing where there are forms), forms, accumulate, own (see leaves_forms).
class RowOperation : public Operation {
 public:
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;
  const RowOperation* leaves_forms() const override { return own_ ? this : nullptr; }
  Rows rows() const { return rows_; }
  const std::vector<Buffer>& forms() const { return forms_; }
  bool writes_form(int64_t offset) const;
  // Whether it reads floats that lie in these bytes of the arena where a step has one row.
  bool reads(int64_t begin, int64_t bytes) const;
  // The only row's forms, to the thread's own arena.
  void run_own(const Step& step) const { finish_row(step, 0, step.own_arena); }

 protected:
  explicit RowOperation(Fields& fields);
  // A value that it reads, of as many rows as it writes.
  Buffer input(Fields& fields, const char* name);
  int64_t width() const { return width_; }
  // Makes a row of width() floats at out, which lies beside no input but may be one; returns where the row is.
  virtual const float* make_row(const Step& step, int64_t row, float* out) const = 0;

 private:
  void finish_row(const Step& step, int64_t row, uint8_t* form_arena) const;
  void write_forms(uint8_t* arena, int64_t row, const float* values) const;

  const Kernels* kernels_;
  void (*add_scaled_)(const float* a, const float* b, float scale, int width, float* out);
  Buffer out_;  // offset -1: none
  std::vector<Buffer> forms_;
  std::vector<Buffer> inputs_;
  Rows rows_;
  int64_t width_ = 0;
  bool accumulate_ = false, own_ = false;
};

}  // namespace lutmac
