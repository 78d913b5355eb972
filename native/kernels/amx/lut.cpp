// AVX-512 with VBMI and the matrix unit AMX: rows of prompts and their attention by bf16 tiles, dense matrices as avx512bf16 and all
// else as avx512vbmi does it.
#include "kernels/amx/prompt_product.h"
#include "kernels/bfloat16_product.h"
#include "kernels/kernel_table.h"
#include "kernels/over_avx512vbmi.h"
#include "ops/prompt_attention.h"

namespace lutmac::LUTMAC_TARGET {

const Kernels kKernels = kernel_table<Codes>(prepare_over_avx512vbmi, matmul_by_avx512vbmi,
                                            {matmul_prompt, dense_bfloat16_product<Codes::kTileRows>, attend_prompt});

}  // namespace lutmac::LUTMAC_TARGET
