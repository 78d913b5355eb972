// What targets that add products of bf16 to avx512vbmi leave to it: all other forms, and the products on them.
//
// They call it when they run: its table of functions may be made after theirs.
#pragma once

#include "kernels/bfloat16_pairs.h"
#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

inline void prepare_over_avx512vbmi(Form form, const float* x, int64_t k, uint8_t* out) {
  form == Form::bf16 ? prepare_bfloat16(x, k, out) : avx512vbmi::kKernels.prepare(form, x, k, out);
}

inline void matmul_by_avx512vbmi(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                                 int64_t token_end) {
  avx512vbmi::kKernels.matmul_lowbit(w, args, tile_begin, tile_end, token_begin, token_end);
}

}  // namespace lutmac::LUTMAC_TARGET
