#include "runtime/targets.h"

#include <stdexcept>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lutmac {
namespace {

#if defined(__x86_64__)
// The compiler's CPU check also asks the system whether it saves the registers.
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"); }
#elif defined(__aarch64__)
bool has_dot_products() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
#endif

bool always() { return true; }

}  // namespace

const std::vector<TargetEntry>& targets() {
  static const std::vector<TargetEntry> all = {
#if defined(__x86_64__)
      {Target::avx512, "avx512", &avx512::kKernels, &avx512::kOps, has_avx512},
      {Target::avx2, "avx2", &avx2::kKernels, &avx2::kOps, has_avx2},
#elif defined(__aarch64__)
      {Target::neon, "neon", &neon::kKernels, &neon::kOps, has_dot_products},
#endif
      {Target::portable, "portable", &portable::kKernels, &portable::kOps, always},
  };
  return all;
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
