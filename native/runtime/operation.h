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
  float* hidden = nullptr;         // [num_output_rows, hidden size] of final hidden states; null: not wanted
  uint8_t* scratch = nullptr;
  int64_t scratch_bytes = 0;
  int threads = 1;  // that run the step
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

// How many of these rows, the first, are of generated tokens. The rows of experts are sorted by role, and then by expert.
inline int64_t generated_row_count(const Step& step, Rows rows) {
  return int64_t{rows.outputs_only ? step.batch.generated_outputs : step.batch.generated_rows} * rows.per_token;
}

// Rows of the arena in some form. order: a permutation that is applied to a row before it is turned into the form (element i is
// element order[i] of the row); empty for none. Fields has checked that the rows lie in the arena.
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
  // The number of tasks of a phase. Every thread calls this, and all must get the same number.
  virtual int64_t tasks(const Step& step, int phase) const = 0;
  // What a thread does before the first task that it claims of a phase.
  virtual void begin(const Step&) const {}
  virtual void run(const Step& step, int phase, int64_t task) const = 0;
  // This operation, if in steps of one row the threads of the next operation make its forms (see program.h); else null.
  virtual const RowOperation* leaves_forms() const { return nullptr; }
  // Called if the operation before is such a one. Throws std::invalid_argument if this one cannot make the forms.
  virtual void take_over(const RowOperation& maker);
  // Takes in an operation of its kind, to run side by side. Throws std::invalid_argument if they cannot.
  virtual void join(Operation& other);
};

// Rows that one task of a row-wise operation takes: a claim costs about as much as a tenth of a row. If there are few rows, a
// task is one row, so that every thread gets some.
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

// The rows of a product in blocks, those of generated tokens first: no block has both roles. The forms of a generated block stay in cache
// while the tiles of the matrix pass by; a prompt's block unpacks each tile once for all of its rows.
struct RowBlocks {
  struct Range {
    int64_t begin, end;
    bool prompt;
  };

  int64_t generated, rows;              // of all rows the first `generated`
  int64_t generated_rows, prompt_rows;  // of a block

  int64_t generated_blocks() const { return (generated + generated_rows - 1) / generated_rows; }
  int64_t count() const { return generated_blocks() + (rows - generated + prompt_rows - 1) / prompt_rows; }
  Range range(int64_t block) const {
    const int64_t first = block * generated_rows;
    if (first < generated) return {first, std::min(generated, first + generated_rows), false};
    const int64_t begin = generated + (block - generated_blocks()) * prompt_rows;
    return {begin, std::min(rows, begin + prompt_rows), true};
  }
};

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
  // Makes a row of width() floats and returns where it is. out is where it may write; it may be an input, but overlaps none.
  virtual const float* make_row(const Step& step, int64_t row, float* out) const = 0;

 private:
  void finish_row(const Step& step, int64_t row, uint8_t* form_arena) const;
  void write_forms(uint8_t* arena, int64_t row, bool prompt, const float* values) const;

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
