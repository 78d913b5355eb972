// The definition of correct: every kernel in plain C++, for any processor.
//
// Packing: tiles of 16 rows. Codes of 1 to 7 bits: [tile][32 k][row][plane][4 bytes], the bytes a string of 32 bits, bit
// i for activation i; so a nibble is the index of one LUT group. 8 bits: [tile][32 k][row][32 bytes]. Codebooks and ternary
// codes: see plain_codes.h.
#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/plain_codes.h"
#include "kernels/prepare.h"
#include "kernels/prepare_ternary.h"

namespace lutmac::portable {
namespace {

constexpr int kTileRows = 16;
using Codes = PlainCodes<kTileRows>;

int64_t packed_tile_bytes(CodeKind kind, int bits, int64_t columns) {
  return kind == CodeKind::affine ? columns * kTileRows / 8 * bits : Codes::packed_tile_bytes(kind, columns);
}

void pack_tile(CodeKind kind, int bits, int64_t columns, const uint8_t* codes, uint8_t* out) {
  if (kind != CodeKind::affine) return Codes::pack_tile(kind, columns, codes, out);
  for (int64_t block = 0; block < columns / 32; ++block) {
    for (int r = 0; r < kTileRows; ++r) {
      const uint8_t* q = codes + r * columns + block * 32;
      if (bits == 8) {
        std::memcpy(out, q, 32);
        out += 32;
        continue;
      }
      for (int plane = 0; plane < bits; ++plane, out += 4) {
        for (int byte = 0; byte < 4; ++byte) {
          unsigned value = 0;
          for (int i = 0; i < 8; ++i) value |= (q[byte * 8 + i] >> plane & 1u) << i;
          out[byte] = static_cast<uint8_t>(value);
        }
      }
    }
  }
}

// The 32 codes of one row of a block.
void unpack_row_block(const LowBit& w, int64_t tile, int64_t block, int row, uint8_t* codes) {
  if (w.kind != CodeKind::affine) return Codes::unpack_row_block(w, tile, block, row, codes);
  const uint8_t* tile_codes = w.codes + tile * packed_tile_bytes(w.kind, w.bits, w.columns);
  const uint8_t* in = tile_codes + (block * kTileRows + row) * 4 * w.bits;
  for (int k = 0; k < 32; ++k) {
    if (w.bits == 8) {
      codes[k] = in[k];
      continue;
    }
    unsigned code = 0;
    for (int plane = 0; plane < w.bits; ++plane) code |= (in[plane * 4 + k / 8] >> (k % 8) & 1u) << plane;
    codes[k] = static_cast<uint8_t>(code);
  }
}

void unpack_block(const LowBit& w, int64_t tile, int64_t block, uint8_t* codes) {
  for (int r = 0; r < kTileRows; ++r) unpack_row_block(w, tile, block, r, codes + r * 32);
}

void prepare(Form form, const float* x, int64_t k, uint8_t* out) {
  if (form == Form::plain) {
    std::memcpy(out, x, static_cast<size_t>(k) * 4);
  } else if (form == Form::tables) {
    prepare_tables<PlainTables>(x, k, out);
  } else if (form == Form::ternary) {
    prepare_ternary<PlainRuns>(x, k, out);
  } else {
    prepare_integers(x, k, out, [](int64_t at, const int32_t* values, uint8_t* units) {
      for (int i = 0; i < 4; ++i) reinterpret_cast<int16_t*>(units)[at + i] = static_cast<int16_t>(values[i]);
    });
  }
}

// Sum over planes p and LUT groups of 2^p * (table entry - 128), LUT groups [first, last) of a block.
int32_t look_up(const uint8_t* planes, int bits, const uint8_t* tables, int first, int last) {
  int32_t total = 0;
  for (int plane = 0; plane < bits; ++plane) {
    int32_t sum = 0;
    for (int group = first; group < last; ++group) {
      const int index = planes[plane * 4 + group / 2] >> (group % 2 * 4) & 15;
      sum += tables[group * 16 + index];
    }
    total += (sum - 128 * (last - first)) * (1 << plane);
  }
  return total;
}

// Sum of (code - 128) * integer over activations [first, last) of a block.
int32_t multiply(const uint8_t* codes, const int16_t* x, int first, int last) {
  int32_t sum = 0;
  for (int k = first; k < last; ++k) sum += (codes[k] - 128) * x[k];
  return sum;
}

// One block of one row: the integer sum of a segment, times the step of its form.
float segment_sum(const LowBit& w, const uint8_t* codes, const uint8_t* x, int64_t block, int first, int count) {
  const int64_t k = w.columns;
  if (w.bits == 8) {
    const float step = reinterpret_cast<const float*>(x + IntegerForm::step_offset(k))[block];
    const int16_t* integers = reinterpret_cast<const int16_t*>(x) + block * 32;
    return static_cast<float>(multiply(codes, integers, first, first + count)) * step;
  }
  const float half_step = reinterpret_cast<const float*>(x + TableForm::scale_offset(k))[block];
  return static_cast<float>(look_up(codes, w.bits, x + block * 128, first / 4, (first + count) / 4)) * half_step;
}

// Sum of the activations of a segment, as the form holds them.
float activation_sum(const LowBit& w, const uint8_t* x, int64_t block, int first, int count) {
  const int64_t k = w.columns;
  if (w.bits != 8) {
    return count == 32 ? reinterpret_cast<const float*>(x + TableForm::sum32_offset(k))[block]
                       : reinterpret_cast<const float*>(x + TableForm::sum16_offset(k))[block * 2 + first / 16];
  }
  const float step = reinterpret_cast<const float*>(x + IntegerForm::step_offset(k))[block];
  const int32_t* sum16 = reinterpret_cast<const int32_t*>(x + IntegerForm::sum_offset(k)) + block * 2;
  const int32_t sum = count == 32 ? sum16[0] + sum16[1] : sum16[first / 16];
  return static_cast<float>(sum) * step;
}

void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  if (w.kind != CodeKind::affine) return Codes::matmul_lowbit(w, args, tile_begin, tile_end, token_begin, token_end);
  const int segment = w.group_size < 32 ? 16 : 32;
  const int64_t row_bytes = 4 * w.bits, blocks = w.columns / 32;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const uint8_t* codes = w.codes + tile * packed_tile_bytes(w.kind, w.bits, w.columns);
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int64_t token = token_begin; token < token_end; ++token) {
      const uint8_t* x = args.x + token * args.x_stride;
      float sum[kTileRows] = {}, group_sum[kTileRows] = {}, scale[kTileRows], offset[kTileRows];
      for (int64_t block = 0; block < blocks; ++block) {
        for (int first = 0; first < 32; first += segment) {
          const int64_t k = block * 32 + first, group = k / w.group_size;
          if (k % w.group_size == 0) load_group(w, kTileRows, tile, group, center_of(w.bits), scale, offset);
          const bool last = (k + segment) % w.group_size == 0 || k + segment == w.columns;
          const float activations = activation_sum(w, x, block, first, segment);
          for (int r = 0; r < kTileRows; ++r) {
            group_sum[r] += segment_sum(w, codes + (block * kTileRows + r) * row_bytes, x, block, first, segment);
            sum[r] += offset[r] * activations;
            if (last) {
              sum[r] += scale[r] * group_sum[r];
              group_sum[r] = 0.0f;
            }
          }
        }
      }
      store_rows(args, token, tile * kTileRows, valid, sum);
    }
  }
}

void matmul_lowbit_exact(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                         int64_t token_begin, int64_t token_end) {
  if (w.kind == CodeKind::float8) {
    return float8_product<kTileRows>(w, args, tile_begin, tile_end, token_begin, token_end);
  }
  exact_product<kTileRows>(w, args, tile_begin, tile_end, token_begin, token_end, unpack_block);
}

void unpack_row(const LowBit& w, int64_t row, float* out) { lowbit_row<kTileRows>(w, row, out, unpack_row_block); }

}  // namespace

const Kernels kKernels = {kTileRows,     prepare,   packed_tile_bytes, pack_tile,
                          matmul_lowbit, matmul_lowbit_exact, dense_product<kTileRows>,
                          unpack_row,    dense_row<kTileRows>};

}  // namespace lutmac::portable
