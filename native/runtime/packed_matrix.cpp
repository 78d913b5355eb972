#include "runtime/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "runtime/codebook.h"
#include "runtime/random.h"
#include "runtime/tuning.h"

namespace lutmac {
namespace {

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

// [rows, groups] -> [tile][group][tile_rows], zeros past the last row.
template <typename Item>
void tile_items(const void* in, int64_t rows, int64_t groups, int tile_rows, int64_t tile, uint8_t* out) {
  Item* to = reinterpret_cast<Item*>(out) + tile * groups * tile_rows;
  const int64_t first = tile * tile_rows;
  for (int r = 0; r < tile_rows; ++r) {
    const Item* from = static_cast<const Item*>(in) + (first + r) * groups;
    for (int64_t group = 0; group < groups; ++group) to[group * tile_rows + r] = first + r < rows ? from[group] : Item{0};
  }
}

void tile_params(const void* in, int64_t rows, int64_t groups, int item, int tile_rows, int64_t tile, uint8_t* out) {
  if (item == 1) return tile_items<uint8_t>(in, rows, groups, tile_rows, tile, out);
  if (item == 2) return tile_items<uint16_t>(in, rows, groups, tile_rows, tile, out);
  tile_items<uint32_t>(in, rows, groups, tile_rows, tile, out);
}

constexpr uint64_t kEveryByte = 0x0101010101010101ull;

// 8 bits to 8 bytes of 0 or 1, the lowest bit first.
uint64_t spread_bits(uint8_t bits) {
  const uint64_t isolated = bits * kEveryByte & 0x8040201008040201ull;  // byte i keeps bit i
  return (isolated + 0x7f * kEveryByte) >> 7 & kEveryByte;              // any bit carries into the top one
}

// One run in every block of a row. 8 codes at a time: what a shift carries across bytes, the mask takes away.
template <bool kPackedBits>
void add_run(const LowBitSource& source, const BitRun& run, const uint8_t* row, uint8_t* codes) {
  const uint64_t mask = ((1u << run.width) - 1) * kEveryByte;
  const int shift = run.shift, dest = run.dest, whole = run.count / 8 * 8;
  const uint8_t* in = row + run.byte;
  uint8_t* out = codes + run.first;
  for (int64_t k = 0; k < source.columns; k += source.block_weights) {
    for (int i = 0; i < whole; i += 8) {
      uint64_t word, values;
      std::memcpy(&values, out + i, 8);
      if constexpr (kPackedBits) {
        word = spread_bits(in[i / 8]);
      } else {
        std::memcpy(&word, in + i, 8);
        word = word >> shift & mask;
      }
      values |= word << dest;
      std::memcpy(out + i, &values, 8);
    }
    for (int i = whole; i < run.count; ++i) {
      const int value = kPackedBits ? in[i >> 3] >> (i & 7) & 1 : in[i] >> shift & static_cast<int>(mask & 255);
      out[i] = static_cast<uint8_t>(out[i] | value << dest);
    }
    in += source.block_bytes;
    out += source.block_weights;
  }
}

// One row of codes, a byte each.
void decode_row(const LowBitSource& source, int64_t row, uint8_t* codes) {
  std::memset(codes, 0, static_cast<size_t>(source.columns));
  const uint8_t* bytes = source.bytes + row * source.row_bytes;
  for (const BitRun& run : source.runs) {
    run.packed_bits ? add_run<true>(source, run, bytes, codes) : add_run<false>(source, run, bytes, codes);
  }
  if (source.code_xor) {
    for (int64_t k = 0; k < source.columns; ++k) codes[k] = static_cast<uint8_t>(codes[k] ^ source.code_xor);
  }
}

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

void check_run(const LowBitSource& source, const BitRun& run) {
  require(run.first >= 0 && run.count > 0 && run.first + run.count <= source.block_weights, "bit run outside its block");
  const int span = run.packed_bits ? (run.count + 7) / 8 : run.count;
  require(run.byte >= 0 && run.byte + span <= source.block_bytes, "bit run reads past its block");
  require(run.shift >= 0 && run.width >= 1 && run.dest >= 0 && run.shift + run.width <= 8, "bit run has no such bits");
  require(run.dest + (run.packed_bits ? 1 : run.width) <= 8, "bit run writes past a byte");
}

void check_codebook(const LowBitSource& source) {
  require(source.bits == 4, "codes of a codebook have 4 bits");
  require(source.zero_point == 0.0f, "a codebook has no zero point");
  for (const float* values : {source.codebook, source.second_codebook}) {
    for (int i = 0; values && i < 16; ++i) require(std::isfinite(values[i]), "a codebook's values must be finite");
  }
  require(!source.second_codebook || source.offset.kind != ParamKind::none, "a second codebook needs a scale of its own");
}

void check_ternary(const LowBitSource& source) {
  require(source.bits == 2 && source.zero_point == 1.0f, "ternary codes have 2 bits and a zero point of 1");
  require(source.group_size >= source.columns, "ternary codes take one scale per row");
  require(source.offset.kind == ParamKind::none, "ternary codes take no offset");
  require(source.columns <= kMaxTernaryColumns, "a ternary matrix has at most 131072 columns");
}

void check(const LowBitSource& source) {
  require(source.rows > 0 && source.columns > 0, "a matrix needs rows and columns");
  require(source.columns % kTableGroup == 0, "columns must be a multiple of 32");
  require(source.bits >= 1 && source.bits <= 8, "bits must be 1 to 8");
  require(source.group_size == 16 || (source.group_size > 0 && source.group_size % 32 == 0),
          "group size must be 16 or a multiple of 32");
  require(source.block_weights > 0 && source.columns % source.block_weights == 0,
          "columns must be a multiple of the block's weights");
  require(source.row_bytes == source.columns / source.block_weights * source.block_bytes,
          "a row of the source has the wrong length");
  for (const BitRun& run : source.runs) check_run(source, run);
  require(std::isfinite(source.factor), "factor must be finite");
  if (source.kind == CodeKind::codebook) check_codebook(source);
  if (source.kind == CodeKind::ternary) check_ternary(source);
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
  return described;
}

}  // namespace

uint8_t* PackedMatrix::take(int64_t bytes) {
  blocks_.push_back(allocate_weights(static_cast<size_t>(bytes)));
  bytes_ += bytes;
  return blocks_.back().data;
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const LowBitSource& source) : target_(&target) {
  check(source);
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
  const Kernels& kernels = *target_->kernels;
  const int tile_rows = kernels.tile_rows;
  std::vector<uint8_t> codes(static_cast<size_t>(tile_rows * w.columns));
  for (int r = 0; r < tile_rows && tile * tile_rows + r < w.rows; ++r) {
    decode_row(source, tile * tile_rows + r, codes.data() + r * w.columns);
  }
  const int64_t tile_bytes = kernels.packed_tile_bytes(w.kind, w.bits, w.columns);
  kernels.pack_tile(w.kind, w.bits, w.columns, codes.data(), w.codes + tile * tile_bytes);
  const auto params = [&](const void* in, int64_t groups, int item, uint8_t* out) {
    if (item) tile_params(in, w.rows, groups, item, tile_rows, tile, out);
  };
  params(source.scale.values, w.groups, value_bytes(w.scale_kind), w.scale);
  params(source.scale.super, w.super_groups, super_bytes(w.scale_kind), w.scale_super);
  params(source.offset.values, w.groups, value_bytes(w.offset_kind), w.offset);
  params(source.offset.super, w.offset_super_groups, super_bytes(w.offset_kind), w.offset_super);
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const DenseSource& source) : target_(&target) {
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
  if (is_dense()) return Form::plain;
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
  } else if (exact) {
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
