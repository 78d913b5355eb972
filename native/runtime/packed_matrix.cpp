#include "runtime/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/random.h"
#include "runtime/require.h"
#include "runtime/tiles.h"
#include "runtime/tuning.h"

namespace lutmac {
namespace {

constexpr int64_t kAlignment = 64;

template <typename Source>
const Source& checked(const Source& source) {
  source.check();
  return source;
}

TileTable dense_table(const DenseShape& shape, int tile_rows) {
  return {shape.rows, shape.columns, format_of(param_of(shape.type)).bytes, tile_rows};
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
  allocations_.push_back(allocate_weights(static_cast<size_t>(bytes)));
  parts_.push_back({allocations_.back().data, static_cast<int64_t>(allocations_.back().bytes)});
  return allocations_.back().data;
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const LowBitShape& shape, PackedBytes packed)
    : target_(&target), given_(std::move(packed)) {
  check_shape(shape);
  lowbit_ = lay_out(shape, target.kernels->packing, [this](const char*, int64_t bytes) { return take(bytes); });
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const LowBitSource& source)
    : PackedMatrix(target, checked(source), PackedBytes{}) {}

void PackedMatrix::fill_tile(const LowBitSource& source, int64_t tile) const {
  fill_codes(source, tile);
  fill_param(source, source.scale, source.scale_array, tile, lowbit_.packed_scale);
  fill_param(source, source.offset, source.offset_array, tile, lowbit_.packed_offset);
}

void PackedMatrix::fill_param(const LowBitSource& source, const ParamShape& shape, const ParamArray& array, int64_t tile,
                              const PackedParam& packed) const {
  const LowBit& w = lowbit_;
  if (array.in_blocks) {
    std::vector<uint16_t> room(static_cast<size_t>(w.groups));
    for (int64_t row = tile * tile_rows(); row < std::min(w.rows, (tile + 1) * tile_rows()); ++row) {
      source.read_params(*array.in_blocks, row, tile_rows(), room.data(), packed);
    }
    return;
  }
  const ParamFormat& format = format_of(shape.kind);
  if (array.values) fill_table_tile({w.rows, w.groups, format.bytes, tile_rows()}, tile, array.values, packed.values);
  if (array.super) {
    const TileTable supers = {w.rows, packed.super_groups, format_of(format.super).bytes, tile_rows()};
    fill_table_tile(supers, tile, array.super, packed.super);
  }
}

// Rows are decoded one after another, as memory likes it, over a stretch of columns that the L2 cache holds for all rows
// of the tile; and in pieces of 256 columns, which the L1 cache holds for all rows while they are packed.
void PackedMatrix::fill_codes(const LowBitSource& source, int64_t tile) const {
  constexpr int64_t kPiece = 256, kStretch = 4096;
  const LowBit& w = lowbit_;
  const Packing& packing = target_->kernels->packing;
  const int64_t tile_rows = packing.tile_rows, first_row = tile * tile_rows;
  const bool whole = w.kind == CodeKind::ternary || kPiece % source.block_weights != 0;
  const int64_t piece = whole ? w.columns : kPiece, stretch = whole ? w.columns : kStretch;
  uint8_t* out = w.codes + tile * packing.packed_tile_bytes(w.kind, w.bits, w.columns);
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
      packing.pack_tile(w.kind, w.bits, std::min(piece, end - k), codes.data() + (k - begin) / piece * step,
                        out + packing.packed_tile_bytes(w.kind, w.bits, k));
    }
  }
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const DenseShape& shape, PackedBytes packed)
    : target_(&target), given_(std::move(packed)) {
  check_shape(shape);
  dense_ = lay_out(shape, target.kernels->packing, [this](const char*, int64_t bytes) { return take(bytes); });
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const DenseSource& source)
    : PackedMatrix(target, static_cast<const DenseShape&>(source), PackedBytes{}) {}

void PackedMatrix::fill_tile(const DenseSource& source, int64_t tile) const {
  fill_table_tile(dense_table(source, tile_rows()), tile, source.data, dense_.data);
}

namespace {

// Memory of the calling thread for one row in a target's packing.
struct RowRoom {
  std::vector<std::vector<uint64_t>> parts;
  PackedBytes packed;

  // Sizes of the parts that a layout takes.
  template <typename Shape>
  void fit(const Shape& shape, const Packing& packing) {
    packed.parts.clear();
    size_t used = 0;
    lay_out(shape, packing, [&](const char*, int64_t bytes) {
      if (used == parts.size()) parts.emplace_back();
      std::vector<uint64_t>& room = parts[used++];
      const size_t words = static_cast<size_t>(bytes + 2 * kAlignment) / sizeof(uint64_t);
      if (room.size() < words) room.resize(words);
      const uintptr_t at = (reinterpret_cast<uintptr_t>(room.data()) + kAlignment - 1) / kAlignment * kAlignment;
      packed.parts.push_back({reinterpret_cast<const uint8_t*>(at), bytes});
      return const_cast<uint8_t*>(packed.parts.back().data);
    });
    packed.owner = std::shared_ptr<const void>(&parts, [](const void*) {});
  }
};

// Packs the only row of a source, and takes it out again: so a row is read by what reads matrices, whatever its layout.
template <typename Source, typename Shape>
void unpack_only_row(const TargetEntry& target, const Source& source, float* out) {
  thread_local RowRoom room;
  const Shape& shape = source;
  room.fit(shape, target.kernels->packing);
  const PackedMatrix one(target, shape, room.packed);
  one.fill_tile(source, 0);
  one.unpack_row(0, out);
}

}  // namespace

PackedMatrix::PackedMatrix(const TargetEntry& target, const LowBitSource& source, std::shared_ptr<const void> owner)
    : target_(&target), owner_(std::move(owner)), low_bit_rows_(std::make_unique<LowBitSource>(checked(source))) {
  static_cast<LowBitShape&>(lowbit_) = source;
  lowbit_.groups = source.count_groups();
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const DenseSource& source, std::shared_ptr<const void> owner)
    : target_(&target), owner_(std::move(owner)), dense_rows_(std::make_unique<DenseSource>(source)) {
  check_shape(source);
  static_cast<DenseShape&>(dense_) = source;
  dense_.data = static_cast<uint8_t*>(const_cast<void*>(source.data));  // nothing writes there: it says that the matrix is dense
}

RandomSource::RandomSource(int64_t rows, int64_t columns, CodeKind kind, int bits, int64_t group_size, int exponent,
                           uint64_t seed)
    : scale_exponent(exponent), seed(seed) {
  require(exponent > -15 && exponent < 15, "scale exponent must be from -14 to 14");
  this->rows = rows;
  this->columns = columns;
  this->kind = kind;
  this->bits = bits;
  this->group_size = group_size;
  zero_point = bits > 0 ? static_cast<float>((1 << std::min(bits, 8)) - 1) / 2 : 0.0f;
  if (kind == CodeKind::ternary) zero_point = 1.0f;
  scale.kind = ParamKind::f16;
}

PackedMatrix::PackedMatrix(const TargetEntry& target, const RandomSource& source)
    : PackedMatrix(target, static_cast<const LowBitShape&>(source), PackedBytes{}) {}

void PackedMatrix::fill_tile(const RandomSource& source, int64_t tile) const {
  const LowBit& w = lowbit_;
  const Packing& packing = target_->kernels->packing;
  const int tile_rows = packing.tile_rows;
  constexpr uint64_t kEveryByte = 0x0101010101010101ull;
  const uint64_t mask = ((1u << w.bits) - 1) * kEveryByte;
  std::vector<uint64_t> words(static_cast<size_t>(tile_rows * w.columns / 8));
  Random random(source.seed << 32 ^ static_cast<uint64_t>(tile));
  for (uint64_t& word : words) word = random.next() & mask;
  if (w.kind == CodeKind::ternary) {
    // 3 stands for nothing; as 1 it is a weight of 0, and the mean stays 0.
    for (uint64_t& word : words) word &= ~((word >> 1 & word & kEveryByte) << 1);
  }
  packing.pack_tile(w.kind, w.bits, w.columns, reinterpret_cast<const uint8_t*>(words.data()),
                    w.codes + tile * packing.packed_tile_bytes(w.kind, w.bits, w.columns));
  uint16_t* scales = reinterpret_cast<uint16_t*>(w.packed_scale.values) + tile * w.groups * tile_rows;
  const int base = (source.scale_exponent + 15) << 10;
  for (int64_t i = 0; i < w.groups * tile_rows; ++i) scales[i] = static_cast<uint16_t>(base | (random.next() & 1023));
}

Form PackedMatrix::form() const {
  if (is_dense() || lowbit_.kind == CodeKind::float8) return Form::plain;
  if (lowbit_.kind == CodeKind::ternary) return Form::ternary;
  return lowbit_.kind == CodeKind::codebook || lowbit_.bits == 8 ? Form::integers : Form::tables;
}

Form PackedMatrix::rounded_form() const {
  return is_dense() && target_->kernels->matmul_dense_bfloat16 != nullptr ? Form::bf16 : form();
}

void PackedMatrix::unpack_row(int64_t row, float* out) const {
  if (low_bit_rows_) return unpack_only_row<LowBitSource, LowBitShape>(*target_, low_bit_rows_->row(row), out);
  if (dense_rows_) {
    DenseSource one = *dense_rows_;
    one.rows = 1;
    one.data = static_cast<const uint8_t*>(one.data) + row * one.columns * format_of(param_of(one.type)).bytes;
    return unpack_only_row<DenseSource, DenseShape>(*target_, one, out);
  }
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

void PackedMatrix::matmul_bfloat16(const MatmulArgs& args, const ProductPart& part) const {
  target_->kernels->matmul_dense_bfloat16(dense_, args, part.tile_begin, part.tile_end, part.token_begin, part.token_end);
}

void PackedMatrix::matmul_prompt(const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                                 int64_t token_end) const {
  if (prompt_form(*target_->kernels, form()) != Form::bf16) return matmul(args, false, tile_begin, tile_end, token_begin, token_end);
  target_->kernels->matmul_prompt(lowbit_, args, tile_begin, tile_end, token_begin, token_end);
}

void multiply(const PackedMatrix& matrix, const MatmulArgs& args, Form form, bool prompt, const ProductPart& part) {
  if (matrix.is_dense() && form == Form::bf16) {
    matrix.matmul_bfloat16(args, part);
  } else if (prompt && form != Form::plain) {
    matrix.matmul_prompt(args, part.tile_begin, part.tile_end, part.token_begin, part.token_end);
  } else {
    matrix.matmul(args, form == Form::plain, part.tile_begin, part.tile_end, part.token_begin, part.token_end);
  }
}

int64_t generated_block(int64_t rows, int64_t most, int64_t tasks_per_block, int threads) {
  constexpr int64_t kFewest = 8;  // below, kernels have more to do for each
  int64_t block = most;
  const auto idle = [&] {  // more than a sixteenth of the threads' time
    const int64_t tasks = (rows + block - 1) / block * tasks_per_block, rounds = (tasks + threads - 1) / threads;
    return (rounds * threads - tasks) * 16 > tasks;
  };
  while (std::min(rows, block) > kFewest && idle()) block = ((std::min(rows, block) + 1) / 2 + 3) / 4 * 4;
  return block;
}

int64_t prompt_block(int64_t rows, int64_t tasks_per_block, int threads) {
  constexpr int64_t kFewest = 64;  // below, unpacking is more than two thirds of the whole
  int64_t block = kPromptTokens;
  const auto tasks = [&] { return (rows + block - 1) / block * tasks_per_block; };
  while (block > kFewest && tasks() < 2 * threads) block /= 2;
  return block;
}

int64_t tokens_per_task(int64_t x_stride) {
  // Multiples of 32 keep the kernels' token blocks full.
  const int64_t cache_bytes = int64_t{tuning().block_kilobytes} << 10;
  return std::max<int64_t>(32, cache_bytes / x_stride / 32 * 32);
}

}  // namespace lutmac
