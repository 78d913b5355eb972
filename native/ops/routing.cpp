// The router of a mixture of experts (Shazeer et al. 2017, https://arxiv.org/abs/1701.06538).
#include "ops/routing.h"

namespace lutmac::LUTMAC_TARGET {

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

}  // namespace lutmac::LUTMAC_TARGET
