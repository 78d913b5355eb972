// Codes to bit planes and back.
#pragma once

#include <cstdint>

namespace lutmac::LUTMAC_TARGET {

// 8 x 8 bits: byte p of the result holds bit p of each of the 8 bytes, the first byte in its lowest bit. Its own
// inverse. Three rounds swap ever larger off-diagonal blocks. Words: uint64_t or a vector of them, each on its own.
template <typename Words>
[[gnu::always_inline]] inline Words transpose_bits(Words x) {
  Words t = (x ^ (x >> 7)) & 0x00aa00aa00aa00aaull;
  x ^= t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000cccc0000ccccull;
  x ^= t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000f0f0f0f0ull;
  return x ^ t ^ (t << 28);
}

}  // namespace lutmac::LUTMAC_TARGET
