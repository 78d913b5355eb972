// AVX-512 with VBMI and bf16: dense matrices on activations in bf16, all else as avx512vbmi does it.
#include "kernels/avx512bf16/packing.h"
#include "kernels/bfloat16_product.h"
#include "kernels/kernel_table.h"
#include "kernels/over_avx512vbmi.h"

namespace lutmac::LUTMAC_TARGET {

const Kernels kKernels = kernel_table<Codes>(prepare_over_avx512vbmi, matmul_by_avx512vbmi,
                                            {.matmul_dense = dense_bfloat16_product<Codes::kTileRows>});

}  // namespace lutmac::LUTMAC_TARGET
