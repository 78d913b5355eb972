// Attention's tasks: which tile and which span a task is, and the combination of spans.
#include "ops/attention.h"

#include "ops/attention_tile.h"
#include "ops/byte_pages.h"
#include "ops/float_pages.h"

namespace lutmac::LUTMAC_TARGET {

namespace {

constexpr int64_t kScratchBytes = int64_t{4} << 20;

// Tasks of the combination: one per token and kv head.
int combine_tasks(const AttentionArgs& args, const SequencePlan& plan) {
  return plan.split ? plan.num_tokens * args.num_kv_heads : 0;
}

void combine_head(const AttentionArgs& args, const SequencePlan& plan, int token, int head) {
  alignas(64) float total[kTileFloats / 16] = {};
  SoftmaxState state;
  for (int span = plan.first_span; span < plan.first_span + plan.spans; ++span) {
    const float* partial = plan.partial(args, token, head, span);
    if (partial[1] != 0.0f)  // a span of which the token sees nothing
      merge_span(state, total, {partial[0], partial[1]}, partial + kPartialHeader, padded_head_dim(args.head_dim));
  }
  float* out = args.out + int64_t{plan.first_token + token} * args.out_stride + int64_t{head} * args.head_dim;
  write_scaled(total, args.head_dim, 1.0f / state.sum, out);
}

template <class Pages>
void run_tile(const AttentionArgs& args, const SequencePlan& plan, int task, int span) {
  const int head_block = task % plan.head_blocks;
  task /= plan.head_blocks;
  AttentionTile<Pages> tile(args, plan, task / args.num_kv_heads, task % args.num_kv_heads, head_block);
  if (plan.split) {
    tile.run_partial(span);
  } else {
    tile.run_all();
  }
}

}  // namespace

// Room for the partials of any one token, and of as many more as fit in 4 MB.
int64_t attention_scratch_bytes(int max_tokens, int max_context, int num_heads, int head_dim) {
  const int64_t one = int64_t{num_heads} * (max_context / kSpanTokens + 1) * partial_floats(head_dim) * 4;
  const int64_t all = one * max_tokens;
  const int64_t some = all < kScratchBytes ? all : kScratchBytes;
  return one > some ? one : some;
}

int attention_tasks(const AttentionArgs& args) {
  Planner planner(args);
  int tasks = 0;
  for (SequencePlan plan; planner.next(plan);) tasks += plan.tasks(args);
  return tasks;
}

void attention(const AttentionArgs& args, int task) {
  Planner planner(args);
  SequencePlan plan;
  while (planner.next(plan) && task >= plan.tasks(args)) task -= plan.tasks(args);
  int span = 0;
  if (plan.split) {
    span = plan.first_span + task % plan.spans;
    task /= plan.spans;
  }
  switch (args.cache_type) {
    case CacheType::f16: return run_tile<FloatPages<uint16_t>>(args, plan, task, span);
    case CacheType::f32: return run_tile<FloatPages<float>>(args, plan, task, span);
    case CacheType::int8: return run_tile<BytePages>(args, plan, task, span);
  }
}

int attention_combine_tasks(const AttentionArgs& args) {
  Planner planner(args);
  int tasks = 0;
  for (SequencePlan plan; planner.next(plan);) tasks += combine_tasks(args, plan);
  return tasks;
}

void attention_combine(const AttentionArgs& args, int task) {
  Planner planner(args);
  SequencePlan plan;
  while (planner.next(plan) && task >= combine_tasks(args, plan)) task -= combine_tasks(args, plan);
  const int group = args.num_heads / args.num_kv_heads;
  const int first_head = task % args.num_kv_heads * group;
  for (int head = first_head; head < first_head + group; ++head)
    combine_head(args, plan, task / args.num_kv_heads, head);
}

}  // namespace lutmac::LUTMAC_TARGET
