// Cosines and sines of rotary position embeddings (Su et al. 2021, https://arxiv.org/abs/2104.09864).
#include "ops/op.h"

namespace lutmac {

struct RopeAnglesLoops {
  // out[2 * count]: the cosines, then the sines, of one token's angles, times factor. The angle is the product of position
  // and inverse frequency in float, as Hugging Face has it; its cosine and sine are rounded from double.
  void (*angles)(int position, const float* inverse_frequency, int count, float factor, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {
namespace {

void angles(int position, const float* inverse_frequency, int count, float factor, float* out) {
  const float at = static_cast<float>(position);
  for (int i = 0; i < count; ++i) {
    const double angle = at * inverse_frequency[i];
    out[i] = static_cast<float>(__builtin_cos(angle)) * factor;
    out[count + i] = static_cast<float>(__builtin_sin(angle)) * factor;
  }
}

}  // namespace

LUTMAC_LOOPS(rope_angles, RopeAnglesLoops, {angles});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

// For all layers whose rope is the same.
class RopeAngles final : public Operation {
 public:
  explicit RopeAngles(Fields& fields)
      : loops_(fields.loops<RopeAnglesLoops>()),
        out_(fields.writes("out")),
        factor_(fields.number("attention_factor")),
        inverse_frequency_(fields.vector("inverse_frequency", out_.width / 2)) {
    fields.choice<int>("style", {{"half_split", 0}, {"interleaved", 1}});  // the angles are the same
    fields.require(fields.integer("rotary_dim", 2, kMaxHeadDim) == out_.width, "its row has another width");
    fields.require(out_.width % 2 == 0 && out_.rows == Rows{}, "it makes pairs, for the rows of tokens");
  }

  int64_t tasks(const Step& step, int) const override { return row_count(step, out_.rows); }

  void run(const Step& step, int, int64_t task) const override {
    loops_.angles(step.batch.token_position[task], inverse_frequency_.data(), static_cast<int>(out_.width / 2), factor_,
                  out_.floats(step, task));
  }

 private:
  const RopeAnglesLoops& loops_;
  Buffer out_;
  float factor_;
  std::vector<float> inverse_frequency_;
};

}  // namespace

LUTMAC_OPERATION(rope_angles, RopeAngles)

}  // namespace lutmac

#endif
