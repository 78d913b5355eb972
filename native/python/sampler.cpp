#include "runtime/sampler.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>

#include <map>
#include <string>
#include <utility>

#include "python/bindings.h"

namespace lutmac {
namespace {

SamplerOptions make_options(std::map<std::string, double> numbers, const IntArray& logit_bias_ids,
                            const FloatArray& logit_bias, uint64_t seed) {
  SamplerOptions options{.numbers = std::move(numbers), .seed = seed};
  options.logit_bias_ids.assign(logit_bias_ids.data(), logit_bias_ids.data() + logit_bias_ids.shape(0));
  options.logit_bias.assign(logit_bias.data(), logit_bias.data() + logit_bias.shape(0));
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
          [](Sampler* self, std::map<std::string, double> numbers, const IntArray& logit_bias_ids,
             const FloatArray& logit_bias, uint64_t seed) {
            new (self) Sampler(make_options(std::move(numbers), logit_bias_ids, logit_bias, seed));
          },
          nb::arg("numbers"), nb::kw_only(), nb::arg("logit_bias_ids"), nb::arg("logit_bias"), nb::arg("seed"))
      .def("sample", &sample, nb::arg("logits"), nb::arg("penalized"), nb::arg("generated_from"));
}

}  // namespace lutmac
