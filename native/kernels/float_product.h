// Products on plain f32 activations: dense matrices, FP8, and low-bit matrices in exact mode.
//
// All turn 32 k of a tile into f32 and accumulate; one FMA per weight and token, k ascending, for any number of tokens.
#pragma once

#include "kernels/packed_codes.h"
#include "kernels/params.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// Tokens whose sums are held at once, in 32 KB of L2 cache. They share the work of turning a block into floats.
inline constexpr int kFloatTokens = 128;

// Vectors of rows, then what is left.
inline void store_rows(const MatmulArgs& args, int64_t token, int64_t row, int count, const float* sum) {
  float* y = args.y + token * args.y_stride + row;
  int r = 0;
  for (; r + kLanes <= count; r += kLanes) {
    Floats value = load(sum + r);
    if (args.bias) value += load(args.bias + row + r);
    store(y + r, args.accumulate ? load(y + r) + value : value);
  }
  for (; r < count; ++r) {
    float value = sum[r];
    if (args.bias) value += args.bias[row + r];
    y[r] = args.accumulate ? y[r] + value : value;
  }
}

// sums[n, row] += weights[k, row] * x[n, k] over 32 k, for kTokens tokens whose activations are x_stride floats apart.
template <int kTileRows, int kTokens>
[[gnu::noinline]] void add_block(const float* weights, const float* x, int64_t x_stride, float* sums) {
  constexpr int kVectors = kTileRows / kLanes;
  Floats acc[kTokens][kVectors];
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[n][v] = load(sums + n * kTileRows + v * kLanes);
  }
  for (int k = 0; k < 32; ++k, weights += kTileRows) {
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Floats activation = broadcast(x[n * x_stride + k]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        acc[n][v] = multiply_add(load(weights + v * kLanes), activation, acc[n][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(sums + n * kTileRows + v * kLanes, acc[n][v]);
  }
}

// fill(tile, block, room) returns weights[32][kTileRows]: in the room that it is given, or where they lie as they are.
template <int kTileRows, typename Fill>
void float_product(int64_t rows, int64_t columns, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                   int64_t token_begin, int64_t token_end, Fill fill) {
  // Sums of 4 or 2 tokens and 4 vectors of rows take half of the registers, or all but what a load needs.
  constexpr int kTogether = kRegisters == 32 ? 4 : 2;
  alignas(64) float room[32 * kTileRows];
  alignas(64) float sums[kFloatTokens * kTileRows];
  const int64_t x_stride = args.x_stride / 4;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const int64_t left = rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int64_t first = token_begin; first < token_end; first += kFloatTokens) {
      const int count = static_cast<int>(token_end - first < kFloatTokens ? token_end - first : kFloatTokens);
      for (int i = 0; i < count * kTileRows; ++i) sums[i] = 0.0f;
      const float* x = reinterpret_cast<const float*>(args.x + first * args.x_stride);
      for (int64_t block = 0; block < columns / 32; ++block, x += 32) {
        const float* weights = fill(tile, block, room);
        int n = 0;
        for (; n + kTogether <= count; n += kTogether) {
          add_block<kTileRows, kTogether>(weights, x + n * x_stride, x_stride, sums + n * kTileRows);
        }
        for (; n < count; ++n) add_block<kTileRows, 1>(weights, x + n * x_stride, x_stride, sums + n * kTileRows);
      }
      for (int n = 0; n < count; ++n) store_rows(args, first + n, tile * kTileRows, valid, sums + n * kTileRows);
    }
  }
}

inline void dense_to_floats(DenseType type, const uint8_t* data, int64_t at, int count, float* out) {
  const ParamKind kind = param_of(type);
  read_values(kind, data + at * format_of(kind).bytes, count, out);
}

// Weights as floats: in the room, or where they lie.
inline const float* dense_block(const Dense& w, int64_t at, int count, float* room) {
  if (w.type == DenseType::f32) return reinterpret_cast<const float*>(w.data) + at;
  dense_to_floats(w.type, w.data, at, count, room);
  return room;
}

template <int kTileRows>
void dense_product(const Dense& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  float_product<kTileRows>(w.rows, w.columns, args, tile_begin, tile_end, token_begin, token_end,
                           [&](int64_t tile, int64_t block, float* room) {
                             return dense_block(w, (tile * w.columns + block * 32) * kTileRows, 32 * kTileRows, room);
                           });
}

template <int kTileRows>
void dense_row(const Dense& w, int64_t row, float* out) {
  const int64_t tile = row / kTileRows, r = row % kTileRows;
  for (int64_t k = 0; k < w.columns; ++k) {
    dense_to_floats(w.type, w.data, (tile * w.columns + k) * kTileRows + r, 1, out + k);
  }
}

// One weight. scale and offset: as load_group gives them for center 0 (a codebook's zero point is 0).
inline float weight_of(const LowBit& w, uint8_t code, float scale, float offset) {
  if (w.kind == CodeKind::float8) return scale * e4m3_to_float(code);
  if (w.kind != CodeKind::codebook) return multiply_add(scale, static_cast<float>(code), offset);
  const float other = w.has_second ? offset * w.second.values[code & 15] : offset;
  return multiply_add(scale, w.codebook.values[code & 15], other);
}

template <typename Codes>
void exact_product(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  constexpr int kTileRows = Codes::kTileRows;
  const int64_t segment = w.group_size < 32 ? w.group_size : 32;
  float_product<kTileRows>(
      w.rows, w.columns, args, tile_begin, tile_end, token_begin, token_end,
      [&](int64_t tile, int64_t block, float* weights) -> const float* {
        uint8_t codes[kTileRows * 32];
        float scale[kTileRows], offset[kTileRows];
        unpack_block<Codes>(w, tile, block, codes);
        for (int64_t first = 0; first < 32; first += segment) {
          load_group(w, kTileRows, tile, (block * 32 + first) / w.group_size, 0.0f, scale, offset);
          for (int64_t k = first; k < first + segment; ++k) {
            for (int r = 0; r < kTileRows; ++r) {
              weights[k * kTileRows + r] = weight_of(w, codes[r * 32 + k], scale[r], offset[r]);
            }
          }
        }
        return weights;
      });
}

// E4M3 as the bits of half floats, which stand for 2^-8 of it: a half's exponent is counted from 8 lower. The sign, copied
// into all higher bits, comes to its place with one shift, and once too often.
inline void e4m3_to_halves(const uint8_t* in, int count, uint16_t* out) {
  for (int i = 0; i < count; ++i) {
    const uint16_t half = static_cast<uint16_t>(static_cast<int8_t>(in[i]) << 7) & 0xbfff;
    out[i] = static_cast<uint16_t>(half | ((half & 0x7fff) == 0x3f80 ? 0x7e00 : 0));  // NaN
  }
}

// FP8 weights lie in the order in which their floats are wanted.
template <int kTileRows>
void float8_product(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                    int64_t token_end) {
  const int64_t segment = w.group_size < 32 ? w.group_size : 32;
  float_product<kTileRows>(
      w.rows, w.columns, args, tile_begin, tile_end, token_begin, token_end,
      [&](int64_t tile, int64_t block, float* weights) -> const float* {
        float scale[kTileRows], offset[kTileRows];
        uint16_t halves[32 * kTileRows];
        e4m3_to_halves(w.codes + (tile * w.columns + block * 32) * kTileRows, 32 * kTileRows, halves);
        for (int64_t first = 0; first < 32; first += segment) {
          load_group(w, kTileRows, tile, (block * 32 + first) / w.group_size, 0.0f, scale, offset);
          for (float& value : scale) value *= 256.0f;
          for (int64_t k = first * kTileRows; k < (first + segment) * kTileRows; k += kTileRows) {
            for (int r = 0; r < kTileRows; r += kLanes) {
              store(weights + k + r, load_half(halves + k + r) * load(scale + r));
            }
          }
        }
        return weights;
      });
}

template <typename Codes>
void matmul_lowbit_exact(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                         int64_t token_begin, int64_t token_end) {
  if (w.kind == CodeKind::float8) {
    return float8_product<Codes::kTileRows>(w, args, tile_begin, tile_end, token_begin, token_end);
  }
  exact_product<Codes>(w, args, tile_begin, tile_end, token_begin, token_end);
}

template <typename Codes>
void lowbit_row(const LowBit& w, int64_t row, float* out) {
  constexpr int kTileRows = Codes::kTileRows;
  const int64_t tile = row / kTileRows;
  const int r = static_cast<int>(row % kTileRows);
  const uint8_t* in = w.codes + tile * Codes::packed_tile_bytes(w.kind, w.bits, w.columns);
  float scale[kTileRows], offset[kTileRows];
  int64_t loaded = -1;
  for (int64_t block = 0; block < w.columns / 32; ++block) {
    uint8_t codes[32];
    Codes::unpack_row_block(w.kind, w.bits, in, block, r, codes);
    for (int k = 0; k < 32; ++k) {
      const int64_t group = (block * 32 + k) / w.group_size;
      if (group != loaded) load_group(w, kTileRows, tile, group, 0.0f, scale, offset);
      loaded = group;
      out[block * 32 + k] = weight_of(w, codes[k], scale[r], offset[r]);
    }
  }
}

}  // namespace lutmac::LUTMAC_TARGET
