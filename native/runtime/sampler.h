// Draws a token id from logits.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/random.h"
#include "runtime/sampler_filters.h"

namespace lutmac {

// numbers: by the names that engine/sampling/options.py has for them; what is left out is off.
struct SamplerOptions {
  std::map<std::string, double> numbers = {};
  std::vector<int32_t> logit_bias_ids = {};
  std::vector<float> logit_bias = {};  // added to the logits of those ids
  uint64_t seed = 0;
};

// The order is that of llama.cpp's default chain: logit bias, penalties, top-k, filters (sampler_filters.h), top-p, min-p,
// temperature, draw. So top-p and min-p look at the probabilities before temperature.
//
// Same options and same calls, same ids, on every platform: the generator, the exponential and the order of every sum
// are this file's own. Equal logits rank by id, lowest first. A NaN counts as -infinity. Not for use by several threads.
class Sampler {
 public:
  // Throws std::invalid_argument for a number that is not finite or that nothing here is named.
  explicit Sampler(SamplerOptions options);

  // logits: [vocab], left as they are. tokens: [num_tokens] so far; the repetition penalty looks at all of them, presence
  // and frequency penalties at those from index generated_from on. Ids outside the vocabulary are ignored.
  // Throws std::invalid_argument where no token has a logit above -infinity.
  int32_t sample(const float* logits, int64_t vocab, const int32_t* tokens, int64_t num_tokens, int64_t generated_from);

 private:
  const float* adjust(const float* logits, int64_t vocab, const int32_t* tokens, int64_t num_tokens,
                      int64_t generated_from);
  void start_pass(int64_t vocab);
  bool first_sight(int32_t id, int64_t vocab);
  float choose_candidates(const float* logits, int64_t vocab, float highest);
  float filter_candidates(float highest);
  void keep_highest(const float* logits, int64_t vocab, float highest, int64_t count);
  void keep_all(const float* logits, int64_t vocab, float highest);
  bool cut_top_p(double total);
  int32_t draw(float highest);

  std::vector<int32_t> logit_bias_ids_;
  std::vector<float> logit_bias_;
  Random random_;
  float temperature_;  // 0: the token of the highest logit
  int64_t top_k_;
  float top_p_, min_p_;
  float repetition_penalty_, presence_penalty_, frequency_penalty_;
  std::vector<float> adjusted_;
  std::vector<uint32_t> seen_;  // per id: the last pass that met it
  uint32_t pass_ = 0;
  std::vector<std::pair<CandidateFilter, double>> filters_;  // those that are on, and their values
  std::vector<Candidate> candidates_;
};

}  // namespace lutmac
