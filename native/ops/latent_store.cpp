// The rotation of queries and of a latent's last part, and the store of latents (DeepSeek-V2, https://arxiv.org/abs/2405.04434).
#include "ops/latent_store.h"

#include "ops/op.h"

#ifdef LUTMAC_TARGET

#include "ops/page_store.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void rotate_last(const LatentStoreArgs& args, const float* x, float* out) {
  if (args.cos_sin == nullptr) {
    __builtin_memcpy(out, x, sizeof(float) * args.rope_dim);
  } else {
    rotate(args.style, args.rope_dim, args.cos_sin, x, out);
  }
}

void keep_bytes(const float* row, int width, uint8_t* page, int position) {
  alignas(64) int16_t codes[kMaxHeadDim];
  const int blocks = (width + kKeyBlock - 1) / kKeyBlock;
  uint16_t* scales = page_scales(page, width) + position * blocks;
  for (int block = 0; block < blocks; ++block) {
    const int first = block * kKeyBlock, rest = width - first;
    to_codes(row + first, rest < kKeyBlock ? rest : kKeyBlock, codes + first, scales + block);
  }
  auto* out = reinterpret_cast<int8_t*>(page) + int64_t{position} * width;
  for (int i = 0; i < width; ++i) out[i] = static_cast<int8_t>(codes[i]);
}

void store_latent(const LatentStoreArgs& args) {
  const int size = args.rank + args.rope_dim, width = padded_head_dim(size);
  for (int head = 0; head < args.num_heads; ++head)
    rotate_last(args, args.heads + int64_t{head + 1} * args.head_dim - args.rope_dim,
                args.q + int64_t{head} * size + args.rank);
  alignas(64) float row[kMaxHeadDim];
  __builtin_memcpy(row, args.normed, sizeof(float) * args.rank);
  rotate_last(args, args.key + args.rank, row + args.rank);
  __builtin_memset(row + size, 0, sizeof(float) * (width - size));
  const int64_t at = int64_t{args.position} * width;
  switch (args.cache_type) {
    case CacheType::f16: return store_row(row, width, reinterpret_cast<uint16_t*>(args.page) + at);
    case CacheType::f32: return store_row(row, width, reinterpret_cast<float*>(args.page) + at);
    case CacheType::int8: return keep_bytes(row, width, args.page, args.position);
  }
}

}  // namespace

LUTMAC_LOOPS(latent_store, LatentStoreLoops, {store_latent});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/program.h"

namespace lutmac {
namespace {

class LatentStore final : public Operation {
 public:
  explicit LatentStore(Fields& fields)
      : loops_(fields.loops<LatentStoreLoops>()),
        cache_(fields.pages("cache")),
        q_(fields.reads("q")),
        heads_(fields.reads("heads")),
        normed_(fields.reads("normed")),
        key_(fields.reads("key")) {
    const Buffer out = fields.writes("out");
    args_.num_heads = fields.integer("num_heads", 1, 65536);
    args_.style = rope_style(fields);
    args_.rank = cache_.value_dim;
    args_.rope_dim = cache_.head_dim - cache_.value_dim;
    args_.head_dim = static_cast<int>(heads_.width / args_.num_heads);
    args_.cache_type = cache_.type;
    fields.require(cache_.latent && cache_.num_kv_heads == 1 && args_.rope_dim > 0, "its pages are not of latents");
    fields.require(q_.width == int64_t{args_.num_heads} * cache_.head_dim &&
                       heads_.width == int64_t{args_.num_heads} * args_.head_dim && args_.head_dim >= args_.rope_dim &&
                       normed_.width == args_.rank && key_.width == cache_.head_dim,
                   "its heads and latents have other widths");
    fields.require(q_.rows == Rows{} && heads_.rows == Rows{} && normed_.rows == Rows{} && key_.rows == Rows{},
                   "it works on the rows of tokens");
    fields.require(out.offset == q_.offset && out.width == q_.width, "queries are completed in place");
    if (fields.has("angles")) {
      angles_ = fields.reads("angles");
      fields.require(angles_.rows == Rows{} && angles_.width == args_.rope_dim && args_.rope_dim % 2 == 0,
                     "it must rotate all of a latent's last part");
    }
  }

  int64_t tasks(const Step& step, int) const override { return row_tasks(step, Rows{}); }

  void run(const Step& step, int, int64_t task) const override {
    for_rows(step, Rows{}, task, [&](int64_t row) { store(step, row); });
  }

 private:
  void store(const Step& step, int64_t row) const {
    const LayerCache cache = cache_.of(step);
    const int position = step.batch.token_position[row], sequence = step.batch.token_sequence[row];
    LatentStoreArgs args = args_;
    args.cos_sin = angles_.offset < 0 ? nullptr : angles_.floats(step, row);
    args.q = q_.floats(step, row);
    args.heads = heads_.floats(step, row);
    args.normed = normed_.floats(step, row);
    args.key = key_.floats(step, row);
    args.page = cache.base +
                cache.page_table[int64_t{sequence} * cache.table_stride + position / kPageTokens] * cache.page_stride;
    args.position = position % kPageTokens;
    loops_.store(args);
  }

  const LatentStoreLoops& loops_;
  LatentStoreArgs args_;
  ProgramState cache_;
  Buffer q_, heads_, normed_, key_, angles_;
};

}  // namespace

LUTMAC_OPERATION(latent_store, LatentStore)

}  // namespace lutmac

#endif
