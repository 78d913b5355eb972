// AVX2: byte shuffles of two 128-bit parts. Compiled twice: as avx2, and as avxvnni for processors with AVX-VNNI, whose dot
// products take one instruction. Both have one packing, called avx2, and give the same bits.
//
// Instructions for 32 bytes of weights and one token, after the load: 9 for four planes (and, shift, and, 2 shuffles, 2
// vpmaddubsw, 2 vpaddw), 9 for two, 11 for one: 64 weights of 4 bits, 128 of 2, 256 of 1. avxvnni saves 2 for four planes, 2 of 6
// at 8 bits and 4 of 19 with a codebook, none for one or two planes, whose sums are words of a row each. Intel's cores of this
// kind start 3 vector instructions per cycle, of them one shuffle: 3, 3 and 3.7 cycles, or at 3 GHz 64, 128 and 210 GMAC/s, and
// 80 at 3 bits, which are two planes and one. Cores that start four, as AMD's of late, do a third more and clock higher.
#include "kernels/avx2/integers.h"
#include "kernels/avx2/packing.h"
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
    kernel_table<Codes>(prepare<VectorTables, BytewiseTernary, lay_as_words>, LookupProducts<Target>::matmul_lowbit);

}  // namespace lutmac::LUTMAC_TARGET
