// Attention's tasks: which tile and which span a task is, and the combination of spans.
#include "ops/attention.h"

#include "ops/op.h"

#ifdef LUTMAC_TARGET

#include "ops/attention_tile.h"
#include "ops/byte_pages.h"
#include "ops/float_pages.h"
#include "ops/latent_pages.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

constexpr int64_t kScratchBytes = int64_t{4} << 20;

// Tasks of the combination: one per token and kv head.
int combine_tasks(const AttentionArgs& args, const SequencePlan& plan) {
  return plan.split ? plan.num_tokens * args.num_kv_heads : 0;
}

void combine_head(const AttentionArgs& args, const SequencePlan& plan, int token, int head) {
  alignas(64) float total[kMaxHeadDim] = {};
  SoftmaxState state;
  for (int span = plan.first_span; span < plan.first_span + plan.spans; ++span) {
    const float* partial = plan.partial(args, token, head, span);
    if (partial[1] != 0.0f)  // a span of which the token sees nothing
      merge_span(state, total, {partial[0], partial[1]}, partial + kPartialHeader, padded_head_dim(args.value_dim));
  }
  float* out = args.out + int64_t{plan.first_token + token} * args.out_stride + int64_t{head} * args.value_dim;
  write_scaled(total, args.value_dim, normalizer(args, state, head), out);
}

template <class Pages, class Latents>
void run_task(const AttentionArgs& args, const TaskPlan& task) {
  args.latent ? AttentionTile<Latents>::run(args, task) : AttentionTile<Pages>::run(args, task);
}

// Room for the partials of any one token, and of as many more as fit in 4 MB.
int64_t attention_scratch_bytes(int max_tokens, int max_context, int num_heads, int value_dim) {
  const int64_t one = int64_t{num_heads} * (max_context / kSpanTokens + 1) * partial_floats(value_dim) * 4;
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
  const TaskPlan plan(args, task);
  if (plan.sequence.by_matrix) return args.attend_prompt(args, task);
  switch (args.cache_type) {
    case CacheType::f16: return run_task<FloatPages<uint16_t>, LatentPages<uint16_t>>(args, plan);
    case CacheType::f32: return run_task<FloatPages<float>, LatentPages<float>>(args, plan);
    case CacheType::int8: return run_task<BytePages, LatentPages<int8_t>>(args, plan);
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

}  // namespace

LUTMAC_LOOPS(attention, AttentionLoops,
             {attention_scratch_bytes, attention_tasks, attention, attention_combine_tasks, attention_combine});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/program.h"

namespace lutmac {
namespace {

class Attention final : public Operation, public KeyHeadTasks {
 public:
  explicit Attention(Fields& fields)
      : loops_(fields.loops<AttentionLoops>()),
        cache_(fields.pages("cache")),
        q_(fields.reads("q")),
        out_(fields.writes("out")) {
    args_.num_heads = fields.integer("num_heads", 1, 65536);
    args_.num_kv_heads = cache_.num_kv_heads;
    args_.head_dim = cache_.head_dim;
    args_.value_dim = cache_.value_dim;
    args_.cache_type = cache_.type;
    args_.latent = cache_.latent;
    args_.attend_prompt = fields.target().kernels->attend_prompt;
    args_.window = cache_.window;
    args_.scale = fields.number("scale");
    args_.softcap = fields.number("softcap");
    if (fields.has("sinks")) sinks_ = fields.vector("sinks", args_.num_heads);
    fields.require(args_.num_heads % args_.num_kv_heads == 0, "its heads are no multiple of those of keys and values");
    fields.require(q_.width == int64_t{args_.num_heads} * args_.head_dim &&
                       out_.width == int64_t{args_.num_heads} * args_.value_dim,
                   "its heads have other widths");
    fields.require(q_.rows == Rows{} && out_.rows == Rows{}, "it works on the rows of tokens");
    args_.q_stride = float_stride(q_.width);
    args_.out_stride = float_stride(out_.width);
    Program& program = fields.program();
    program.reserve_scratch(
        loops_.scratch_bytes(program.max_tokens(), program.max_context(), args_.num_heads, args_.value_dim));
  }

  int state_index() const override { return cache_.index; }
  std::vector<Buffer> buffers_read() const override { return {q_}; }
  Buffer buffer_written() const override { return out_; }

  int phases() const override { return 2; }

  int64_t tasks(const Step& step, int phase) const override {
    const AttentionArgs args = args_for(step);
    return phase == 0 ? loops_.tasks(args) : loops_.combine_tasks(args);
  }

  void run(const Step& step, int phase, int64_t task) const override {
    const AttentionArgs args = args_for(step);
    (phase == 0 ? loops_.attend : loops_.combine)(args, static_cast<int>(task));
  }

 private:
  AttentionArgs args_for(const Step& step) const {
    AttentionArgs args = args_;
    args.batch = &step.batch;
    args.sinks = sinks_.empty() ? nullptr : sinks_.data();
    args.q = q_.floats(step, 0);
    args.out = out_.floats(step, 0);
    args.cache = cache_.of(step);
    args.scratch = step.scratch;
    args.scratch_bytes = step.scratch_bytes;
    return args;
  }

  const AttentionLoops& loops_;
  AttentionArgs args_;
  ProgramState cache_;
  Buffer q_, out_;
  std::vector<float> sinks_;
};

}  // namespace

LUTMAC_OPERATION(attention, Attention)

}  // namespace lutmac

#endif
