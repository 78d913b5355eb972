#include "vbmi_twin.h"

#define LUTMAC_TARGET vbmi_twin
#define LUTMAC_TWIN_OF_AVX512
#include "kernels/avx512vbmi/product.h"
#include "kernels/avx512vbmi/ternary.h"
#include "kernels/avx512vbmi/tile_products.h"
#include "kernels/kernel_table.h"

namespace lutmac::vbmi_twin {
namespace {

void prepare(Form form, const float* x, int64_t k, uint8_t* out) { portable::kKernels.prepare(form, x, k, out); }

void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  const auto product = w.kind == CodeKind::ternary ? tile_products<TernaryProduct> : tile_products<LookupProduct>;
  product(w, args, tile_begin, tile_end, token_begin, token_end);
}

const Kernels kKernels = kernel_table<Codes>(prepare, matmul_lowbit);

}  // namespace
}  // namespace lutmac::vbmi_twin

const lutmac::TargetEntry kVbmiTwin = {{"the twin of avx512vbmi", "", ""}, &lutmac::vbmi_twin::kKernels, nullptr};
