// Writing keys and values into a page; see page.h for the order.
#pragma once

#include "ops/integers.h"
#include "ops/page.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

inline constexpr int kStoreTokens = 16;  // keys are turned to the page's order in blocks that stay in the L1 cache
inline constexpr float kCodeLimit = 127.0f;

// Some consecutive positions of one kv head on one page.
struct PagePositions {
  HeadPage page;
  int slot = 0, count = 0;  // first position on the page, and how many: at most kStoreTokens
  int head_dim = 0, value_dim = 0;
  const float* keys = nullptr;    // [count, kMaxHeadDim], zero from head_dim to the padded width
  const float* values = nullptr;  // the same, of value_dim
};

inline void store_row(const float* x, int count, uint16_t* f16) {
  for (int i = 0; i < count; i += kLanes) store_half(f16 + i, load(x + i));
}
inline void store_row(const float* x, int count, float* out) { __builtin_memcpy(out, x, sizeof(float) * count); }

// Stored: uint16_t with f16's bits, or float.
template <typename Stored>
void store_floats(const PagePositions& positions) {
  alignas(64) Stored rows[kStoreTokens][kMaxHeadDim];
  auto* keys = reinterpret_cast<Stored*>(positions.page.keys);
  auto* values = reinterpret_cast<Stored*>(positions.page.values);
  const int key_width = padded_head_dim(positions.head_dim), width = padded_head_dim(positions.value_dim);
  for (int i = 0; i < positions.count; ++i) {
    store_row(positions.keys + i * kMaxHeadDim, key_width, rows[i]);
    store_row(positions.values + i * kMaxHeadDim, width, values + (positions.slot + i) * width);
  }
  for (int d = 0; d < positions.head_dim; ++d)
    for (int i = 0; i < positions.count; ++i) keys[d * kPageTokens + positions.slot + i] = rows[i][d];
}

// One block of dimensions: codes nearest to x / scale, and the scale max |x| / 127 in f16, of which one is stored. A NaN
// makes the scale NaN, so that it is not lost.
inline void to_codes(const float* x, int count, int16_t* codes, uint16_t* scale) {
  const Floats limit = broadcast(kHalfMax), bound = broadcast(kCodeLimit);
  Ints max{};
  for (int i = 0; i < count; i += kLanes) max = larger_magnitude(max, maximum(-limit, minimum(limit, load(x + i))));
  uint16_t halves[kLanes];
  store_half(halves, broadcast(magnitude_of(max) / kCodeLimit));
  *scale = halves[0];
  const float stored = load_half(halves)[0];
  const float divisor = stored > 0.0f ? stored : 1.0f;
  for (int i = 0; i < count; i += kLanes) {
    // Below f16's normal numbers the scale may have been rounded down by so much that a code leaves its range.
    store_words(codes + i, nearest_integers(maximum(-bound, minimum(bound, load(x + i) / divisor))));
  }
}

// A row of one position: its codes, and its scales at scales[0], scales[kPageTokens], ...
inline void to_codes_by_block(const float* x, int width, int block, int16_t* codes, uint16_t* scales) {
  for (int first = 0; first < width; first += block, scales += kPageTokens)
    to_codes(x + first, width - first < block ? width - first : block, codes + first, scales);
}

inline void store_bytes(const PagePositions& positions) {
  alignas(64) int16_t rows[kStoreTokens][kMaxHeadDim], value[kMaxHeadDim];
  const int head_dim = positions.head_dim;
  const int key_width = padded_head_dim(head_dim), width = padded_head_dim(positions.value_dim);
  auto* keys = reinterpret_cast<int8_t*>(positions.page.keys);
  auto* values = reinterpret_cast<int8_t*>(positions.page.values);
  uint16_t* key_scales = page_scales(positions.page.keys, head_dim);
  uint16_t* value_scales = page_scales(positions.page.values, width);
  for (int i = 0; i < positions.count; ++i) {
    const int slot = positions.slot + i;
    to_codes_by_block(positions.keys + i * kMaxHeadDim, key_width, kKeyBlock, rows[i], key_scales + slot);
    to_codes_by_block(positions.values + i * kMaxHeadDim, width, kValueBlock, value, value_scales + slot);
    int8_t* out = values + slot / 2 * 2 * width + slot % 2;
    for (int d = 0; d < width; ++d) out[2 * d] = static_cast<int8_t>(value[d]);
  }
  for (int d = 0; d < head_dim; ++d)
    for (int i = 0; i < positions.count; ++i)
      keys[(d / 2 * kPageTokens + positions.slot + i) * 2 + d % 2] = static_cast<int8_t>(rows[i][d]);
}

}  // namespace lutmac::LUTMAC_TARGET
