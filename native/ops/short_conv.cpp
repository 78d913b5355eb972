// A gated short convolution over the last positions of each channel (LFM2, https://arxiv.org/abs/2511.23404).
#include "ops/op.h"

namespace lutmac {

// The inputs of one kernel position: a row that was kept, or the two factors of a row of this step.
struct ConvInput {
  const float* kept;
  const float *gate, *x;
};

struct ShortConvLoops {
  // out[i] = output_gate[i] * (sum over j of weight[j][i] * input[j][i]), the oldest input first; input = gate * x, or as it
  // was kept. weight: [count, width].
  void (*convolve)(const ConvInput* inputs, int count, const float* weight, const float* bias, const float* output_gate,
                   int width, float* out);
  // out[i] = gate[i] * x[i], one row of `width`.
  void (*gated)(const float* gate, const float* x, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/elementwise.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

Floats load_input(const ConvInput& input, int i, int rest) {
  const auto some = [=](const float* row) { return rest < kLanes ? load_first(row + i, rest) : load(row + i); };
  return input.kept != nullptr ? some(input.kept) : some(input.gate) * some(input.x);
}

void convolve(const ConvInput* inputs, int count, const float* weight, const float* bias, const float* output_gate,
              int width, float* out) {
  for (int i = 0; i < width; i += kLanes) {
    const int rest = width - i;
    const auto some = [=](const float* row) { return rest < kLanes ? load_first(row + i, rest) : load(row + i); };
    Floats sum = bias == nullptr ? Floats{} : some(bias);
    for (int j = 0; j < count; ++j) sum = multiply_add(some(weight + int64_t{j} * width), load_input(inputs[j], i, rest), sum);
    const Floats result = some(output_gate) * sum;
    if (rest < kLanes) {
      store_first(out + i, rest, result);
    } else {
      store(out + i, result);
    }
  }
}

void gated(const float* gate, const float* x, int width, float* out) {
  map_rows(gate, x, width, out, [](Floats a, Floats b) { return a * b; });
}

}  // namespace

LUTMAC_LOOPS(short_conv, ShortConvLoops, {convolve, gated});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

#include "runtime/program.h"

namespace lutmac {
namespace {

constexpr int kLongestKernel = 16;

// x has three parts of the channels' width: the gate of the input, the gate of the output, and the input. A sequence's slot
// keeps the last inputs, gated: [kernel - 1, channels], the oldest first, zeros before the first position.
class ShortConv final : public Operation {
 public:
  explicit ShortConv(Fields& fields)
      : loops_(fields.loops<ShortConvLoops>()),
        x_(fields.reads("x")),
        out_(fields.writes("out")),
        kernel_(fields.integer("kernel", 2, kLongestKernel)),
        state_(fields.slot("state", slot_bytes())) {
    const int64_t width = out_.width;
    fields.require(x_.width == 3 * width && x_.rows == Rows{} && out_.rows == Rows{},
                   "it reads three parts of its width, of the rows of tokens");
    const std::vector<float> weight = fields.vector("weight", width * kernel_);  // [channels, kernel]
    weight_.resize(weight.size());
    for (int64_t i = 0; i < width; ++i) {
      for (int j = 0; j < kernel_; ++j) weight_[j * width + i] = weight[i * kernel_ + j];
    }
    if (fields.has("bias")) bias_ = fields.vector("bias", width);
  }

  int phases() const override { return 2; }  // results, from what was kept; then what is kept from now on

  int64_t tasks(const Step& step, int phase) const override {
    return phase == 0 ? row_tasks(step, out_.rows) : step.batch.num_sequences;
  }

  void run(const Step& step, int phase, int64_t task) const override {
    if (phase == 0) {
      for_rows(step, out_.rows, task, [&](int64_t row) { convolve(step, row); });
    } else {
      keep(step, static_cast<int>(task));
    }
  }

 private:
  int64_t slot_bytes() const { return (out_.width * (kernel_ - 1) * 4 + 63) / 64 * 64; }

  float* slot(const Step& step, int sequence) const {
    const LayerCache cache = state_.of(step);
    return reinterpret_cast<float*>(cache.base + cache.block_table[int64_t{sequence} * cache.table_stride] * cache.page_stride);
  }

  // Position `back` before a row's own, of a sequence that begins at `first` in the batch.
  ConvInput input(const Step& step, const float* kept, int first, int64_t row, int back) const {
    const int64_t at = row - back;
    if (at >= first) {
      const float* x = x_.floats(step, at);
      return {nullptr, x, x + 2 * out_.width};
    }
    return {kept + (kernel_ - 1 - (first - at)) * out_.width, nullptr, nullptr};
  }

  void convolve(const Step& step, int64_t row) const {
    const int sequence = step.batch.token_sequence[row], first = step.batch.sequence_start[sequence];
    const float* kept = slot(step, sequence);
    const int count = std::min(kernel_, step.batch.token_position[row] + 1);  // a sequence begins with zeros
    ConvInput inputs[kLongestKernel];
    for (int j = 0; j < count; ++j) inputs[j] = input(step, kept, first, row, count - 1 - j);
    loops_.convolve(inputs, count, weight_.data() + (kernel_ - count) * out_.width, bias_.empty() ? nullptr : bias_.data(),
                    x_.floats(step, row) + out_.width, static_cast<int>(out_.width), out_.floats(step, row));
  }

  void keep(const Step& step, int sequence) const {
    const Batch& batch = step.batch;
    const int first = batch.sequence_start[sequence], last = batch.sequence_start[sequence + 1] - 1;
    float* kept = slot(step, sequence);
    for (int j = 0; j < kernel_ - 1; ++j) {  // oldest first: an older one is never written before it is read
      const int back = kernel_ - 2 - j;
      float* out = kept + j * out_.width;
      if (batch.token_position[last] < back) {
        std::memset(out, 0, static_cast<size_t>(out_.width) * 4);
        continue;
      }
      const ConvInput from = input(step, kept, first, last, back);
      if (from.kept == nullptr) {
        loops_.gated(from.gate, from.x, static_cast<int>(out_.width), out);
      } else {
        std::memmove(out, from.kept, static_cast<size_t>(out_.width) * 4);
      }
    }
  }

  const ShortConvLoops& loops_;
  Buffer x_, out_;
  int kernel_;
  ProgramState state_;
  std::vector<float> weight_, bias_;
};

}  // namespace

LUTMAC_OPERATION(short_conv, ShortConv)

}  // namespace lutmac

#endif
