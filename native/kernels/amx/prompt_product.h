// Products of prompts' rows: activations in bf16 by weights that are made bf16, summed in f32.
//
// A sum takes 32 k at a time, in order: the even and the odd chain of their pairs, added to each other, and then to the sum (see
// simd/tiles.h). Between blocks of k sums are stored and loaded, so neither blocks nor tokens that are taken together change a
// bit. Few tokens are multiplied without tiles, to the same bits.
#pragma once

#include "kernels/amx/weights.h"
#include "kernels/float_product.h"
#include "simd/tile_block.h"

namespace lutmac::LUTMAC_TARGET {

// Up to so many tokens take AVX-512's FMAs: for 32 weights and a token 2 of them, beside 2 instructions to widen the weights. By
// tiles that costs as much for 1 to 16 tokens, the latency of whose sums (52 cycles for 1,024 weights) is not hidden.
inline constexpr int kFewTokens = 4;

class PromptProduct {
 public:
  // count: of the tokens, at most kPromptTokens.
  PromptProduct(const LowBit& w, const MatmulArgs& args, int64_t token, int count)
      : w_(w), args_(args), x_(args.x + token * args.x_stride), token_(token), count_(count), weights_(w) {}

  void run(int64_t tile_begin, int64_t tile_end) {
    if (count_ <= kFewTokens) {
      for_blocks(tile_begin, tile_end, [this](int64_t k, int columns) { add_few(k, columns); });
    } else {
      MatrixTiles tiles(count_ < 16 ? count_ : 16);
      for_blocks(tile_begin, tile_end, [this, &tiles](int64_t k, int columns) { add_tiles(tiles, k, columns); });
    }
  }

 private:
  static constexpr int kTileRows = Codes::kTileRows, kSumBytes = kBlockRows * 4;

  template <typename Add>
  void for_blocks(int64_t tile_begin, int64_t tile_end, Add add) {
    for (int64_t row = tile_begin * kTileRows; row < tile_end * kTileRows && row < w_.rows; row += kBlockRows) {
      __builtin_memset(sums_, 0, static_cast<size_t>(count_) * kSumBytes);
      __builtin_memset(last_sums_, 0, sizeof(last_sums_));
      for (int64_t k = 0; k < w_.columns; k += kBlockColumns) {
        const int columns = static_cast<int>(w_.columns - k < kBlockColumns ? w_.columns - k : kBlockColumns);
        weights_.unpack(row / kTileRows, static_cast<int>(row % kTileRows), k, columns);
        add(k, columns);
      }
      write(row);
    }
  }

  // Of a token, 32 k from k on.
  const uint8_t* activations(int token, int64_t k) const { return x_ + token * args_.x_stride + k * 2; }

  // Up to 16 tokens.
  struct TokenTile {
    const uint8_t* x;
    float* sums;
  };

  // 32 tokens at a time. What is left beyond 16 is in the last 16, which have sums of their own: some of them are summed twice.
  void add_tiles(MatrixTiles& tiles, int64_t k, int columns) {
    const auto from = [this, k](int token) { return TokenTile{activations(token, k), sums_[token]}; };
    const TokenTile last = {activations(count_ < 16 ? 0 : count_ - 16, k), last_sums_[0]};
    int token = 0;
    for (; token + 32 <= count_; token += 32) multiply<2>(tiles, from(token), from(token + 16), columns);
    const int left = count_ - token;
    if (left > 16) {
      multiply<2>(tiles, from(token), last, columns);
    } else if (left == 16 || count_ < 16) {
      multiply<1>(tiles, from(token), last, columns);
    } else if (left > 0) {
      multiply<1>(tiles, last, last, columns);
    }
  }

  template <int kTiles>
  void multiply(MatrixTiles& tiles, TokenTile first, TokenTile second, int columns) const {
    TileBlock block;
    block.activations[0] = first.x;
    block.activations[1] = second.x;
    block.activation_stride = args_.x_stride;
    block.weights = weights_.step(0);
    block.steps = columns / kStepColumns;
    block.sums[0] = first.sums;
    block.sums[1] = second.sums;
    block.sum_stride = kSumBytes;
    multiply_tiles<kTiles, 2>(tiles, block, true);
  }

  void add_few(int64_t k, int columns) {
    for (int n = 0; n < count_; ++n) {
      for (int at = 0; at < columns; at += 2 * kLanes) {
        const Bits pairs = (Bits)load(reinterpret_cast<const int32_t*>(activations(n, k + at)));
        store(few_[n][0] + at / 2, lower_bfloat16(pairs));
        store(few_[n][1] + at / 2, upper_bfloat16(pairs));
      }
    }
    const FlushDenormals flush;
    const int steps = columns / kStepColumns;
    if (count_ == 1) return add_without_tiles<1>(steps);
    if (count_ == 2) return add_without_tiles<2>(steps);
    count_ == 3 ? add_without_tiles<3>(steps) : add_without_tiles<4>(steps);
  }

  template <int kTokens>
  [[gnu::noinline]] void add_without_tiles(int steps) {
    static_assert(kFewTokens == 4 && kLanes == 16);
    for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const uint8_t* weights = weights_.step(step) + half * kTileBytes;
        Floats lower[kTokens], upper[kTokens];
        for (int n = 0; n < kTokens; ++n) lower[n] = upper[n] = Floats{};
        for (int pair = 0; pair < kStepPairs; ++pair) {
          const Bits both = (Bits)load(reinterpret_cast<const int32_t*>(weights + pair * 64));
#pragma GCC unroll 4
          for (int n = 0; n < kTokens; ++n) {
            const int at = step * kStepPairs + pair;
            lower[n] = chain_multiply_add(lower_bfloat16(both), broadcast(few_[n][0][at]), lower[n]);
            upper[n] = chain_multiply_add(upper_bfloat16(both), broadcast(few_[n][1][at]), upper[n]);
          }
        }
#pragma GCC unroll 4
        for (int n = 0; n < kTokens; ++n) {
          float* sums = sums_[n] + half * 16;
          store(sums, chain_add(load(sums), chain_add(lower[n], upper[n])));
        }
      }
    }
  }

  // 32 rows, from the order of places to their own.
  void write(int64_t row) const {
    const int valid = static_cast<int>(w_.rows - row < kBlockRows ? w_.rows - row : kBlockRows);
    const Ints order = load(kPlaceOfRow);
    const int from_last = count_ < 16 ? count_ : count_ / 16 * 16;
    for (int n = 0; n < count_; ++n) {
      const float* sums = n < from_last || count_ <= kFewTokens ? sums_[n] : last_sums_[n - (count_ - 16)];
      if (valid == kBlockRows) {
        for (int r = 0; r < kBlockRows; r += 16) write_whole(n, row + r, look_up_floats(load(sums + r), order));
      } else {
        alignas(64) float rows[kBlockRows];
        for (int r = 0; r < kBlockRows; r += 16) store(rows + r, look_up_floats(load(sums + r), order));
        store_rows(args_, token_ + n, row, valid, rows);
      }
    }
  }

  // As store_rows does it, 16 rows at once: one by one they would take as long as the products of 1,024 k.
  void write_whole(int n, int64_t row, Floats value) const {
    float* y = args_.y + (token_ + n) * args_.y_stride + row;
    if (args_.bias != nullptr) value += load(args_.bias + row);
    store(y, args_.accumulate ? load(y) + value : value);
  }

  const LowBit& w_;
  const MatmulArgs& args_;
  const uint8_t* x_;
  const int64_t token_;
  const int count_;
  WeightBlock weights_;
  alignas(64) float few_[kFewTokens][2][kBlockColumns / 2];  // activations as floats, the first and the second of each pair
  alignas(64) float last_sums_[16][kBlockRows];
  alignas(64) float sums_[kPromptTokens][kBlockRows];
};

inline void matmul_prompt(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                          int64_t token_end) {
  for (int64_t token = token_begin; token < token_end; token += kPromptTokens) {
    const int64_t left = token_end - token;
    PromptProduct(w, args, token, static_cast<int>(left < kPromptTokens ? left : kPromptTokens)).run(tile_begin, tile_end);
  }
}

}  // namespace lutmac::LUTMAC_TARGET
