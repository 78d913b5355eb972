// AVX-512 without VBMI: byte shuffles of four 128-bit parts, VNNI dot products.
#include "kernels/avx512/integers.h"
#include "kernels/avx512/packing.h"
#include "kernels/bytewise_lookup.h"
#include "kernels/bytewise_ternary.h"
#include "kernels/kernel_table.h"
#include "kernels/lookup_products.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

struct Target {
  using Codes = LUTMAC_TARGET::Codes;
  using Lookup = BytewiseLookup<Codes>;
  using IntegerSum = LUTMAC_TARGET::IntegerSum;
  using ByteReader = LUTMAC_TARGET::ByteReader;
  using CodebookReader = LUTMAC_TARGET::CodebookReader;
  static constexpr auto ternary = BytewiseTernary::matmul;
};

}  // namespace

const Kernels kKernels =
    kernel_table<Codes>(prepare<VectorTables, BytewiseTernary, lay_as_halves>, LookupProducts<Target>::matmul_lowbit);

}  // namespace lutmac::LUTMAC_TARGET
