#include <algorithm>
#include <chrono>
#include <vector>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/bindings.h"
#include "runtime/memory.h"
#include "runtime/targets.h"
#include "runtime/thread_pool.h"

namespace lutmac {

nb::ndarray<nb::numpy, float, nb::ndim<2>> new_matrix(int64_t rows, int64_t columns, float*& data) {
  data = new float[static_cast<size_t>(std::max<int64_t>(rows * columns, 1))];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return {data, {static_cast<size_t>(rows), static_cast<size_t>(columns)}, owner};
}

namespace {

std::vector<std::string> target_names(bool runs_here) {
  std::vector<std::string> names;
  for (const TargetEntry& entry : targets()) {
    if (!runs_here || entry.runs_here()) names.emplace_back(entry.name);
  }
  return names;
}

// Sums 64-bit words so that the loads cannot be left out.
uint64_t read_all(const uint64_t* data, size_t count) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 8 <= count; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += data[i + j];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

double memory_read_rate(int threads, int megabytes, int passes) {
  require(threads >= 1 && megabytes >= 1 && passes >= 1, "threads, megabytes and passes must be at least 1");
  const size_t bytes = static_cast<size_t>(megabytes) << 20, piece = size_t{1} << 20;
  const Mapping memory(bytes, true);
  const int64_t pieces = static_cast<int64_t>(bytes / piece);
  std::vector<uint64_t> sums(static_cast<size_t>(pieces) * 8);
  ThreadPool::instance().for_each(threads, pieces, [&](int64_t i) {
    std::fill_n(memory.data() + i * piece, piece, static_cast<uint8_t>(i));
  });
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    ThreadPool::instance().for_each(threads, pieces, [&](int64_t i) {
      sums[i * 8] = read_all(reinterpret_cast<const uint64_t*>(memory.data() + i * piece), piece / 8);
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(bytes) / took.count());
  }
  return best;
}

}  // namespace
}  // namespace lutmac

NB_MODULE(_native, module) {
  using namespace lutmac;
  module.attr("PAGE_TOKENS") = kPageTokens;
  module.def("available_targets", [] { return target_names(true); });
  module.def("built_targets", [] { return target_names(false); });
  module.def("default_threads", &default_threads);
  module.def("memory_read_rate", &memory_read_rate, nb::arg("threads"), nb::arg("megabytes"), nb::arg("passes"),
             nb::call_guard<nb::gil_scoped_release>());
  module.def("resident_bytes", &resident_bytes);
  module.def("peak_resident_bytes", &peak_resident_bytes);
  module.def("page_bytes", &page_bytes, nb::arg("num_kv_heads"), nb::arg("head_dim"));
  bind_matrix(module);
  bind_program(module);
  bind_sampler(module);
}
