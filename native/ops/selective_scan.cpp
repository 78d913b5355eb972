// Mamba2's selective state space (Dao and Gu 2024, https://arxiv.org/abs/2405.21060), token by token.
//
// A head's state S is [state_size, head_dim]. A token decays it, adds the outer product of its B and its scaled input, and
// reads it by its C. Columns of S do not depend on each other: a task takes some columns of one head, which stay in the L1
// cache, through all tokens of the step. A row of them is loaded once for several tokens.
#include "ops/op.h"

namespace lutmac {

// Columns of a state that lie together and are a task: [state_size, kScanColumns], 16 KB at 128 states.
inline constexpr int kScanColumns = 32;

// Some columns of one head, and the tokens that pass over them; a row of each array belongs to each token, `x_stride`,
// `step_stride` or `out_stride` floats behind the one before.
struct ScanColumns {
  float* state;  // [state_size, kScanColumns]
  int state_size, columns, tokens;
  float skip;
  const float *x, *b, *c;  // [columns], [state_size], [state_size]
  int64_t x_stride;
  const float *dt, *decay;  // [1]
  int64_t step_stride;
  float* out;  // [columns]
  int64_t out_stride;
};

struct SelectiveScanLoops {
  // dt = softplus(time_step + bias) within low..high, decay = e^(rate * dt), one row.
  void (*time_steps)(const float* time_step, const float* bias, const float* rate, float low, float high, int width, float* dt,
                     float* decay);
  void (*scan)(const ScanColumns& columns);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"
#include "ops/softplus.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void time_steps(const float* time_step, const float* bias, const float* rate, float low, float high, int width, float* dt,
                float* decay) {
  map_rows(time_step, bias, width, dt, [=](Floats step, Floats b) {
    return minimum(maximum(softplus(step + b), broadcast(low)), broadcast(high));
  });
  map_rows(dt, rate, width, decay, [](Floats step, Floats r) { return exp(r * step); });
}

// Vectors of columns that are in registers at a time, and tokens that pass over a row of the state while it is.
constexpr int kVectors = 2, kTokens = 4;

Floats load_columns(const float* x, int count) {
  return count >= kLanes ? load(x) : count > 0 ? load_first(x, count) : Floats{};
}

// Each token's sums run over the states in their order, however many tokens are taken at a time.
template <int kCount>
void scan_tokens(const ScanColumns& scan, int first, int token) {
  Floats x[kCount][kVectors], scaled[kCount][kVectors], read[kCount][kVectors] = {}, decay[kCount];
  const float *b[kCount], *c[kCount];
  for (int t = 0; t < kCount; ++t) {
    const int64_t at = token + t;
    const float dt = scan.dt[at * scan.step_stride];
    decay[t] = broadcast(scan.decay[at * scan.step_stride]);
    b[t] = scan.b + at * scan.x_stride;
    c[t] = scan.c + at * scan.x_stride;
    for (int v = 0; v < kVectors; ++v) {
      const int column = first + v * kLanes;
      x[t][v] = load_columns(scan.x + at * scan.x_stride + column, scan.columns - column);
      scaled[t][v] = x[t][v] * dt;
    }
  }
  for (int i = 0; i < scan.state_size; ++i) {
    float* row = scan.state + int64_t{i} * kScanColumns + first;
    Floats state[kVectors];
    for (int v = 0; v < kVectors; ++v) state[v] = load(row + v * kLanes);
    for (int t = 0; t < kCount; ++t) {
      const Floats input = broadcast(b[t][i]), output = broadcast(c[t][i]);
      for (int v = 0; v < kVectors; ++v) {
        state[v] = multiply_add(input, scaled[t][v], state[v] * decay[t]);
        read[t][v] = multiply_add(output, state[v], read[t][v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) store(row + v * kLanes, state[v]);
  }
  for (int t = 0; t < kCount; ++t) {
    for (int v = 0; v < kVectors; ++v) {
      const int column = first + v * kLanes, rest = scan.columns - column;
      const Floats result = multiply_add(broadcast(scan.skip), x[t][v], read[t][v]);
      float* out = scan.out + (token + t) * scan.out_stride + column;
      if (rest >= kLanes) {
        store(out, result);
      } else if (rest > 0) {
        store_first(out, rest, result);
      }
    }
  }
}

void scan(const ScanColumns& columns) {
  for (int first = 0; first < columns.columns; first += kVectors * kLanes) {
    int token = 0;
    for (; token + kTokens <= columns.tokens; token += kTokens) scan_tokens<kTokens>(columns, first, token);
    for (; token < columns.tokens; ++token) scan_tokens<1>(columns, first, token);
  }
}

}  // namespace

LUTMAC_LOOPS(selective_scan, SelectiveScanLoops, {time_steps, scan});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/program.h"

namespace lutmac {
namespace {

// x holds a token's inputs [heads, head_dim], its B [groups, state_size] and its C [groups, state_size]. Time steps and
// decays of a token, which all columns of a head share, are made first, in the scratch.
class SelectiveScan final : public Operation {
 public:
  explicit SelectiveScan(Fields& fields)
      : loops_(fields.loops<SelectiveScanLoops>()),
        x_(fields.reads("x")),
        time_step_(fields.reads("time_step")),
        out_(fields.writes("out")),
        heads_(fields.integer("heads", 1, 65536)),
        groups_(fields.integer("groups", 1, 65536)),
        state_size_(fields.integer("state_size", 1, 65536)),
        head_dim_(out_.width / heads_),
        state_(fields.slot("state", state_bytes())),
        rate_(fields.vector("rate", heads_)),
        bias_(fields.vector("bias", heads_)),
        skip_(fields.vector("skip", heads_)),
        low_(fields.number("time_step_min")),
        high_(fields.has("time_step_max") ? fields.number("time_step_max") : std::numeric_limits<float>::infinity()) {
    fields.require(heads_ % groups_ == 0, "its heads do not share groups");
    fields.require(out_.width == heads_ * head_dim_ && x_.width == out_.width + 2 * states(), "its heads have other widths");
    fields.require(time_step_.width == heads_, "it has another number of time steps than of heads");
    for (const Buffer& buffer : {x_, time_step_, out_}) fields.require(buffer.rows == Rows{}, "it works on the rows of tokens");
    fields.require(out_.offset != x_.offset, "it cannot work in place");
    if (fields.flag("rate_is_log")) {
      for (float& rate : rate_) rate = -std::exp(rate);
    }
    Program& program = fields.program();
    program.reserve_scratch(program.max_tokens() * scratch_floats() * 4);
  }

  int phases() const override { return 2; }

  int64_t tasks(const Step& step, int phase) const override {
    return phase == 0 ? row_tasks(step, x_.rows) : int64_t{step.batch.num_sequences} * heads_ * blocks();
  }

  void run(const Step& step, int phase, int64_t task) const override {
    if (phase == 0) {
      for_rows(step, x_.rows, task, [&](int64_t row) {
        float* out = scratch(step, row);
        loops_.time_steps(time_step_.floats(step, row), bias_.data(), rate_.data(), low_, high_, heads_, out, out + heads_);
      });
    } else {
      scan(step, static_cast<int>(task / blocks() / heads_), static_cast<int>(task / blocks() % heads_),
           static_cast<int>(task % blocks()));
    }
  }

 private:
  int64_t states() const { return int64_t{groups_} * state_size_; }
  int64_t blocks() const { return (head_dim_ + kScanColumns - 1) / kScanColumns; }
  int64_t block_floats() const { return int64_t{state_size_} * kScanColumns; }
  int64_t state_bytes() const { return heads_ * blocks() * block_floats() * 4; }
  int64_t scratch_floats() const { return (2 * int64_t{heads_} + 15) / 16 * 16; }
  float* scratch(const Step& step, int64_t row) const { return reinterpret_cast<float*>(step.scratch) + row * scratch_floats(); }

  void scan(const Step& step, int sequence, int head, int block) const {
    const Batch& batch = step.batch;
    const int first = batch.sequence_start[sequence];
    const LayerCache cache = state_.of(step);
    uint8_t* slot = cache.base + cache.page_table[int64_t{sequence} * cache.table_stride] * cache.page_stride;
    float* state = reinterpret_cast<float*>(slot) + (head * blocks() + block) * block_floats();
    if (batch.first_position[sequence] == 0) std::memset(state, 0, static_cast<size_t>(block_floats()) * 4);
    const float* x = x_.floats(step, first);
    const int64_t column = head * head_dim_ + block * kScanColumns;
    const int64_t group = int64_t{head / (heads_ / groups_)} * state_size_;
    ScanColumns columns;
    columns.state = state;
    columns.state_size = state_size_;
    columns.columns = std::min(kScanColumns, static_cast<int>(head_dim_) - block * kScanColumns);
    columns.tokens = batch.sequence_start[sequence + 1] - first;
    columns.skip = skip_[head];
    columns.x = x + column;
    columns.b = x + out_.width + group;
    columns.c = x + out_.width + states() + group;
    columns.x_stride = float_stride(x_.width);
    columns.dt = scratch(step, first) + head;
    columns.decay = columns.dt + heads_;
    columns.step_stride = scratch_floats();
    columns.out = out_.floats(step, first) + column;
    columns.out_stride = float_stride(out_.width);
    loops_.scan(columns);
  }

  const SelectiveScanLoops& loops_;
  Buffer x_, time_step_, out_;
  int heads_, groups_, state_size_;
  int64_t head_dim_;
  ProgramState state_;
  std::vector<float> rate_, bias_, skip_;  // [heads]
  float low_, high_;
};

}  // namespace

LUTMAC_OPERATION(selective_scan, SelectiveScan)

}  // namespace lutmac

#endif
