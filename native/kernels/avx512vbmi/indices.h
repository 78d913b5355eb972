// Nibbles of bytes as indices of entries: byte j of a dword reads table j of four.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

inline Bytes low_indices(Bytes x) { return masked_or(x, Bytes{} + 15, (Bytes)broadcast(0x30201000)); }
inline Bytes high_indices(Bytes x) { return low_indices((Bytes)((Bits)x >> 4)); }

}  // namespace lutmac::LUTMAC_TARGET
