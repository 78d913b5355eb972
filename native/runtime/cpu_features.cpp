#include "runtime/cpu_features.h"

#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lutmac {
namespace {

struct Feature {
  std::string_view name;
  bool (*present)();
};

#if defined(__x86_64__)
// The compiler's check also asks the system whether it saves the registers.
#define LUTMAC_FEATURE(name) {#name, [] { return __builtin_cpu_supports(#name) != 0; }}

// AVX-VNNI is bit 4 of EAX in leaf 7, subleaf 1; the check of GCC 12 does not know it.
bool has_avxvnni() {
#if defined(LUTMAC_EMULATE_avxvnni)
  return cpu_has("avx512vl avx512vnni");
#else
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return cpu_has("avx2") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
#endif
}

bool has_avx512vbmi() {
#if defined(LUTMAC_EMULATE_avx512vbmi)
  return true;
#else
  return __builtin_cpu_supports("avx512vbmi") != 0;
#endif
}

constexpr Feature kFeatures[] = {
    LUTMAC_FEATURE(avx2),     LUTMAC_FEATURE(fma),      LUTMAC_FEATURE(f16c),     LUTMAC_FEATURE(bmi2),
    LUTMAC_FEATURE(avx512f),  LUTMAC_FEATURE(avx512bw), LUTMAC_FEATURE(avx512dq), LUTMAC_FEATURE(avx512vl),
    LUTMAC_FEATURE(avx512vnni), {"avxvnni", has_avxvnni}, {"avx512vbmi", has_avx512vbmi},
};
#elif defined(__aarch64__)
constexpr Feature kFeatures[] = {{"dotprod", [] { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }}};
#else
constexpr Feature kFeatures[] = {{"", [] { return true; }}};
#endif

bool has_feature(std::string_view name) {
  for (const Feature& feature : kFeatures) {
    if (feature.name == name) return feature.present();
  }
  throw std::logic_error("cpu_features.cpp does not know '" + std::string(name) + "'");
}

}  // namespace

bool cpu_has(std::string_view features) {
  while (!features.empty()) {
    const size_t end = features.find(' ');
    if (!has_feature(features.substr(0, end))) return false;
    features = end == std::string_view::npos ? std::string_view() : features.substr(end + 1);
  }
  return true;
}

}  // namespace lutmac
