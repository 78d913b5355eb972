// The operations that a program is made of. Each turns the arena's buffers and a step into arguments for kernels or ops.
#pragma once

#include <utility>
#include <vector>

#include "runtime/program.h"

namespace lutmac {

// A buffer of the arena that holds rows in some form, their floats put in an order before (element i of a row is
// order[i] of what comes; empty: as it comes).
struct FormBuffer {
  Form form;
  int64_t offset;
  std::vector<int32_t> order;
};

class Embed final : public Operation {
 public:
  Embed(std::shared_ptr<PackedMatrix> matrix, int64_t out, float scale);
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  std::shared_ptr<PackedMatrix> matrix_;
  int64_t out_;
  float scale_;
};

class GatherOutputs final : public Operation {
 public:
  GatherOutputs(int64_t x, int64_t width, int64_t out) : x_(x), width_(width), out_(out) {}
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  int64_t x_, width_, out_;
};

// Copies the final hidden states of the rows that want outputs to the caller's array, where there is one.
class HiddenStates final : public Operation {
 public:
  HiddenStates(int64_t x, int64_t width) : x_(x), width_(width) {}
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  int64_t x_, width_;
};

// Writes rows of f32 to where later operations want them: as they are, and in the forms that products take.
class RowOutput {
 public:
  RowOutput(const Kernels* kernels, int64_t width, int64_t out, std::vector<FormBuffer> forms);
  // Where row `row` is to be computed: the f32 output, or scratch of the calling thread.
  float* row(const Step& step, int64_t row, float* scratch) const;
  void finish(uint8_t* arena, int64_t row, const float* values) const;
  int64_t width() const { return width_; }
  bool only_forms() const { return out_ < 0; }
  const std::vector<FormBuffer>& forms() const { return forms_; }

 private:
  const Kernels* kernels_;
  int64_t width_, out_;  // out: -1 for none
  std::vector<FormBuffer> forms_;
};

// An operation that works on each row for itself. A product that follows and alone reads its forms takes it over for
// steps of one row: see program.h.
class RowOperation : public Operation {
 public:
  RowOperation(Rows rows, std::vector<int64_t> inputs, RowOutput output);
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;
  bool writes_form(int64_t offset) const override;
  const RowOutput& output() const { return output_; }
  Rows rows() const { return rows_; }
  // Whether it reads f32 rows of the buffer that lies at `begin` and is one row of `bytes` long.
  bool reads(int64_t begin, int64_t bytes) const;
  void take_over() { taken_over_ = true; }
  // The only row's forms, to the thread's own arena.
  void run_own(const Step& step) const { compute(step, 0, step.own_arena); }

 protected:
  virtual void compute(const Step& step, int64_t row, uint8_t* form_arena) const = 0;

  Rows rows_;
  std::vector<int64_t> inputs_;
  RowOutput output_;
  bool taken_over_ = false;
};

// Over runs of the weight's width. accumulate: adds onto what the output holds.
class Norm final : public RowOperation {
 public:
  Norm(const TargetEntry& target, Rows rows, int64_t x, std::vector<float> weight, float weight_bias, float eps,
       bool accumulate, RowOutput output);

 private:
  void compute(const Step& step, int64_t row, uint8_t* form_arena) const override;

  const Ops* ops_;
  std::vector<float> weight_;
  float weight_bias_, eps_;
  bool accumulate_;
};

class Prepare final : public RowOperation {
 public:
  Prepare(Rows rows, int64_t x, RowOutput output) : RowOperation(rows, {x}, std::move(output)) {}

 private:
  void compute(const Step& step, int64_t row, uint8_t* form_arena) const override;
};

class GatedActivation final : public RowOperation {
 public:
  GatedActivation(const TargetEntry& target, Rows rows, Activation kind, int64_t gate, int64_t up, RowOutput output);

 private:
  void compute(const Step& step, int64_t row, uint8_t* form_arena) const override;

  const Ops* ops_;
  Activation kind_;
};

struct Product {
  std::shared_ptr<PackedMatrix> matrix;
  int64_t x = 0, y = 0;
  std::vector<float> bias;
  bool accumulate = false;
  bool to_logits = false;
};

// Products side by side: their tiles are one list of tasks.
class Matmul final : public Operation {
 public:
  Matmul(Rows rows, std::vector<Product> products, bool exact, float scale = 1.0f, float softcap = 0.0f);
  int64_t tasks(const Step& step, int phase) const override;
  bool reads_form(int64_t offset) const override;
  void follow(Operation& before, std::span<const std::unique_ptr<Operation>> after) override;
  void begin(const Step& step) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  // Rows to multiply with: for logits, those of the rows that want them.
  int64_t token_count(const Step& step) const;

  Rows rows_;
  // A product's part of the tasks of one block of tokens.
  struct Share {
    int64_t first_task, task_tiles, x_stride;
  };

  std::vector<Product> products_;
  std::vector<Share> shares_;  // of each product
  int64_t tasks_per_block_ = 0, block_tokens_;
  bool exact_;
  float scale_, softcap_;
  const RowOperation* taken_over_ = nullptr;  // makes the forms of all products, and for steps of one row in begin()
};

// Cosines and sines of every token of the step, for all layers whose rope is the same.
class RopeAngles final : public Operation {
 public:
  RopeAngles(const TargetEntry& target, RopeArgs rope, std::vector<float> inverse_frequency, int max_tokens);
  int64_t tasks(const Step& step, int) const override { return row_count(step, Rows::tokens); }
  void run(const Step& step, int phase, int64_t task) const override;
  bool serves(const RopeArgs& rope, const std::vector<float>& inverse_frequency) const;
  const float* table() const { return reinterpret_cast<const float*>(table_->data()); }

 private:
  const Ops* ops_;
  RopeArgs rope_;
  std::vector<float> inverse_frequency_;
  std::unique_ptr<Mapping> table_;  // [max_tokens, rotary_dim]
};

class RopeStore final : public Operation {
 public:
  // args.rope.cos_sin: the table of the RopeAngles that runs before; null where nothing is rotated.
  RopeStore(const TargetEntry& target, RopeStoreArgs args, int layer, int group, int64_t q, int64_t k, int64_t v);
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  RopeStoreArgs args_for(const Step& step) const;
  const Ops* ops_;
  RopeStoreArgs args_;
  int layer_, group_;
  int64_t q_, k_, v_;
};

class Attention final : public Operation {
 public:
  Attention(const TargetEntry& target, AttentionArgs args, int layer, int group, int64_t q, int64_t out);
  int phases() const override { return 2; }
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  AttentionArgs args_for(const Step& step) const;
  const Ops* ops_;
  AttentionArgs args_;
  int layer_, group_;
  int64_t q_, out_;
};

}  // namespace lutmac
