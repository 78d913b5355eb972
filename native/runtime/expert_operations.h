// Mixtures of experts: which experts each token goes to, and the experts' products over the rows that each one gets.
//
// A token that goes to k experts has k rows, and those of one expert lie together. Two buffers say which is which:
// choices, a row for each token: [k experts s32][their k weights f32][their k rows s32];
// starts, one row: [number of experts + 1] the first row of each expert, and the end of the last.
#pragma once

#include "runtime/operations.h"

namespace lutmac {

class Route final : public Operation {
 public:
  Route(const TargetEntry& target, int64_t logits, int num_experts, int per_token, bool normalize, int64_t choices,
        int64_t starts);
  int phases() const override { return 2; }  // choices; then starts and rows, from all choices
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  void choose(const Step& step, int64_t token) const;
  void sort_by_expert(const Step& step) const;

  const Ops* ops_;
  int64_t logits_;
  int num_experts_, per_token_;
  bool normalize_;
  int64_t choices_, starts_;
};

// Copies each token's row, in whatever form, to all rows that the token has.
class ExpertGather final : public Operation {
 public:
  ExpertGather(FormBuffer x, int64_t width, int64_t choices, int per_token, int64_t out);
  int64_t tasks(const Step& step, int phase) const override;
  bool reads_form(int64_t offset) const override { return offset == x_; }
  bool writes_form(int64_t offset) const override { return offset == out_; }
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  int64_t x_, stride_, choices_;
  int per_token_;
  int64_t out_;
};

// One matrix for each expert, all of the same shape and the same form.
class ExpertMatmul final : public Operation {
 public:
  ExpertMatmul(std::vector<std::shared_ptr<PackedMatrix>> matrices, int64_t x, int64_t starts, int per_token, int64_t y,
               bool exact);
  // At most so many, whatever the experts' shares: a late thread asks when starts may be another layer's already.
  int64_t tasks(const Step& step, int phase) const override;
  bool reads_form(int64_t offset) const override { return offset == x_; }
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  int64_t blocks(int64_t rows) const { return (rows + block_rows_ - 1) / block_rows_; }

  std::vector<std::shared_ptr<PackedMatrix>> matrices_;
  int64_t x_, starts_;
  int per_token_;
  int64_t y_;
  bool exact_;
  int64_t x_stride_, task_tiles_, tasks_per_block_, block_rows_;
};

// For each token the sum of its rows, times their weights, in the order of the choices. accumulate: onto out.
class ExpertSum final : public Operation {
 public:
  ExpertSum(const TargetEntry& target, int64_t x, int64_t width, int64_t choices, int per_token, bool accumulate,
            int64_t out);
  int64_t tasks(const Step& step, int phase) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 private:
  const Ops* ops_;
  int64_t x_, width_, choices_;
  int per_token_;
  bool accumulate_;
  int64_t out_;
};

}  // namespace lutmac
