#include "runtime/sampler_filters.h"

#include <algorithm>
#include <cmath>

namespace lutmac {

namespace {

// Locally typical sampling (Meister et al. 2022, https://arxiv.org/abs/2202.00666): those whose surprise is nearest to the
// expected one, until together they are more probable than `p`.
void keep_typical(double p, std::vector<Candidate>& candidates) {
  // Surprise and its expectation, each less the logarithm of the total.
  const auto surprise = [&](const Candidate& c) { return static_cast<double>(candidates.front().logit) - c.logit; };
  double total = 0.0, expected = 0.0;
  for (const Candidate& candidate : candidates) {
    total += static_cast<double>(candidate.mass);
    expected += static_cast<double>(candidate.mass) * surprise(candidate);
  }
  expected /= total;
  std::vector<size_t> order(candidates.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(surprise(candidates[a]) - expected) < std::abs(surprise(candidates[b]) - expected);
  });
  double sum = 0.0;
  size_t kept = 0;
  while (kept < order.size() && sum <= p * total) sum += static_cast<double>(candidates[order[kept++]].mass);
  order.resize(kept);
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < kept; ++i) candidates[i] = candidates[order[i]];
  candidates.resize(kept);
}

constexpr CandidateFilter kFilters[] = {
    {"typical_p", 1.0, keep_typical},
};

}  // namespace

std::span<const CandidateFilter> candidate_filters() { return kFilters; }

}  // namespace lutmac
