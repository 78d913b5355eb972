// Draws a token id from logits.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/random.h"

namespace lutmac {

struct SamplerOptions {
  float temperature = 1.0f;         // 0: the token of the highest logit
  int top_k = 0;                    // 0: off
  float top_p = 1.0f;               // 1: off
  float min_p = 0.0f;               // 0: off
  float repetition_penalty = 1.0f;  // 1: off
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::vector<int32_t> logit_bias_ids = {};
  std::vector<float> logit_bias = {};  // added to the logits of those ids
  uint64_t seed = 0;
};

// The order is that of llama.cpp's default chain: logit bias, penalties, top-k, top-p, min-p, temperature, draw. So top-p
// and min-p look at the probabilities before temperature.
//
// Same options and same calls, same ids, on every platform: the generator, the exponential and the order of every sum
// are this file's own. Equal logits rank by id, lowest first. A NaN counts as -infinity. Not for use by several threads.
class Sampler {
 public:
  explicit Sampler(SamplerOptions options);

  // logits: [vocab], left as they are. tokens: [num_tokens] so far; the repetition penalty looks at all of them, presence
  // and frequency penalties at those from index generated_from on. Ids outside the vocabulary are ignored.
  // Throws std::invalid_argument where no token has a logit above -infinity.
  int32_t sample(const float* logits, int64_t vocab, const int32_t* tokens, int64_t num_tokens, int64_t generated_from);

 private:
  struct Candidate {
    float logit;
    int32_t id;
    float weight;  // e^(logit - highest)
  };

  const float* adjust(const float* logits, int64_t vocab, const int32_t* tokens, int64_t num_tokens,
                      int64_t generated_from);
  void start_pass(int64_t vocab);
  bool first_sight(int32_t id, int64_t vocab);
  void choose_candidates(const float* logits, int64_t vocab, float highest);
  void keep_highest(const float* logits, int64_t vocab, float highest, int64_t count);
  void keep_all(const float* logits, int64_t vocab, float highest);
  bool cut_top_p(double total);
  int32_t draw(float highest);

  SamplerOptions options_;
  Random random_;
  std::vector<float> adjusted_;
  std::vector<uint32_t> seen_;  // per id: the last pass that met it
  uint32_t pass_ = 0;
  std::vector<Candidate> candidates_;
};

}  // namespace lutmac
