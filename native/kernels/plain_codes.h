// Codebook and ternary products in plain C++, for portable and for targets without kernels of their own for them.
//
// Packing: codebook [tile][8 k][tile row][4 bytes], a byte's low nibble one of the first 4 codes, its high nibble one of the
// other 4, which of them is the target's choice; ternary as ternary_code.h says; float8 [tile][k][tile row].
#pragma once

#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/ternary_code.h"

namespace lutmac::LUTMAC_TARGET {

// kCrossed: bytes 1 and 2 of a dword change places, so that both its even and its odd bytes are neighbours among the codes.
template <int kTileRows, bool kCrossed = false>
struct PlainCodes {
  // Which of 4 codes byte i of a dword holds.
  static constexpr int code_at(int i) { return kCrossed && (i == 1 || i == 2) ? 3 - i : i; }

  static int64_t packed_tile_bytes(CodeKind kind, int64_t columns) {
    if (kind == CodeKind::float8) return kTileRows * columns;
    return kTileRows * (kind == CodeKind::ternary ? ternary_runs(columns) : columns / 2);
  }

  static void pack_tile(CodeKind kind, int64_t columns, const uint8_t* codes, uint8_t* out) {
    if (kind == CodeKind::ternary) return pack_ternary(kTileRows, columns, codes, out);
    if (kind == CodeKind::float8) {
      for (int r = 0; r < kTileRows; ++r) {
        for (int64_t k = 0; k < columns; ++k) out[k * kTileRows + r] = codes[r * columns + k];
      }
      return;
    }
    for (int64_t k = 0; k < columns; k += 8) {
      for (int r = 0; r < kTileRows; ++r) {
        const uint8_t* q = codes + r * columns + k;
        for (int i = 0; i < 4; ++i) *out++ = static_cast<uint8_t>(q[code_at(i)] | q[code_at(i) + 4] << 4);
      }
    }
  }

  static void unpack_row_block(const LowBit& w, int64_t tile, int64_t block, int row, uint8_t* codes) {
    const uint8_t* in = w.codes + tile * packed_tile_bytes(w.kind, w.columns);
    if (w.kind == CodeKind::ternary) return unpack_ternary(in, kTileRows, row, block * 32, 32, codes);
    if (w.kind == CodeKind::float8) {
      for (int k = 0; k < 32; ++k) codes[k] = in[(block * 32 + k) * kTileRows + row];
      return;
    }
    in += (block * 4 * kTileRows + row) * 4;
    for (int k = 0; k < 32; k += 8, in += kTileRows * 4) {
      for (int i = 0; i < 4; ++i) {
        codes[k + code_at(i)] = in[i] & 15;
        codes[k + code_at(i) + 4] = in[i] >> 4;
      }
    }
  }

  // Over `count` activations from k on; exact in 64 bits. The integers of the form lie as s16.
  static int64_t dot(const Codebook& book, const uint8_t* codes, const uint8_t* x, int64_t k, int count) {
    const int16_t* integers = reinterpret_cast<const int16_t*>(x) + k;
    int64_t sum = 0;
    for (int i = 0; i < count; ++i) sum += book.integers[codes[i]] * integers[i];
    return sum;
  }

  static void codebook_tile(const LowBit& w, const uint8_t* x, int64_t tile, float* sum) {
    const int segment = w.group_size < 32 ? 16 : 32;
    const float* steps = reinterpret_cast<const float*>(x + IntegerForm::step_offset(w.columns));
    const int32_t* sum16 = reinterpret_cast<const int32_t*>(x + IntegerForm::sum_offset(w.columns));
    float scale[kTileRows], offset[kTileRows];
    for (int64_t k = 0; k < w.columns; k += segment) {
      if (k % w.group_size == 0) load_group(w, kTileRows, tile, k / w.group_size, w.zero_point, scale, offset);
      const float step = steps[k / 32];
      const int32_t activations = sum16[k / 16] + (segment == 32 ? sum16[k / 16 + 1] : 0);
      for (int r = 0; r < kTileRows; ++r) {
        uint8_t codes[32];
        unpack_row_block(w, tile, k / 32, r, codes);
        const uint8_t* at = codes + k % 32;
        sum[r] += scale[r] * (static_cast<float>(dot(w.codebook, at, x, k, segment)) * (w.codebook.step * step));
        const float other = w.has_second
                                ? static_cast<float>(dot(w.second, at, x, k, segment)) * (w.second.step * step)
                                : static_cast<float>(activations) * step;
        sum[r] += offset[r] * other;
      }
    }
  }

  static void ternary_tile(const LowBit& w, const uint8_t* x, int64_t tile, float* sum) {
    const int64_t runs = ternary_runs(w.columns);
    const uint8_t* codes = w.codes + tile * packed_tile_bytes(w.kind, w.columns);
    const int32_t* multiples = reinterpret_cast<const int32_t*>(x + TernaryForm::multiple_offset(w.columns));
    const float unit = *reinterpret_cast<const float*>(x + TernaryForm::unit_offset(w.columns));
    float scale[kTileRows], offset[kTileRows];
    load_group(w, kTileRows, tile, 0, w.zero_point, scale, offset);
    for (int r = 0; r < kTileRows; ++r) {
      int32_t total = 0;
      for (int64_t run = 0; run < runs; ++run) {
        const uint8_t byte = codes[run * kTileRows + row_place(kTileRows, r)];
        const int a = triple_of(byte) - 13;
        const int8_t* triples = reinterpret_cast<const int8_t*>(x + run * 32);
        const int entry = a < 0 ? -triples[-a] : triples[a];
        total += (entry + x[run * 32 + 16 + pair_of(byte)] - 128) * multiples[run / TernaryForm::kRunsPerStep];
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
