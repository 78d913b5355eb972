// The matrix unit (AMX): tiles of 16 rows of 64 bytes, and products of bf16 that are summed in f32.
//
// The sums of up to 32 tokens and 32 rows of a matrix are four tiles, and what is multiplied are two and two more: all eight that
// there are. Where the instructions are lacking, or are emulated, plain C++ does the same, to the bit.
//
// After Intel's Architecture Instruction Set Extensions Programming Reference, TDPBF16PS; what it leaves open (that even and odd k
// are two chains over the whole tile, added to each other and then to the sum) was found on a processor.
#pragma once

#include "simd/flush.h"

#if defined(__AMX_BF16__)
#include <immintrin.h>
#endif

namespace lutmac::LUTMAC_TARGET {

inline constexpr int kMatrixTileRows = 16, kMatrixTileBytes = 64;

// Of tokens i = 0 and 1 and matrix rows j = 0 and 1, 16 each:
//   activations i  [tokens][16 pairs of bf16]
//   weights j      [16 pairs][16 rows][2 bf16]
//   sums i, j      [tokens][16 rows] f32
#if defined(__AMX_BF16__)

// Configures the calling thread's tiles for `tokens` tokens (1 to 16) in each tile of activations and sums, and releases them in
// the end. So a thread that sleeps has none, whose contents the system would have to keep.
class MatrixTiles {
 public:
  explicit MatrixTiles(int tokens) {
    struct alignas(64) Configuration {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {};
    } configuration;
    for (int tile = 0; tile < 8; ++tile) configuration.rows[tile] = static_cast<uint8_t>(tile < 6 ? tokens : kMatrixTileRows);
    asm volatile("" : : "r"(&configuration) : "memory");  // GCC 12 takes the instruction to read 8 bytes
    _tile_loadconfig(&configuration);
  }
  ~MatrixTiles() { _tile_release(); }
  MatrixTiles(const MatrixTiles&) = delete;
  MatrixTiles& operator=(const MatrixTiles&) = delete;

  // GCC 12 does not say that loads read memory: what was written before them is to be there.
  template <int i>
  void load_activations(const uint8_t* from, int64_t stride) {
    keep_apart();
    if constexpr (i == 0) _tile_loadd(4, from, stride);
    if constexpr (i == 1) _tile_loadd(5, from, stride);
  }
  template <int j>
  void load_weights(const uint8_t* from) {
    keep_apart();
    if constexpr (j == 0) _tile_loadd(6, from, kMatrixTileBytes);
    if constexpr (j == 1) _tile_loadd(7, from, kMatrixTileBytes);
  }
  template <int i, int j>
  void load_sums(const float* from, int64_t stride) {
    keep_apart();
    if constexpr (i == 0 && j == 0) _tile_loadd(0, from, stride);
    if constexpr (i == 0 && j == 1) _tile_loadd(1, from, stride);
    if constexpr (i == 1 && j == 0) _tile_loadd(2, from, stride);
    if constexpr (i == 1 && j == 1) _tile_loadd(3, from, stride);
  }
  template <int i, int j>
  void clear_sums() {
    if constexpr (i == 0 && j == 0) _tile_zero(0);
    if constexpr (i == 0 && j == 1) _tile_zero(1);
    if constexpr (i == 1 && j == 0) _tile_zero(2);
    if constexpr (i == 1 && j == 1) _tile_zero(3);
  }
  template <int i, int j>
  void store_sums(float* to, int64_t stride) {
    if constexpr (i == 0 && j == 0) _tile_stored(0, to, stride);
    if constexpr (i == 0 && j == 1) _tile_stored(1, to, stride);
    if constexpr (i == 1 && j == 0) _tile_stored(2, to, stride);
    if constexpr (i == 1 && j == 1) _tile_stored(3, to, stride);
    keep_apart();
  }
  // sums i, j += activations i x weights j.
  template <int i, int j>
  void multiply() {
    if constexpr (i == 0 && j == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (i == 0 && j == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (i == 1 && j == 0) _tile_dpbf16ps(2, 5, 6);
    if constexpr (i == 1 && j == 1) _tile_dpbf16ps(3, 5, 7);
  }
};

#else

class MatrixTiles {
 public:
  explicit MatrixTiles(int tokens) : tokens_(tokens) {}

  template <int i>
  void load_activations(const uint8_t* from, int64_t stride) {
    for (int row = 0; row < tokens_; ++row) __builtin_memcpy(activations_[i][row], from + row * stride, kMatrixTileBytes);
    tiny_activations_[i] = any_tiny_number(activations_[i], tokens_);
  }
  template <int j>
  void load_weights(const uint8_t* from) {
    __builtin_memcpy(weights_[j], from, sizeof(weights_[j]));
    tiny_weights_[j] = any_tiny_number(weights_[j], kMatrixTileRows);
  }
  template <int i, int j>
  void load_sums(const float* from, int64_t stride) {
    for (int row = 0; row < tokens_; ++row) __builtin_memcpy(sums_[i][j][row], from + row * (stride / 4), kMatrixTileBytes);
  }
  template <int i, int j>
  void clear_sums() {
    __builtin_memset(sums_[i][j], 0, sizeof(sums_[i][j]));
  }
  template <int i, int j>
  void store_sums(float* to, int64_t stride) {
    for (int row = 0; row < tokens_; ++row) __builtin_memcpy(to + row * (stride / 4), sums_[i][j][row], kMatrixTileBytes);
  }
  template <int i, int j>
  void multiply() {
    for (int row = 0; row < tokens_; ++row) {
      for (int lane = 0; lane < 16; lane += kLanes) {
        float* sums = sums_[i][j][row] + lane;
        const Floats before = load(sums);
        // As if there were no denormals; once more, number by number, where there are any.
        const bool tiny = multiply_lanes(activations_[i][row], weights_[j], lane, before, sums);
        if (tiny || tiny_activations_[i] || tiny_weights_[j]) multiply_flushing(activations_[i][row], weights_[j], lane, before, sums);
      }
    }
  }

 private:
  static float lower(uint32_t pair) { return as_float(pair << 16); }
  static float upper(uint32_t pair) { return as_float(pair & 0xffff0000u); }
  static float as_float(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, sizeof(x));
    return x;
  }
  // To each lane all ones where x is a denormal or the smallest normal number.
  static Bits tiny(Bits x) { return (Bits)((x & 0x7fffffffu) - 1u < 0x00800000u); }
  static bool any(Bits x) {
    for (int i = 0; i < kLanes; ++i) {
      if (x[i] != 0) return true;
    }
    return false;
  }
  static bool any_tiny_number(const uint32_t (*rows)[16], int count) {
    Bits found{};
    for (int i = 0; i < count * 16; i += kLanes) {
      const Bits pairs = load_as<Bits>(rows[0] + i);
      found |= tiny(pairs << 16) | tiny(pairs & 0xffff0000u);
    }
    return any(found);
  }

  // Returns whether the result or something on the way to it was tiny.
  static bool multiply_lanes(const uint32_t* activations, const uint32_t (*weights)[16], int lane, Floats before, float* sums) {
    Floats even{}, odd{};
    Bits found{};
    for (int pair = 0; pair < 16; ++pair) {
      const Bits both = load_as<Bits>(weights[pair] + lane);
      even = multiply_add(broadcast(lower(activations[pair])), (Floats)(both << 16), even);
      odd = multiply_add(broadcast(upper(activations[pair])), (Floats)(both & 0xffff0000u), odd);
      found |= tiny((Bits)even) | tiny((Bits)odd);
    }
    const Floats product = even + odd, after = before + product;
    store(sums, after);
    return any(found | tiny((Bits)before) | tiny((Bits)product) | tiny((Bits)after));
  }

  static void multiply_flushing(const uint32_t* activations, const uint32_t (*weights)[16], int lane, Floats before, float* sums) {
    for (int i = 0; i < kLanes; ++i) {
      float even = 0.0f, odd = 0.0f;
      for (int pair = 0; pair < 16; ++pair) {
        const uint32_t both = weights[pair][lane + i];
        even = flushed_multiply_add(lower(activations[pair]), lower(both), even);
        odd = flushed_multiply_add(upper(activations[pair]), upper(both), odd);
      }
      sums[i] = flushed_add(before[i], flushed_add(even, odd));
    }
  }

  int tokens_;
  bool tiny_activations_[2] = {}, tiny_weights_[2] = {};
  alignas(64) uint32_t activations_[2][16][16];
  alignas(64) uint32_t weights_[2][16][16];
  alignas(64) float sums_[2][2][16][16];
};

#endif

}  // namespace lutmac::LUTMAC_TARGET
