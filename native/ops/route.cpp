// The router of a mixture of experts (Shazeer et al. 2017, https://arxiv.org/abs/1701.06538).
#include "ops/op.h"

namespace lutmac {

struct RouteLoops {
  // The `count` largest of a token's logits, the largest first, of equal ones that with the lower number, and their
  // softmax: over all experts, or with `normalize` over those chosen. Computed in double.
  void (*choose_experts)(const float* logits, int num_experts, int count, bool normalize, int32_t* experts,
                         float* weights);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {
namespace {

void choose_experts(const float* logits, int num_experts, int count, bool normalize, int32_t* experts, float* weights) {
  int chosen = 0;  // in experts, sorted
  for (int expert = 0; expert < num_experts; ++expert) {
    if (chosen == count && !(logits[expert] > logits[experts[count - 1]])) continue;
    int place = chosen < count ? chosen++ : count - 1;
    for (; place > 0 && logits[expert] > logits[experts[place - 1]]; --place) experts[place] = experts[place - 1];
    experts[place] = expert;
  }
  const double largest = logits[experts[0]];
  double sum = 0.0;
  const int summands = normalize ? count : num_experts;
  for (int i = 0; i < summands; ++i) sum += __builtin_exp(logits[normalize ? experts[i] : i] - largest);
  for (int i = 0; i < count; ++i) weights[i] = static_cast<float>(__builtin_exp(logits[experts[i]] - largest) / sum);
}

}  // namespace

LUTMAC_LOOPS(route, RouteLoops, {choose_experts});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

#include "ops/experts.h"

namespace lutmac {
namespace {

class Route final : public Operation {
 public:
  explicit Route(Fields& fields)
      : loops_(fields.loops<RouteLoops>()),
        logits_(fields.reads("logits")),
        choices_(fields.writes("choices")),
        starts_(fields.writes("starts")),
        num_experts_(static_cast<int>(logits_.width)),
        per_token_(fields.integer("per_token", 1, 1024)),
        normalize_(fields.flag("normalize")) {
    fields.require(per_token_ <= num_experts_ && num_experts_ <= 65536,
                   "a token must go to at least one expert, and to no more than there are");
    fields.require(choices_.width == 3 * per_token_ && starts_.width == num_experts_ + 1, "its choices have other widths");
    fields.require(logits_.rows == Rows{} && choices_.rows == Rows{}, "it works on the rows of tokens");
  }

  int phases() const override { return 2; }  // choices; then starts and rows, from all choices

  int64_t tasks(const Step& step, int phase) const override { return phase == 0 ? row_tasks(step, Rows{}) : 1; }

  void run(const Step& step, int phase, int64_t task) const override {
    if (phase == 0) {
      for_rows(step, Rows{}, task, [&](int64_t token) { choose(step, token); });
    } else {
      sort_by_expert(step);
    }
  }

 private:
  void choose(const Step& step, int64_t token) const {
    const Choices choices = Choices::of(step, choices_, token);
    loops_.choose_experts(logits_.floats(step, token), num_experts_, per_token_, normalize_, choices.experts,
                          choices.weights);
  }

  void sort_by_expert(const Step& step) const {
    int32_t* starts = reinterpret_cast<int32_t*>(starts_.floats(step, 0));
    std::memset(starts, 0, sizeof(int32_t) * (num_experts_ + 1));
    const int64_t tokens = row_count(step, Rows{});
    // starts[e + 1] counts the rows of e, then becomes where e's next row goes, which in the end is where e + 1 starts.
    for (int64_t token = 0; token < tokens; ++token) {
      const Choices choices = Choices::of(step, choices_, token);
      for (int i = 0; i < per_token_; ++i) ++starts[choices.experts[i] + 1];
    }
    int32_t next = 0;
    for (int expert = 0; expert < num_experts_; ++expert) {
      const int32_t count = starts[expert + 1];
      starts[expert + 1] = next;
      next += count;
    }
    for (int64_t token = 0; token < tokens; ++token) {
      const Choices choices = Choices::of(step, choices_, token);
      for (int i = 0; i < per_token_; ++i) choices.rows[i] = starts[choices.experts[i] + 1]++;
    }
  }

  const RouteLoops& loops_;
  Buffer logits_, choices_, starts_;
  int num_experts_, per_token_;
  bool normalize_;
};

}  // namespace

LUTMAC_OPERATION(route, Route)

}  // namespace lutmac

#endif
