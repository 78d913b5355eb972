// NEON with dot products (aarch64): lookups of 32 entries, the planes of a row weighted and summed by udot. With i8mm, products
// of integers go by smmla.
#include "kernels/bytewise_ternary.h"
#include "kernels/kernel_table.h"
#include "kernels/lookup_products.h"
#include "kernels/neon/integers.h"
#include "kernels/neon/lookup.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

struct Target {
  using Codes = LUTMAC_TARGET::Codes;
  using Lookup = NeonLookup;
  using IntegerSum = LUTMAC_TARGET::IntegerSum;
  using ByteReader = LUTMAC_TARGET::ByteReader;
  using CodebookReader = LUTMAC_TARGET::CodebookReader;
  static constexpr auto ternary = BytewiseTernary::matmul;
};

}  // namespace

const Kernels kKernels =
    kernel_table<Codes>(prepare<VectorTables, BytewiseTernary, lay_as_long_halves>, LookupProducts<Target>::matmul_lowbit);

}  // namespace lutmac::LUTMAC_TARGET
