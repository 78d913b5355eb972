// The table of a target's kernels, of the parts that targets differ in and those that they share.
#pragma once

#include "kernels/float_product.h"
#include "kernels/prepare.h"
#include "kernels/prepare_ternary.h"

namespace lutmac::LUTMAC_TARGET {

// Tables, TernaryTables: the arithmetic of their forms, see prepare.h and prepare_ternary.h. store: the order of integers.
template <typename Tables, typename TernaryTables, void (*store)(int64_t, const int32_t*, uint8_t*)>
void prepare(Form form, const float* x, int64_t k, uint8_t* out) {
  switch (form) {
    case Form::plain: std::memcpy(out, x, static_cast<size_t>(k) * 4); return;
    case Form::tables: return prepare_tables<Tables>(x, k, out);
    case Form::ternary: return prepare_ternary<TernaryTables>(x, k, out);
    case Form::integers: return prepare_integers(x, k, out, store);
    case Form::bf16: return;  // of targets that prepare it themselves
  }
}

// What only some targets have.
struct BfloatProducts {
  decltype(Kernels::matmul_prompt) matmul_prompt = nullptr;
  decltype(Kernels::matmul_dense_bfloat16) matmul_dense = nullptr;
  decltype(Kernels::attend_prompt) attend_prompt = nullptr;
};

template <typename Codes>
constexpr Kernels kernel_table(decltype(Kernels::prepare) prepare, decltype(Kernels::matmul_lowbit) matmul_lowbit,
                               BfloatProducts of_bfloats = {}) {
  return {Codes::table(), prepare, matmul_lowbit, matmul_lowbit_exact<Codes>, dense_product<Codes::kTileRows>,
          of_bfloats.matmul_prompt, of_bfloats.attend_prompt, of_bfloats.matmul_dense, lowbit_row<Codes>,
          dense_row<Codes::kTileRows>};
}

}  // namespace lutmac::LUTMAC_TARGET
