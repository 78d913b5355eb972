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

constexpr int kLongestKernel = 16;

// What is kept of a sequence are the last inputs.
class CausalConv1d final : public Operation {
 public:
  explicit CausalConv1d(Fields& fields)
      : loops_(fields.loops<CausalConv1dLoops>()),
        x_(fields.reads("x")),
        out_(fields.writes("out")),
        kernel_(fields.integer("kernel", 2, kLongestKernel)),
        kept_(fields, x_.width, kernel_ - 1) {
    fields.require(x_.width == out_.width && x_.rows == Rows{} && out_.rows == Rows{},
                   "it reads as many channels as it writes, of the rows of tokens");
    fields.require(x_.offset != out_.offset, "it cannot work in place");
    weight_ = kernel_rows(fields.vector("weight", x_.width * kernel_), kernel_);
    if (fields.has("bias")) bias_ = fields.vector("bias", x_.width);
  }

  int phases() const override { return 2; }  // results, from what was kept; then what is kept from now on

  int64_t tasks(const Step& step, int phase) const override {
    return phase == 0 ? row_tasks(step, out_.rows) : step.batch.num_sequences;
  }

  void run(const Step& step, int phase, int64_t task) const override {
    if (phase == 0) {
      for_rows(step, out_.rows, task, [&](int64_t row) { convolve(step, row); });
    } else {
      kept_.keep(step, static_cast<int>(task), [&](int64_t row, float* out) {
        std::memcpy(out, x_.floats(step, row), static_cast<size_t>(x_.width) * 4);
      });
    }
  }

 private:
  void convolve(const Step& step, int64_t row) const {
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

  const CausalConv1dLoops& loops_;
  Buffer x_, out_;
  int kernel_;
  KeptRows kept_;
  std::vector<float> weight_, bias_;
};

}  // namespace

LUTMAC_OPERATION(causal_conv1d, CausalConv1d)

}  // namespace lutmac

#endif
