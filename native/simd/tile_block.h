// Products of bf16 by the matrix unit, of up to 32 rows and 32 columns at a time.
#pragma once

#include "simd/tiles.h"

namespace lutmac::LUTMAC_TARGET {

inline constexpr int kTileStep = 32;  // k of a tile
inline constexpr int kWholeTileBytes = kMatrixTileRows * kMatrixTileBytes;

// Tiles of 16 tokens and tiles of 16 rows of a matrix: one or two of either.
struct TileBlock {
  const uint8_t* activations[2] = {};  // by tile of tokens, [16 tokens][steps] 32 bf16
  int64_t activation_stride = 0;       // bytes
  const uint8_t* weights = nullptr;    // [steps][2 tiles of rows]
  int steps = 0;
  float* sums[2] = {};     // by tile of tokens, [16 tokens][32 rows]
  int64_t sum_stride = 0;  // bytes
};

// sums (+)= products. With four tiles of sums none waits for the one before it (52 cycles).
template <int kTokenTiles, int kRowTiles>
[[gnu::noinline]] void multiply_tiles(MatrixTiles& tiles, const TileBlock& block, bool add) {
  if (add) {
    tiles.load_sums<0, 0>(block.sums[0], block.sum_stride);
    if constexpr (kRowTiles == 2) tiles.load_sums<0, 1>(block.sums[0] + 16, block.sum_stride);
    if constexpr (kTokenTiles == 2) tiles.load_sums<1, 0>(block.sums[1], block.sum_stride);
    if constexpr (kTokenTiles == 2 && kRowTiles == 2) tiles.load_sums<1, 1>(block.sums[1] + 16, block.sum_stride);
  } else {
    tiles.clear_sums<0, 0>();
    if constexpr (kRowTiles == 2) tiles.clear_sums<0, 1>();
    if constexpr (kTokenTiles == 2) tiles.clear_sums<1, 0>();
    if constexpr (kTokenTiles == 2 && kRowTiles == 2) tiles.clear_sums<1, 1>();
  }
  for (int step = 0; step < block.steps; ++step) {
    const uint8_t* weights = block.weights + step * 2 * kWholeTileBytes;
    tiles.load_weights<0>(weights);
    tiles.load_activations<0>(block.activations[0] + step * kMatrixTileBytes, block.activation_stride);
    tiles.multiply<0, 0>();
    if constexpr (kRowTiles == 2) {
      tiles.load_weights<1>(weights + kWholeTileBytes);
      tiles.multiply<0, 1>();
    }
    if constexpr (kTokenTiles == 2) {
      tiles.load_activations<1>(block.activations[1] + step * kMatrixTileBytes, block.activation_stride);
      tiles.multiply<1, 0>();
      if constexpr (kRowTiles == 2) tiles.multiply<1, 1>();
    }
  }
  tiles.store_sums<0, 0>(block.sums[0], block.sum_stride);
  if constexpr (kRowTiles == 2) tiles.store_sums<0, 1>(block.sums[0] + 16, block.sum_stride);
  if constexpr (kTokenTiles == 2) tiles.store_sums<1, 0>(block.sums[1], block.sum_stride);
  if constexpr (kTokenTiles == 2 && kRowTiles == 2) tiles.store_sums<1, 1>(block.sums[1] + 16, block.sum_stride);
}

}  // namespace lutmac::LUTMAC_TARGET
