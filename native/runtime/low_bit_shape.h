// What a matrix may be, and the parts that its packed bytes are made of.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/lut.h"

namespace lutmac {

// Throw std::invalid_argument where the shape contradicts itself.
void check_shape(const LowBitShape& shape);
void check_shape(const DenseShape& shape);

// Asks take for each part of a packed matrix: its name and bytes. In the order in which they are kept: codes, scale, its
// super-scale, offset, its super-scale, less what the matrix does not have; of a dense matrix the floats.
using TakePart = std::function<uint8_t*(const char* name, int64_t bytes)>;
LowBit lay_out(const LowBitShape& shape, const Packing& packing, const TakePart& take);
Dense lay_out(const DenseShape& shape, const Packing& packing, const TakePart& take);

}  // namespace lutmac
