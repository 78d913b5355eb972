#include "runtime/low_bit_source.h"

#include <cmath>
#include <type_traits>

#include "runtime/require.h"

namespace lutmac {
namespace {

void check_param(const LowBitSource& source, const ParamArray& param) {
  if (!param.in_blocks) return;
  const InBlocks& in = *param.in_blocks;
  require(source.block_weights % source.group_size == 0, "parameters in blocks need whole groups in a block");
  const int groups = static_cast<int>(source.block_weights / source.group_size);
  in.floats.check(in.integers.empty() ? groups : 1, source.block_bytes, 8 * in.bytes_per_float);
  if (!in.integers.empty()) in.integers.check(groups, source.block_bytes, 16);
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

void check_float8(const LowBitSource& source) {
  require(source.bits == 8 && source.zero_point == 0.0f, "FP8 codes have 8 bits and no zero point");
  require(source.offset.kind == ParamKind::none, "FP8 codes take no offset");
}

}  // namespace

void LowBitSource::check() const {
  require(rows > 0 && columns > 0, "a matrix needs rows and columns");
  require(columns % kTableGroup == 0, "columns must be a multiple of 32");
  require(bits >= 1 && bits <= 8, "bits must be 1 to 8");
  require(group_size == 16 || (group_size > 0 && group_size % 32 == 0),
          "group size must be 16 or a multiple of 32");
  require(block_weights > 0 && columns % block_weights == 0,
          "columns must be a multiple of the block's weights");
  require(row_bytes == columns / block_weights * block_bytes,
          "a row of the source has the wrong length");
  require(std::isfinite(factor), "factor must be finite");
  if (kind == CodeKind::codebook) check_codebook(*this);
  if (kind == CodeKind::ternary) check_ternary(*this);
  if (kind == CodeKind::float8) check_float8(*this);
  if (grid) {
    grid->check(block_weights, block_bytes);
  } else {
    codes.check(block_weights, block_bytes, 8);
  }
  check_param(*this, scale);
  check_param(*this, offset);
}

void LowBitSource::read_codes(int64_t row, int64_t first_column, int64_t count, int64_t out_stride, uint8_t* out) const {
  const int64_t first = first_column / block_weights, blocks = count / block_weights;
  const uint8_t* at = bytes + row * row_bytes + first * block_bytes;
  if (grid) {
    grid->read(at, blocks, block_bytes, block_weights, out_stride, out);
  } else {
    codes.read(at, blocks, block_bytes, out_stride, out);
  }
  const uint8_t change = code_xor;
  if (!change) return;
  const bool together = out_stride == block_weights;
  const int64_t length = together ? count : block_weights;
  for (int64_t k = 0; k < count; k += length, out += out_stride) {
    for (int64_t i = 0; i < length; ++i) out[i] = static_cast<uint8_t>(out[i] ^ change);
  }
}

void LowBitSource::prefetch_codes(int64_t row, int64_t first_column, int64_t count) const {
  const uint8_t* at = bytes + row * row_bytes + first_column / block_weights * block_bytes;
  for (int64_t i = 0; i < count / block_weights * block_bytes; i += 64) __builtin_prefetch(at + i);
}

void LowBitSource::read_params(const ParamArray& param, int64_t row, int tile_rows, uint16_t* room, uint8_t* out,
                               uint8_t* super_out) const {
  const InBlocks& in = *param.in_blocks;
  const int64_t blocks = columns / block_weights;
  const int groups = param.groups_per_super;
  const uint8_t* at = bytes + row * row_bytes;
  const int64_t tile = row / tile_rows, r = row % tile_rows;
  const auto spread = [&](const auto* values, int64_t count, uint8_t* to, int change) {
    using Item = std::remove_cvref_t<decltype(*values)>;
    Item* items = reinterpret_cast<Item*>(to) + tile * count * tile_rows + r;
    for (int64_t i = 0; i < count; ++i) items[i * tile_rows] = static_cast<Item>(values[i] - change);
  };
  uint8_t* small = reinterpret_cast<uint8_t*>(room);
  if (in.bytes_per_float == 1) {
    in.floats.read(at, blocks, block_bytes, groups, small);
    return spread(small, blocks * groups, out, 0);
  }
  if (!in.integers.empty()) {
    in.integers.read(at, blocks, block_bytes, groups, small);
    spread(small, blocks * groups, out, in.bias);
  }
  const int per_block = in.integers.empty() ? groups : 1;
  in.floats.read(at, blocks, block_bytes, per_block, room);
  // Changing the sign bit is adding it.
  spread(room, blocks * per_block, in.integers.empty() ? out : super_out, in.negative ? 0x8000 : 0);
}

}  // namespace lutmac
