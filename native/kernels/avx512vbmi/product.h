// Products by lookup, 1 to 7 bits.
//
// vpermb looks 64 indices up in four tables of 16 at once, so a dword is a row at any number of planes: its four entries,
// weighted by the plane and by the multiple of their tables' scale, are added by one vpdpbusd. Planes 4 to 6 would need weights
// beyond s8, so they are summed first, with the weights of planes 0 to 2, and shifted before the others come to them.
//
// Instructions for 64 bytes of weights: load, vpternlogd, vpsrld, vpternlogd, and for each token 2 vpermb and 2 vpdpbusd.
// Integers are exact in any order, and their way to floats is that of avx512: so are the results, to the bit.
#pragma once

#include "kernels/avx512vbmi/packing.h"
#include "kernels/avx512vbmi/wide.h"
#include "kernels/float_product.h"
#include "kernels/params.h"

namespace lutmac::LUTMAC_TARGET {

// The part of a block that a chunk takes: all 32 k, or 16, in the low or the high nibbles.
enum class Part { whole, low, high };

// Blocks that take one way from integers to floats: of one weight group, and of tables with a common unit.
struct Chunk {
  int64_t block;
  int blocks;
  Part part;
};

// Sum of the first 1 to 4 values, in their order.
template <typename Value>
inline Value sum_first(const Value* values, int count) {
  Value sum = values[0];
  if (count > 1) sum += values[1];
  if (count > 2) sum += values[2];
  if (count > 3) sum += values[3];
  return sum;
}

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
        center_(center_of(w.bits) - w.zero_point) {
    for (int i = 0; i < count * kTileRows; i += kLanes) Wide::store_float(totals_ + i, Wide::set_float(0.0f));
  }

  void run() {
    const bool halves = w_.group_size < 32;
    const int64_t blocks = w_.columns / 32, group_blocks = w_.group_size / 32;
    const uint8_t* codes = w_.codes + tile_ * Codes::packed_tile_bytes(w_.kind, w_.bits, w_.columns);
    for (int64_t block = 0, group = -1, group_end = 0; block < blocks;) {
      if (halves) {
        load_params(++group);
        add_chunk(codes, {block, 1, Part::low});
        load_params(++group);
        add_chunk(codes, {block, 1, Part::high});
        codes += Codes::block_bytes(w_.bits);
        ++block;
        continue;
      }
      if (block == group_end) {
        load_params(++group);
        group_end = block + group_blocks < blocks ? block + group_blocks : blocks;
      }
      const int64_t unit_end = (block / kUnitBlocks + 1) * kUnitBlocks, end = unit_end < group_end ? unit_end : group_end;
      const int count = static_cast<int>(end - block);
      add_chunk(codes, {block, count, Part::whole});
      codes += count * Codes::block_bytes(w_.bits);
      block = end;
    }
  }

  void store(const MatmulArgs& args, int64_t token) const {
    const int64_t left = w_.rows - tile_ * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int n = 0; n < count_; ++n) store_rows(args, token + n, tile_ * kTileRows, valid, totals_ + n * kTileRows);
  }

 private:
  using Int = Wide::Int;
  using Float = Wide::Float;
  static constexpr int kTileRows = Codes::kTileRows, kLanes = 16, kVectors = kTileRows / kLanes;
  static constexpr int kUnitBlocks = kTableUnit / kTableGroup;
  // How far ahead of the loads weights are fetched: a page, so that the prefetch crosses into the next one in time.
  static constexpr int kPrefetch = 4096;
  static constexpr int kParamPrefetch = 1024;

  // What a chunk has for each token.
  struct Token {
    alignas(64) uint32_t weights[kUnitBlocks * 4];  // [block][plane]: four times the s8 of 2^plane times the multiple
    float unit, activations;
    int32_t bias;
  };

  void load_params(int64_t group) {
    read_param(w_.scale, w_.packed_scale, group, scale_);
    if (w_.offset.kind != ParamKind::none) read_param(w_.offset, w_.packed_offset, group, offset_);
  }

  void add_chunk(const uint8_t* codes, const Chunk& chunk) {
    describe(chunk);
    if (chunk.part == Part::whole) return add_tokens<Part::whole>(codes, chunk);
    chunk.part == Part::low ? add_tokens<Part::low>(codes, chunk) : add_tokens<Part::high>(codes, chunk);
  }

  // What the forms say of a chunk. Offsets in a form are the same for all tokens.
  void describe(const Chunk& chunk) {
    const int64_t columns = w_.columns, block = chunk.block;
    const bool alone = chunk.blocks == 1;  // its own scale is the unit
    const int64_t unit = alone ? TableForm::scale_offset(columns) + block * 4
                               : TableForm::unit_offset(columns) + block / kUnitBlocks * 4;
    const int64_t sums = chunk.part == Part::whole ? TableForm::sum32_offset(columns) + block * 4
                                                   : TableForm::sum16_offset(columns) + block * 8 + (chunk.part == Part::high) * 4;
    const int64_t multiple = TableForm::multiple_offset(columns) + block * 4;
    const int32_t bias = (chunk.part == Part::whole ? 8 : 4) * 128 * ((1 << w_.bits) - 1);
    const uint8_t* form = x_;
    for (int n = 0; n < count_; ++n, form += stride_) {
      static constexpr int32_t kOne = 1;
      const int32_t* multiples = alone ? &kOne : reinterpret_cast<const int32_t*>(form + multiple);
      Token& token = tokens_[n];
      if (!alone || !plain_weights_) Wide::store_weights(multiples, chunk.blocks, token.weights);
      token.unit = *reinterpret_cast<const float*>(form + unit);
      token.activations = sum_first(reinterpret_cast<const float*>(form + sums), chunk.blocks);
      token.bias = bias * sum_first(multiples, chunk.blocks);
    }
    plain_weights_ = alone;
  }

  template <Part kPart>
  void add_tokens(const uint8_t* codes, const Chunk& chunk) {
    int n = 0;
    for (; n + 4 <= count_; n += 4) add<4, kPart>(codes, chunk, n);
    if (n + 3 == count_) return add<3, kPart>(codes, chunk, n);
    if (n + 2 == count_) return add<2, kPart>(codes, chunk, n);
    if (n + 1 == count_) return add<1, kPart>(codes, chunk, n);
  }

  // kNumber tokens from `first` on: integers, and those to floats.
  template <int kNumber, Part kPart>
  [[gnu::noinline]] void add(const uint8_t* codes, const Chunk& chunk, int first) {
    Int sums[kNumber][kVectors];
    const Token* tokens = tokens_ + first;
    const uint8_t* tables = x_ + first * stride_ + chunk.block * 128;
    const int64_t ahead = first == 0 ? kPrefetch : 0;
    const int upper = upper_, lower = upper ? 4 : w_.bits;
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n) {
      for (Int& sum : sums[n]) sum = Wide::set32(upper ? 0 : -tokens[n].bias);
    }
    if (upper) {
      add_planes<kNumber, kPart>(codes + 4 * Codes::kPlaneBytes, ahead, tables, tokens, chunk.blocks, upper, sums);
#pragma GCC unroll 4
      for (int n = 0; n < kNumber; ++n) {
        for (Int& sum : sums[n]) sum = Wide::add(Wide::times_16(sum), Wide::set32(-tokens[n].bias));
      }
    }
    add_planes<kNumber, kPart>(codes, ahead, tables, tokens, chunk.blocks, lower, sums);
    flush<kNumber>(sums, first);
  }

  // Planes of `blocks` blocks, the first of them at `codes`.
  template <int kNumber, Part kPart>
  [[gnu::always_inline]] void add_planes(const uint8_t* codes, int64_t ahead, const uint8_t* tables, const Token* tokens,
                                         int blocks, int planes, Int (&sums)[kNumber][kVectors]) const {
    const int64_t block_bytes = Codes::block_bytes(w_.bits);
    const uint32_t* weights = tokens->weights;
    for (int block = 0; block < blocks; ++block, codes += block_bytes, tables += 128, weights += 4) {
      const uint8_t* at = codes;
      for (int plane = 0; plane < planes; ++plane, at += Codes::kPlaneBytes) {
        Int low[kVectors], high[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const Int bytes = Wide::load(at + v * 64);
          Wide::prefetch(at + v * 64 + ahead);
          if (kPart != Part::high) low[v] = Wide::low_indices(bytes);
          if (kPart != Part::low) high[v] = Wide::high_indices(bytes);
        }
        const uint8_t* entries = kNumber > 2 ? Wide::again(tables) : tables;
#pragma GCC unroll 4
        for (int n = 0; n < kNumber; ++n) {
          const Int weight = Wide::set32(static_cast<int32_t>(weights[n * (sizeof(Token) / 4) + plane]));
          const Int first = Wide::load(entries + n * stride_), second = Wide::load(entries + n * stride_ + 64);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            Int& sum = sums[n][v];
            if constexpr (kPart == Part::whole) {
              Wide::add_weighted(sum, Wide::look_up(first, low[v]), Wide::look_up(second, high[v]), weight);
            } else {
              Wide::add_weighted(sum, kPart == Part::low ? Wide::look_up(first, low[v]) : Wide::look_up(second, high[v]), weight);
            }
          }
        }
      }
    }
  }

  template <int kNumber>
  [[gnu::always_inline]] void flush(const Int (&sums)[kNumber][kVectors], int first) {
    const bool with_offset = w_.offset.kind != ParamKind::none;
    const Float center = Wide::set_float(center_);
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n) {
      const Float unit = Wide::set_float(tokens_[first + n].unit);
      const Float activations = Wide::set_float(tokens_[first + n].activations);
      const Float shift = Wide::multiply(center, activations);
      float* totals = totals_ + (first + n) * kTileRows;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Float value = Wide::multiply_add(Wide::to_float(sums[n][v]), unit, shift);
        Float total = Wide::multiply_add(value, Wide::load_float(scale_ + v * kLanes), Wide::load_float(totals + v * kLanes));
        if (with_offset) total = Wide::multiply_add(Wide::load_float(offset_ + v * kLanes), activations, total);
        Wide::store_float(totals + v * kLanes, total);
      }
    }
  }

  // A parameter of one group, f32: the common kinds in registers.
  void read_param(const ParamShape& shape, const PackedParam& packed, int64_t group, float* out) const {
    const int64_t at = (tile_ * w_.groups + group) * kTileRows;
    const Float factor = Wide::set_float(w_.factor);
    if (shape.kind == ParamKind::f16) {
      const uint8_t* halves = packed.values + at * 2;
      for (int i = 0; i < kTileRows * 2; i += 64) Wide::prefetch(halves + kParamPrefetch + i);
      for (int i = 0; i < kTileRows; i += kLanes) {
        Wide::store_float(out + i, Wide::multiply(Wide::load_halves(halves + i * 2), factor));
      }
    } else if (shape.kind == ParamKind::two_level_f16) {
      const uint8_t* small = packed.values + at;
      const uint8_t* super = packed.super + (tile_ * packed.super_groups + group / shape.groups_per_super) * kTileRows * 2;
      Wide::prefetch(small + kParamPrefetch);
      for (int i = 0; i < kTileRows; i += kLanes) {
        const Float value = Wide::multiply(Wide::load_bytes(small + i), Wide::load_halves(super + i * 2));
        Wide::store_float(out + i, Wide::multiply(value, factor));
      }
    } else {
      lutmac::LUTMAC_TARGET::load_params(w_, shape, packed, kTileRows, tile_, group, out);
      for (int i = 0; i < kTileRows; i += kLanes) Wide::store_float(out + i, Wide::multiply(Wide::load_float(out + i), factor));
    }
  }

  const LowBit& w_;
  const uint8_t* x_;
  const int64_t stride_, tile_;
  const int count_;
  const int upper_;     // planes 4 to 6
  const float center_;  // the mean code less the zero point
  bool plain_weights_ = false;  // the tokens' weights are those of a multiple of 1
  alignas(64) float scale_[kTileRows], offset_[kTileRows];
  Token tokens_[kTokens];
  alignas(64) float totals_[kTokens * kTileRows];
};

inline void lookup_products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                            int64_t token_begin, int64_t token_end) {
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    for (int64_t token = token_begin; token < token_end; token += LookupProduct::kTokens) {
      const int64_t left = token_end - token;
      const int count = static_cast<int>(left < LookupProduct::kTokens ? left : LookupProduct::kTokens);
      LookupProduct product(w, args, tile, token, count);
      product.run();
      product.store(args, token);
    }
  }
}

}  // namespace lutmac::LUTMAC_TARGET
