#include "runtime/sampler.h"

#include <cmath>

#include "python/bindings.h"

namespace lutmac {
namespace {

SamplerOptions make_options(float temperature, int top_k, float top_p, float min_p, float repetition_penalty,
                            float presence_penalty, float frequency_penalty, const IntArray& logit_bias_ids,
                            const FloatArray& logit_bias, uint64_t seed) {
  require(std::isfinite(temperature) && temperature >= 0, "temperature must be finite and not negative");
  require(top_k >= 0, "top_k must not be negative");
  require(top_p > 0 && top_p <= 1, "top_p must be above 0 and at most 1");
  require(min_p >= 0 && min_p <= 1, "min_p must be 0 to 1");
  require(std::isfinite(repetition_penalty) && repetition_penalty > 0, "repetition_penalty must be positive");
  require(std::isfinite(presence_penalty) && std::isfinite(frequency_penalty), "penalties must be finite");
  require(logit_bias_ids.shape(0) == logit_bias.shape(0), "one bias per id is needed");
  SamplerOptions options;
  options.temperature = temperature;
  options.top_k = top_k;
  options.top_p = top_p;
  options.min_p = min_p;
  options.repetition_penalty = repetition_penalty;
  options.presence_penalty = presence_penalty;
  options.frequency_penalty = frequency_penalty;
  options.logit_bias_ids.assign(logit_bias_ids.data(), logit_bias_ids.data() + logit_bias_ids.shape(0));
  options.logit_bias.assign(logit_bias.data(), logit_bias.data() + logit_bias.shape(0));
  options.seed = seed;
  return options;
}

int32_t sample(Sampler& sampler, const FloatArray& logits, const IntArray& tokens, int64_t generated_from) {
  require(logits.shape(0) > 0, "logits must not be empty");
  require(generated_from >= 0, "generated_from must not be negative");
  const nb::gil_scoped_release release;
  return sampler.sample(logits.data(), static_cast<int64_t>(logits.shape(0)), tokens.data(),
                        static_cast<int64_t>(tokens.shape(0)), generated_from);
}

}  // namespace

void bind_sampler(nb::module_& module) {
  nb::class_<Sampler>(module, "Sampler")
      .def(
          "__init__",
          [](Sampler* self, float temperature, int top_k, float top_p, float min_p, float repetition_penalty,
             float presence_penalty, float frequency_penalty, const IntArray& logit_bias_ids,
             const FloatArray& logit_bias, uint64_t seed) {
            new (self) Sampler(make_options(temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,
                                            frequency_penalty, logit_bias_ids, logit_bias, seed));
          },
          nb::kw_only(), nb::arg("temperature"), nb::arg("top_k"), nb::arg("top_p"), nb::arg("min_p"),
          nb::arg("repetition_penalty"), nb::arg("presence_penalty"), nb::arg("frequency_penalty"),
          nb::arg("logit_bias_ids"), nb::arg("logit_bias"), nb::arg("seed"))
      .def("sample", &sample, nb::arg("logits"), nb::arg("penalized"), nb::arg("generated_from"));
}

}  // namespace lutmac
