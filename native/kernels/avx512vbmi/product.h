// Products by lookup, 1 to 7 bits.
//
// vpermb looks 64 indices up in four tables of 16 at once, so a dword is a row at any number of planes: its four entries,
// weighted by the plane and by the multiple of their tables' scale, are added by one vpdpbusd. Planes 4 to 6 would need weights
// beyond s8, so they are summed first, with the weights of planes 0 to 2, and shifted before the others come to them.
//
// Instructions for 64 bytes of weights: load, vpternlogd, vpsrld, vpternlogd, and for each token 2 vpermb and 2 vpdpbusd.
// Integers are exact in any order, and their way to floats is that of avx512: so are the results, to the bit.
#pragma once

#include "kernels/avx512vbmi/indices.h"
#include "kernels/avx512vbmi/lone_blocks.h"
#include "kernels/avx512vbmi/packing.h"
#include "kernels/chunks.h"
#include "kernels/fetch.h"

namespace lutmac::LUTMAC_TARGET {

class LookupProduct {
 public:
  // Tokens whose sums are held at once: 4 KB, and 8 KB of tables for a chunk, so that a chunk of weights is read from L1 by all
  // of them.
  static constexpr int kTokens = 16;

  // count: at most kTokens.
  LookupProduct(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token, int count)
      : w_(w),
        x_(args.x + token * args.x_stride),
        stride_(args.x_stride),
        tile_(tile),
        count_(count),
        upper_(w.bits > 4 ? w.bits - 4 : 0),
        center_(center_of(w.bits) - w.zero_point),
        fetch_(count > 1 || w.group_size < kTableUnit) {
    for (int i = 0; i < count * kTileRows; i += kLanes) store(totals_ + i, Floats{});
  }

  void run() {
    const uint8_t* codes = w_.codes + tile_ * Codes::packed_tile_bytes(w_.kind, w_.bits, w_.columns);
    if (LoneBlocks::takes(w_, count_)) return LoneBlocks::add(w_, x_, stride_, tile_, count_, totals_);
    each_chunk(w_, kUnitBlocks, [&](int64_t group) { load_scales<kTileRows>(w_, tile_, group, scale_, offset_); },
               [&](const Chunk& chunk) { add_chunk(codes + chunk.block * Codes::block_bytes(w_.bits), chunk); });
  }

  // Of a token, for the rows of the tile.
  const float* totals(int n) const { return totals_ + n * kTileRows; }

 private:
  static constexpr int kTileRows = Codes::kTileRows, kVectors = kTileRows / kLanes;

  // What a chunk has for each token.
  struct Token {
    alignas(64) uint32_t weights[kUnitBlocks * 4];  // [block][plane]: four times the s8 of 2^plane times the multiple
    int32_t bias;
  };

  void add_chunk(const uint8_t* codes, const Chunk& chunk) {
    weigh(chunk, forms_.read_tables(w_.columns, x_, stride_, chunk, count_));
    if (chunk.part == Part::whole) return add_tokens<Part::whole>(codes, chunk);
    chunk.part == Part::first ? add_tokens<Part::first>(codes, chunk) : add_tokens<Part::second>(codes, chunk);
  }

  void weigh(const Chunk& chunk, PerToken<int32_t> of_tokens) {
    const bool alone = chunk.blocks == 1;  // its multiple is 1
    const int32_t bias = table_bias(w_.bits, chunk.part);
    for (int n = 0; n < count_; ++n) {
      const int32_t* multiples = of_tokens.at(n);
      if (!alone || !plain_weights_) store_weights(multiples, chunk.blocks, tokens_[n].weights);
      tokens_[n].bias = bias * sum_first(multiples, chunk.blocks);
    }
    plain_weights_ = alone;
  }

  // [multiple][plane 0 to 3]: the multiple, at most 15, times 1, 2, 4 and 8, each of them four times. count: of the multiples,
  // 1 to 4; what lies behind them is not read.
  static void store_weights(const int32_t* multiples, int count, uint32_t* out) {
    alignas(64) static constexpr uint8_t kLowest[64] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  //
                                                        4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,  //
                                                        8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8,  //
                                                        12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12};
    const Bits each = (Bits)look_up(load_table_first(multiples, count * 4), load(kLowest));
    store(reinterpret_cast<int32_t*>(out), (Ints)(each << (Bits)(Lanes::kIndex & 3)));
  }

  template <Part part>
  void add_tokens(const uint8_t* codes, const Chunk& chunk) {
    int n = 0;
    for (; n + 4 <= count_; n += 4) add<4, part>(codes, chunk, n);
    if (n + 3 == count_) return add<3, part>(codes, chunk, n);
    if (n + 2 == count_) return add<2, part>(codes, chunk, n);
    if (n + 1 == count_) return add<1, part>(codes, chunk, n);
  }

  // kNumber tokens from `first` on: integers, and those to floats.
  template <int kNumber, Part part>
  [[gnu::noinline]] void add(const uint8_t* codes, const Chunk& chunk, int first) {
    Ints sums[kNumber][kVectors];
    const Token* tokens = tokens_ + first;
    const uint8_t* tables = x_ + first * stride_ + chunk.block * 128;
    const bool fetch = fetch_ && first == 0;
    const int upper = upper_, lower = upper ? 4 : w_.bits;
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n) {
      for (Ints& sum : sums[n]) sum = broadcast(upper ? 0 : -tokens[n].bias);
    }
    if (upper) {
      add_planes<kNumber, part>(codes + 4 * Codes::kPlaneBytes, fetch, tables, tokens, chunk.blocks, upper, sums);
#pragma GCC unroll 4
      for (int n = 0; n < kNumber; ++n) {
        for (Ints& sum : sums[n]) sum = (sum << 4) - tokens[n].bias;
      }
    }
    add_planes<kNumber, part>(codes, fetch, tables, tokens, chunk.blocks, lower, sums);
    flush<kNumber>(sums, first);
  }

  // Planes of `blocks` blocks, the first of them at `codes`.
  template <int kNumber, Part part>
  [[gnu::always_inline]] void add_planes(const uint8_t* codes, bool fetch, const uint8_t* tables, const Token* tokens,
                                         int blocks, int planes, Ints (&sums)[kNumber][kVectors]) const {
    const int64_t block_bytes = Codes::block_bytes(w_.bits);
    const uint32_t* weights = tokens->weights;
    for (int block = 0; block < blocks; ++block, codes += block_bytes, tables += 128, weights += 4) {
      const uint8_t* at = codes;
      for (int plane = 0; plane < planes; ++plane, at += Codes::kPlaneBytes) {
        if (fetch) {
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) fetch_far(at + v * 64);
        }
        Bytes low[kVectors], high[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const Bytes bytes = load_once(at + v * 64);
          if (part != Part::second) low[v] = low_indices(bytes);
          if (part != Part::first) high[v] = high_indices(bytes);
        }
        const uint8_t* entries = kNumber > 2 ? again(tables) : tables;
#pragma GCC unroll 4
        for (int n = 0; n < kNumber; ++n) {
          const Bytes weight = (Bytes)broadcast_dword(weights + n * (sizeof(Token) / 4) + plane);
          const Bytes first = load_once(entries + n * stride_), second = load_once(entries + n * stride_ + 64);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            if constexpr (part != Part::second) add_dot_bytes(sums[n][v], look_up_four(first, low[v]), weight);
            if constexpr (part != Part::first) add_dot_bytes(sums[n][v], look_up_four(second, high[v]), weight);
          }
        }
      }
    }
  }

  template <int kNumber>
  [[gnu::always_inline]] void flush(const Ints (&sums)[kNumber][kVectors], int first) {
    const bool with_offset = w_.offset.kind != ParamKind::none;
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n) {
      const ToFloats floats(*forms_.unit.at(first + n), *forms_.activations.at(first + n), broadcast(center_));
      float* totals = totals_ + (first + n) * kTileRows;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        Floats total = floats.add(sums[n][v], load(scale_ + v * kLanes), load(totals + v * kLanes));
        if (with_offset) total = floats.add_offset(load(offset_ + v * kLanes), total);
        store(totals + v * kLanes, total);
      }
    }
  }

  const LowBit& w_;
  const uint8_t* x_;
  const int64_t stride_, tile_;
  const int count_;
  const int upper_;     // planes 4 to 6
  const float center_;  // the mean code less the zero point
  const bool fetch_;    // long runs of loads of one token are foreseen by the processor, which does better without
  bool plain_weights_ = false;  // the tokens' weights are those of a multiple of 1
  ChunkForms<kTokens> forms_;   // of the chunk
  alignas(64) float scale_[kTileRows], offset_[kTileRows];
  Token tokens_[kTokens];
  alignas(64) float totals_[kTokens * kTileRows];
};

}  // namespace lutmac::LUTMAC_TARGET
