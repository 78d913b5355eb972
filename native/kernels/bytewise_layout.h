// The packing of the bytewise kernels: where codes lie, and the way there and back. See bytewise.h.
#pragma once

#include "kernels/bits.h"
#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/plain_codes.h"

namespace lutmac::LUTMAC_TARGET {

template <typename Simd>
struct BytewiseLayout {
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kBytes = kLanes * 4;
  static constexpr int kTileRows = 4 * kLanes;

  static constexpr bool has_quad(int bits) { return bits >= 4; }
  static constexpr bool has_triple(int bits) { return Simd::kTriples && (bits & 3) == 3; }
  static constexpr bool has_pair(int bits) { return !has_triple(bits) && (bits & 2) != 0; }
  static constexpr bool has_single(int bits) { return !has_triple(bits) && (bits & 1) != 0; }
  static int64_t block_bytes(int bits) { return int64_t{kTileRows} * 4 * bits; }

  using Codes = PlainCodes<kTileRows, Simd::kIntegerStep == 2>;

  static int64_t packed_tile_bytes(CodeKind kind, int bits, int64_t columns) {
    return kind == CodeKind::affine ? columns / 32 * block_bytes(bits) : Codes::packed_tile_bytes(kind, columns);
  }

  static void pack_tile(CodeKind kind, int bits, int64_t columns, const uint8_t* codes, uint8_t* out) {
    if (kind != CodeKind::affine) return Codes::pack_tile(kind, columns, codes, out);
    switch (bits) {
      case 1: return pack_planes<1>(columns, codes, out);
      case 2: return pack_planes<2>(columns, codes, out);
      case 3: return pack_planes<3>(columns, codes, out);
      case 4: return pack_planes<4>(columns, codes, out);
      case 5: return pack_planes<5>(columns, codes, out);
      case 6: return pack_planes<6>(columns, codes, out);
      case 7: return pack_planes<7>(columns, codes, out);
      default: return pack_integers(columns, codes, out);
    }
  }

  template <int bits>
  static void pack_planes(int64_t columns, const uint8_t* codes, uint8_t* out) {
    for (int64_t k = 0; k < columns; k += 32, out += block_bytes(bits)) {
      for (int row = 0; row < kTileRows; ++row) pack_row<bits>(row, codes + row * columns + k, out);
    }
  }

  // The planes of 32 codes of one row: those of a component are neighbours.
  template <int bits>
  [[gnu::always_inline]] static void pack_row(int row, const uint8_t* codes, uint8_t* block) {
    using Words = uint64_t __attribute__((vector_size(32)));
    Words words;
    std::memcpy(&words, codes, 32);
    words = transpose_bits(words);
    uint64_t planes[4];
    std::memcpy(planes, &words, 32);
    const int e = row % kLanes, t = row / kLanes;
    if (has_quad(bits)) {
      for (int step = 0; step < 4; ++step) {
        std::memcpy(block + (step * 4 + t) * kBytes + e * 4, &planes[step], 4);
        planes[step] >>= 32;
      }
      block += 16 * kBytes;
    }
    if (has_triple(bits)) {
      for (int step = 0; step < 3; ++step) {
        const uint32_t bytes = (planes[step] & 0xffffff) | (planes[3] >> (8 * step) & 0xff) << 24;
        std::memcpy(block + (step * 4 + t) * kBytes + e * 4, &bytes, 4);
      }
    }
    if (has_pair(bits)) {
      for (int step = 0; step < 4; ++step) {
        std::memcpy(block + (step * 2 + t / 2) * kBytes + e * 4 + t % 2 * 2, &planes[step], 2);
        planes[step] >>= 16;
      }
      block += 8 * kBytes;
    }
    if (has_single(bits)) {
      for (int step = 0; step < 4; ++step) block[step * kBytes + e * 4 + t] = static_cast<uint8_t>(planes[step]);
    }
  }

  static void unpack_row_block(const LowBit& w, int64_t tile, int64_t block, int row, uint8_t* codes) {
    if (w.kind != CodeKind::affine) return Codes::unpack_row_block(w, tile, block, row, codes);
    const uint8_t* in = w.codes + tile * packed_tile_bytes(w.kind, w.bits, w.columns) + block * block_bytes(w.bits);
    if (w.bits == 8) {
      constexpr int kStep = Simd::kIntegerStep;
      for (int k = 0; k < 32; ++k) {
        codes[k] = static_cast<uint8_t>(in[(k / kStep * kTileRows + row) * kStep + k % kStep] ^ Simd::kIntegerXor);
      }
      return;
    }
    const int e = row % kLanes, t = row / kLanes;
    uint64_t planes[4] = {};
    int shift = 0;
    if (has_quad(w.bits)) {
      for (int step = 0; step < 4; ++step) std::memcpy(&planes[step], in + (step * 4 + t) * kBytes + e * 4, 4);
      in += 16 * kBytes;
      shift = 32;
    }
    if (has_triple(w.bits)) {
      for (int step = 0; step < 3; ++step) {
        uint32_t bytes;
        std::memcpy(&bytes, in + (step * 4 + t) * kBytes + e * 4, 4);
        planes[step] |= uint64_t{bytes & 0xffffff} << shift;
        planes[3] |= uint64_t{bytes >> 24} << (shift + 8 * step);
      }
    }
    if (has_pair(w.bits)) {
      for (int step = 0; step < 4; ++step) {
        uint16_t pair;
        std::memcpy(&pair, in + (step * 2 + t / 2) * kBytes + e * 4 + t % 2 * 2, 2);
        planes[step] |= uint64_t{pair} << shift;
      }
      in += 8 * kBytes;
      shift += 16;
    }
    if (has_single(w.bits)) {
      for (int step = 0; step < 4; ++step) planes[step] |= uint64_t{in[step * kBytes + e * 4 + t]} << shift;
    }
    for (int step = 0; step < 4; ++step) planes[step] = transpose_bits(planes[step]);
    std::memcpy(codes, planes, 32);
  }

  static void unpack_block(const LowBit& w, int64_t tile, int64_t block, uint8_t* codes) {
    for (int row = 0; row < kTileRows; ++row) unpack_row_block(w, tile, block, row, codes + row * 32);
  }

  static void unpack_row(const LowBit& w, int64_t row, float* out) {
    lowbit_row<kTileRows>(w, row, out, unpack_row_block);
  }

 private:
  static void pack_integers(int64_t columns, const uint8_t* codes, uint8_t* out) {
    constexpr int kStep = Simd::kIntegerStep;
    for (int64_t k = 0; k < columns; k += kStep) {
      for (int row = 0; row < kTileRows; ++row, out += kStep) {
        uint64_t step = 0;
        std::memcpy(&step, codes + row * columns + k, kStep);
        step ^= Simd::kIntegerXor * 0x0101010101010101ull;
        std::memcpy(out, &step, kStep);
      }
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
