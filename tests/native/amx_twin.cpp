#include "amx_twin.h"

#include "vbmi_twin.h"

#define LUTMAC_TARGET amx_twin
#define LUTMAC_TWIN_OF_AVX512
#include "kernels/amx/prompt_product.h"
#include "kernels/bfloat16_product.h"
#include "kernels/kernel_table.h"

namespace lutmac::amx_twin {
namespace {

void prepare(Form form, const float* x, int64_t k, uint8_t* out) {
  form == Form::bf16 ? prepare_bfloat16(x, k, out) : portable::kKernels.prepare(form, x, k, out);
}

void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  kVbmiTwin.kernels->matmul_lowbit(w, args, tile_begin, tile_end, token_begin, token_end);
}

const Kernels kKernels = kernel_table<Codes>(prepare, matmul_lowbit, {matmul_prompt, dense_bfloat16_product<Codes::kTileRows>});

}  // namespace
}  // namespace lutmac::amx_twin

const lutmac::TargetEntry kAmxTwin = {{"the twin of amx", "", ""}, &lutmac::amx_twin::kKernels, nullptr};
