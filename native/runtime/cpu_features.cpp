#include "runtime/cpu_features.h"

#include <cstdint>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lutmac {
namespace {

#if defined(__x86_64__)
// Asked of the processor itself: what __builtin_cpu_supports knows depends on the compiler and its run-time library.
enum Register { eax, ebx, ecx, edx };
constexpr uint64_t kNothing = 0, kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;  // of XCR0: which registers the system saves

// Linux gives the registers of the matrix unit only to processes that ask for them, once for all threads. It refuses where some
// thread's stack for signals is too small for them.
bool may_use_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM; of XCR0
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

struct Feature {
  std::string_view name;
  unsigned leaf, subleaf;
  Register place;
  int bit;
  uint64_t saved;  // bits of XCR0 that it needs

  bool present() const {
    unsigned registers[4] = {};
    if (!__get_cpuid_count(leaf, subleaf, &registers[eax], &registers[ebx], &registers[ecx], &registers[edx])) return false;
    if (!(registers[place] >> bit & 1) || (saved_registers() & saved) != saved) return false;
    return saved != kTiles || may_use_tiles();
  }

  static uint64_t saved_registers() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kOsxsave = 1u << 27;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsxsave)) return 0;
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
  }
};

// Intel's Software Developer's Manual, volume 2A, CPUID.
constexpr Feature kFeatures[] = {
    {"fma", 1, 0, ecx, 12, kYmm},       {"f16c", 1, 0, ecx, 29, kYmm},      {"avx2", 7, 0, ebx, 5, kYmm},
    {"bmi2", 7, 0, ebx, 8, kNothing},   {"avx512f", 7, 0, ebx, 16, kZmm},   {"avx512dq", 7, 0, ebx, 17, kZmm},
    {"avx512bw", 7, 0, ebx, 30, kZmm},  {"avx512vl", 7, 0, ebx, 31, kZmm},  {"avx512vnni", 7, 0, ecx, 11, kZmm},
#if defined(LUTMAC_EMULATE_avx512vbmi)
    {"avx512vbmi", 7, 0, ebx, 30, kZmm},  // by instructions of AVX-512 BW
#else
    {"avx512vbmi", 7, 0, ecx, 1, kZmm},
#endif
#if defined(LUTMAC_EMULATE_avxvnni)
    {"avxvnni", 7, 0, ecx, 11, kZmm},  // in the encoding of AVX-512 VNNI
#else
    {"avxvnni", 7, 1, eax, 4, kYmm},
#endif
    {"gfni", 7, 0, ecx, 8, kZmm},       {"avx512bf16", 7, 1, eax, 5, kZmm},
#if defined(LUTMAC_EMULATE_amx_tile)
    {"amx-tile", 7, 0, ebx, 30, kZmm},  // by AVX-512
#else
    {"amx-tile", 7, 0, edx, 24, kTiles},
#endif
#if defined(LUTMAC_EMULATE_amx_bf16)
    {"amx-bf16", 7, 0, ebx, 30, kZmm},
#else
    {"amx-bf16", 7, 0, edx, 22, kTiles},
#endif
};
#elif defined(__aarch64__)
struct Feature {
  std::string_view name;
  unsigned long word;  // AT_HWCAP or AT_HWCAP2
  unsigned long bit;
  bool present() const { return (getauxval(word) & bit) != 0; }
};
// Linux's Documentation/arch/arm64/elf_hwcaps.rst. Older systems' headers lack names of AT_HWCAP2.
constexpr unsigned long kI8mm = 1ul << 13;
constexpr Feature kFeatures[] = {{"dotprod", AT_HWCAP, HWCAP_ASIMDDP}, {"i8mm", AT_HWCAP2, kI8mm}};
#else
struct Feature {
  std::string_view name;
  bool present() const { return false; }
};
constexpr Feature kFeatures[] = {{""}};
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
