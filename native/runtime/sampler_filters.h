// What removes candidates between top-k and top-p, by option. A new one is a function in sampler_filters.cpp and its line
// in the table there, in the order of llama.cpp's default chain.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lutmac {

struct Candidate {
  float logit;
  int32_t id;
  float mass;  // of probability, not normalised: e^(logit - highest)
};

// apply: given the option's value and candidates, highest first, at least one of mass 1; leaves at least one of them, in
// the same order. Not called where the value is `off`.
struct CandidateFilter {
  const char* name;
  double off;
  void (*apply)(double value, std::vector<Candidate>& candidates);
};

std::span<const CandidateFilter> candidate_filters();

}  // namespace lutmac
