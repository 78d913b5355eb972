#include "runtime/block_source.h"

#include <algorithm>
#include <cstring>

#include "runtime/require.h"

namespace lutmac {
namespace {

constexpr uint64_t kEveryByte = 0x0101010101010101ull;

// 8 numbers of kWidth bits, lowest bits first, to a byte each.
template <int kWidth>
uint64_t spread_bits(const uint8_t* in) {
  uint64_t x = 0;
  std::memcpy(&x, in, kWidth);
  if constexpr (kWidth == 1) {
    const uint64_t isolated = x * kEveryByte & 0x8040201008040201ull;  // byte i keeps bit i
    return (isolated + 0x7f * kEveryByte) >> 7 & kEveryByte;           // any bit carries into the top one
  } else {  // halves move apart until every number has a byte
    if constexpr (kWidth == 4) x = (x | x << 16) & 0x0000ffff0000ffffull;
    if constexpr (kWidth == 4) x = (x | x << 8) & 0x00ff00ff00ff00ffull;
    if constexpr (kWidth == 4) return (x | x << 4) & 0x0f0f0f0f0f0f0f0full;
    x = (x | x << 24) & 0x000000ff000000ffull;
    x = (x | x << 12) & 0x000f000f000f000full;
    return (x | x << 6) & 0x0303030303030303ull;
  }
}

// Two vectors of 8 bytes side by side: every target has 16-byte vectors, and this file is compiled once for all.
using Pair = uint64_t __attribute__((vector_size(16)));

template <typename Words>
void put(Words values, bool assign, uint8_t* out) {
  if (!assign) {
    Words before;
    std::memcpy(&before, out, sizeof before);
    values |= before;
  }
  std::memcpy(out, &values, sizeof values);
}

// Numbers in consecutive bytes, 16 at a time: what a shift carries across bytes, the mask takes away. kCount: how many, 0
// where that is not known here; of the usual counts the loop is unrolled.
template <bool kAssign, int kCount>
void read_bytes(const BitFields& field, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  // Copies, so that they are loaded once: the compiler must assume that writing bytes may change `field`.
  const int numbers = kCount ? kCount : field.count, shift = field.shift, dest = field.dest;
  const uint64_t byte_mask = (1u << field.width) - 1;
  const Pair mask = Pair{kEveryByte, kEveryByte} * byte_mask;
  for (int64_t b = 0; b < blocks; ++b, in += block_bytes, out += out_stride) {
    int i = 0;
    for (; i + 16 <= numbers; i += 16) {
      Pair word;
      std::memcpy(&word, in + i, 16);
      put((word >> shift & mask) << dest, kAssign, out + i);
    }
    for (; i + 4 <= numbers; i += 4) {
      uint32_t word;
      std::memcpy(&word, in + i, 4);
      put((word >> shift & static_cast<uint32_t>(byte_mask * kEveryByte)) << dest, kAssign, out + i);
    }
    for (; i < numbers; ++i) {
      const auto value = static_cast<uint8_t>((in[i] >> shift & byte_mask) << dest);
      out[i] = kAssign ? value : static_cast<uint8_t>(out[i] | value);
    }
  }
}

template <bool kAssign>
void read_bytes(const BitFields& field, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  const auto read = field.count == 32   ? read_bytes<kAssign, 32>
                    : field.count == 16 ? read_bytes<kAssign, 16>
                    : field.count == 8  ? read_bytes<kAssign, 8>
                    : field.count == 4  ? read_bytes<kAssign, 4>
                                      : read_bytes<kAssign, 0>;
  read(field, in, blocks, block_bytes, out_stride, out);
}

template <int kWidth>
void read_packed(const BitFields& field, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  const int numbers = field.count, dest = field.dest;
  const bool assign = field.assign;
  for (int64_t b = 0; b < blocks; ++b, in += block_bytes, out += out_stride) {
    for (int i = 0; i < numbers; i += 8) put(spread_bits<kWidth>(in + i / 8 * kWidth) << dest, assign, out + i);
  }
}

// The general way. Past a block nothing may be read: it may be the file's last bytes.
template <typename Number, bool kTable>
void read_anywhere(const BitFields& field, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, Number* out) {
  const int numbers = field.count, width = field.width, dest = field.dest, first = field.shift, stride = field.stride;
  const uint32_t mask = (1u << width) - 1, keep = field.assign ? 0 : ~0u;
  const uint16_t* table = field.table.data();
  const int safe = (block_bytes - field.byte - 4) * 8;  // a bit up to here has 4 bytes that can be loaded
  for (int64_t b = 0; b < blocks; ++b, in += block_bytes, out += out_stride) {
    for (int i = 0, bit = first; i < numbers; ++i, bit += stride) {
      const uint8_t* at = in + (bit >> 3);
      uint32_t word = 0;
      if (bit <= safe) {
        std::memcpy(&word, at, 4);
      } else {
        std::memcpy(&word, at, static_cast<size_t>(((bit & 7) + width + 7) >> 3));
      }
      word = word >> (bit & 7) & mask;
      if constexpr (kTable) word = table[word];
      out[i] = static_cast<Number>((out[i] & keep) | word << dest);
    }
  }
}

// Bytes that a table translates.
template <bool kAssign>
void read_translated(const BitFields& field, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  const int numbers = field.count;
  const uint8_t* table = field.bytes.data();
  for (int64_t b = 0; b < blocks; ++b, in += block_bytes, out += out_stride) {
    int i = 0;
    for (; i + 8 <= numbers; i += 8) {
      uint64_t bytes, values = 0;
      std::memcpy(&bytes, in + i, 8);
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) values |= uint64_t{table[bytes >> (8 * j) & 0xff]} << (8 * j);
      put(values, kAssign, out + i);
    }
    for (; i < numbers; ++i) out[i] = static_cast<uint8_t>((kAssign ? 0 : out[i]) | table[in[i]]);
  }
}

// The fast ways for what most types are made of; false where there is none.
bool read_fast(const BitFields& field, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  if (!field.table.empty()) {
    if (field.stride != 8 || field.shift || field.bytes.empty()) return false;
    field.assign ? read_translated<true>(field, in, blocks, block_bytes, out_stride, out)
               : read_translated<false>(field, in, blocks, block_bytes, out_stride, out);
    return true;
  }
  if (field.stride == 8 && field.shift + field.width <= 8) {
    field.assign ? read_bytes<true>(field, in, blocks, block_bytes, out_stride, out)
               : read_bytes<false>(field, in, blocks, block_bytes, out_stride, out);
    return true;
  }
  if (field.stride != field.width || field.shift || field.count % 8) return false;
  switch (field.width) {
    case 1: read_packed<1>(field, in, blocks, block_bytes, out_stride, out); return true;
    case 2: read_packed<2>(field, in, blocks, block_bytes, out_stride, out); return true;
    case 4: read_packed<4>(field, in, blocks, block_bytes, out_stride, out); return true;
    default: return false;
  }
}

// One 16-bit number per block: where most types keep their scale.
bool read_fast(const BitFields& field, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint16_t* out) {
  if (field.width != 16 || field.shift || field.count != 1 || !field.assign || !field.table.empty()) return false;
  for (int64_t b = 0; b < blocks; ++b, in += block_bytes, out += out_stride) std::memcpy(out, in, 2);
  return true;
}

}  // namespace

BlockNumbers::BlockNumbers(std::vector<BitFields> fields) : fields_(std::move(fields)) {
  for (size_t i = 0; i < fields_.size(); ++i) {
    BitFields& field = fields_[i];
    if (field.width == 8 && field.table.size() == 256) {
      for (const uint16_t entry : field.table) field.bytes.push_back(static_cast<uint8_t>(entry << field.dest));
    }
    field.assign = std::none_of(fields_.begin(), fields_.begin() + static_cast<std::ptrdiff_t>(i), [&](const BitFields& other) {
      return other.first < field.first + field.count && field.first < other.first + other.count;
    });
  }
}

void BlockNumbers::check(int count, int block_bytes, int bits) const {
  for (const BitFields& field : fields_) {
    require(field.first >= 0 && field.count > 0 && field.count <= count && field.first <= count - field.count,
            "bit field outside its block");
    require(field.width >= 1 && field.width <= 16 && field.stride >= 1 && field.stride <= 1024, "bit field has no such bits");
    require(field.byte >= 0 && field.byte < block_bytes && field.shift >= 0 && field.shift < 8, "bit field reads past its block");
    const int64_t end = int64_t{field.byte} * 8 + field.shift + int64_t{field.stride} * (field.count - 1) + field.width;
    require(end <= int64_t{block_bytes} * 8, "bit field reads past its block");
    require(field.dest >= 0 && field.dest + (field.table.empty() ? field.width : 0) <= bits, "bit field writes past its number");
    require(field.table.empty() || field.table.size() == size_t{1} << field.width, "a table has an entry for each value");
  }
  int covered = 0;
  for (const BitFields& field : fields_) covered += field.assign ? field.count : 0;
  require(covered == count, "bit fields must make up every number");
}

template <typename Number>
void BlockNumbers::read_all(const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, Number* out) const {
  for (const BitFields& field : fields_) {
    const uint8_t* from = in + field.byte;
    Number* to = out + field.first;
    if (read_fast(field, from, blocks, block_bytes, out_stride, to)) continue;
    if (field.table.empty()) {
      read_anywhere<Number, false>(field, from, blocks, block_bytes, out_stride, to);
    } else {
      read_anywhere<Number, true>(field, from, blocks, block_bytes, out_stride, to);
    }
  }
}

void BlockNumbers::read(const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) const {
  read_all(in, blocks, block_bytes, out_stride, out);
}

void BlockNumbers::read(const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint16_t* out) const {
  read_all(in, blocks, block_bytes, out_stride, out);
}

uint32_t BlockNumbers::largest() const {
  uint32_t bits = 0;
  for (const BitFields& field : fields_) {
    if (field.table.empty()) bits |= ((1u << field.width) - 1) << field.dest;
    for (const uint16_t entry : field.table) bits |= uint32_t{entry} << field.dest;
  }
  return bits;
}

void Grid::check(int block_weights, int block_bytes) const {
  require(length == 4 || length == 8, "a grid's vectors have 4 or 8 codes");
  require(block_weights <= kMostWeights && block_weights % 8 == 0, "a grid's block has at most 256 weights");
  index.check(block_weights / length, block_bytes, 16);
  require(vectors.size() > index.largest(), "a grid has a vector for each index");
  if (!flips.empty()) flips.check(block_weights / 8, block_bytes, 8);
}

void Grid::read(const uint8_t* in, int64_t blocks, int block_bytes, int block_weights, int64_t out_stride,
                uint8_t* out) const {
  constexpr int kTogether = 16;  // blocks: so that what a field costs to set up is shared
  uint16_t indices[kTogether * kMostWeights / 4];
  uint8_t signs[kTogether * kMostWeights / 8] = {};
  const int units = block_weights / 8, per_block = block_weights / length, per_unit = 8 / length;
  const uint64_t *found = vectors.data(), change = flip;
  for (int64_t first = 0; first < blocks; first += kTogether) {
    const int64_t some = std::min<int64_t>(kTogether, blocks - first);
    index.read(in + first * block_bytes, some, block_bytes, per_block, indices);
    if (!flips.empty()) flips.read(in + first * block_bytes, some, block_bytes, units, signs);
    const uint16_t* at = indices;
    const uint8_t* flipped = signs;
    for (int64_t b = 0; b < some; ++b, out += out_stride) {
      for (int i = 0; i < units; ++i, at += per_unit) {
        uint64_t codes = found[at[0]];
        if (per_unit == 2) codes |= found[at[1]] << 32;
        codes ^= spread_bits<1>(flipped++) * change;
        std::memcpy(out + 8 * i, &codes, 8);
      }
    }
  }
}

}  // namespace lutmac
