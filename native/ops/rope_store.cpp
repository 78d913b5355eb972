// The rotation of queries and keys (Su et al. 2021, https://arxiv.org/abs/2104.09864) and the store into the cache.
#include "ops/rope_store.h"

#include "ops/op.h"

#ifdef LUTMAC_TARGET

#include "ops/page_store.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

// Tokens of one sequence that lie on one page.
struct PagePart {
  int sequence = 0;
  int token = 0;     // row of the first
  int position = 0;  // position of the first
  int count = 0;
};

int num_pages(const Batch& batch, int sequence) {
  const int first = batch.first_position[sequence];
  const int count = batch.sequence_start[sequence + 1] - batch.sequence_start[sequence];
  return count == 0 ? 0 : (first + count - 1) / kPageTokens - first / kPageTokens + 1;
}

PagePart find_page_part(const Batch& batch, int index) {
  int sequence = 0;
  for (int pages; index >= (pages = num_pages(batch, sequence)); ++sequence) index -= pages;
  const int first = batch.first_position[sequence];
  const int end = first + batch.sequence_start[sequence + 1] - batch.sequence_start[sequence];
  const int page = first / kPageTokens + index;
  const int begin = page * kPageTokens > first ? page * kPageTokens : first;
  const int page_end = (page + 1) * kPageTokens;
  return {sequence, batch.sequence_start[sequence] + begin - first, begin, (page_end < end ? page_end : end) - begin};
}

// A row of a head with zeros behind it, up to the padded width.
void pad_row(const float* x, int head_dim, float* out) {
  __builtin_memcpy(out, x, sizeof(float) * head_dim);
  __builtin_memset(out + head_dim, 0, sizeof(float) * (padded_head_dim(head_dim) - head_dim));
}

// Rotates the q heads of kv_head and its key of one token; leaves the key in key[padded head_dim].
void rotate_token(const RopeStoreArgs& args, int token, int kv_head, float* key) {
  const float* cos_sin = args.cos_sin + token * args.cos_sin_stride;
  const int group = args.num_heads / args.num_kv_heads;
  float* q = args.q + token * args.q_stride + int64_t{kv_head} * group * args.head_dim;
  for (int head = 0; head < group; ++head, q += args.head_dim) rotate(args.style, args.rotary_dim, cos_sin, q, q);

  const float* k = args.k + token * args.k_stride + int64_t{kv_head} * args.head_dim;
  pad_row(k, args.head_dim, key);
  rotate(args.style, args.rotary_dim, cos_sin, k, key);
}

int rope_store_tasks(const RopeStoreArgs& args) {
  int parts = 0;
  for (int sequence = 0; sequence < args.batch->num_sequences; ++sequence) parts += num_pages(*args.batch, sequence);
  return parts * args.num_kv_heads;
}

void rope_store(const RopeStoreArgs& args, int task) {
  const PagePart part = find_page_part(*args.batch, task / args.num_kv_heads);
  const int kv_head = task % args.num_kv_heads;
  const int head_dim = args.head_dim, value_dim = args.value_dim;
  const HeadPage page =
      head_page(args.cache, args.cache_type, part.sequence, part.position / kPageTokens, head_dim, value_dim, kv_head);

  alignas(64) float keys[kStoreTokens][kMaxHeadDim], values[kStoreTokens][kMaxHeadDim];
  for (int begin = 0; begin < part.count; begin += kStoreTokens) {
    const int count = part.count - begin < kStoreTokens ? part.count - begin : kStoreTokens;
    const int64_t token = part.token + begin;
    for (int i = 0; i < count; ++i) {
      rotate_token(args, static_cast<int>(token) + i, kv_head, keys[i]);
      pad_row(args.v + (token + i) * args.v_stride + int64_t{kv_head} * value_dim, value_dim, values[i]);
    }
    const PagePositions positions = {
        .page = page,
        .slot = part.position % kPageTokens + begin,
        .count = count,
        .head_dim = head_dim,
        .value_dim = value_dim,
        .keys = keys[0],
        .values = values[0],
    };
    switch (args.cache_type) {
      case CacheType::f16: store_floats<uint16_t>(positions); break;
      case CacheType::f32: store_floats<float>(positions); break;
      case CacheType::int8: store_bytes(positions); break;
    }
  }
}

}  // namespace

LUTMAC_LOOPS(rope_store, RopeStoreLoops, {rope_store_tasks, rope_store});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/program.h"

namespace lutmac {
namespace {

class RopeStore final : public Operation, public KeyHeadTasks {
 public:
  explicit RopeStore(Fields& fields)
      : loops_(fields.loops<RopeStoreLoops>()),
        cache_(fields.pages("cache")),
        q_(fields.reads("q")),
        k_(fields.reads("k")),
        v_(fields.reads("v")) {
    const Buffer out = fields.writes("out");
    args_.num_heads = fields.integer("num_heads", 1, 65536);
    args_.num_kv_heads = cache_.num_kv_heads;
    args_.head_dim = cache_.head_dim;
    args_.value_dim = cache_.value_dim;
    args_.cache_type = cache_.type;
    args_.style = rope_style(fields);
    fields.require(!cache_.latent, "latents are stored by latent_store");
    fields.require(args_.num_heads % args_.num_kv_heads == 0, "its heads are no multiple of those of keys and values");
    fields.require(q_.width == int64_t{args_.num_heads} * args_.head_dim &&
                       k_.width == int64_t{args_.num_kv_heads} * args_.head_dim &&
                       v_.width == int64_t{args_.num_kv_heads} * args_.value_dim,
                   "its heads have other widths");
    fields.require(q_.rows == Rows{} && k_.rows == Rows{} && v_.rows == Rows{}, "it works on the rows of tokens");
    fields.require(out.offset == q_.offset && out.width == q_.width, "queries are rotated in place");
    if (fields.has("angles")) {
      angles_ = fields.reads("angles");
      args_.rotary_dim = static_cast<int>(angles_.width);
      fields.require(angles_.rows == Rows{} && args_.rotary_dim % 2 == 0 && args_.rotary_dim <= args_.head_dim,
                     "it must rotate an even number of dimensions, at most head_dim");
    }
    args_.q_stride = float_stride(q_.width);
    args_.k_stride = float_stride(k_.width);
    args_.v_stride = float_stride(v_.width);
  }

  int state_index() const override { return cache_.index; }
  std::vector<Buffer> buffers_read() const override {
    return angles_.offset < 0 ? std::vector{k_, v_} : std::vector{k_, v_, angles_};
  }
  Buffer buffer_written() const override { return q_; }

  int64_t tasks(const Step& step, int) const override { return loops_.tasks(args_for(step)); }

  void run(const Step& step, int, int64_t task) const override { loops_.store(args_for(step), static_cast<int>(task)); }

 private:
  RopeStoreArgs args_for(const Step& step) const {
    RopeStoreArgs args = args_;
    args.batch = &step.batch;
    args.q = q_.floats(step, 0);
    args.k = k_.floats(step, 0);
    args.v = v_.floats(step, 0);
    if (args.rotary_dim > 0) {
      args.cos_sin = angles_.floats(step, 0);
      args.cos_sin_stride = float_stride(args.rotary_dim);
    }
    args.cache = cache_.of(step);
    return args;
  }

  const RopeStoreLoops& loops_;
  RopeStoreArgs args_;
  ProgramState cache_;
  Buffer q_, k_, v_, angles_;
};

}  // namespace

LUTMAC_OPERATION(rope_store, RopeStore)

}  // namespace lutmac

#endif
