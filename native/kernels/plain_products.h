// Codebook and ternary products in plain C++, for portable and for targets without kernels of their own for them.
#pragma once

#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/packed_codes.h"

namespace lutmac::LUTMAC_TARGET {

template <typename Codes>
struct PlainProducts {
  static constexpr int kTileRows = Codes::kTileRows;

  // Over `count` activations from k on; exact in 64 bits. The integers of the form lie as s16.
  static int64_t dot(const Codebook& book, const uint8_t* codes, const uint8_t* x, int64_t k, int count) {
    const int16_t* integers = reinterpret_cast<const int16_t*>(x) + k;
    int64_t sum = 0;
    for (int i = 0; i < count; ++i) sum += book.integers[codes[i]] * integers[i];
    return sum;
  }

  static void codebook_tile(const LowBit& w, const uint8_t* x, int64_t tile, float* sum) {
    const int segment = w.group_size < 32 ? 16 : 32;
    const float* x_scales = reinterpret_cast<const float*>(x + IntegerForm::scale_offset(w.columns));
    const int32_t* sum16 = reinterpret_cast<const int32_t*>(x + IntegerForm::sum_offset(w.columns));
    const uint8_t* packed = w.codes + tile * Codes::packed_tile_bytes(w.kind, w.bits, w.columns);
    float scale[kTileRows], offset[kTileRows];
    for (int64_t k = 0; k < w.columns; k += segment) {
      if (k % w.group_size == 0) load_group(w, kTileRows, tile, k / w.group_size, w.zero_point, scale, offset);
      const float x_scale = x_scales[k / 32];
      const int32_t activations = sum16[k / 16] + (segment == 32 ? sum16[k / 16 + 1] : 0);
      for (int r = 0; r < kTileRows; ++r) {
        uint8_t codes[32];
        Codes::unpack_row_block(w.kind, w.bits, packed, k / 32, r, codes);
        const uint8_t* at = codes + k % 32;
        sum[r] += scale[r] * (static_cast<float>(dot(w.codebook, at, x, k, segment)) * (w.codebook.scale * x_scale));
        const float other = w.has_second
                                ? static_cast<float>(dot(w.second, at, x, k, segment)) * (w.second.scale * x_scale)
                                : static_cast<float>(activations) * x_scale;
        sum[r] += offset[r] * other;
      }
    }
  }

  static void ternary_tile(const LowBit& w, const uint8_t* x, int64_t tile, float* sum) {
    const int64_t groups = ternary_bytes(w.columns);
    const uint8_t* codes = w.codes + tile * Codes::packed_tile_bytes(w.kind, w.bits, w.columns);
    const int32_t* multiples = reinterpret_cast<const int32_t*>(x + TernaryForm::multiple_offset(w.columns));
    const float unit = *reinterpret_cast<const float*>(x + TernaryForm::unit_offset(w.columns));
    float scale[kTileRows], offset[kTileRows];
    load_group(w, kTileRows, tile, 0, w.zero_point, scale, offset);
    for (int r = 0; r < kTileRows; ++r) {
      int32_t total = 0;
      for (int64_t g = 0; g < groups; ++g) {
        const uint8_t byte = codes[g * kTileRows + row_place(kTileRows, r)];
        const int a = triple_of(byte) - 13;
        const int8_t* triples = reinterpret_cast<const int8_t*>(x + g * 32);
        const int entry = a < 0 ? -triples[-a] : triples[a];
        total += (entry + x[g * 32 + 16 + pair_of(byte)] - 128) * multiples[g / TernaryForm::kLutGroupsPerScale];
      }
      sum[r] = static_cast<float>(total) * unit * scale[r];
    }
  }

  static void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                            int64_t token_begin, int64_t token_end) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      const int64_t left = w.rows - tile * kTileRows;
      const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
      for (int64_t token = token_begin; token < token_end; ++token) {
        const uint8_t* x = args.x + token * args.x_stride;
        float sum[kTileRows] = {};
        w.kind == CodeKind::ternary ? ternary_tile(w, x, tile, sum) : codebook_tile(w, x, tile, sum);
        store_rows(args, token, tile * kTileRows, valid, sum);
      }
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
