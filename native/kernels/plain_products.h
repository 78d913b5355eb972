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
    using Trits = typename Codes::Trits;
    const uint8_t* codes = w.codes + tile * Codes::packed_tile_bytes(w.kind, w.bits, w.columns);
    const int32_t* multiples = reinterpret_cast<const int32_t*>(x + TernaryForm::multiple_offset(w.columns));
    const float* units = reinterpret_cast<const float*>(x + TernaryForm::unit_offset(w.columns));
    float scale[kTileRows], offset[kTileRows];
    for (int64_t block = 0; block < TernaryForm::blocks(w.columns); ++block, multiples += TernaryForm::kBlockScales) {
      const int64_t k = block * TernaryForm::kBlock, first = block * TernaryForm::kBlockLutGroups;
      if (k % w.group_size == 0) load_group(w, kTileRows, tile, k / w.group_size, w.zero_point, scale, offset);
      for (int r = 0; r < kTileRows; ++r) {
        int32_t total = 0;
        for (int g = 0; g < TernaryForm::block_lut_groups(w.columns, block); ++g) {
          const TritByte trits = Trits::decode(codes[Trits::place(first + g, r)]);
          const uint8_t* tables = x + TernaryForm::table_offset(first + g);
          const int a = trits.triple - 13, entry = static_cast<int8_t>(tables[a < 0 ? -a : a]);
          total += ((a < 0 ? -entry : entry) + tables[64 + trits.pair] - 128) * multiples[g / TernaryForm::kLutGroupsPerScale];
        }
        sum[r] = multiply_add(static_cast<float>(total) * units[block], scale[r], sum[r]);
      }
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
