// A causal convolution over the last positions of each channel, then SiLU (Mamba, https://arxiv.org/abs/2312.00752).
#include "ops/op.h"

namespace lutmac {

struct CausalConv1dLoops {
  // out[i] = silu(bias[i] + sum over j of weight[j][i] * inputs[j][i]), the oldest input first. weight: [count, width].
  void (*convolve)(const float* const* inputs, int count, const float* weight, const float* bias, int width, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "ops/activation_kinds.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void convolve(const float* const* inputs, int count, const float* weight, const float* bias, int width, float* out) {
  for (int i = 0; i < width; i += kLanes) {
    const int rest = width - i;
    const auto some = [=](const float* row) { return rest < kLanes ? load_first(row + i, rest) : load(row + i); };
    Floats sum = bias == nullptr ? Floats{} : some(bias);
    for (int j = 0; j < count; ++j) sum = multiply_add(some(weight + int64_t{j} * width), some(inputs[j]), sum);
    const Floats result = Silu::apply(sum);
    if (rest < kLanes) {
      store_first(out + i, rest, result);
    } else {
      store(out + i, result);
    }
  }
}

}  // namespace

LUTMAC_LOOPS(causal_conv1d, CausalConv1dLoops, {convolve});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include "ops/kept_rows.h"

namespace lutmac {
namespace {

// What is kept of a sequence are the last inputs.
class CausalConv1d final : public ConvolutionOperation {
 public:
  explicit CausalConv1d(Fields& fields)
      : ConvolutionOperation(fields), loops_(fields.loops<CausalConv1dLoops>()) {
    fields.require(x_.width == out_.width && x_.rows == Rows{} && out_.rows == Rows{},
                   "it reads as many channels as it writes, of the rows of tokens");
    fields.require(x_.offset != out_.offset, "it cannot work in place");
    weight_ = kernel_rows(fields.vector("weight", x_.width * kernel_), kernel_);
    if (fields.has("bias")) bias_ = fields.vector("bias", x_.width);
  }

 private:
  void convolve(const Step& step, int64_t row) const override {
    const int count = std::min(kernel_, step.batch.token_position[row] + 1);  // a sequence begins with zeros
    const float* inputs[kLongestKernel];
    for (int j = 0; j < count; ++j) {
      inputs[j] = kept_.before(
          step, row, count - 1 - j, [&](int64_t at) -> const float* { return x_.floats(step, at); },
          [](const float* kept) { return kept; });
    }
    loops_.convolve(inputs, count, weight_.data() + (kernel_ - count) * x_.width, bias_.empty() ? nullptr : bias_.data(),
                    static_cast<int>(x_.width), out_.floats(step, row));
  }

  void keep_row(const Step& step, int64_t row, float* out) const override {
    std::memcpy(out, x_.floats(step, row), static_cast<size_t>(x_.width) * 4);
  }

  const CausalConv1dLoops& loops_;
  std::vector<float> weight_, bias_;
};

}  // namespace

LUTMAC_OPERATION(causal_conv1d, CausalConv1d)

}  // namespace lutmac

#endif
