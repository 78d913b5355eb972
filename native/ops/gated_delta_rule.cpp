// The gated delta rule (Yang et al. 2024, https://arxiv.org/abs/2412.06464), token by token.
//
// A value head's state S is [key_dim, value_dim]. A token decays it, corrects what it recalls for the token's key, and reads
// it by the token's query: S = decay S + k (beta (v - k decay S)), out = q S. Columns of S do not depend on each other: a
// task takes some columns of one head, which stay in the L1 cache, through all tokens of the step.
#include "ops/op.h"

namespace lutmac {

// Columns of a state that lie together and are a task: [key_dim, kStateColumns], 16 KB at 128 keys.
inline constexpr int kStateColumns = 32;

// Some columns of one head, and the tokens that pass over them; a row of each array belongs to each token, `stride` floats
// or `v_stride` or `out_stride` behind the one before.
struct DeltaColumns {
  float* state;  // [key_dim, kStateColumns]
  int key_dim, columns, tokens;
  const float *q, *k;       // [key_dim], normed
  const float* recalled;    // [key_dim] k times the decays of its channels; null: the decay is one for all channels
  const float *decay, *beta;  // [1], or [key_dim] where there is `recalled`; [1]
  int64_t stride;
  const float* v;
  int64_t v_stride;
  float* out;
  int64_t out_stride;
};

struct GatedDeltaRuleLoops {
  // out = x * scale / sqrt(sum of squares + 1e-6), one head of `width`.
  void (*l2_norm)(const float* x, int width, float scale, float* out);
  // out[i] = e^(rate[i] * softplus(alpha[i] + bias[i])), one row.
  void (*decays)(const float* alpha, const float* bias, const float* rate, int width, float* out);
  // out[i] = e^(bound * sigmoid(rate[i] * (alpha[i] + bias[i]))), one row.
  void (*bounded_decays)(const float* alpha, const float* bias, const float* rate, float bound, int width, float* out);
  void (*sigmoids)(const float* x, int width, float* out);
  // out[i] = a[i] * b[i], one row.
  void (*products)(const float* a, const float* b, int width, float* out);
  void (*recur)(const DeltaColumns& delta);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"
#include "ops/softplus.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

constexpr float kNormEps = 1e-6f;

void l2_norm(const float* x, int width, float scale, float* out) {
  Floats sum{};
  for (int i = 0; i < width; i += kLanes) {
    const Floats v = width - i < kLanes ? load_first(x + i, width - i) : load(x + i);
    sum = multiply_add(v, v, sum);
  }
  const float factor = scale / __builtin_sqrtf(reduce_add(sum) + kNormEps);
  map_row(x, width, out, [=](Floats v) { return v * factor; });
}

void decays(const float* alpha, const float* bias, const float* rate, int width, float* out) {
  map_rows(alpha, bias, width, out, [](Floats a, Floats b) { return softplus(a + b); });
  map_rows(out, rate, width, out, [](Floats x, Floats r) { return exp(r * x); });
}

void bounded_decays(const float* alpha, const float* bias, const float* rate, float bound, int width, float* out) {
  map_rows(alpha, bias, width, out, [](Floats a, Floats b) { return a + b; });
  map_rows(out, rate, width, out, [=](Floats x, Floats r) { return exp(bound / (1.0f + exp(-(x * r)))); });
}

void sigmoids(const float* x, int width, float* out) {
  map_row(x, width, out, [](Floats v) { return 1.0f / (1.0f + exp(-v)); });
}

void products(const float* a, const float* b, int width, float* out) {
  map_rows(a, b, width, out, [](Floats x, Floats y) { return x * y; });
}

// Vectors of columns that are in registers at a time, and keys whose sums are kept apart: 4 sums of each kind hide the
// latency of a fused multiply-add.
constexpr int kVectors = 2, kApart = 2;
using Columns = Floats[kVectors];

struct Sums {
  Floats of[kApart][kVectors] = {};
  void get(Columns& out) const {
    for (int c = 0; c < kVectors; ++c) out[c] = of[0][c] + of[1][c];
  }
};

// What the state holds for a key.
void recall(const float* state, const float* key, int key_dim, Columns& out) {
  Sums sums;
  for (int i = 0; i < key_dim; i += kApart) {
    for (int u = 0; u < kApart; ++u) {
      const float* row = state + (i + u) * kStateColumns;
      const Floats k = broadcast(key[i + u]);
      for (int c = 0; c < kVectors; ++c) sums.of[u][c] = multiply_add(load(row + c * kLanes), k, sums.of[u][c]);
    }
  }
  sums.get(out);
}

struct Token {
  const float *q, *k, *decay;
  const float* next_key;  // of the next token, as it recalls
};

// Decays the state and adds k times change; gives what the query reads, and what the next token's key will recall: in one
// pass over the state, and with the same sums as recall() has.
template <bool kByChannel, bool kNext>
void update(float* state, const Token& token, const Columns& change, int key_dim, Columns& out, Columns& recalled) {
  Sums read, next;
  for (int i = 0; i < key_dim; i += kApart) {
    for (int u = 0; u < kApart; ++u) {
      float* row = state + (i + u) * kStateColumns;
      const Floats k = broadcast(token.k[i + u]), q = broadcast(token.q[i + u]);
      const Floats decay = broadcast(token.decay[kByChannel ? i + u : 0]);
      for (int c = 0; c < kVectors; ++c) {
        const Floats s = multiply_add(k, change[c], load(row + c * kLanes) * decay);
        store(row + c * kLanes, s);
        read.of[u][c] = multiply_add(s, q, read.of[u][c]);
        if (kNext) next.of[u][c] = multiply_add(s, broadcast(token.next_key[i + u]), next.of[u][c]);
      }
    }
  }
  read.get(out);
  if (kNext) next.get(recalled);
}

template <bool kByChannel>
void recur_columns(const DeltaColumns& delta, int first) {
  const int columns = delta.columns - first;
  float* state = delta.state + first;
  const float* keys = kByChannel ? delta.recalled : delta.k;
  Columns recalled, change, read;
  recall(state, keys, delta.key_dim, recalled);
  for (int t = 0; t < delta.tokens; ++t) {
    const int64_t at = t * delta.stride;
    const float* v = delta.v + t * delta.v_stride + first;
    const float beta = delta.beta[at], decay = kByChannel ? 1.0f : delta.decay[at];
    for (int c = 0; c < kVectors; ++c) {
      const int rest = columns - c * kLanes;
      const Floats value = rest >= kLanes ? load(v + c * kLanes) : rest > 0 ? load_first(v + c * kLanes, rest) : Floats{};
      change[c] = (value - recalled[c] * decay) * beta;
    }
    const Token token = {delta.q + at, delta.k + at, delta.decay + at, keys + at + delta.stride};
    if (t + 1 < delta.tokens) {
      update<kByChannel, true>(state, token, change, delta.key_dim, read, recalled);
    } else {
      update<kByChannel, false>(state, token, change, delta.key_dim, read, recalled);
    }
    float* out = delta.out + t * delta.out_stride + first;
    for (int c = 0; c < kVectors; ++c) {
      const int rest = columns - c * kLanes;
      if (rest >= kLanes) {
        store(out + c * kLanes, read[c]);
      } else if (rest > 0) {
        store_first(out + c * kLanes, rest, read[c]);
      }
    }
  }
}

void recur(const DeltaColumns& delta) {
  for (int first = 0; first < delta.columns; first += kVectors * kLanes) {
    if (delta.recalled != nullptr) {
      recur_columns<true>(delta, first);
    } else {
      recur_columns<false>(delta, first);
    }
  }
}

}  // namespace

LUTMAC_LOOPS(gated_delta_rule, GatedDeltaRuleLoops, {l2_norm, decays, bounded_decays, sigmoids, products, recur});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cmath>
#include <cstring>

#include "runtime/program.h"

namespace lutmac {
namespace {

// x holds a token's queries and keys [key_heads, key_dim] and its values [value_heads, value_dim]. alpha is one number for
// each value head, or for each of its key channels. What a token brings to all columns (normed queries and keys, decays,
// betas) is made first, in the scratch.
class GatedDeltaRule final : public Operation {
 public:
  explicit GatedDeltaRule(Fields& fields)
      : loops_(fields.loops<GatedDeltaRuleLoops>()),
        x_(fields.reads("x")),
        alpha_(fields.reads("alpha")),
        beta_(fields.reads("beta")),
        out_(fields.writes("out")),
        key_heads_(fields.integer("key_heads", 1, 65536)),
        value_heads_(fields.integer("value_heads", 1, 65536)),
        key_dim_(fields.integer("key_dim", 2, 65536)),
        value_dim_(out_.width / value_heads_),
        by_channel_(alpha_.width != value_heads_),
        tiled_(fields.flag("tiled")),
        state_(fields.slot("state", state_bytes())),
        bias_(fields.vector("bias", alpha_.width)) {
    const int64_t keys = int64_t{key_heads_} * key_dim_;
    fields.require(value_heads_ % key_heads_ == 0 && key_dim_ % 2 == 0, "its heads do not share keys of an even size");
    fields.require(out_.width == int64_t{value_heads_} * value_dim_ && x_.width == 2 * keys + out_.width,
                   "its heads have other widths");
    fields.require(beta_.width == value_heads_ && (!by_channel_ || alpha_.width == int64_t{value_heads_} * key_dim_),
                   "it has other numbers of alphas or betas than of heads");
    for (const Buffer& buffer : {x_, alpha_, beta_, out_}) fields.require(buffer.rows == Rows{}, "it works on the rows of tokens");
    fields.require(out_.offset != x_.offset, "it cannot work in place");
    lower_bound_ = fields.number("lower_bound");
    fields.require(lower_bound_ <= 0.0f, "its decays would grow");
    read_rates(fields.vector("rate", value_heads_), fields.flag("rate_is_log"));
    Program& program = fields.program();
    program.reserve_scratch(program.max_tokens() * scratch_floats() * 4);
  }

  int phases() const override { return 2; }

  int64_t tasks(const Step& step, int phase) const override {
    return phase == 0 ? row_tasks(step, x_.rows) : int64_t{step.batch.num_sequences} * value_heads_ * blocks();
  }

  void run(const Step& step, int phase, int64_t task) const override {
    if (phase == 0) {
      for_rows(step, x_.rows, task, [&](int64_t row) { prepare(step, row); });
    } else {
      recur(step, static_cast<int>(task / blocks() / value_heads_), static_cast<int>(task / blocks() % value_heads_),
            static_cast<int>(task % blocks()));
    }
  }

 private:
  int64_t blocks() const { return (value_dim_ + kStateColumns - 1) / kStateColumns; }
  int64_t block_floats() const { return int64_t{key_dim_} * kStateColumns; }
  int64_t state_bytes() const { return value_heads_ * blocks() * block_floats() * 4; }

  // Of a token in the scratch: queries, keys, decays, betas; where decays are by channel, the keys times them.
  int64_t keys_at() const { return int64_t{key_heads_} * key_dim_; }
  int64_t decays_at() const { return 2 * keys_at(); }
  int64_t betas_at() const { return decays_at() + alpha_.width; }
  int64_t recalled_at() const { return betas_at() + value_heads_; }
  int64_t scratch_floats() const { return (recalled_at() + (by_channel_ ? alpha_.width : 0) + 15) / 16 * 16; }
  float* scratch(const Step& step, int64_t row) const { return reinterpret_cast<float*>(step.scratch) + row * scratch_floats(); }

  // In the grouped order value heads that share a key head are neighbours, in the tiled one each group of neighbours has all.
  int key_head(int value_head) const { return tiled_ ? value_head % key_heads_ : value_head / (value_heads_ / key_heads_); }

  void read_rates(const std::vector<float>& rate, bool is_log) {
    for (int64_t i = 0; i < alpha_.width; ++i) {
      const float value = rate[by_channel_ ? i / key_dim_ : i];
      rate_.push_back(!is_log ? value : lower_bound_ < 0.0f ? std::exp(value) : -std::exp(value));
    }
  }

  void prepare(const Step& step, int64_t row) const {
    const float* x = x_.floats(step, row);
    float* out = scratch(step, row);
    const float query_scale = 1.0f / std::sqrt(static_cast<float>(key_dim_));
    for (int head = 0; head < key_heads_; ++head) {
      const int64_t at = int64_t{head} * key_dim_;
      loops_.l2_norm(x + at, key_dim_, query_scale, out + at);
      loops_.l2_norm(x + keys_at() + at, key_dim_, 1.0f, out + keys_at() + at);
    }
    const float* alpha = alpha_.floats(step, row);
    const int width = static_cast<int>(alpha_.width);
    if (lower_bound_ < 0.0f) {
      loops_.bounded_decays(alpha, bias_.data(), rate_.data(), lower_bound_, width, out + decays_at());
    } else {
      loops_.decays(alpha, bias_.data(), rate_.data(), width, out + decays_at());
    }
    loops_.sigmoids(beta_.floats(step, row), value_heads_, out + betas_at());
    for (int head = 0; by_channel_ && head < value_heads_; ++head) {
      const int64_t at = int64_t{head} * key_dim_;
      loops_.products(out + keys_at() + key_head(head) * key_dim_, out + decays_at() + at, key_dim_, out + recalled_at() + at);
    }
  }

  void recur(const Step& step, int sequence, int head, int column_block) const {
    const Batch& batch = step.batch;
    const int first = batch.sequence_start[sequence];
    const LayerCache cache = state_.of(step);
    uint8_t* slot = cache.base + cache.page_table[int64_t{sequence} * cache.table_stride] * cache.page_stride;
    float* state = reinterpret_cast<float*>(slot) + (head * blocks() + column_block) * block_floats();
    if (batch.first_position[sequence] == 0) std::memset(state, 0, static_cast<size_t>(block_floats()) * 4);
    const float* token = scratch(step, first);
    const int64_t key_at = int64_t{key_head(head)} * key_dim_, column = int64_t{head} * value_dim_ + column_block * kStateColumns;
    const int64_t alpha_at = by_channel_ ? int64_t{head} * key_dim_ : head;
    DeltaColumns delta;
    delta.state = state;
    delta.key_dim = key_dim_;
    delta.columns = std::min(kStateColumns, static_cast<int>(value_dim_) - column_block * kStateColumns);
    delta.tokens = batch.sequence_start[sequence + 1] - first;
    delta.q = token + key_at;
    delta.k = token + keys_at() + key_at;
    delta.recalled = by_channel_ ? token + recalled_at() + alpha_at : nullptr;
    delta.decay = token + decays_at() + alpha_at;
    delta.beta = token + betas_at() + head;
    delta.stride = scratch_floats();
    delta.v = x_.floats(step, first) + 2 * keys_at() + column;
    delta.v_stride = float_stride(x_.width);
    delta.out = out_.floats(step, first) + column;
    delta.out_stride = float_stride(out_.width);
    loops_.recur(delta);
  }

  const GatedDeltaRuleLoops& loops_;
  Buffer x_, alpha_, beta_, out_;
  int key_heads_, value_heads_, key_dim_;
  int64_t value_dim_;
  bool by_channel_, tiled_;
  float lower_bound_ = 0.0f;  // of the logarithm of decays; 0: none
  ProgramState state_;
  std::vector<float> rate_, bias_;  // [alpha's width]
};

}  // namespace

LUTMAC_OPERATION(gated_delta_rule, GatedDeltaRule)

}  // namespace lutmac

#endif
