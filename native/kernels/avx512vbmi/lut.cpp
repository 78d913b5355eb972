// AVX-512 with VBMI: 1 to 7 bits and ternary codes by lookups in four tables at once. Forms, and the products of 8-bit codes and
// codebooks are avx512's, whose order those codes have.
#include "kernels/avx512vbmi/product.h"
#include "kernels/avx512vbmi/ternary.h"
#include "kernels/avx512vbmi/tile_products.h"
#include "kernels/kernel_table.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void prepare(Form form, const float* x, int64_t k, uint8_t* out) { avx512::kKernels.prepare(form, x, k, out); }

void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  const bool has_planes = w.kind == CodeKind::affine && w.bits < 8;
  const auto product = has_planes                      ? tile_products<LookupProduct>
                       : w.kind == CodeKind::ternary ? tile_products<TernaryProduct>
                                                       : avx512::kKernels.matmul_lowbit;
  product(w, args, tile_begin, tile_end, token_begin, token_end);
}

}  // namespace

const Kernels kKernels = kernel_table<Codes>(prepare, matmul_lowbit);

}  // namespace lutmac::LUTMAC_TARGET
