// The sampler: what each option keeps, in what proportions it draws, and that it always draws the same.
#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>

#include "check.h"

using namespace lutmac;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kDraws = 20000;

int32_t sample(Sampler& sampler, const std::vector<float>& logits, const std::vector<int32_t>& tokens = {},
               int64_t generated_from = 0) {
  return sampler.sample(logits.data(), static_cast<int64_t>(logits.size()), tokens.data(),
                        static_cast<int64_t>(tokens.size()), generated_from);
}

std::map<int32_t, int> draw_many(const SamplerOptions& options, const std::vector<float>& logits) {
  Sampler sampler(options);
  std::map<int32_t, int> counts;
  for (int i = 0; i < kDraws; ++i) ++counts[sample(sampler, logits)];
  return counts;
}

int32_t greedy(SamplerOptions options, const std::vector<float>& logits, const std::vector<int32_t>& tokens = {},
               int64_t generated_from = 0) {
  options.numbers["temperature"] = 0.0;
  Sampler sampler(std::move(options));
  return sample(sampler, logits, tokens, generated_from);
}

// Logits of these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)) + 3.0f);
  return logits;
}

void test_greedy() {
  std::vector<float> logits(1000, 1.0f);
  check(greedy({}, logits) == 0, "ties go to the lowest id");
  logits[777] = 2.0f;
  logits[900] = 2.0f;
  logits[3] = NAN;
  logits[4] = -kInfinity;
  check(greedy({}, logits) == 777, "greedy takes the highest logit");
  logits[950] = kInfinity;
  Sampler random({});
  check(greedy({}, logits) == 950 && sample(random, logits) == 950, "an infinite logit is certain");
}

void test_nothing_to_draw() {
  for (const float value : {-kInfinity, static_cast<float>(NAN)}) {
    bool thrown = false;
    try {
      greedy({}, std::vector<float>(100, value));
    } catch (const std::invalid_argument&) {
      thrown = true;
    }
    check(thrown, "logits of %g only are an error", static_cast<double>(value));
  }
}

void test_other_numbers() {
  for (const auto& [name, value] : std::map<std::string, double>{{"top_q", 1.0}, {"top_p", NAN}, {"min_p", kInfinity}}) {
    bool thrown = false;
    try {
      Sampler({.numbers = {{name, value}}});
    } catch (const std::invalid_argument&) {
      thrown = true;
    }
    check(thrown, "%s is no option, or %g no number", name.c_str(), value);
  }
}

void test_penalties() {
  const std::vector<float> logits = {2.0f, 1.9f, -1.0f};
  SamplerOptions repetition{.numbers = {{"repetition_penalty", 1.5}}};
  check(greedy(repetition, logits, {0}) == 1, "repetition penalty divides a positive logit");
  check(greedy(repetition, logits, {0, 0, 0, 1}) == 0, "repetition penalty counts a token once");
  check(greedy(repetition, {-1.0f, -1.2f}, {0}) == 1, "repetition penalty multiplies a negative logit");
  check(greedy(repetition, logits, {0, -5, 3, 1 << 30}, 4) == 1, "repetition penalty looks at the prompt, ignores strange ids");
  SamplerOptions presence{.numbers = {{"presence_penalty", 0.2}}};
  check(greedy(presence, logits, {0}, 0) == 1, "presence penalty");
  check(greedy(presence, logits, {0}, 1) == 0, "presence penalty leaves the prompt alone");
  check(greedy({.numbers = {{"presence_penalty", 0.06}}}, logits, {0, 0, 0, 7}, 0) == 0, "presence penalty counts a token once");
  check(greedy({.numbers = {{"frequency_penalty", 0.06}}}, logits, {0, 0, 0, 7}, 0) == 1, "frequency penalty counts every time");
  SamplerOptions bias;
  bias.logit_bias_ids = {0, -1, 99, 2};
  bias.logit_bias = {-100.0f, 1.0f, 1.0f, 2.5f};
  check(greedy(bias, logits) == 1, "logit bias is added, strange ids are ignored");
}

void test_what_is_kept() {
  const std::vector<float> logits = logits_of({0.05, 0.4, 0.1, 0.3, 0.15});
  const auto keys = [&](const SamplerOptions& options) {
    std::vector<int32_t> ids;
    for (const auto& [id, count] : draw_many(options, logits)) ids.push_back(id);
    return ids;
  };
  using Ids = std::vector<int32_t>;
  check(keys({}) == Ids({0, 1, 2, 3, 4}), "everything may be drawn");
  check(keys({.numbers = {{"top_k", 2}}}) == Ids({1, 3}), "top-k");
  check(keys({.numbers = {{"top_p", 0.69}}}) == Ids({1, 3}), "top-p");
  check(keys({.numbers = {{"top_p", 0.72}}}) == Ids({1, 3, 4}), "top-p keeps the token that crosses it");
  check(keys({.numbers = {{"top_k", 2}, {"top_p", 0.55}}}) == Ids({1}), "top-p is of what top-k leaves");
  check(keys({.numbers = {{"min_p", 0.3}}}) == Ids({1, 3, 4}), "min-p");
  check(keys({.numbers = {{"temperature", 5.0}, {"min_p", 0.3}}}) == Ids({1, 3, 4}), "min-p comes before temperature");
  // Entropy 1.39: surprises 3.00, 0.92, 2.30, 1.20, 1.90; token 3 is nearest, then 1, 4, 2, 0.
  check(keys({.numbers = {{"typical_p", 0.2}}}) == Ids({3}), "typical-p");
  check(keys({.numbers = {{"typical_p", 0.5}}}) == Ids({1, 3}), "typical-p keeps the token that crosses it");
  check(keys({.numbers = {{"typical_p", 0.2}, {"temperature", 0.01}}}) == Ids({3}), "typical-p may leave out the best");
  check(keys({.numbers = {{"typical_p", 0.2}, {"min_p", 1.0}}}) == Ids({3}), "min-p is of what typical-p leaves");
  for (const SamplerOptions& options : {SamplerOptions{.numbers = {{"top_k", 1}}}, SamplerOptions{.numbers = {{"top_p", 0.0}}},
                                        SamplerOptions{.numbers = {{"min_p", 9.0}}}})
    check(keys(options) == Ids({1}), "the best token always stays");
}

// 20,000 draws: a count's standard deviation is at most 71; five of them are 0.018 of the draws.
void test_proportions() {
  const std::vector<double> p = {0.05, 0.4, 0.1, 0.3, 0.15};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    double total = 0.0;
    for (const double x : p) total += std::pow(x, 1.0 / temperature);
    for (const float top_p : {1.0f, 0.9999f}) {
      auto counts = draw_many({.numbers = {{"temperature", temperature}, {"top_p", top_p}}, .seed = 5}, logits_of(p));
      for (int id = 0; id < 5; ++id) {
        const double expected = std::pow(p[id], 1.0 / temperature) / total;
        check(std::abs(counts[id] / double(kDraws) - expected) < 0.018, "temperature %g: token %d drawn %d of %d times",
              temperature, id, counts[id], kDraws);
      }
    }
  }
}

// Large vocabularies take shortcuts; they must keep what sorting would keep.
void test_large_vocabulary() {
  TestRandom random(3);
  std::vector<float> logits = random.floats(262144, 8.0f);
  for (float& logit : logits) logit = std::round(logit * 512.0f) / 512.0f;  // many ties
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  std::vector<int32_t> rank(order.size());
  double total = 0.0;
  for (size_t i = 0; i < order.size(); ++i) {
    rank[order[i]] = static_cast<int32_t>(i);
    total += std::exp(double(logits[i]) - logits[order[0]]);
  }
  for (const float top_p : {0.01f, 0.5f, 0.999f}) {
    int kept = 0;
    for (double sum = 0.0; sum < double(top_p) * total; ++kept) sum += std::exp(double(logits[order[kept]]) - logits[order[0]]);
    Sampler sampler({.numbers = {{"temperature", 20.0}, {"top_p", top_p}}});
    int highest = 0;
    for (int i = 0; i < 50; ++i) highest = std::max(highest, rank[sample(sampler, logits)]);
    check(highest < kept * (1 + 1e-6) && highest > kept / 2, "top_p %g keeps %d, rank %d drawn", double(top_p), kept, highest);
  }
  Sampler sampler({.numbers = {{"temperature", 50.0}, {"top_k", 40}}});
  std::vector<int> drawn(40);
  for (int i = 0; i < 1000; ++i) {
    const int place = rank[sample(sampler, logits)];
    check(place < 40, "top_k 40 drew rank %d", place);
    if (place < 40) ++drawn[place];
  }
  check(*std::min_element(drawn.begin(), drawn.end()) > 0, "top_k 40 at high temperature draws all 40");
  Sampler typical({.numbers = {{"typical_p", 0.5}, {"temperature", 0.02}}});
  for (int i = 0; i < 20; ++i) check(sample(typical, logits) >= 0, "typical-p of many tokens, few of which have weight");
}

void test_seed() {
  const std::vector<float> logits(50, 0.0f);
  const auto ids = [&](uint64_t seed) {
    Sampler sampler({.seed = seed});
    std::vector<int32_t> out;
    for (int i = 0; i < 20; ++i) out.push_back(sample(sampler, logits));
    return out;
  };
  check(ids(7) == ids(7), "same seed, same ids");
  check(ids(7) != ids(8), "another seed, other ids");
}

}  // namespace

int main() {
  test_greedy();
  test_nothing_to_draw();
  test_other_numbers();
  test_penalties();
  test_what_is_kept();
  test_proportions();
  test_large_vocabulary();
  test_seed();
  return report("sampler_test");
}
