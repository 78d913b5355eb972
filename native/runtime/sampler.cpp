#include "runtime/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace lutmac {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 64;  // logits that are looked at together: the loops over a block become vector code

// e^x for x <= 0, relative error below 3e-7; 0 below -87 and for NaN. Not std::exp, whose last bit varies by platform.
inline float exp_nonpositive(float x) {
  constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits
  // A mask, not a choice: GCC makes vector code of it.
  const uint32_t in_range = -static_cast<uint32_t>(x > -87.0f);
  x = std::bit_cast<float>(std::bit_cast<uint32_t>(x) & in_range);
  const float shifted = x * 0x1.715476p0f + kRound;
  const float n = shifted - kRound;
  const float r = x - n * 0x1.62e4p-1f - n * 0x1.7f7d1cp-20f;
  float p = 0x1.6a23d2p-10f;
  p = p * r + 0x1.123a2p-7f;
  p = p * r + 0x1.5558f2p-5f;
  p = p * r + 0x1.555492p-3f;
  p = p * r + 0x1.fffffcp-2f;
  p = p * (r * r) + r + 1.0f;
  const float power = std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) << 23) + (127u << 23));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(p * power) & in_range);
}

bool any_above(const float* logits, int64_t count, float threshold) {
  int any = 0;
  for (int64_t i = 0; i < count; ++i) any |= logits[i] > threshold;
  return any != 0;
}

// The lowest id of the highest logit; -1 where none is above -infinity.
int64_t argmax(const float* logits, int64_t vocab) {
  float highest = kNever;
  int64_t best = -1;
  for (int64_t begin = 0; begin < vocab; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, vocab);
    if (!any_above(logits + begin, end - begin, highest)) continue;
    for (int64_t i = begin; i < end; ++i) {
      if (logits[i] > highest) {
        highest = logits[i];
        best = i;
      }
    }
  }
  return best;
}

// The sum of e^(logit - highest) over the vocabulary.
double total_weight(const float* logits, int64_t vocab, float highest) {
  double sum[4] = {};
  for (int64_t begin = 0; begin < vocab; begin += kBlock) {
    float mass[kBlock] = {};
    const int64_t count = std::min(kBlock, vocab - begin);
    for (int64_t i = 0; i < count; ++i) mass[i] = exp_nonpositive(logits[begin + i] - highest);
    for (int64_t i = 0; i < kBlock; i += 4)
      for (int lane = 0; lane < 4; ++lane) sum[lane] += static_cast<double>(mass[i + lane]);
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

}  // namespace

Sampler::Sampler(SamplerOptions options)
    : logit_bias_ids_(std::move(options.logit_bias_ids)),
      logit_bias_(std::move(options.logit_bias)),
      random_(options.seed) {
  if (logit_bias_ids_.size() != logit_bias_.size())
    throw std::invalid_argument("logit_bias_ids and logit_bias must have the same length");
  const auto take = [&](const char* name, double off) {
    const auto found = options.numbers.extract(name);
    if (!found.empty() && !std::isfinite(found.mapped())) throw std::invalid_argument(std::string(name) + " is not finite");
    return found.empty() ? off : found.mapped();
  };
  temperature_ = static_cast<float>(take("temperature", 1.0));
  top_k_ = static_cast<int64_t>(std::min(take("top_k", 0.0), 0x1p31));
  top_p_ = static_cast<float>(take("top_p", 1.0));
  min_p_ = static_cast<float>(take("min_p", 0.0));
  repetition_penalty_ = static_cast<float>(take("repetition_penalty", 1.0));
  presence_penalty_ = static_cast<float>(take("presence_penalty", 0.0));
  frequency_penalty_ = static_cast<float>(take("frequency_penalty", 0.0));
  for (const CandidateFilter& filter : candidate_filters()) {
    const double value = take(filter.name, filter.off);
    if (value != filter.off) filters_.emplace_back(filter, value);
  }
  if (!options.numbers.empty())
    throw std::invalid_argument("the sampler has no option " + options.numbers.begin()->first);
}

int32_t Sampler::sample(const float* logits, int64_t vocab, const int32_t* tokens, int64_t num_tokens,
                        int64_t generated_from) {
  logits = adjust(logits, vocab, tokens, num_tokens, generated_from);
  const int64_t best = argmax(logits, vocab);
  if (best < 0)
    throw std::invalid_argument("no token can be drawn: every logit is NaN or -infinity; check the model and logit_bias");
  const float highest = logits[best];
  if (temperature_ <= 0.0f || top_k_ == 1 || highest == -kNever) return static_cast<int32_t>(best);
  return draw(choose_candidates(logits, vocab, highest));
}

// The logits with bias and penalties; the caller's own where there are none.
const float* Sampler::adjust(const float* logits, int64_t vocab, const int32_t* tokens, int64_t num_tokens,
                             int64_t generated_from) {
  const bool counts = presence_penalty_ != 0.0f || frequency_penalty_ != 0.0f;
  if (logit_bias_ids_.empty() && repetition_penalty_ == 1.0f && !counts) return logits;
  adjusted_.assign(logits, logits + vocab);
  for (size_t i = 0; i < logit_bias_ids_.size(); ++i) {
    const int32_t id = logit_bias_ids_[i];
    if (id >= 0 && id < vocab) adjusted_[id] += logit_bias_[i];
  }
  if (repetition_penalty_ != 1.0f) {
    start_pass(vocab);
    for (int64_t i = 0; i < num_tokens; ++i) {
      if (!first_sight(tokens[i], vocab)) continue;
      float& logit = adjusted_[tokens[i]];
      logit = logit > 0.0f ? logit / repetition_penalty_ : logit * repetition_penalty_;
    }
  }
  if (counts) {
    start_pass(vocab);
    for (int64_t i = std::max<int64_t>(generated_from, 0); i < num_tokens; ++i) {
      if (tokens[i] < 0 || tokens[i] >= vocab) continue;
      adjusted_[tokens[i]] -= frequency_penalty_;
      if (first_sight(tokens[i], vocab)) adjusted_[tokens[i]] -= presence_penalty_;
    }
  }
  return adjusted_.data();
}

void Sampler::start_pass(int64_t vocab) {
  if (static_cast<int64_t>(seen_.size()) < vocab || ++pass_ == 0) {
    seen_.assign(vocab, 0);
    pass_ = 1;
  }
}

// Whether the id is in the vocabulary and new in this pass.
bool Sampler::first_sight(int32_t id, int64_t vocab) {
  if (id < 0 || id >= vocab || seen_[id] == pass_) return false;
  seen_[id] = pass_;
  return true;
}

// Fills candidates_ with what top-k, filters, top-p and min-p leave; the highest logit among them.
float Sampler::choose_candidates(const float* logits, int64_t vocab, float highest) {
  const bool cuts = top_k_ > 0 && top_k_ < vocab;
  if (cuts || !filters_.empty()) {
    keep_highest(logits, vocab, highest, cuts ? top_k_ : vocab);
    highest = filter_candidates(highest);
    double total = 0.0;
    for (const Candidate& candidate : candidates_) total += static_cast<double>(candidate.mass);
    cut_top_p(total);
  } else if (top_p_ < 1.0f) {
    // Few tokens make up most of the probability, as a rule: take more only where they do not.
    const double total = total_weight(logits, vocab, highest);
    int64_t count = 256;
    for (keep_highest(logits, vocab, highest, count); !cut_top_p(total) && count < vocab;) {
      count *= 16;
      keep_highest(logits, vocab, highest, count);
    }
  } else {
    keep_all(logits, vocab, highest);
  }
  const float least = std::min(min_p_, 1.0f);
  std::erase_if(candidates_, [least](const Candidate& candidate) { return candidate.mass < least; });
  return highest;
}

// The highest logit that the filters leave, to which masses are then relative.
float Sampler::filter_candidates(float highest) {
  for (const auto& [filter, value] : filters_) {
    filter.apply(value, candidates_);
    if (candidates_.front().logit == highest) continue;
    highest = candidates_.front().logit;
    for (Candidate& candidate : candidates_) candidate.mass = exp_nonpositive(candidate.logit - highest);
  }
  return highest;
}

// The `count` highest logits, highest first.
void Sampler::keep_highest(const float* logits, int64_t vocab, float highest, int64_t count) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  const auto prune = [&] {
    std::nth_element(candidates_.begin(), candidates_.begin() + (count - 1), candidates_.end(), before);
    candidates_.resize(count);
  };
  // Once `count` are in, only a higher logit than the lowest of them can matter; equal ones have higher ids.
  count = std::min(count, vocab);
  const size_t room = static_cast<size_t>(2 * count + 256);
  float threshold = kNever;
  candidates_.clear();
  for (int64_t begin = 0; begin < vocab; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, vocab);
    if (!any_above(logits + begin, end - begin, threshold)) continue;
    for (int64_t i = begin; i < end; ++i)
      if (logits[i] > threshold) candidates_.push_back({logits[i], static_cast<int32_t>(i), 0.0f});
    if (candidates_.size() >= room) {
      prune();
      threshold = candidates_.back().logit;
    }
  }
  if (static_cast<int64_t>(candidates_.size()) > count) prune();
  std::sort(candidates_.begin(), candidates_.end(), before);
  for (Candidate& candidate : candidates_) candidate.mass = exp_nonpositive(candidate.logit - highest);
}

// Every token that can be drawn, in order of id; of those that min-p will drop, only the nearest.
void Sampler::keep_all(const float* logits, int64_t vocab, float highest) {
  constexpr float kSlack = 0.01f;  // far more than std::log and the sum can be off
  const float least = min_p_ > 0.0f ? highest + std::log(std::min(min_p_, 1.0f)) - kSlack : kNever;
  candidates_.clear();
  for (int64_t begin = 0; begin < vocab; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, vocab);
    if (!any_above(logits + begin, end - begin, least)) continue;
    float mass[kBlock];
    for (int64_t i = begin; i < end; ++i) mass[i - begin] = exp_nonpositive(logits[i] - highest);
    for (int64_t i = begin; i < end; ++i)
      if (logits[i] > least) candidates_.push_back({logits[i], static_cast<int32_t>(i), mass[i - begin]});
  }
}

// Cuts after the first candidate with which the masses reach top_p of the total; whether they do.
bool Sampler::cut_top_p(double total) {
  double sum = 0.0;
  for (size_t i = 0; i < candidates_.size() && top_p_ < 1.0f; ++i) {
    sum += static_cast<double>(candidates_[i].mass);
    if (sum < static_cast<double>(top_p_) * total) continue;
    candidates_.resize(i + 1);
    return true;
  }
  return false;
}

int32_t Sampler::draw(float highest) {
  if (temperature_ != 1.0f) {
    for (Candidate& candidate : candidates_)
      candidate.mass = exp_nonpositive((candidate.logit - highest) / temperature_);
  }
  double total = 0.0;
  for (const Candidate& candidate : candidates_) total += static_cast<double>(candidate.mass);
  double left = random_.uniform() * total;
  for (const Candidate& candidate : candidates_) {
    left -= static_cast<double>(candidate.mass);
    if (left < 0.0) return candidate.id;
  }
  // Rounding has left a little more than nothing: the last candidate with a mass.
  return std::find_if(candidates_.rbegin(), candidates_.rend(), [](const Candidate& c) { return c.mass > 0.0f; })->id;
}

}  // namespace lutmac
