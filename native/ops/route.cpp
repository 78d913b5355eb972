// The router of a mixture of experts (Shazeer et al. 2017, https://arxiv.org/abs/1701.06538); scores by sigmoid, a bias that
// only selects, and groups after DeepSeek-V3 (https://arxiv.org/abs/2412.19437).
#include "ops/op.h"

namespace lutmac {

enum class ExpertScores { softmax, sigmoid };

// How a token's experts are chosen and weighed.
struct Routing {
  int num_experts = 0, count = 0;  // count: that each token goes to
  ExpertScores scores = ExpertScores::softmax;
  bool normalize = false;         // weights are shares of the sum over those chosen
  float scale = 1.0f;             // multiplies weights
  const float* expert_scales = nullptr;  // [num_experts] each multiplies its expert's weight; null: none
  const float* bias = nullptr;    // [num_experts] added to the scores that select; null: none
  // Of equal sizes: only experts of the groups with the largest sums of their group_scores largest scores.
  int groups = 1, top_groups = 1, group_scores = 2;
};

struct RouteLoops {
  // The experts of the largest scores, the largest first, of equal ones that with the lower number, and their weights.
  // Computed in double.
  void (*choose_experts)(const float* logits, const Routing& routing, int32_t* experts, float* weights);
};

inline constexpr int kMaxChosen = 1024;
inline constexpr int kMaxGroups = 256;

}  // namespace lutmac

#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {
namespace {

// A router's scores of one token.
class Scores {
 public:
  Scores(const float* logits, const Routing& routing) : logits_(logits), routing_(routing) {
    for (int expert = 1; expert < routing.num_experts; ++expert)
      if (logits[expert] > logits[largest_]) largest_ = expert;
    if (routing.scores == ExpertScores::softmax && (routing.bias != nullptr || !routing.normalize))
      for (int expert = 0; expert < routing.num_experts; ++expert) sum_ += share(expert);
  }

  // e^(logit - largest), or the sigmoid.
  double share(int expert) const {
    if (routing_.scores == ExpertScores::sigmoid) return 1.0 / (1.0 + __builtin_exp(-double{logits_[expert]}));
    return __builtin_exp(logits_[expert] - double{logits_[largest_]});
  }
  // What experts are selected by.
  double key(int expert) const {
    if (routing_.bias == nullptr && routing_.groups == 1) return logits_[expert];
    const double score = routing_.scores == ExpertScores::sigmoid ? share(expert) : share(expert) / sum_;
    return routing_.bias == nullptr ? score : score + routing_.bias[expert];
  }
  // Of all shares, where they are shares of something.
  double sum() const { return routing_.scores == ExpertScores::sigmoid ? 1.0 : sum_; }

 private:
  const float* logits_;
  const Routing& routing_;
  int largest_ = 0;
  double sum_ = 0.0;
};

// The `count` largest that were offered, sorted; of equal ones the first.
struct Largest {
  int count, held = 0;
  int32_t* numbers;
  double keys[kMaxChosen];

  void offer(int number, double key) {
    if (held == count && !(key > keys[count - 1])) return;
    int place = held < count ? held++ : count - 1;
    for (; place > 0 && key > keys[place - 1]; --place) {
      numbers[place] = numbers[place - 1];
      keys[place] = keys[place - 1];
    }
    numbers[place] = number;
    keys[place] = key;
  }
};

// The sum of the `count` largest keys of a group, one or two.
double group_key(const Scores& scores, int begin, int end, int count) {
  int32_t numbers[2];
  Largest best{.count = count, .numbers = numbers};
  for (int expert = begin; expert < end; ++expert) best.offer(expert, scores.key(expert));
  return best.keys[0] + (best.held > 1 ? best.keys[1] : 0.0);
}

void choose_experts(const float* logits, const Routing& routing, int32_t* experts, float* weights) {
  const Scores scores(logits, routing);
  const int size = routing.num_experts / routing.groups;
  bool open[kMaxGroups];
  for (int group = 0; group < routing.groups; ++group) open[group] = routing.groups == routing.top_groups;
  if (routing.groups != routing.top_groups) {
    int32_t best[kMaxGroups];
    Largest groups{.count = routing.top_groups, .numbers = best};
    for (int group = 0; group < routing.groups; ++group)
      groups.offer(group, group_key(scores, group * size, (group + 1) * size, routing.group_scores));
    for (int i = 0; i < routing.top_groups; ++i) open[best[i]] = true;
  }
  Largest chosen{.count = routing.count, .numbers = experts};
  for (int expert = 0; expert < routing.num_experts; ++expert)
    if (open[expert / size]) chosen.offer(expert, scores.key(expert));
  double sum = scores.sum();
  if (routing.normalize) {
    sum = 0.0;
    for (int i = 0; i < routing.count; ++i) sum += scores.share(experts[i]);
  }
  for (int i = 0; i < routing.count; ++i) {
    const double scale = routing.expert_scales == nullptr ? 1.0 : routing.expert_scales[experts[i]];
    weights[i] = static_cast<float>(scores.share(experts[i]) / sum * routing.scale * scale);
  }
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
        per_token_(fields.integer("per_token", 1, kMaxChosen)) {
    routing_.num_experts = num_experts_;
    routing_.count = per_token_;
    routing_.scores = fields.choice<ExpertScores>(
        "scores", {{"softmax", ExpertScores::softmax}, {"sigmoid", ExpertScores::sigmoid}});
    routing_.normalize = fields.flag("normalize");
    routing_.scale = fields.number("scale");
    routing_.groups = fields.integer("groups", 1, kMaxGroups);
    routing_.top_groups = fields.integer("top_groups", 1, routing_.groups);
    routing_.group_scores = fields.integer("group_scores", 1, 2);
    if (fields.has("bias")) bias_ = fields.vector("bias", num_experts_);
    routing_.bias = bias_.empty() ? nullptr : bias_.data();
    if (fields.has("expert_scales")) expert_scales_ = fields.vector("expert_scales", num_experts_);
    routing_.expert_scales = expert_scales_.empty() ? nullptr : expert_scales_.data();
    fields.require(num_experts_ <= 65536 && num_experts_ % routing_.groups == 0 &&
                       per_token_ <= num_experts_ / routing_.groups * routing_.top_groups,
                   "a token must go to at least one expert, and to no more than there are");
    fields.require(choices_.width == 3 * per_token_ && starts_.width == 2 * num_experts_ + 1, "its choices have other widths");
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
    loops_.choose_experts(logits_.floats(step, token), routing_, choices.experts, choices.weights);
  }

  void sort_by_expert(const Step& step) const {
    int32_t* starts = reinterpret_cast<int32_t*>(starts_.floats(step, 0));
    std::memset(starts, 0, sizeof(int32_t) * (2 * num_experts_ + 1));
    const int64_t tokens = row_count(step, Rows{}), generated = generated_row_count(step, Rows{});
    const auto of_role = [&](int64_t token) { return starts + 1 + (token < generated ? 0 : num_experts_); };
    // starts[e + 1] counts the rows of e, then becomes where e's next row goes, which in the end is where e + 1 starts.
    for (int64_t token = 0; token < tokens; ++token) {
      const Choices choices = Choices::of(step, choices_, token);
      for (int i = 0; i < per_token_; ++i) ++of_role(token)[choices.experts[i]];
    }
    int32_t next = 0;
    for (int list = 0; list < 2 * num_experts_; ++list) {
      const int32_t count = starts[list + 1];
      starts[list + 1] = next;
      next += count;
    }
    for (int64_t token = 0; token < tokens; ++token) {
      const Choices choices = Choices::of(step, choices_, token);
      for (int i = 0; i < per_token_; ++i) choices.rows[i] = of_role(token)[choices.experts[i]]++;
    }
  }

  const RouteLoops& loops_;
  Buffer logits_, choices_, starts_;
  int num_experts_, per_token_;
  Routing routing_;
  std::vector<float> bias_, expert_scales_;
};

}  // namespace

LUTMAC_OPERATION(route, Route)

}  // namespace lutmac

#endif
