#include <algorithm>
#include <vector>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/bindings.h"
#include "runtime/cores.h"
#include "runtime/last_resort.h"
#include "runtime/memory.h"
#include "runtime/clock_rate.h"
#include "runtime/memory_rate.h"
#include "runtime/targets.h"
#include "runtime/tuning.h"

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

// (name, packing, features) of every row of native/targets.def.
nb::list target_rows() {
  nb::list rows;
  for (const TargetRow& row : target_table()) rows.append(nb::make_tuple(row.name, row.packing, row.features));
  return rows;
}

}  // namespace
}  // namespace lutmac

NB_MODULE(_native, module) {
  using namespace lutmac;
  module.attr("PAGE_TOKENS") = kPageTokens;
  module.def("available_targets", [] { return target_names(true); });
  module.def("built_targets", [] { return target_names(false); });
  module.def("target_table", &target_rows);
  module.def("computes_by_role", [](const std::string& target) { return find_target(target).kernels->by_role(); });
  module.def("default_threads", &default_threads);
  module.def(
      "set_tuning",
      [](int spin_microseconds, int tasks_per_product, int block_kilobytes) {
        set_tuning({spin_microseconds, tasks_per_product, block_kilobytes});
      },
      nb::kw_only(), nb::arg("spin_microseconds"), nb::arg("tasks_per_product"), nb::arg("block_kilobytes"));
  module.def("clock_rate", &clock_rate, nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "memory_read_rate",
      [](int threads, int megabytes, int passes) {
        require(threads >= 1 && megabytes >= 1 && passes >= 1, "threads, megabytes and passes must be at least 1");
        const nb::gil_scoped_release release;
        return memory_read_rate(threads, megabytes, passes);
      },
      nb::arg("threads"), nb::arg("megabytes"), nb::arg("passes"));
  module.def("resident_bytes", &resident_bytes);
  module.def(
      "end_after_signal",
      [](const std::vector<int>& signals, int seconds) {
        require(seconds >= 1, "seconds must be at least 1");
        end_after_signal(signals.data(), static_cast<int>(signals.size()), static_cast<unsigned>(seconds));
      },
      nb::arg("signals"), nb::arg("seconds"));
  module.def("peak_resident_bytes", &peak_resident_bytes);
  bind_matrix_shape(module);
  bind_matrix(module);
  bind_mapped(module);
  bind_program(module);
  bind_sampler(module);
}
