#include "runtime/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "runtime/codebook.h"
#include "runtime/random.h"
#include "runtime/require.h"
#include "runtime/tuning.h"

namespace lutmac {
namespace {

constexpr int64_t kAlignment = 64;

int value_bytes(ParamKind kind) {
  switch (kind) {
    case ParamKind::f16:
    case ParamKind::bf16: return 2;
    case ParamKind::f32: return 4;
    case ParamKind::e8m0:
    case ParamKind::e4m3:
    case ParamKind::two_level_f16:
    case ParamKind::two_level_f32: return 1;
    default: return 0;
  }
}

int element_bytes(DenseType type) { return type == DenseType::f32 ? 4 : 2; }

int super_bytes(ParamKind kind) {
  return kind == ParamKind::two_level_f16 ? 2 : kind == ParamKind::two_level_f32 ? 4 : 0;
}

// [rows, groups] -> [tile][group][tile_rows], zeros past the last row. In pieces that stay in the L1 cache: an item's
// neighbours in memory come from other rows.
template <typename Item>
void tile_items(const void* in, int64_t rows, int64_t groups, int tile_rows, int64_t tile, uint8_t* out) {
  constexpr int64_t kPiece = 64;
  Item* to = reinterpret_cast<Item*>(out) + tile * groups * tile_rows;
  const int64_t first = tile * tile_rows;
  for (int64_t piece = 0; piece < groups; piece += kPiece) {
    const int64_t end = std::min(groups, piece + kPiece);
    for (int r = 0; r < tile_rows; ++r) {
      const Item* from = static_cast<const Item*>(in) + (first + r) * groups;
      for (int64_t group = piece; group < end; ++group) {
        to[group * tile_rows + r] = first + r < rows ? from[group] : Item{0};
      }
    }
  }
}

void tile_params(const void* in, int64_t rows, int64_t groups, int item, int tile_rows, int64_t tile, uint8_t* out) {
  if (item == 1) return tile_items<uint8_t>(in, rows, groups, tile_rows, tile, out);
  if (item == 2) return tile_items<uint16_t>(in, rows, groups, tile_rows, tile, out);
  tile_items<uint32_t>(in, rows, groups, tile_rows, tile, out);
}

LowBitSource describe(const RandomSource& source) {
  require(source.scale_exponent > -15 && source.scale_exponent < 15, "scale exponent must be from -14 to 14");
  LowBitSource described;
  described.rows = source.rows;
  described.columns = source.columns;
  described.kind = source.kind;
  described.bits = source.bits;
  described.group_size = source.group_size;
  described.zero_point = source.bits > 0 ? static_cast<float>((1 << source.bits) - 1) / 2 : 0.0f;
  if (source.kind == CodeKind::ternary) described.zero_point = 1.0f;
  described.scale.kind = ParamKind::f16;
  described.block_weights = described.block_bytes = 32;
  described.row_bytes = source.columns;
  described.codes = BlockNumbers({{.first = 0, .count = 32, .byte = 0, .shift = 0, .width = 8, .dest = 0, .stride = 8}});
  return described;
}

}  // namespace

uint8_t* PackedMatrix::take(int64_t bytes) {
  bytes_ += bytes;
  if (given_.owner) {
    require(parts_.size() < given_.parts.size(), "the packed bytes lack a part");
    const Span part = given_.parts[parts_.size()];
    require(part.bytes >= bytes && part.bytes - bytes < kAlignment, "a part of the packed bytes has the wrong size");
    require(reinterpret_cast<uintptr_t>(part.data) % kAlignment == 0, "packed bytes must be aligned to 64 bytes");
    parts_.push_back(part);
    return const_cast<uint8_t*>(part.data);  // only fill_tile writes, and it is not for these
  }
  blocks_.push_back(allocate_weights(static_cast<size_t>(bytes)));
  parts_.push_back({blocks_.back().data, static_cast<int64_t>(blocks_.back().bytes)});
  return blocks_.back().data;
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const LowBitSource& source, PackedBytes packed)
    : target_(&target), given_(std::move(packed)) {
  source.check();
  LowBit& w = lowbit_;
  w.rows = source.rows;
  w.columns = source.columns;
  w.kind = source.kind;
  w.bits = source.bits;
  w.group_size = source.group_size;
  w.groups = (w.columns + w.group_size - 1) / w.group_size;
  w.zero_point = source.zero_point;
  w.factor = source.factor;
  if (source.codebook) w.codebook = make_codebook(source.codebook);
  w.has_second = source.second_codebook != nullptr;
  if (w.has_second) w.second = make_codebook(source.second_codebook);
  w.scale_kind = source.scale.kind;
  w.offset_kind = source.offset.kind;
  w.groups_per_super = std::max(1, source.scale.groups_per_super);
  w.offset_groups_per_super = std::max(1, source.offset.groups_per_super);
  w.super_groups = (w.groups + w.groups_per_super - 1) / w.groups_per_super;
  w.offset_super_groups = (w.groups + w.offset_groups_per_super - 1) / w.offset_groups_per_super;
  w.codes = take(tiles() * target.kernels->packed_tile_bytes(w.kind, w.bits, w.columns));
  const auto params = [&](int64_t groups, int item) {
    return item ? take(tiles() * target.kernels->tile_rows * groups * item) : nullptr;
  };
  w.scale = params(w.groups, value_bytes(w.scale_kind));
  w.scale_super = params(w.super_groups, super_bytes(w.scale_kind));
  w.offset = params(w.groups, value_bytes(w.offset_kind));
  w.offset_super = params(w.offset_super_groups, super_bytes(w.offset_kind));
}

void PackedMatrix::fill_tile(const LowBitSource& source, int64_t tile) const {
  const LowBit& w = lowbit_;
  const int tile_rows = target_->kernels->tile_rows;
  fill_codes(source, tile);
  std::vector<uint16_t> room(static_cast<size_t>(w.groups));
  for (int64_t row = tile * tile_rows; row < std::min(w.rows, (tile + 1) * tile_rows); ++row) {
    if (source.scale.in_blocks) source.read_params(source.scale, row, tile_rows, room.data(), w.scale, w.scale_super);
    if (source.offset.in_blocks) {
      source.read_params(source.offset, row, tile_rows, room.data(), w.offset, w.offset_super);
    }
  }
  const auto params = [&](const void* in, int64_t groups, int item, uint8_t* out) {
    if (in) tile_params(in, w.rows, groups, item, tile_rows, tile, out);
  };
  params(source.scale.values, w.groups, value_bytes(w.scale_kind), w.scale);
  params(source.scale.super, w.super_groups, super_bytes(w.scale_kind), w.scale_super);
  params(source.offset.values, w.groups, value_bytes(w.offset_kind), w.offset);
  params(source.offset.super, w.offset_super_groups, super_bytes(w.offset_kind), w.offset_super);
}

// Rows are decoded one after another, as memory likes it, over a stretch of columns that the L2 cache holds for all rows
// of the tile; and in pieces of 256 columns, which the L1 cache holds for all rows while they are packed.
void PackedMatrix::fill_codes(const LowBitSource& source, int64_t tile) const {
  constexpr int64_t kPiece = 256, kStretch = 4096;
  const LowBit& w = lowbit_;
  const Kernels& kernels = *target_->kernels;
  const int64_t tile_rows = kernels.tile_rows, first_row = tile * tile_rows;
  const bool whole = w.kind == CodeKind::ternary || kPiece % source.block_weights != 0;
  const int64_t piece = whole ? w.columns : kPiece, stretch = whole ? w.columns : kStretch;
  uint8_t* out = w.codes + tile * kernels.packed_tile_bytes(w.kind, w.bits, w.columns);
  // From a piece to the next: not a power of two, or all pieces of a row would fall into one set of the L1 cache.
  const int64_t step = tile_rows * piece + kAlignment;
  std::vector<uint8_t> codes(static_cast<size_t>((std::min(stretch, w.columns) + piece - 1) / piece * step));
  for (int64_t begin = 0; begin < w.columns; begin += stretch) {
    const int64_t end = std::min(w.columns, begin + stretch);
    const int64_t rows = std::min(tile_rows, w.rows - first_row);
    for (int64_t r = 0; r < rows; ++r) {
      if (r + 1 < rows) source.prefetch_codes(first_row + r + 1, begin, end - begin);
      if (piece == source.block_weights) {  // a block to each piece: one call for all
        source.read_codes(first_row + r, begin, end - begin, step, codes.data() + r * piece);
        continue;
      }
      for (int64_t k = begin; k < end; k += piece) {
        const int64_t width = std::min(piece, end - k);
        source.read_codes(first_row + r, k, width, source.block_weights,
                          codes.data() + (k - begin) / piece * step + r * width);
      }
    }
    for (int64_t k = begin; k < end; k += piece) {
      kernels.pack_tile(w.kind, w.bits, std::min(piece, end - k), codes.data() + (k - begin) / piece * step,
                        out + kernels.packed_tile_bytes(w.kind, w.bits, k));
    }
  }
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const DenseSource& source, PackedBytes packed)
    : target_(&target), given_(std::move(packed)) {
  require(source.rows > 0 && source.columns > 0, "a matrix needs rows and columns");
  require(source.columns % kTableGroup == 0, "columns must be a multiple of 32");
  const int tile_rows = target.kernels->tile_rows;
  const int64_t padded_rows = (source.rows + tile_rows - 1) / tile_rows * tile_rows;
  dense_ = {source.rows, source.columns, source.type, take(padded_rows * source.columns * element_bytes(source.type))};
}

void PackedMatrix::fill_tile(const DenseSource& source, int64_t tile) const {
  // A column of a tile is a "group" of one value per row.
  tile_params(source.data, source.rows, source.columns, element_bytes(source.type), target_->kernels->tile_rows, tile,
              dense_.data);
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const RandomSource& source)
    : PackedMatrix(target, describe(source)) {}

void PackedMatrix::fill_tile(const RandomSource& source, int64_t tile) const {
  const LowBit& w = lowbit_;
  const Kernels& kernels = *target_->kernels;
  const int tile_rows = kernels.tile_rows;
  constexpr uint64_t kEveryByte = 0x0101010101010101ull;
  const uint64_t mask = ((1u << w.bits) - 1) * kEveryByte;
  std::vector<uint64_t> words(static_cast<size_t>(tile_rows * w.columns / 8));
  Random random(source.seed << 32 ^ static_cast<uint64_t>(tile));
  for (uint64_t& word : words) word = random.next() & mask;
  if (w.kind == CodeKind::ternary) {
    // 3 stands for nothing; as 1 it is a weight of 0, and the mean stays 0.
    for (uint64_t& word : words) word &= ~((word >> 1 & word & kEveryByte) << 1);
  }
  kernels.pack_tile(w.kind, w.bits, w.columns, reinterpret_cast<const uint8_t*>(words.data()),
                    w.codes + tile * kernels.packed_tile_bytes(w.kind, w.bits, w.columns));
  uint16_t* scales = reinterpret_cast<uint16_t*>(w.scale) + tile * w.groups * tile_rows;
  const int base = (source.scale_exponent + 15) << 10;
  for (int64_t i = 0; i < w.groups * tile_rows; ++i) scales[i] = static_cast<uint16_t>(base | (random.next() & 1023));
}

Form PackedMatrix::form() const {
  if (is_dense() || lowbit_.kind == CodeKind::float8) return Form::plain;
  if (lowbit_.kind == CodeKind::ternary) return Form::ternary;
  return lowbit_.kind == CodeKind::codebook || lowbit_.bits == 8 ? Form::integers : Form::tables;
}

void PackedMatrix::unpack_row(int64_t row, float* out) const {
  if (is_dense()) {
    target_->kernels->unpack_row_dense(dense_, row, out);
  } else {
    target_->kernels->unpack_row_lowbit(lowbit_, row, out);
  }
}

void PackedMatrix::matmul(const MatmulArgs& args, bool exact, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                          int64_t token_end) const {
  const Kernels& kernels = *target_->kernels;
  if (is_dense()) {
    kernels.matmul_dense(dense_, args, tile_begin, tile_end, token_begin, token_end);
  } else if (exact || lowbit_.kind == CodeKind::float8) {
    kernels.matmul_lowbit_exact(lowbit_, args, tile_begin, tile_end, token_begin, token_end);
  } else {
    kernels.matmul_lowbit(lowbit_, args, tile_begin, tile_end, token_begin, token_end);
  }
}

int64_t tokens_per_task(int64_t x_stride) {
  // Multiples of 32 keep the kernels' blocks of tokens full.
  const int64_t cache_bytes = int64_t{tuning().block_kilobytes} << 10;
  return std::max<int64_t>(32, cache_bytes / x_stride / 32 * 32);
}

}  // namespace lutmac
