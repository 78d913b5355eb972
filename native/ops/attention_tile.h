// A tile of attention: the query heads of a few tokens that read one kv head.
//
// Softmax is taken on the way (Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867), page by page, within spans
// of kSpanTokens absolute positions; spans are then merged in order. A row's arithmetic never depends on the rows that
// share its tile: it takes part in those pages only of which it sees a position, its maximum and sum are over those
// positions only, and what else lies on a page is never multiplied, so not even a NaN in an unused slot reaches a result.
#pragma once

#include "ops/attention_plan.h"
#include "ops/page.h"
#include "ops/row_product.h"

namespace lutmac::LUTMAC_TARGET {

// Softmax over some positions, unnormalised: weights are e^(score - max).
struct SoftmaxState {
  float max = -__builtin_inff();
  float sum = 0.0f;
};

inline float exp_of(float x) { return exp(broadcast(x))[0]; }

inline void scale_row(float* row, int width, float factor) {
  for (int i = 0; i < width; i += kLanes) store(row + i, load(row + i) * factor);
}

// Adds the next span to what came before it.
inline void merge_span(SoftmaxState& total, float* total_row, SoftmaxState span, const float* span_row, int width) {
  const float max = total.max > span.max ? total.max : span.max;
  const float before = exp_of(total.max - max), now = exp_of(span.max - max);
  total = {max, total.sum * before + span.sum * now};
  for (int i = 0; i < width; i += kLanes)
    store(total_row + i, multiply_add(load(total_row + i), broadcast(before), load(span_row + i) * now));
}

class AttentionTile {
 public:
  AttentionTile(const AttentionArgs& args, const SequencePlan& plan, int tile, int kv_head, int head_block)
      : args_(args), plan_(plan), kv_head_(kv_head), head_dim_(args.head_dim) {
    const int group = args.num_heads / args.num_kv_heads;
    first_head_ = kv_head * group + head_block * plan.block_heads;
    heads_ = smaller(plan.block_heads, group - head_block * plan.block_heads);
    first_token_ = tile * plan.tile_tokens;
    tokens_ = smaller(plan.tile_tokens, plan.num_tokens - first_token_);
    first_position_ = plan.first_position + first_token_;
    rows_ = tokens_ * heads_;
    for (int row = 0; row < rows_; ++row) {
      const float* q = args.q + global_token(row) * args.q_stride + int64_t{head(row)} * head_dim_;
      for (int i = 0; i < head_dim_; i += kLanes) store(q_ + row * head_dim_ + i, load(q + i) * args.scale);
    }
  }

  // All spans in one go, normalised into args.out.
  void run_all() {
    for (int row = 0; row < rows_; ++row) total_state_[row] = {};
    __builtin_memset(total_, 0, sizeof(float) * rows_ * head_dim_);
    const int first = first_visible(args_, first_position_) / kSpanTokens;
    const int last = (first_position_ + tokens_ - 1) / kSpanTokens;
    for (int span = first; span <= last; ++span) {
      run_span(span);
      for (int row = 0; row < rows_; ++row)
        if (state_[row].sum != 0.0f)
          merge_span(total_state_[row], row_of(total_, row), state_[row], row_of(weighted_, row), head_dim_);
    }
    for (int row = 0; row < rows_; ++row) {
      float* out = args_.out + global_token(row) * args_.out_stride + int64_t{head(row)} * head_dim_;
      const float inverse = 1.0f / total_state_[row].sum;
      for (int i = 0; i < head_dim_; i += kLanes) store(out + i, load(row_of(total_, row) + i) * inverse);
    }
  }

  // One span, into the plan's partials.
  void run_partial(int span) {
    run_span(span);
    for (int row = 0; row < rows_; ++row) {
      float* partial = plan_.partial(args_, first_token_ + row / heads_, head(row), span);
      partial[0] = state_[row].max;
      partial[1] = state_[row].sum;
      __builtin_memcpy(partial + kPartialHeader, row_of(weighted_, row), sizeof(float) * head_dim_);
    }
  }

 private:
  // Positions of a page that a row sees, counted from the page's first.
  struct Range {
    int begin, end;
  };

  float* row_of(float* array, int row) const { return array + row * head_dim_; }
  int head(int row) const { return first_head_ + row % heads_; }
  int64_t global_token(int row) const { return plan_.first_token + first_token_ + row / heads_; }

  Range visible(int token, int page) const {
    const int position = first_position_ + token, origin = page * kPageTokens;
    return {larger(0, first_visible(args_, position) - origin), smaller(kPageTokens, position + 1 - origin)};
  }

  void run_span(int span) {
    for (int row = 0; row < rows_; ++row) state_[row] = {};
    __builtin_memset(weighted_, 0, sizeof(float) * rows_ * head_dim_);
    const int first = larger(span * kSpanTokens, first_visible(args_, first_position_)) / kPageTokens;
    const int last = smaller((span + 1) * kSpanTokens, first_position_ + tokens_) - 1;
    for (int page = first; page <= last / kPageTokens; ++page) run_page(page);
  }

  void run_page(int page) {
    // Tokens that see a position of the page: their positions are consecutive, so they are consecutive.
    const int origin = page * kPageTokens;
    const int begin = larger(0, origin - first_position_);
    const int end = args_.window > 0
                        ? smaller(tokens_, origin + kPageTokens - 1 + args_.window - first_position_)
                        : tokens_;
    if (begin >= end) return;
    score_page(page, begin, end);
    for (int token = begin; token < end; ++token) {
      const Range range = visible(token, page);
      for (int row = token * heads_; row < (token + 1) * heads_; ++row) weigh(row, range);
    }
    add_values(page, begin, end);
  }

  void score_page(int page, int begin, int end) {
    const int from = visible(begin, page).begin / 16 * 16;
    const int to = (visible(end - 1, page).end + 15) / 16 * 16;
    const int row = begin * heads_;
    const RowProduct product = {
        .out = score_ + row * kPageTokens,
        .out_stride = kPageTokens,
        .a = q_ + row * head_dim_,
        .a_stride = head_dim_,
        .b = page_keys(args_.cache, plan_.sequence, page, args_.num_kv_heads, head_dim_, kv_head_),
        .b_stride = kPageTokens,
        .count = head_dim_,
        .next = page_values(args_.cache, plan_.sequence, page, args_.num_kv_heads, head_dim_, kv_head_),
    };
    multiply_rows(product, (end - begin) * heads_, from, to, false);
  }

  // Scores of a row on a page to weights; what was summed before is rescaled to the new maximum.
  void weigh(int row, Range range) {
    float* score = score_ + row * kPageTokens;
    const int from = range.begin / 16 * 16, to = (range.end + 15) / 16 * 16;
    Floats max = broadcast(-__builtin_inff());
    if (args_.softcap != 0.0f) {
      const float inverse = 1.0f / args_.softcap;
      for (int i = from; i < to; i += kLanes) store(score + i, tanh(load(score + i) * inverse) * args_.softcap);
    }
    for (int i = from; i < range.begin; ++i) score[i] = -__builtin_inff();
    for (int i = range.end; i < to; ++i) score[i] = -__builtin_inff();
    for (int i = from; i < to; i += kLanes) max = maximum(max, load(score + i));

    SoftmaxState& state = state_[row];
    const float page_max = reduce_max(max);
    if (page_max > state.max) {
      const float factor = exp_of(state.max - page_max);
      state = {page_max, state.sum * factor};
      scale_row(row_of(weighted_, row), head_dim_, factor);
    }
    Floats sum{};
    for (int i = from; i < to; i += kLanes) {
      const Floats weight = exp(load(score + i) - state.max);
      store(score + i, weight);
      sum += weight;
    }
    state.sum += reduce_add(sum);
  }

  // Adds the weighted values of a page: what all rows see in one product, what only some see token by token; for each row
  // in the order of positions.
  void add_values(int page, int begin, int end) {
    Range shared = {visible(end - 1, page).begin, visible(begin, page).end};
    if (shared.begin >= shared.end) {
      for (int token = begin; token < end; ++token) add_values_of(page, token, token + 1, visible(token, page));
      return;
    }
    for (int token = begin; token < end; ++token)
      add_values_of(page, token, token + 1, {visible(token, page).begin, shared.begin});
    add_values_of(page, begin, end, shared);
    for (int token = begin; token < end; ++token)
      add_values_of(page, token, token + 1, {shared.end, visible(token, page).end});
  }

  void add_values_of(int page, int begin, int end, Range range) {
    if (range.begin >= range.end) return;
    const int row = begin * heads_;
    const RowProduct product = {
        .out = row_of(weighted_, row),
        .out_stride = head_dim_,
        .a = score_ + row * kPageTokens + range.begin,
        .a_stride = kPageTokens,
        .b = page_values(args_.cache, plan_.sequence, page, args_.num_kv_heads, head_dim_, kv_head_) +
             range.begin * head_dim_,
        .b_stride = head_dim_,
        .count = range.end - range.begin,
        .next = next_keys(page),
    };
    multiply_rows(product, (end - begin) * heads_, 0, head_dim_, true);
  }

  // Keys of the page after this one, where the sequence has one.
  const uint16_t* next_keys(int page) const {
    if ((page + 1) * kPageTokens >= first_position_ + tokens_) return nullptr;
    return page_keys(args_.cache, plan_.sequence, page + 1, args_.num_kv_heads, head_dim_, kv_head_);
  }

  const AttentionArgs& args_;
  const SequencePlan& plan_;
  int kv_head_, head_dim_;
  int first_head_, heads_;
  int first_token_, tokens_, first_position_;  // first_token_ counts from the sequence's first in this step
  int rows_;                                   // [tokens_, heads_]
  SoftmaxState state_[kTileRows], total_state_[kTileRows];
  alignas(64) float q_[kTileFloats];         // [rows_, head_dim_], times the scale
  alignas(64) float score_[kTileRows * kPageTokens];  // scores, then weights, of one page
  alignas(64) float weighted_[kTileFloats];  // [rows_, head_dim_], of one span
  alignas(64) float total_[kTileFloats];     // of all spans so far
};

}  // namespace lutmac::LUTMAC_TARGET
