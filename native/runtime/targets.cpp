#include "runtime/targets.h"

#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lutmac {

namespace portable { extern const void* const* const kLoops[]; }
namespace avx2 { extern const void* const* const kLoops[]; }
namespace avxvnni { extern const void* const* const kLoops[]; }
namespace avx512 { extern const void* const* const kLoops[]; }
namespace neon { extern const void* const* const kLoops[]; }

namespace {

#if defined(__x86_64__)
// The compiler's CPU check also asks the system whether it saves the registers.
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"); }

// AVX-VNNI is bit 4 of EAX in leaf 7, subleaf 1; the check of GCC 12 does not know it.
bool has_avxvnni() {
#if defined(LUTMAC_AVXVNNI_AS_EVEX)
  return has_avx512();
#else
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
#endif
}
#elif defined(__aarch64__)
bool has_dot_products() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
#endif

bool always() { return true; }

}  // namespace

const std::vector<TargetEntry>& targets() {
  static const std::vector<TargetEntry> all = {
#if defined(__x86_64__)
      {Target::avx512, "avx512", &avx512::kKernels, avx512::kLoops, has_avx512},
      {Target::avxvnni, "avxvnni", &avxvnni::kKernels, avxvnni::kLoops, has_avxvnni},
      {Target::avx2, "avx2", &avx2::kKernels, avx2::kLoops, has_avx2},
#elif defined(__aarch64__)
      {Target::neon, "neon", &neon::kKernels, neon::kLoops, has_dot_products},
#endif
      {Target::portable, "portable", &portable::kKernels, portable::kLoops, always},
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
