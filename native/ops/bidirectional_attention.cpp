// Attention in both directions, over the tokens of a step: each sees all tokens of its own sequence, or those near it.
//
// Nothing is kept. Phase one copies keys and values of each head to where phase two reads them: keys as columns, values
// as rows that are padded. Phase two takes tiles of tokens. Softmax is taken over spans of kSpanTokens positions that
// are then merged in order. Tiles and spans are counted from the beginning of a sequence, so that a token's result
// never depends on what else is in the step.
#include "ops/op.h"
#include "ops/ops.h"

namespace lutmac {

struct BidirectionalArgs {
  const Batch* batch = nullptr;
  const float *q = nullptr, *k = nullptr, *v = nullptr;
  float* out = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, out_stride = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0;
  float scale = 1.0f;
  int reach = 0;  // a token sees those that are at most so far from it; 0: all
  float* keys = nullptr;    // [num_kv_heads][capacity x head_dim]
  float* values = nullptr;  // [num_kv_heads][capacity x padded_head_dim(head_dim)]
  int64_t capacity = 0;
};

struct BidirectionalLoops {
  // Positions for which a kv head has room in `keys` and `values`.
  int64_t (*capacity)(int max_tokens, int max_sequences);
  int (*copy_tasks)(const BidirectionalArgs&);
  void (*copy)(const BidirectionalArgs&, int task);
  int (*tasks)(const BidirectionalArgs&);
  void (*attend)(const BidirectionalArgs&, int task);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/attention_tile.h"
#include "ops/row_product.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

inline int to_lanes(int count) { return (count + 15) / 16 * 16; }

int64_t capacity(int max_tokens, int max_sequences) { return to_lanes(max_tokens) + int64_t{16} * max_sequences; }

// A sequence of the step. place: of its first position in a head's keys and values, a multiple of 16.
struct Text {
  int first_row, count;
  int64_t place;
};

Text text_of(const Batch& batch, int sequence) {
  const int first = batch.sequence_start[sequence];
  return {first, batch.sequence_start[sequence + 1] - first, to_lanes(first) + int64_t{16} * sequence};
}

int copy_tasks(const BidirectionalArgs& args) { return args.batch->num_sequences * args.num_kv_heads; }

void copy(const BidirectionalArgs& args, int task) {
  const Text text = text_of(*args.batch, task / args.num_kv_heads);
  const int head = task % args.num_kv_heads, dim = args.head_dim;
  const int columns = to_lanes(text.count), width = padded_head_dim(dim);
  float* keys = args.keys + (head * args.capacity + text.place) * dim;
  float* values = args.values + (head * args.capacity + text.place) * width;
  for (int token = 0; token < text.count; ++token) {
    const float* k = args.k + int64_t{text.first_row + token} * args.k_stride + int64_t{head} * dim;
    const float* v = args.v + int64_t{text.first_row + token} * args.v_stride + int64_t{head} * dim;
    for (int i = 0; i < dim; ++i) keys[int64_t{i} * columns + token] = k[i];
    for (int i = 0; i < dim; ++i) values[int64_t{token} * width + i] = v[i];
    for (int i = dim; i < width; ++i) values[int64_t{token} * width + i] = 0.0f;
  }
  for (int i = 0; i < dim; ++i)
    for (int token = text.count; token < columns; ++token) keys[int64_t{i} * columns + token] = 0.0f;
}

int tile_tokens(const BidirectionalArgs& args) {
  return smaller(kTaskRows, kTileFloats / padded_head_dim(args.head_dim));
}

// Tasks of a text: [tile of tokens][head].
int text_tasks(const BidirectionalArgs& args, const Text& text) {
  return ceil_divide(text.count, tile_tokens(args)) * args.num_heads;
}

int tasks(const BidirectionalArgs& args) {
  int count = 0;
  for (int s = 0; s < args.batch->num_sequences; ++s) count += text_tasks(args, text_of(*args.batch, s));
  return count;
}

class BidirectionalTile {
 public:
  BidirectionalTile(const BidirectionalArgs& args, const Text& text, int tile, int head)
      : args_(args), text_(text), head_(head), width_(padded_head_dim(args.head_dim)), columns_(to_lanes(text.count)),
        first_(tile * tile_tokens(args)), count_(smaller(tile_tokens(args), text.count - first_)) {
    const int kv_head = head / (args.num_heads / args.num_kv_heads);
    keys_ = args.keys + (kv_head * args.capacity + text.place) * args.head_dim;
    values_ = args.values + (kv_head * args.capacity + text.place) * width_;
    for (int row = 0; row < count_; ++row) {
      const float* from = args.q + int64_t{text.first_row + first_ + row} * args.q_stride + int64_t{head} * args.head_dim;
      write_scaled(from, args.head_dim, args.scale, q_ + row * width_);
    }
  }

  void run() {
    for (int row = 0; row < count_; ++row) total_state_[row] = {};
    __builtin_memset(total_, 0, sizeof(float) * count_ * width_);
    const int begin = seen(first_).begin, end = seen(first_ + count_ - 1).end;
    for (int origin = begin / kSpanTokens * kSpanTokens; origin < end; origin += kSpanTokens)
      run_span(origin, {larger(begin, origin), smaller(end, origin + kSpanTokens)});
    for (int row = 0; row < count_; ++row) {
      float* out = args_.out + int64_t{text_.first_row + first_ + row} * args_.out_stride + int64_t{head_} * args_.head_dim;
      write_scaled(total_ + row * width_, args_.head_dim, 1.0f / total_state_[row].sum, out);
    }
  }

 private:
  // Positions that a token sees.
  Range seen(int token) const {
    if (args_.reach == 0) return {0, text_.count};
    return {larger(0, token - args_.reach), smaller(text_.count, token + args_.reach + 1)};
  }

  // A span's positions that some row sees, into the totals.
  void run_span(int origin, Range range) {
    const int from = range.begin / 16 * 16, to = to_lanes(range.end);
    const RowProduct<FloatElements<float>> scores = {
        .out = score_ - origin, .out_stride = kSpanTokens, .a = q_, .a_stride = width_,
        .b = keys_, .b_stride = columns_, .count = args_.head_dim,
    };
    multiply_rows(scores, count_, from, to, false);
    SoftmaxState state[kTaskRows];
    for (int row = 0; row < count_; ++row) {
      const Range own = seen(first_ + row);
      state[row] = weigh(score_ + row * kSpanTokens - origin, from, to, {larger(own.begin, from), smaller(own.end, to)});
    }
    const RowProduct<FloatElements<float>> sums = {
        .out = weighted_, .out_stride = width_, .a = score_ + from - origin, .a_stride = kSpanTokens,
        .b = values_ + int64_t{from} * width_, .b_stride = width_, .count = range.end - from,
    };
    multiply_rows(sums, count_, 0, width_, false);
    for (int row = 0; row < count_; ++row)
      if (state[row].sum != 0.0f)
        merge_span(total_state_[row], total_ + row * width_, state[row], weighted_ + row * width_, width_);
  }

  // Scores [from, to) to weights, 0 outside of the range that the row sees.
  static SoftmaxState weigh(float* score, int from, int to, Range range) {
    if (range.begin >= range.end) {
      for (int i = from; i < to; i += kLanes) store(score + i, Floats{});
      return {};
    }
    for (int i = from; i < range.begin; ++i) score[i] = -__builtin_inff();
    for (int i = range.end; i < to; ++i) score[i] = -__builtin_inff();
    Floats max = broadcast(-__builtin_inff()), sum{};
    for (int i = from; i < to; i += kLanes) max = maximum(max, load(score + i));
    const float largest = reduce_max(max);
    for (int i = from; i < to; i += kLanes) {
      const Floats weight = exp_weight(load(score + i) - largest);
      store(score + i, weight);
      sum += weight;
    }
    // exp_weight of -inf is about 1e-38, and not 0.
    for (int i = from; i < range.begin; ++i) score[i] = 0.0f;
    for (int i = range.end; i < to; ++i) score[i] = 0.0f;
    return {largest, reduce_add(sum)};
  }

  const BidirectionalArgs& args_;
  const Text text_;
  const int head_, width_, columns_, first_, count_;
  const float *keys_, *values_;
  SoftmaxState total_state_[kTaskRows];
  alignas(64) float q_[kTileFloats];
  alignas(64) float score_[kTaskRows * kSpanTokens];
  alignas(64) float weighted_[kTileFloats], total_[kTileFloats];
};

void attend(const BidirectionalArgs& args, int task) {
  int sequence = 0;
  Text text = text_of(*args.batch, 0);
  for (int count; task >= (count = text_tasks(args, text)); text = text_of(*args.batch, ++sequence)) task -= count;
  BidirectionalTile(args, text, task / args.num_heads, task % args.num_heads).run();
}

}  // namespace

LUTMAC_LOOPS(bidirectional_attention, BidirectionalLoops, {capacity, copy_tasks, copy, tasks, attend});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "runtime/program.h"

namespace lutmac {
namespace {

class BidirectionalAttention final : public Operation {
 public:
  explicit BidirectionalAttention(Fields& fields)
      : loops_(fields.loops<BidirectionalLoops>()),
        q_(fields.reads("q")), k_(fields.reads("k")), v_(fields.reads("v")), out_(fields.writes("out")) {
    args_.num_heads = fields.integer("num_heads", 1, 65536);
    args_.num_kv_heads = fields.integer("num_kv_heads", 1, 65536);
    args_.head_dim = fields.integer("head_dim", 1, kMaxHeadDim);
    args_.scale = fields.number("scale");
    args_.reach = fields.integer("reach", 0, 1 << 30);
    const int64_t width = int64_t{args_.num_heads} * args_.head_dim, kv_width = int64_t{args_.num_kv_heads} * args_.head_dim;
    fields.require(args_.num_heads % args_.num_kv_heads == 0, "its heads are no multiple of those of keys and values");
    fields.require(q_.width == width && out_.width == width && k_.width == kv_width && v_.width == kv_width,
                   "its heads have other widths");
    for (const Buffer* buffer : {&q_, &k_, &v_, &out_})
      fields.require(buffer->rows == Rows{}, "it works on the rows of tokens");
    args_.q_stride = float_stride(q_.width);
    args_.k_stride = float_stride(k_.width);
    args_.v_stride = float_stride(v_.width);
    args_.out_stride = float_stride(out_.width);
    Program& program = fields.program();
    args_.capacity = loops_.capacity(program.max_tokens(), program.max_sequences());
    program.reserve_scratch((key_floats() + args_.num_kv_heads * args_.capacity * padded_head_dim(args_.head_dim)) * 4);
  }

  int phases() const override { return 2; }

  int64_t tasks(const Step& step, int phase) const override {
    const BidirectionalArgs args = args_for(step);
    return phase == 0 ? loops_.copy_tasks(args) : loops_.tasks(args);
  }

  void run(const Step& step, int phase, int64_t task) const override {
    const BidirectionalArgs args = args_for(step);
    (phase == 0 ? loops_.copy : loops_.attend)(args, static_cast<int>(task));
  }

 private:
  int64_t key_floats() const { return (args_.num_kv_heads * args_.capacity * args_.head_dim + 15) / 16 * 16; }

  BidirectionalArgs args_for(const Step& step) const {
    BidirectionalArgs args = args_;
    args.batch = &step.batch;
    args.q = q_.floats(step, 0);
    args.k = k_.floats(step, 0);
    args.v = v_.floats(step, 0);
    args.out = out_.floats(step, 0);
    args.keys = reinterpret_cast<float*>(step.scratch);
    args.values = args.keys + key_floats();
    return args;
  }

  const BidirectionalLoops& loops_;
  BidirectionalArgs args_;
  Buffer q_, k_, v_, out_;
};

}  // namespace

LUTMAC_OPERATION(bidirectional_attention, BidirectionalAttention)

}  // namespace lutmac

#endif
