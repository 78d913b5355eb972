// The order in which the matrix unit gets what is multiplied. Any order of k would do, if activations and weights have the same:
// these are what unpacking comes by with the fewest instructions.
#pragma once

#include "kernels/bfloat16_pairs.h"

namespace lutmac::LUTMAC_TARGET {

// 16 rows of the matrix, whose place in a tile of weights and in the sums is this.
alignas(64) inline constexpr int32_t kPlaceOfRow[16] = {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15};
alignas(64) inline constexpr int32_t kRowAtPlace[16] = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};

}  // namespace lutmac::LUTMAC_TARGET
