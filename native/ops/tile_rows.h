// The rows of a tile of attention: the query heads of a few tokens that read one kv head.
#pragma once

#include "ops/attention_plan.h"
#include "ops/page.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// Positions that a token sees, counted from some first one.
struct Range {
  int begin, end;
};

// out[0, count) = x * factor: what lies behind a head's row belongs to the next one.
inline void write_scaled(const float* x, int count, float factor, float* out) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, load(x + i) * factor);
  for (; i < count; ++i) out[i] = x[i] * factor;
}

struct TileRows {
  TileRows(const AttentionArgs& tile_args, const SequencePlan& plan, int tile, int kv, int head_part)
      : args(tile_args), sequence(plan.sequence), kv_head(kv), head_dim(args.head_dim), value_dim(args.value_dim),
        width(padded_head_dim(head_dim)), value_width(padded_head_dim(value_dim)) {
    const int group = args.num_heads / args.num_kv_heads;
    first_head = kv_head * group + head_part * plan.heads_per_part;
    heads = smaller(plan.heads_per_part, group - head_part * plan.heads_per_part);
    first_token = tile * plan.tile_tokens;
    tokens = smaller(plan.tile_tokens, plan.num_tokens - first_token);
    first_row = plan.first_token + first_token;
    first_position = plan.first_position + first_token;
    count = tokens * heads;
    for (int row = 0; row < count; ++row) {
      const float* from = args.q + batch_row(row) * args.q_stride + int64_t{head(row)} * head_dim;
      write_scaled(from, head_dim, args.scale, q + row * width);
      for (int i = head_dim; i < width; ++i) q[row * width + i] = 0.0f;
    }
  }

  int head(int row) const { return first_head + row % heads; }
  int64_t batch_row(int row) const { return first_row + row / heads; }

  // Of a page, or of `count` positions from `origin` on.
  Range visible(int token, int page) const { return visible(token, page * kPageTokens, kPageTokens); }
  Range visible(int token, int origin, int positions) const {
    const int position = first_position + token;
    return {larger(0, first_visible(args, position) - origin), smaller(positions, position + 1 - origin)};
  }

  // The tokens that see some of `positions` positions from `origin` on: one after the other, as their positions are.
  Range seeing(int origin, int positions) const {
    const int end = args.window > 0 ? smaller(tokens, origin + positions - 1 + args.window - first_position) : tokens;
    return {larger(0, origin - first_position), end};
  }

  HeadPage page(int index) const {
    if (args.latent) {
      uint8_t* latents = latent_page(args.cache, args.cache_type, sequence, index, head_dim, kv_head);
      return {latents, latents};
    }
    return head_page(args.cache, args.cache_type, sequence, index, head_dim, value_dim, kv_head);
  }

  // Scores, then weights, of a row for a page of the span.
  float* page_score(int row, int index) { return score + row * kSpanTokens + index * kPageTokens % kSpanTokens; }

  const AttentionArgs& args;
  int sequence, kv_head;
  int head_dim, value_dim;
  int width, value_width;  // padded_head_dim of either
  int first_head, heads;
  int first_token, tokens;        // of the sequence's tokens in this step
  int first_row, first_position;  // of the first token: row in the batch, position in the sequence
  int count;                      // rows: [tokens, heads]
  alignas(64) float q[kMatrixFloats];                // [count, width], times the scale
  alignas(64) float score[kTaskRows * kSpanTokens];  // [count, positions of one span]: scores, then weights
  alignas(64) float weighted[kMatrixFloats];         // [count, value_width], sum of weighted values of one span
};

}  // namespace lutmac::LUTMAC_TARGET
