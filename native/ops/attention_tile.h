// A tile of attention: softmax over the positions that its rows see, and the sum of values under it.
//
// Softmax is taken on the way (Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867), over spans of kSpanTokens
// absolute positions that are then merged in order. A row's arithmetic never depends on the rows that
// share its tile: it takes part in those pages only of which it sees a position, its maximum and sum are over those
// positions only, and what else lies on a page is never multiplied, so not even a NaN in an unused slot reaches a result.
#pragma once

#include "ops/tile_rows.h"

namespace lutmac::LUTMAC_TARGET {

// Softmax over some positions, unnormalised: weights are e^(score - max).
struct SoftmaxState {
  float max = -__builtin_inff();
  float sum = 0.0f;
};

inline float exp_of(float x) { return exp(broadcast(x))[0]; }

// What a head's weighted sum is multiplied by in the end.
inline float normalizer(const AttentionArgs& args, SoftmaxState state, int head) {
  if (args.sinks == nullptr) return 1.0f / state.sum;
  const float sink = args.sinks[head], max = state.max > sink ? state.max : sink;
  const float seen = exp_of(state.max - max);
  return seen / (state.sum * seen + exp_of(sink - max));
}

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

// Pages: FloatPages, BytePages or LatentPages, by what the cache holds, or MatrixPages.
template <class Pages>
class AttentionTile {
 public:
  AttentionTile(const AttentionArgs& args, const SequencePlan& plan, int tile, int kv_head, int head_part)
      : args_(args), plan_(plan), rows_(args, plan, tile, kv_head, head_part), pages_(rows_) {}

  // A task of the plan.
  static void run(const AttentionArgs& args, const TaskPlan& task) {
    AttentionTile tile(args, task.sequence, task.tile, task.kv_head, task.head_part);
    task.sequence.split ? tile.run_partial(task.span) : tile.run_all();
  }

  // All spans in one go, normalised into args.out.
  void run_all() {
    const int width = rows_.value_width;
    for (int row = 0; row < rows_.count; ++row) total_state_[row] = {};
    __builtin_memset(total_, 0, sizeof(float) * rows_.count * width);
    const int first = first_visible(args_, rows_.first_position) / kSpanTokens;
    const int last = (rows_.first_position + rows_.tokens - 1) / kSpanTokens;
    for (int span = first; span <= last; ++span) {
      run_span(span);
      for (int row = 0; row < rows_.count; ++row)
        if (state_[row].sum != 0.0f)
          merge_span(total_state_[row], total_ + row * width, state_[row], weighted(row), width);
    }
    for (int row = 0; row < rows_.count; ++row) {
      float* out = args_.out + rows_.batch_row(row) * args_.out_stride + int64_t{rows_.head(row)} * rows_.value_dim;
      write_scaled(total_ + row * width, rows_.value_dim, normalizer(args_, total_state_[row], rows_.head(row)), out);
    }
  }

  // One span, into the plan's partials.
  void run_partial(int span) {
    run_span(span);
    for (int row = 0; row < rows_.count; ++row) {
      float* partial = plan_.partial(args_, rows_.first_token + row / rows_.heads, rows_.head(row), span);
      partial[0] = state_[row].max;
      partial[1] = state_[row].sum;
      __builtin_memcpy(partial + kPartialHeader, weighted(row), sizeof(float) * rows_.value_width);
    }
  }

 private:
  float* weighted(int row) { return rows_.weighted + row * rows_.value_width; }

  void run_span(int span) {
    const int origin = span * kSpanTokens;
    const int first = larger(origin, first_visible(args_, rows_.first_position)) / kPageTokens;
    const int last = (smaller(origin + kSpanTokens, rows_.first_position + rows_.tokens) - 1) / kPageTokens;
    for (int page = first; page <= last; ++page) {
      const Range tokens = rows_.seeing(page * kPageTokens, kPageTokens);
      if (tokens.begin >= tokens.end) continue;
      pages_.score(page, tokens.begin, tokens.end, rows_.visible(tokens.begin, page).begin / 16 * 16,
                   (rows_.visible(tokens.end - 1, page).end + 15) / 16 * 16,
                   page < last ? rows_.page(page + 1).keys : rows_.page(first).values);
    }

    __builtin_memset(rows_.weighted, 0, sizeof(float) * rows_.count * rows_.value_width);
    for (int row = 0; row < rows_.count; ++row) {
      const Range range = rows_.visible(row / rows_.heads, origin, kSpanTokens);
      state_[row] = range.begin < range.end ? weigh(rows_.score + row * kSpanTokens, range) : SoftmaxState{};
    }
    for (int page = first; page <= last; ++page) {
      const Range tokens = rows_.seeing(page * kPageTokens, kPageTokens);
      if (tokens.begin >= tokens.end) continue;
      pages_.add_values(page, tokens.begin, tokens.end, page < last ? rows_.page(page + 1).values : after(last));
    }
  }

  // What this tile reads after a span's last page.
  const uint8_t* after(int page) const {
    const bool more = !plan_.split && (page + 1) * kPageTokens < rows_.first_position + rows_.tokens;
    return more ? rows_.page(page + 1).keys : nullptr;
  }

  // Scores of the positions that a row sees of a span to weights.
  SoftmaxState weigh(float* score, Range range) const {
    const int from = range.begin / 16 * 16, to = (range.end + 15) / 16 * 16;
    if (args_.softcap != 0.0f) {
      const float inverse = 1.0f / args_.softcap;
      for (int i = from; i < to; i += kLanes) store(score + i, tanh(load(score + i) * inverse) * args_.softcap);
    }
    for (int i = from; i < range.begin; ++i) score[i] = -__builtin_inff();
    for (int i = range.end; i < to; ++i) score[i] = -__builtin_inff();
    Floats max = broadcast(-__builtin_inff()), sum{};
    for (int i = from; i < to; i += kLanes) max = maximum(max, load(score + i));
    const float span_max = reduce_max(max);
    for (int i = from; i < to; i += kLanes) {
      const Floats weight = exp_weight(load(score + i) - span_max);
      store(score + i, weight);
      sum += weight;
    }
    return {span_max, reduce_add(sum)};
  }

  const AttentionArgs& args_;
  const SequencePlan& plan_;
  TileRows rows_;
  Pages pages_;
  SoftmaxState state_[kTaskRows], total_state_[kTaskRows];
  alignas(64) float total_[kMatrixFloats];  // [rows, width] of all spans so far
};

}  // namespace lutmac::LUTMAC_TARGET
