#include "runtime/codebook.h"

#include <algorithm>
#include <cmath>

namespace lutmac {
namespace {

constexpr int kLargestNarrow = 127, kLargestWide = 127 * 256;

// Rounds the values to integers of which the largest is `top`; returns the largest error, in units of the largest value.
float round_to(Codebook& book, float largest, int top) {
  book.scale = largest / static_cast<float>(top);
  float error = 0.0f;
  for (int i = 0; i < 16; ++i) {
    book.integers[i] = static_cast<int16_t>(std::lrint(book.values[i] / book.scale));
    error = std::max(error, std::fabs(book.values[i] - book.scale * static_cast<float>(book.integers[i])));
  }
  return error / largest;
}

}  // namespace

Codebook make_codebook(const float* values) {
  Codebook book;
  float largest = 0.0f;
  for (int i = 0; i < 16; ++i) {
    book.values[i] = values[i];
    largest = std::max(largest, std::fabs(values[i]));
  }
  if (largest == 0.0f) return book;
  for (int top = 1; top <= kLargestNarrow; ++top) {
    if (round_to(book, largest, top) <= 1e-6f) return book;
  }
  round_to(book, largest, kLargestWide);
  book.wide = true;
  return book;
}

}  // namespace lutmac
