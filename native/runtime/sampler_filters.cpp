#include "runtime/sampler_filters.h"

namespace lutmac {

std::span<const CandidateFilter> candidate_filters() { return {}; }

}  // namespace lutmac
