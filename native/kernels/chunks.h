// Products go along k in chunks: blocks that take one way from integers to floats.
//
// Here is all of a product that does not depend on how its integers are found: which chunks there are, what the forms of the
// activations say of one, the scales of its weight group, and the way to floats. It is the same for one token and for many,
// which is why their results are the same, to the bit.
#pragma once

#include "kernels/params.h"

namespace lutmac::LUTMAC_TARGET {

// The 16 k of a block that a chunk takes where weight groups are of 16; else all 32.
enum class Part { whole, first, second };

// Of one weight group, and of tables with a common unit.
struct Chunk {
  int64_t block;
  int blocks;
  Part part;

  int first_column() const { return part == Part::second ? 16 : 0; }  // in its block
  int columns() const { return part == Part::whole ? 32 : 16; }       // of each block
};

inline constexpr int kUnitBlocks = kTableUnit / kTableGroup;

// Calls group(g) where a weight group begins, and chunk(c) for each chunk, in the order of k. For groups of 16.
template <typename Group, typename Each>
[[gnu::always_inline]] inline void each_half_block(const LowBit& w, Group group, Each chunk) {
  for (int64_t half = 0; half < w.columns / 16; ++half) {
    group(half);
    chunk(Chunk{half / 2, 1, half % 2 == 0 ? Part::first : Part::second});
  }
}

// The same for groups of 32 and more. longest: blocks of a chunk, at most kUnitBlocks.
template <typename Group, typename Each>
[[gnu::always_inline]] inline void each_span(const LowBit& w, int longest, Group group, Each chunk) {
  const int64_t blocks = w.columns / 32, group_blocks = w.group_size / 32;
  for (int64_t block = 0, at = -1, group_end = 0; block < blocks;) {
    if (block == group_end) {
      group(++at);
      group_end = block + group_blocks < blocks ? block + group_blocks : blocks;
    }
    int64_t end = block + 1;
    if (longest == kUnitBlocks) {
      const int64_t unit_end = (block / kUnitBlocks + 1) * kUnitBlocks;
      end = unit_end < group_end ? unit_end : group_end;
    }
    chunk(Chunk{block, static_cast<int>(end - block), Part::whole});
    block = end;
  }
}

template <typename Group, typename Each>
[[gnu::always_inline]] inline void each_chunk(const LowBit& w, int longest, Group group, Each chunk) {
  w.group_size < 32 ? each_half_block(w, group, chunk) : each_span(w, longest, group, chunk);
}

// Sum of the first 1 to 4 values, in their order. A loop the compiler would make ready for many more, which takes longer.
template <typename Value>
[[gnu::always_inline]] inline Value sum_first(const Value* values, int count) {
  static_assert(kUnitBlocks == 4, "a chunk has at most 4 blocks");
  Value sum = values[0];
  if (count > 1) sum += values[1];
  if (count > 2) sum += values[2];
  if (count > 3) sum += values[3];
  return sum;
}

// A value of each token, in its form or elsewhere.
template <typename Value>
struct PerToken {
  const Value* first;
  int64_t stride;  // bytes
  const Value* at(int token) const {
    return reinterpret_cast<const Value*>(reinterpret_cast<const uint8_t*>(first) + token * stride);
  }
};

// What the forms of kTokens tokens say of a chunk. x: the first form; stride: bytes to the next.
template <int kTokens>
struct ChunkForms {
  PerToken<float> unit;         // what an integer stands for
  PerToken<float> activations;  // their sum
  float sums[kTokens];          // what activations reads where the form does not hold it

  // Returns [block]: multiples of the unit in the tables' scales.
  [[gnu::always_inline]] inline PerToken<int32_t> read_tables(int64_t columns, const uint8_t* x, int64_t stride,
                                                              const Chunk& chunk, int tokens = kTokens) {
    static constexpr int32_t kOne = 1;
    const auto floats = [x](int64_t offset, int64_t index) { return reinterpret_cast<const float*>(x + offset) + index; };
    const float* sum = chunk.part == Part::whole
                           ? floats(TableForm::sum32_offset(columns), chunk.block)
                           : floats(TableForm::sum16_offset(columns), chunk.block * 2 + (chunk.part == Part::second));
    if (chunk.blocks == 1) {  // its own scale is the unit
      unit = {floats(TableForm::scale_offset(columns), chunk.block), stride};
      activations = {sum, stride};
      return {&kOne, 0};
    }
    unit = {floats(TableForm::unit_offset(columns), chunk.block / kUnitBlocks), stride};
    activations = {sums, sizeof(float)};
    for (int n = 0; n < tokens; ++n, sum += stride / 4) sums[n] = sum_first(sum, chunk.blocks);
    return {reinterpret_cast<const int32_t*>(x + TableForm::multiple_offset(columns)) + chunk.block, stride};
  }

  // Of a chunk of one block; integer_sums[n]: the sum of the activations' integers.
  void read_integers(int64_t columns, const uint8_t* x, int64_t stride, const Chunk& chunk, int32_t* integer_sums) {
    unit = {reinterpret_cast<const float*>(x + IntegerForm::scale_offset(columns)) + chunk.block, stride};
    activations = {sums, sizeof(float)};
    for (int n = 0; n < kTokens; ++n) {
      const int32_t* sum16 = reinterpret_cast<const int32_t*>(x + n * stride + IntegerForm::sum_offset(columns)) + chunk.block * 2;
      integer_sums[n] = chunk.part == Part::whole ? sum16[0] + sum16[1] : sum16[chunk.part == Part::second];
      sums[n] = static_cast<float>(integer_sums[n]) * *unit.at(n);
    }
  }
};

// What the tables of a chunk add to its integers for each unit of its multiples: 128 for each lookup and plane weight.
inline constexpr int32_t table_bias(int bits, Part part) { return (part == Part::whole ? 8 : 4) * 128 * ((1 << bits) - 1); }

// One chunk of a tile.
struct LookupArgs {
  const uint8_t* codes;   // of the first block
  const uint8_t* tables;  // of the first block and the first token
  int64_t stride;         // bytes from a token's tables to the next token's
  int blocks;
  PerToken<int32_t> multiples;  // [block]
  int32_t bias;                 // see table_bias

  // What the integers of a token start at.
  int32_t start(int token) const { return -bias * sum_first(multiples.at(token), blocks); }
};

// One token's integers of a chunk on their way to floats.
struct ToFloats {
  Floats unit, activations, shift;
  // center: the mean code less the zero point.
  ToFloats(float one_unit, float sum, Floats center)
      : unit(broadcast(one_unit)), activations(broadcast(sum)), shift(center * activations) {}

  // total + scale * (unit * integers + center * activations), and below + offset * activations.
  Floats add(Ints integers, Floats scale, Floats total) const {
    return multiply_add(multiply_add(to_floats(integers), unit, shift), scale, total);
  }
  Floats add_offset(Floats offset, Floats total) const { return multiply_add(offset, activations, total); }
};

// How far ahead of the loads parameters are fetched: 8 groups of f16 in tiles of 64 rows.
inline constexpr int kParamPrefetch = 1024;

// A parameter of one group and tile, as floats: the common kinds in registers, and fetched ahead.
template <int kTileRows>
[[gnu::always_inline]] inline void load_param(const LowBit& w, const ParamShape& shape, const PackedParam& packed, int64_t tile,
                                              int64_t group, float* out) {
  const int64_t at = (tile * w.groups + group) * kTileRows;
  if (shape.kind == ParamKind::f16) {
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(packed.values) + at;
    for (int i = 0; i < kTileRows * 2; i += 64) prefetch(packed.values + at * 2 + kParamPrefetch + i);
    for (int r = 0; r < kTileRows; r += kLanes) store(out + r, load_half(halves + r));
  } else if (shape.kind == ParamKind::two_level_f16) {
    const int64_t super_at = (tile * packed.super_groups + group / shape.groups_per_super) * kTileRows;
    const uint16_t* super = reinterpret_cast<const uint16_t*>(packed.super) + super_at;
    prefetch(packed.values + at + kParamPrefetch);
    for (int r = 0; r < kTileRows; r += kLanes) store(out + r, load_signed(packed.values + at + r) * load_half(super + r));
  } else if (shape.kind == ParamKind::e8m0 || shape.kind == ParamKind::e4m3) {
    prefetch(packed.values + at + kParamPrefetch);
    shape.kind == ParamKind::e8m0 ? read_e8m0(packed.values + at, kTileRows, out) : read_e4m3(packed.values + at, kTileRows, out);
  } else {
    load_params(w, shape, packed, kTileRows, tile, group, out);
  }
  if (w.factor == 1.0f) return;
  for (int r = 0; r < kTileRows; r += kLanes) store(out + r, load(out + r) * w.factor);
}

// Scales of one group and tile, and its offsets where the matrix has any.
template <int kTileRows>
[[gnu::always_inline]] inline void load_scales(const LowBit& w, int64_t tile, int64_t group, float* scale, float* offset) {
  load_param<kTileRows>(w, w.scale, w.packed_scale, tile, group, scale);
  if (w.offset.kind != ParamKind::none) load_param<kTileRows>(w, w.offset, w.packed_offset, tile, group, offset);
}

}  // namespace lutmac::LUTMAC_TARGET
