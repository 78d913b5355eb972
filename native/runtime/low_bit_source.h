// A low-bit matrix as a checkpoint has it: what packing reads.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/lut.h"
#include "runtime/block_source.h"
#include "runtime/low_bit_shape.h"

namespace lutmac {

// Where a scale or an offset lies: values [rows, groups] and super-scales [rows, super groups], or in the blocks.
struct ParamArray {
  std::shared_ptr<const InBlocks> in_blocks;
  const void* values = nullptr;
  const void* super = nullptr;
};

struct LowBitSource : LowBitShape {
  const uint8_t* bytes = nullptr;  // [rows, row_bytes]
  int64_t row_bytes = 0;
  int block_weights = 0, block_bytes = 0;
  BlockNumbers codes;
  std::shared_ptr<const Grid> grid;  // instead of codes
  uint8_t code_xor = 0;
  ParamArray scale_array, offset_array;

  // Throws std::invalid_argument where the description contradicts itself.
  void check() const;
  // The matrix of one row alone.
  LowBitSource row(int64_t index) const;
  // Codes of whole blocks of a row, a byte each; those of the next block out_stride further.
  void read_codes(int64_t row, int64_t first_column, int64_t count, int64_t out_stride, uint8_t* out) const;
  // Asks the memory for codes that are read soon: rows are short and far apart, which the processor does not foresee.
  void prefetch_codes(int64_t row, int64_t first_column, int64_t count) const;
  // Parameters of a row that lie in its blocks, to [tile][group][tile_rows]. room: 2 bytes for each group of a row.
  void read_params(const InBlocks& in, int64_t row, int tile_rows, uint16_t* room, const PackedParam& out) const;
};

}  // namespace lutmac
