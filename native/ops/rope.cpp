// Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864) and the store into the cache.
#include "ops/rope.h"

#include "ops/page.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

namespace {

constexpr int kMaxHeadDim = 256;
constexpr int kStoreTokens = 16;  // keys are turned to the page's order in blocks that stay in the L1 cache

// Tokens of one sequence that lie on one page.
struct Run {
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

Run find_run(const Batch& batch, int index) {
  int sequence = 0;
  for (int pages; index >= (pages = num_pages(batch, sequence)); ++sequence) index -= pages;
  const int first = batch.first_position[sequence];
  const int end = first + batch.sequence_start[sequence + 1] - batch.sequence_start[sequence];
  const int page = first / kPageTokens + index;
  const int begin = page * kPageTokens > first ? page * kPageTokens : first;
  const int page_end = (page + 1) * kPageTokens;
  return {sequence, batch.sequence_start[sequence] + begin - first, begin, (page_end < end ? page_end : end) - begin};
}

// x and out may be the same.
void rotate(RopeStyle style, int rotary_dim, const float* cos_sin, const float* x, float* out) {
  const int half = rotary_dim / 2;
  const int step = style == RopeStyle::half_split ? 1 : 2;
  const int other = style == RopeStyle::half_split ? half : 1;
  for (int i = 0; i < half; ++i) {
    const float cosine = cos_sin[i], sine = cos_sin[half + i];
    const float a = x[i * step], b = x[i * step + other];
    out[i * step] = a * cosine - b * sine;
    out[i * step + other] = b * cosine + a * sine;
  }
}

void store_halves(const float* x, int count, uint16_t* out) {
  for (int i = 0; i < count; i += kLanes) store_half(out + i, load(x + i));
}

// Rotates the q heads of kv_head and its key of one token; leaves the key in key[head_dim], as f16.
void rotate_token(const RopeStoreArgs& args, int token, int kv_head, uint16_t* key) {
  float angles[kMaxHeadDim];
  const RopeArgs& rope = args.rope;
  const float* cos_sin = angles;
  if (rope.cos_sin != nullptr) {
    cos_sin = rope.cos_sin + int64_t{token} * rope.rotary_dim;
  } else {
    rope_angles(*args.batch, rope, token, angles);
  }
  const int group = args.num_heads / args.num_kv_heads;
  float* q = args.q + token * args.q_stride + int64_t{kv_head} * group * args.head_dim;
  for (int head = 0; head < group; ++head, q += args.head_dim) rotate(rope.style, rope.rotary_dim, cos_sin, q, q);

  float rotated[kMaxHeadDim];
  const float* k = args.k + token * args.k_stride + int64_t{kv_head} * args.head_dim;
  __builtin_memcpy(rotated, k, sizeof(float) * args.head_dim);
  rotate(rope.style, rope.rotary_dim, cos_sin, k, rotated);
  store_halves(rotated, args.head_dim, key);
}

}  // namespace

void rope_angles(const Batch& batch, const RopeArgs& rope, int token, float* out) {
  const int half = rope.rotary_dim / 2;
  const float position = static_cast<float>(batch.token_position[token]);
  for (int i = 0; i < half; ++i) {
    const double angle = position * rope.inverse_frequency[i];
    out[i] = static_cast<float>(__builtin_cos(angle)) * rope.attention_factor;
    out[half + i] = static_cast<float>(__builtin_sin(angle)) * rope.attention_factor;
  }
}

int rope_store_tasks(const RopeStoreArgs& args) {
  int runs = 0;
  for (int sequence = 0; sequence < args.batch->num_sequences; ++sequence) runs += num_pages(*args.batch, sequence);
  return runs * args.num_kv_heads;
}

void rope_store(const RopeStoreArgs& args, int task) {
  const Run run = find_run(*args.batch, task / args.num_kv_heads);
  const int kv_head = task % args.num_kv_heads;
  const int head_dim = args.head_dim, page = run.position / kPageTokens;
  uint16_t* keys = page_keys(args.cache, run.sequence, page, args.num_kv_heads, head_dim, kv_head);
  uint16_t* values = page_values(args.cache, run.sequence, page, args.num_kv_heads, head_dim, kv_head);

  alignas(64) uint16_t block[kStoreTokens][kMaxHeadDim];
  for (int begin = 0; begin < run.count; begin += kStoreTokens) {
    const int count = run.count - begin < kStoreTokens ? run.count - begin : kStoreTokens;
    const int slot = run.position % kPageTokens + begin;
    for (int i = 0; i < count; ++i) {
      const int64_t token = run.token + begin + i;
      rotate_token(args, static_cast<int>(token), kv_head, block[i]);
      store_halves(args.v + token * args.v_stride + int64_t{kv_head} * head_dim, head_dim,
                   values + (slot + i) * head_dim);
    }
    for (int d = 0; d < head_dim; ++d)
      for (int i = 0; i < count; ++i) keys[d * kPageTokens + slot + i] = block[i][d];
  }
}

}  // namespace lutmac::LUTMAC_TARGET
