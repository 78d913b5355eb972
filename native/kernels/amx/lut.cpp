// AVX-512 with VBMI and the matrix unit AMX: rows of prompts and their attention by bf16 tiles, dense matrices as avx512bf16 and all
// else as avx512vbmi does it.
#include "kernels/amx/prompt_product.h"
#include "kernels/bfloat16_product.h"
#include "kernels/kernel_table.h"
#include "ops/prompt_attention.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

void prepare(Form form, const float* x, int64_t k, uint8_t* out) {
  form == Form::bf16 ? prepare_bfloat16(x, k, out) : avx512vbmi::kKernels.prepare(form, x, k, out);
}

void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  avx512vbmi::kKernels.matmul_lowbit(w, args, tile_begin, tile_end, token_begin, token_end);
}

}  // namespace

const Kernels kKernels = kernel_table<Codes>(prepare, matmul_lowbit,
                                            {matmul_prompt, dense_bfloat16_product<Codes::kTileRows>, attend_prompt});

}  // namespace lutmac::LUTMAC_TARGET
