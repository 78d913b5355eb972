// The packing of avx512: [tile][4 k][64 rows][4 bytes] for codes of 8 bits, unsigned. Three planes in a dword, since 16
// rows x 32 k of them take 35 instructions with one token, which waits for memory, and 16 with each of many; a pair and a
// single would take 29 and 20.
#pragma once

#include "kernels/bytewise_layout.h"

namespace lutmac::LUTMAC_TARGET {

using Codes = PackedCodes<BytewiseLayout<16, true, 4, 0>>;

}  // namespace lutmac::LUTMAC_TARGET
