// Reading a checkpoint's blocks: numbers whose bits lie anywhere in them. What a block holds is a description; see
// lowbit/matrix.py.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace lutmac {

// See BitFields in lowbit/matrix.py.
struct BitFields {
  int first, count, byte, shift, width, dest, stride;
  std::vector<uint16_t> table;  // empty, or 2^width entries
  std::vector<uint8_t> bytes;   // where the table is of bytes: its entries, moved to dest. BlockNumbers fills it in
  bool assign = false;          // the first to write its numbers
};

// Numbers that every block of a row holds `count` of.
class BlockNumbers {
 public:
  BlockNumbers() = default;
  explicit BlockNumbers(std::vector<BitFields> fields);
  // Throws std::invalid_argument where a field leaves a block of `block_bytes`, the `count` numbers, or their `bits` bits.
  void check(int count, int block_bytes, int bits) const;
  bool empty() const { return fields_.empty(); }
  // No number is larger.
  uint32_t largest() const;
  // Writes the numbers of a block at out, those of the next one out_stride further.
  void read(const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint8_t* out) const;
  void read(const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, uint16_t* out) const;

 private:
  std::vector<BitFields> fields_;
  template <typename Number>
  void read_all(const uint8_t* in, int64_t blocks, int block_bytes, int64_t out_stride, Number* out) const;
};

// See Grid in lowbit/matrix.py. vectors: `length` codes (4 or 8) from the lowest byte on.
struct Grid {
  static constexpr int kMostWeights = 256;
  int length = 8;
  std::vector<uint64_t> vectors;
  BlockNumbers index, flips;
  uint8_t flip = 0;
  void check(int block_weights, int block_bytes) const;
  void read(const uint8_t* in, int64_t blocks, int block_bytes, int block_weights, int64_t out_stride, uint8_t* out) const;
};

// See InBlocks in lowbit/matrix.py.
struct InBlocks {
  BlockNumbers floats, integers;
  int bias = 0;
  bool negative = false;
  int bytes_per_float = 2;
};

}  // namespace lutmac
