#include "runtime/targets.h"

#include <stdexcept>

#include "runtime/cpu_features.h"

namespace lutmac {

#define LUTMAC_ISA(name, architecture, kernels, packing, loops, ...) \
  LUTMAC_BUILT_##architecture(namespace loops { extern const void* const* const kLoops[]; })
#include "targets.def"
#undef LUTMAC_ISA

#define LUTMAC_ISA(name, architecture, kernels, ...) namespace packing_##kernels { extern const Packing kPacking; }
#include "targets.def"
#undef LUTMAC_ISA

bool TargetEntry::runs_here() const { return cpu_has(features); }

const std::vector<TargetRow>& target_table() {
  static const std::vector<TargetRow> rows = {
#define LUTMAC_ISA(name, architecture, kernels, packing, loops, features, flags) {#name, packing, features},
#include "targets.def"
#undef LUTMAC_ISA
  };
  return rows;
}

const std::vector<TargetEntry>& targets() {
  static const std::vector<TargetEntry> built = {
#define LUTMAC_ISA(name, architecture, kernels, packing, loops, features, flags) \
  LUTMAC_BUILT_##architecture(TargetEntry{{#name, packing, features}, &name::kKernels, loops::kLoops},)
#include "targets.def"
#undef LUTMAC_ISA
  };
  return built;
}

const Packing& find_packing(const std::string& wanted) {
#define LUTMAC_ISA(name, architecture, kernels, packing, loops, features, flags) \
  if (wanted == packing) return packing_##kernels::kPacking;
#include "targets.def"
#undef LUTMAC_ISA
  throw std::invalid_argument("unknown packing '" + wanted + "'");
}

const TargetEntry& find_target(const std::string& name) {
  for (const auto& entry : targets()) {
    if (name != entry.name) continue;
    if (!entry.runs_here()) throw std::invalid_argument("this CPU cannot run ISA target '" + name + "'");
    return entry;
  }
  throw std::invalid_argument("unknown ISA target '" + name + "'");
}

}  // namespace lutmac
