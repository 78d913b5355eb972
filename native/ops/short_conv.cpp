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

#include "ops/kept_rows.h"

namespace lutmac {
namespace {

// x has three parts of the channels' width: the gate of the input, the gate of the output, and the input. What is kept of a
// sequence are the last inputs, gated.
class ShortConv final : public ConvolutionOperation {
 public:
  explicit ShortConv(Fields& fields)
      : ConvolutionOperation(fields), loops_(fields.loops<ShortConvLoops>()) {
    const int64_t width = out_.width;
    fields.require(x_.width == 3 * width && x_.rows == Rows{} && out_.rows == Rows{},
                   "it reads three parts of its width, of the rows of tokens");
    weight_ = kernel_rows(fields.vector("weight", width * kernel_), kernel_);
    if (fields.has("bias")) bias_ = fields.vector("bias", width);
  }

 private:
  void convolve(const Step& step, int64_t row) const override {
    const int count = std::min(kernel_, step.batch.token_position[row] + 1);  // a sequence begins with zeros
    ConvInput inputs[kLongestKernel];
    for (int j = 0; j < count; ++j) {
      inputs[j] = kept_.before(
          step, row, count - 1 - j,
          [&](int64_t at) {
            const float* x = x_.floats(step, at);
            return ConvInput{nullptr, x, x + 2 * out_.width};
          },
          [](const float* kept) { return ConvInput{kept, nullptr, nullptr}; });
    }
    loops_.convolve(inputs, count, weight_.data() + (kernel_ - count) * out_.width, bias_.empty() ? nullptr : bias_.data(),
                    x_.floats(step, row) + out_.width, static_cast<int>(out_.width), out_.floats(step, row));
  }

  void keep_row(const Step& step, int64_t row, float* out) const override {
    const float* x = x_.floats(step, row);
    loops_.gated(x, x + 2 * out_.width, static_cast<int>(out_.width), out);
  }

  const ShortConvLoops& loops_;
  std::vector<float> weight_, bias_;
};

}  // namespace

LUTMAC_OPERATION(short_conv, ShortConv)

}  // namespace lutmac

#endif
