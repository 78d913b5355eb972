// How a step's attention is cut into tasks.
#pragma once

#include "ops/attention.h"

namespace lutmac::LUTMAC_TARGET {

// Positions whose contribution is summed before it is merged with that of the spans before it: fixed, so that a token's
// result is the same whether its spans are one task or many. 256 positions of keys and values at head_dim 64 are 64 KB,
// some microseconds of work: long against the cost of a task, short enough to spread one token over many threads.
inline constexpr int kSpanTokens = 256;

// Rows (a token's query head each) of a task: with 4,096 floats per array, a task's arrays stay in the L2 cache and on
// the stack, and a page of keys that is in the L1 cache is used by up to 64 rows.
inline constexpr int kTileFloats = 4096;
inline constexpr int kTaskRows = 64;

// By the matrix unit, whose tiles have 16 rows, the rows are made up to sixteens: 64 as long as heads have up to 144 dimensions, and
// 16 of the widest. A page of keys or of values of 128 dimensions in bf16 (16 KB), the rows' queries (16 KB) and their scores
// with a page (16 KB) are 48 KB, the L1 cache of the processors that have the unit.
inline constexpr int kMatrixRows = 16;
inline constexpr int kMatrixFloats = kMatrixRows * kMaxHeadDim;
static_assert(kMatrixFloats >= kTileFloats);

// A sequence with fewer tasks than this has its spans made tasks of their own.
inline constexpr int kEnoughTasks = 32;

inline int ceil_divide(int a, int b) { return (a + b - 1) / b; }
inline int smaller(int a, int b) { return a < b ? a : b; }
inline int larger(int a, int b) { return a > b ? a : b; }

// One span's result for one row: maximum score, sum of weights, padding to 16 floats, weighted sum of values.
inline constexpr int kPartialHeader = 16;
inline int64_t partial_floats(int value_dim) { return padded_head_dim(value_dim) + kPartialHeader; }

// First position that the token at `position` sees.
inline int first_visible(const AttentionArgs& args, int position) {
  return args.window > 0 ? larger(0, position - args.window + 1) : 0;
}

// The tasks of one sequence: [tile of tokens][kv head][part of its query heads][span, if split].
struct SequencePlan {
  int sequence = 0;
  int first_token = 0, num_tokens = 0, first_position = 0;
  int heads_per_part = 0, head_parts = 0;
  int tile_tokens = 0, tiles = 0;
  int first_span = 0, spans = 0;  // that any of its tokens sees
  bool split = false;
  bool by_matrix = false;  // AttentionArgs::attend_prompt runs its tasks
  float* partials = nullptr;  // [num_tokens, num_heads, spans, partial_floats], where split

  int tasks(const AttentionArgs& args) const {
    return tiles * args.num_kv_heads * head_parts * (split ? spans : 1);
  }
  int64_t num_partial_floats(const AttentionArgs& args) const {
    return int64_t{num_tokens} * args.num_heads * spans * partial_floats(args.value_dim);
  }
  float* partial(const AttentionArgs& args, int token, int head, int span) const {
    return partials +
           ((int64_t{token} * args.num_heads + head) * spans + span - first_span) * partial_floats(args.value_dim);
  }
};

// Walks the sequences in order, handing out scratch to those that are split while it lasts.
class Planner {
 public:
  explicit Planner(const AttentionArgs& args) : args_(args) {}

  bool next(SequencePlan& plan) {
    const Batch& batch = *args_.batch;
    if (++sequence_ >= batch.num_sequences) return false;
    plan = {};
    plan.sequence = sequence_;
    plan.first_token = batch.sequence_start[sequence_];
    plan.num_tokens = batch.sequence_start[sequence_ + 1] - plan.first_token;
    plan.first_position = batch.first_position[sequence_];
    if (plan.num_tokens == 0) return true;
    // An f32 cache is the reference, and latents are wide: they stay as they are.
    plan.by_matrix = args_.attend_prompt != nullptr && plan.first_token >= batch.generated_rows && !args_.latent &&
                     args_.cache_type != CacheType::f32;
    const int width = padded_head_dim(larger(args_.head_dim, args_.value_dim));
    const int rows = smaller(kTaskRows, plan.by_matrix ? kMatrixFloats / width / kMatrixRows * kMatrixRows : kTileFloats / width);
    const int group = args_.num_heads / args_.num_kv_heads;
    plan.heads_per_part = smaller(group, rows);
    plan.head_parts = ceil_divide(group, plan.heads_per_part);
    plan.tile_tokens = rows / plan.heads_per_part;
    plan.tiles = ceil_divide(plan.num_tokens, plan.tile_tokens);
    plan.first_span = first_visible(args_, plan.first_position) / kSpanTokens;
    plan.spans = (plan.first_position + plan.num_tokens - 1) / kSpanTokens + 1 - plan.first_span;
    const int64_t needed = plan.num_partial_floats(args_);
    plan.split = plan.spans > 1 && plan.tasks(args_) < kEnoughTasks &&
                 (used_ + needed) * static_cast<int64_t>(sizeof(float)) <= args_.scratch_bytes;
    if (plan.split) {
      plan.partials = reinterpret_cast<float*>(args_.scratch) + used_;
      used_ += needed;
    }
    return true;
  }

 private:
  const AttentionArgs& args_;
  int sequence_ = -1;
  int64_t used_ = 0;
};

// One task of a step.
struct TaskPlan {
  TaskPlan(const AttentionArgs& args, int task) {
    Planner planner(args);
    while (planner.next(sequence) && task >= sequence.tasks(args)) task -= sequence.tasks(args);
    if (sequence.split) {
      span = sequence.first_span + task % sequence.spans;
      task /= sequence.spans;
    }
    head_part = task % sequence.head_parts;
    task /= sequence.head_parts;
    kv_head = task % args.num_kv_heads;
    tile = task / args.num_kv_heads;
  }

  SequencePlan sequence;
  int tile, kv_head, head_part;
  int span = 0;  // where they are split
};

}  // namespace lutmac::LUTMAC_TARGET
