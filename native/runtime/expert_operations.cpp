#include "runtime/expert_operations.h"

#include <algorithm>
#include <cstring>

#include "runtime/rows.h"

namespace lutmac {
namespace {

// A token's line in the buffer of choices.
struct Choices {
  int32_t* experts;
  float* weights;
  int32_t* rows;
};

Choices choices_of(const Step& step, int64_t buffer, int per_token, int64_t token) {
  float* line = float_row(step, buffer, 3 * per_token, token);
  int32_t* integers = reinterpret_cast<int32_t*>(line);
  return {integers, line + per_token, integers + 2 * per_token};
}

// A claim costs about a tenth of a small tile; the experts of one token are tasks enough for few threads each.
constexpr int64_t kTasksPerExpert = 8;

}  // namespace

Route::Route(const TargetEntry& target, int64_t logits, int num_experts, int per_token, bool normalize, int64_t choices,
             int64_t starts)
    : ops_(target.ops),
      logits_(logits),
      num_experts_(num_experts),
      per_token_(per_token),
      normalize_(normalize),
      choices_(choices),
      starts_(starts) {}

int64_t Route::tasks(const Step& step, int phase) const { return phase == 0 ? row_tasks(step, Rows::tokens) : 1; }

void Route::run(const Step& step, int phase, int64_t task) const {
  if (phase == 0) {
    for_rows(step, Rows::tokens, task, [&](int64_t token) { choose(step, token); });
  } else {
    sort_by_expert(step);
  }
}

void Route::choose(const Step& step, int64_t token) const {
  const Choices choices = choices_of(step, choices_, per_token_, token);
  ops_->choose_experts(float_row(step, logits_, num_experts_, token), num_experts_, per_token_, normalize_,
                       choices.experts, choices.weights);
}

void Route::sort_by_expert(const Step& step) const {
  int32_t* starts = reinterpret_cast<int32_t*>(step.arena + starts_);
  std::memset(starts, 0, sizeof(int32_t) * (num_experts_ + 1));
  const int64_t tokens = row_count(step, Rows::tokens);
  // starts[e + 1] counts the rows of e, then becomes where e's next row goes, which in the end is where e + 1 starts.
  for (int64_t token = 0; token < tokens; ++token) {
    const Choices choices = choices_of(step, choices_, per_token_, token);
    for (int i = 0; i < per_token_; ++i) ++starts[choices.experts[i] + 1];
  }
  int32_t next = 0;
  for (int expert = 0; expert < num_experts_; ++expert) {
    const int32_t count = starts[expert + 1];
    starts[expert + 1] = next;
    next += count;
  }
  for (int64_t token = 0; token < tokens; ++token) {
    const Choices choices = choices_of(step, choices_, per_token_, token);
    for (int i = 0; i < per_token_; ++i) choices.rows[i] = starts[choices.experts[i] + 1]++;
  }
}

ExpertGather::ExpertGather(FormBuffer x, int64_t width, int64_t choices, int per_token, int64_t out)
    : x_(x.offset), stride_(form_stride(x.form, width)), choices_(choices), per_token_(per_token), out_(out) {}

int64_t ExpertGather::tasks(const Step& step, int) const { return row_tasks(step, Rows::tokens); }

void ExpertGather::run(const Step& step, int, int64_t task) const {
  for_rows(step, Rows::tokens, task, [&](int64_t token) {
    const Choices choices = choices_of(step, choices_, per_token_, token);
    for (int i = 0; i < per_token_; ++i) {
      std::memcpy(step.arena + out_ + choices.rows[i] * stride_, step.arena + x_ + token * stride_,
                  static_cast<size_t>(stride_));
    }
  });
}

ExpertMatmul::ExpertMatmul(std::vector<std::shared_ptr<PackedMatrix>> matrices, int64_t x, int64_t starts,
                           int per_token, int64_t y, bool exact)
    : matrices_(std::move(matrices)), x_(x), starts_(starts), per_token_(per_token), y_(y), exact_(exact) {
  const PackedMatrix& first = *matrices_.front();
  x_stride_ = form_stride(exact ? Form::plain : first.form(), first.columns());
  task_tiles_ = std::max<int64_t>(1, first.tiles() / kTasksPerExpert);
  tasks_per_block_ = (first.tiles() + task_tiles_ - 1) / task_tiles_;
  block_rows_ = tokens_per_task(x_stride_);
}

int64_t ExpertMatmul::tasks(const Step& step, int) const {
  const int64_t rows = row_count(step, {false, per_token_});
  return (rows / block_rows_ + std::min<int64_t>(rows, matrices_.size())) * tasks_per_block_;
}

void ExpertMatmul::run(const Step& step, int, int64_t task) const {
  const int32_t* first_row = reinterpret_cast<const int32_t*>(step.arena + starts_);
  int64_t block = task / tasks_per_block_;
  size_t expert = 0;
  for (; expert < matrices_.size(); ++expert) {
    const int64_t own = blocks(first_row[expert + 1] - first_row[expert]);
    if (block < own) break;
    block -= own;
  }
  if (expert == matrices_.size()) return;
  const PackedMatrix& matrix = *matrices_[expert];
  const int64_t tile_begin = task % tasks_per_block_ * task_tiles_;
  const int64_t row_begin = first_row[expert] + block * block_rows_;
  MatmulArgs args;
  args.x = step.arena + x_;
  args.x_stride = x_stride_;
  args.y = reinterpret_cast<float*>(step.arena + y_);
  args.y_stride = float_stride(matrix.rows());
  matrix.matmul(args, exact_, tile_begin, std::min(matrix.tiles(), tile_begin + task_tiles_), row_begin,
                std::min<int64_t>(first_row[expert + 1], row_begin + block_rows_));
}

ExpertSum::ExpertSum(const TargetEntry& target, int64_t x, int64_t width, int64_t choices, int per_token,
                     bool accumulate, int64_t out)
    : ops_(target.ops),
      x_(x),
      width_(width),
      choices_(choices),
      per_token_(per_token),
      accumulate_(accumulate),
      out_(out) {}

int64_t ExpertSum::tasks(const Step& step, int) const { return row_tasks(step, Rows::tokens); }

void ExpertSum::run(const Step& step, int, int64_t task) const {
  for_rows(step, Rows::tokens, task, [&](int64_t token) {
    const Choices choices = choices_of(step, choices_, per_token_, token);
    float* out = float_row(step, out_, width_, token);
    if (!accumulate_) std::memset(out, 0, static_cast<size_t>(width_) * 4);
    for (int i = 0; i < per_token_; ++i) {
      ops_->add_scaled(out, float_row(step, x_, width_, choices.rows[i]), choices.weights[i], static_cast<int>(width_),
                       out);
    }
  });
}

}  // namespace lutmac
