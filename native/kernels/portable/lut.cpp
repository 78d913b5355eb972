// The definition of correct: every kernel in plain C++, for any processor.
#include <cmath>

#include "kernels/kernel_table.h"
#include "kernels/plain_products.h"
#include "kernels/portable/packing.h"

namespace lutmac::portable {
namespace {

constexpr int kTileRows = Codes::kTileRows;

// The arithmetic of one block; vector targets differ in the order of the sums.
struct PlainTables {
  static float sum16(const float* x) {
    float sum = 0.0f;
    for (int i = 0; i < 16; ++i) sum += x[i];
    return sum;
  }

  // The largest entry of any of the 8 LUT groups: an entry's bound is the sum of magnitudes.
  static float largest_entry(const float* x) {
    float largest = 0.0f;
    for (int g = 0; g < 32; g += 4) {
      const float sum = (std::fabs(x[g]) + std::fabs(x[g + 1])) + (std::fabs(x[g + 2]) + std::fabs(x[g + 3]));
      largest = sum > largest ? sum : largest;
    }
    return largest;
  }

  static void store_table(const float* x, float inverse, uint8_t* table) {
    const float x0 = x[0] * inverse, x1 = x[1] * inverse, x2 = x[2] * inverse, x3 = x[3] * inverse;
    for (int e = 0; e < 16; ++e) {
      const float sum = (kSigns[0][e] * x0 + kSigns[1][e] * x1) + (kSigns[2][e] * x2 + kSigns[3][e] * x3);
      // Entries lie in 1 .. 255, so that truncation of the shifted value rounds to nearest.
      table[e] = static_cast<uint8_t>(static_cast<int32_t>(sum + 128.5f));
    }
  }
};

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

// One block of one row: the integer sum of a segment, times the scale of its form.
float segment_sum(const LowBit& w, const uint8_t* codes, const uint8_t* x, int64_t block, int first, int count) {
  const int64_t k = w.columns;
  if (w.bits == 8) {
    const float x_scale = reinterpret_cast<const float*>(x + IntegerForm::scale_offset(k))[block];
    const int16_t* integers = reinterpret_cast<const int16_t*>(x) + block * 32;
    return static_cast<float>(multiply(codes, integers, first, first + count)) * x_scale;
  }
  const float half_scale = reinterpret_cast<const float*>(x + TableForm::scale_offset(k))[block];
  return static_cast<float>(look_up(codes, w.bits, x + block * 128, first / 4, (first + count) / 4)) * half_scale;
}

// Sum of the activations of a segment, as the form holds them.
float activation_sum(const LowBit& w, const uint8_t* x, int64_t block, int first, int count) {
  const int64_t k = w.columns;
  if (w.bits != 8) {
    return count == 32 ? reinterpret_cast<const float*>(x + TableForm::sum32_offset(k))[block]
                       : reinterpret_cast<const float*>(x + TableForm::sum16_offset(k))[block * 2 + first / 16];
  }
  const float x_scale = reinterpret_cast<const float*>(x + IntegerForm::scale_offset(k))[block];
  const int32_t* sum16 = reinterpret_cast<const int32_t*>(x + IntegerForm::sum_offset(k)) + block * 2;
  const int32_t sum = count == 32 ? sum16[0] + sum16[1] : sum16[first / 16];
  return static_cast<float>(sum) * x_scale;
}

void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  if (w.kind != CodeKind::affine) return PlainProducts<Codes>::matmul_lowbit(w, args, tile_begin, tile_end, token_begin, token_end);
  const int segment = w.group_size < 32 ? 16 : 32;
  const int64_t row_bytes = 4 * w.bits, blocks = w.columns / 32;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const uint8_t* codes = w.codes + tile * Codes::packed_tile_bytes(w.kind, w.bits, w.columns);
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

}  // namespace

const Kernels kKernels = kernel_table<Codes>(prepare<PlainTables, PlainTernaryTables, lay_as_words>, matmul_lowbit);

}  // namespace lutmac::portable
