// Products of dense matrices on activations in bf16, by the processor's dot products of pairs, summed in f32.
//
// Weights are rounded as they are read, so the matrix stays what it is, and exact mode multiplies it as it is. One dot product per pair
// of weights and token, pairs in order, for any number of tokens; between blocks of k sums are stored and loaded, which changes no bit.
#pragma once

#include "kernels/bfloat16_pairs.h"
#include "kernels/float_product.h"

namespace lutmac::LUTMAC_TARGET {

// A block of weights: 64 rows and 128 k of bf16 are 16 KB, half of the L1 cache. The rest is for a few tokens' activations and sums.
inline constexpr int kPairedColumns = 128;

// Tokens that share the rounding of a block, whose sums take 64 KB. Rounding takes 6% of a product of 80 tokens.
inline constexpr int kPairedTokens = 256;

// weights: [32 k][kTileRows]. out: [pair][kTileRows][2 bf16].
template <int kTileRows>
void pair_weights(const float* weights, uint8_t* out) {
  for (int pair = 0; pair < kStepPairs; ++pair) {
    for (int r = 0; r < kTileRows; r += kLanes) {
      const Floats low = load(weights + pair * kTileRows + r), high = load(weights + (pair + kStepPairs) * kTileRows + r);
      store(reinterpret_cast<int32_t*>(out + (pair * kTileRows + r) * 4), (Ints)join_bfloat16(low, high));
    }
  }
}

// sums[n, row] += weights[pair, row] . x[n, pair] over so many pairs, for kTokens tokens x_stride bytes apart.
template <int kTileRows, int kTokens>
[[gnu::noinline]] void add_pairs(const uint8_t* weights, const uint8_t* x, int64_t x_stride, int pairs, float* sums) {
  constexpr int kVectors = kTileRows / kLanes;
  Floats acc[kTokens][kVectors];
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[n][v] = load(sums + n * kTileRows + v * kLanes);
  }
  for (int pair = 0; pair < pairs; ++pair, x += 4, weights += kTileRows * 4) {
    Bits of_rows[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) of_rows[v] = (Bits)load(reinterpret_cast<const int32_t*>(weights) + v * kLanes);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Bits activations = (Bits)broadcast_dword(x + n * x_stride);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) add_dot_bfloat16(acc[n][v], of_rows[v], activations);
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(sums + n * kTileRows + v * kLanes, acc[n][v]);
  }
}

// Of any number of tokens.
template <int kTileRows>
void add_pairs_of(int tokens, const uint8_t* weights, const uint8_t* x, int64_t x_stride, int pairs, float* sums) {
  constexpr int kTogether = 4;
  int n = 0;
  for (; n + kTogether <= tokens; n += kTogether) {
    add_pairs<kTileRows, kTogether>(weights, x + n * x_stride, x_stride, pairs, sums + n * kTileRows);
  }
  for (; n < tokens; ++n) add_pairs<kTileRows, 1>(weights, x + n * x_stride, x_stride, pairs, sums + n * kTileRows);
}

// args.x: activations in the form bf16.
template <int kTileRows>
void dense_bfloat16_product(const Dense& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                            int64_t token_end) {
  alignas(64) float room[kStepColumns * kTileRows];
  alignas(64) uint8_t weights[kPairedColumns * kTileRows * 2];
  alignas(64) float sums[kPairedTokens * kTileRows];
  // Equal parts: a short one would have the weights rounded for few tokens.
  const int64_t tokens = token_end - token_begin;
  if (tokens == 0) return;
  const int64_t parts = (tokens + kPairedTokens - 1) / kPairedTokens;
  const int64_t chunk = (tokens + parts - 1) / parts;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int64_t first = token_begin; first < token_end; first += chunk) {
      const int count = static_cast<int>(token_end - first < chunk ? token_end - first : chunk);
      __builtin_memset(sums, 0, sizeof(float) * count * kTileRows);
      for (int64_t k = 0; k < w.columns; k += kPairedColumns) {
        const int columns = static_cast<int>(w.columns - k < kPairedColumns ? w.columns - k : kPairedColumns);
        for (int step = 0; step < columns; step += kStepColumns) {
          const int64_t at = (tile * w.columns + k + step) * kTileRows;
          pair_weights<kTileRows>(dense_block(w, at, kStepColumns * kTileRows, room), weights + step * kTileRows * 2);
        }
        add_pairs_of<kTileRows>(count, weights, args.x + first * args.x_stride + k * 2, args.x_stride, columns / 2, sums);
      }
      for (int n = 0; n < count; ++n) store_rows(args, first + n, tile * kTileRows, valid, sums + n * kTileRows);
    }
  }
}

}  // namespace lutmac::LUTMAC_TARGET
