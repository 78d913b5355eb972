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
void read_bytes(const BitRun& run, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  // Bytes written may be any object's: a run's fields are loaded once only if they are copied.
  const int numbers = kCount ? kCount : run.count, shift = run.shift, dest = run.dest;
  const uint64_t byte_mask = (1u << run.width) - 1;
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
void read_bytes(const BitRun& run, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  const auto read = run.count == 32   ? read_bytes<kAssign, 32>
                    : run.count == 16 ? read_bytes<kAssign, 16>
                    : run.count == 8  ? read_bytes<kAssign, 8>
                    : run.count == 4  ? read_bytes<kAssign, 4>
                                      : read_bytes<kAssign, 0>;
  read(run, in, blocks, block_bytes, out_stride, out);
}

template <int kWidth>
void read_packed(const BitRun& run, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  const int numbers = run.count, dest = run.dest;
  const bool assign = run.assign;
  for (int64_t b = 0; b < blocks; ++b, in += block_bytes, out += out_stride) {
    for (int i = 0; i < numbers; i += 8) put(spread_bits<kWidth>(in + i / 8 * kWidth) << dest, assign, out + i);
  }
}

// The general way. Past a block nothing may be read: it may be the file's last bytes.
template <typename Number, bool kTable>
void read_anywhere(const BitRun& run, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, Number* out) {
  const int numbers = run.count, width = run.width, dest = run.dest, first = run.shift, stride = run.stride;
  const uint32_t mask = (1u << width) - 1, keep = run.assign ? 0 : ~0u;
  const uint16_t* table = run.table.data();
  const int safe = (block_bytes - run.byte - 4) * 8;  // a bit up to here has 4 bytes that can be loaded
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

// Bytes that a table translates: one on the stack, which what is written cannot change.
template <bool kAssign>
void read_translated(const BitRun& run, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  const int numbers = run.count;
  uint8_t table[256];
  for (int i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(run.table[i] << run.dest);
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
bool read_fast(const BitRun& run, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) {
  if (!run.table.empty()) {
    if (run.stride != 8 || run.shift || run.width != 8) return false;
    run.assign ? read_translated<true>(run, in, blocks, block_bytes, out_stride, out)
               : read_translated<false>(run, in, blocks, block_bytes, out_stride, out);
    return true;
  }
  if (run.stride == 8 && run.shift + run.width <= 8) {
    run.assign ? read_bytes<true>(run, in, blocks, block_bytes, out_stride, out)
               : read_bytes<false>(run, in, blocks, block_bytes, out_stride, out);
    return true;
  }
  if (run.stride != run.width || run.shift || run.count % 8) return false;
  switch (run.width) {
    case 1: read_packed<1>(run, in, blocks, block_bytes, out_stride, out); return true;
    case 2: read_packed<2>(run, in, blocks, block_bytes, out_stride, out); return true;
    case 4: read_packed<4>(run, in, blocks, block_bytes, out_stride, out); return true;
    default: return false;
  }
}

// One 16-bit number per block: where most types keep their scale.
bool read_fast(const BitRun& run, const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint16_t* out) {
  if (run.width != 16 || run.shift || run.count != 1 || !run.assign || !run.table.empty()) return false;
  for (int64_t b = 0; b < blocks; ++b, in += block_bytes, out += out_stride) std::memcpy(out, in, 2);
  return true;
}

}  // namespace

BlockNumbers::BlockNumbers(std::vector<BitRun> runs) : runs_(std::move(runs)) {
  for (size_t i = 0; i < runs_.size(); ++i) {
    BitRun& run = runs_[i];
    run.assign = std::none_of(runs_.begin(), runs_.begin() + static_cast<std::ptrdiff_t>(i), [&](const BitRun& other) {
      return other.first < run.first + run.count && run.first < other.first + other.count;
    });
  }
}

void BlockNumbers::check(int count, int block_bytes, int bits) const {
  for (const BitRun& run : runs_) {
    require(run.first >= 0 && run.count > 0 && run.count <= count && run.first <= count - run.count,
            "bit run outside its block");
    require(run.width >= 1 && run.width <= 16 && run.stride >= 1 && run.stride <= 1024, "bit run has no such bits");
    require(run.byte >= 0 && run.byte < block_bytes && run.shift >= 0 && run.shift < 8, "bit run reads past its block");
    const int64_t end = int64_t{run.byte} * 8 + run.shift + int64_t{run.stride} * (run.count - 1) + run.width;
    require(end <= int64_t{block_bytes} * 8, "bit run reads past its block");
    require(run.dest >= 0 && run.dest + (run.table.empty() ? run.width : 0) <= bits, "bit run writes past its number");
    require(run.table.empty() || run.table.size() == size_t{1} << run.width, "a table has an entry for each value");
  }
  int covered = 0;
  for (const BitRun& run : runs_) covered += run.assign ? run.count : 0;
  require(covered == count, "bit runs must make up every number");
}

template <typename Number>
void BlockNumbers::read_all(const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, Number* out) const {
  for (const BitRun& run : runs_) {
    const uint8_t* from = in + run.byte;
    Number* to = out + run.first;
    if (read_fast(run, from, blocks, block_bytes, out_stride, to)) continue;
    if (run.table.empty()) {
      read_anywhere<Number, false>(run, from, blocks, block_bytes, out_stride, to);
    } else {
      read_anywhere<Number, true>(run, from, blocks, block_bytes, out_stride, to);
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
  for (const BitRun& run : runs_) {
    if (run.table.empty()) bits |= ((1u << run.width) - 1) << run.dest;
    for (const uint16_t entry : run.table) bits |= uint32_t{entry} << run.dest;
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
  constexpr int kTogether = 16;  // blocks: so that what a run costs to set up is shared
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
