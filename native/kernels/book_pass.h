// A codebook cut into tables of bytes.
#pragma once

#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

// 16 values: a weight is scale * value, times the scale, or the offset where it is the second codebook's.
struct BookPass {
  alignas(16) int8_t values[16];
  float scale;
  bool second;
};

// Writes one pass, or for wide integers two, 256 * high + low; returns how many.
inline int book_passes(const Codebook& book, bool second, BookPass* passes) {
  for (int half = 0; half < 2; ++half) {
    passes[half].scale = half == 0 ? book.scale : 256.0f * book.scale;
    passes[half].second = second;
  }
  for (int i = 0; i < 16; ++i) {
    const int low = static_cast<int8_t>(book.integers[i] & 255);
    passes[0].values[i] = static_cast<int8_t>(low);
    passes[1].values[i] = static_cast<int8_t>((book.integers[i] - low) >> 8);
  }
  return book.wide ? 2 : 1;
}

}  // namespace lutmac::LUTMAC_TARGET
