// The packing of avx2: [tile][2 k][32 rows][2 bytes] for codes of 8 bits, signed (code - 128). Three planes are a pair and a
// single: 29 instructions with one token for 8 rows x 32 k, 20 with each of many. In a dword they would take 43 and 24.
#pragma once

#include "kernels/bytewise_layout.h"

namespace lutmac::LUTMAC_TARGET {

using Codes = PackedCodes<BytewiseLayout<8, false, 2, 0x80>>;

}  // namespace lutmac::LUTMAC_TARGET
