#include "runtime/low_bit_source.h"

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

}  // namespace

void LowBitSource::check() const {
  check_shape(*this);
  require(block_weights > 0 && columns % block_weights == 0, "columns must be a multiple of the block's weights");
  require(row_bytes == columns / block_weights * block_bytes, "a row of the source has the wrong length");
  if (grid) {
    grid->check(block_weights, block_bytes);
  } else {
    codes.check(block_weights, block_bytes, 8);
  }
  check_param(*this, scale_array);
  check_param(*this, offset_array);
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

LowBitSource LowBitSource::row(int64_t index) const {
  LowBitSource one = *this;
  one.rows = 1;
  one.bytes += index * row_bytes;
  const auto advance = [&](const ParamShape& param, ParamArray& array) {
    const ParamFormat& format = format_of(param.kind);
    if (array.values) array.values = static_cast<const uint8_t*>(array.values) + index * count_groups() * format.bytes;
    if (array.super) {
      const int64_t size = count_super_groups(param) * format_of(format.super).bytes;
      array.super = static_cast<const uint8_t*>(array.super) + index * size;
    }
  };
  advance(scale, one.scale_array);
  advance(offset, one.offset_array);
  return one;
}

void LowBitSource::read_params(const InBlocks& in, int64_t row, int tile_rows, uint16_t* room,
                               const PackedParam& out) const {
  const int64_t blocks = columns / block_weights;
  const int groups = static_cast<int>(block_weights / group_size);
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
    return spread(small, blocks * groups, out.values, 0);
  }
  if (!in.integers.empty()) {
    in.integers.read(at, blocks, block_bytes, groups, small);
    spread(small, blocks * groups, out.values, in.bias);
  }
  const int per_block = in.integers.empty() ? groups : 1;
  in.floats.read(at, blocks, block_bytes, per_block, room);
  // Changing the sign bit is adding it.
  spread(room, blocks * per_block, in.integers.empty() ? out.values : out.super, in.negative ? 0x8000 : 0);
}

}  // namespace lutmac
