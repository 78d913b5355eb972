// The codes of 16 rows and 32 k, from the packing of avx512vbmi to lanes that hold pairs.
//
// Pair 4 j + i is byte i of vectors[j], at bit first_bit(j) of that byte: lanes 2 n and 2 n + 1 of lower[j] are codes k and k + 16
// of the row at place n, and those of upper[j] of the row at place n + 8 (see columns.h).
#pragma once

#include "kernels/amx/packing.h"
#include "kernels/chunks.h"
#include "kernels/fetch.h"

namespace lutmac::LUTMAC_TARGET {

struct PairedCodes {
  Bytes lower[4], upper[4];
};

// 64 bytes that lie `bytes` behind the first.
inline Bytes load_codes(const uint8_t* codes, int bytes) {
  prefetch(codes + bytes + kWeightPrefetch);
  return load(codes + bytes);
}

// 1 to 4 planes, as nibbles; 5 to 7 planes, as bytes. A transposition of 8 x 8 bits makes the codes of 8 k of a row of up to 8
// bytes, one of each plane; of two times 4 bytes it makes the nibbles of 2 x 8 k.
//
// Instructions for 512 weights: 4 loads and 16 for up to 4 planes, 8 and 40 for more.
template <int kBits>
struct PlaneReader {
  static constexpr int kWidth = kBits;
  static constexpr int first_bit(int j) { return kBits <= 4 && j % 2 == 0 ? 4 : 0; }

  static void read(const uint8_t* codes, PairedCodes& out) {
    if constexpr (kBits <= 4) {
      Rows rows;
      interleave<0>(codes, rows);
      for (Bytes& row : rows.of) row = transpose_bits_of_8(row);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        Bytes* const to = half == 0 ? out.lower : out.upper;
        to[0] = to[1] = interleave_low<8>(rows.of[2 * half], rows.of[2 * half + 1]);
        to[2] = to[3] = interleave_high<8>(rows.of[2 * half], rows.of[2 * half + 1]);
      }
    } else {
      Rows first, last;
      interleave<0>(codes, first);
      interleave<4>(codes, last);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        Bytes bytes[2][2];  // [row][j 0 and 1, j 2 and 3]
#pragma GCC unroll 2
        for (int row = 0; row < 2; ++row) {
          bytes[row][0] = transpose_bits_of_8(interleave_low<4>(last.of[2 * half + row], first.of[2 * half + row]));
          bytes[row][1] = transpose_bits_of_8(interleave_high<4>(last.of[2 * half + row], first.of[2 * half + row]));
        }
        Bytes* const to = half == 0 ? out.lower : out.upper;
#pragma GCC unroll 2
        for (int two = 0; two < 2; ++two) {
          to[2 * two] = interleave_low<8>(bytes[0][two], bytes[1][two]);
          to[2 * two + 1] = interleave_high<8>(bytes[0][two], bytes[1][two]);
        }
      }
    }
  }

 private:
  // of[r]: in each 128 bits the four dwords of row 4 l + r, l their number. A dword has a byte of each plane, the last first.
  struct Rows {
    Bytes of[4];
  };

  template <int kPlane>
  static Bytes plane(const uint8_t* codes) {
    if constexpr (kPlane >= kBits) return Bytes{};
    return load_codes(codes, kPlane * Codes::kPlaneBytes);
  }

  // Planes kFirst to kFirst + 3, as far as there are any.
  template <int kFirst>
  static void interleave(const uint8_t* codes, Rows& rows) {
    const Bytes planes[] = {plane<kFirst>(codes), plane<kFirst + 1>(codes), plane<kFirst + 2>(codes), plane<kFirst + 3>(codes)};
    const Bytes last_low = interleave_low<1>(planes[3], planes[2]), last_high = interleave_high<1>(planes[3], planes[2]);
    const Bytes first_low = interleave_low<1>(planes[1], planes[0]), first_high = interleave_high<1>(planes[1], planes[0]);
    rows.of[0] = interleave_low<2>(last_low, first_low);
    rows.of[1] = interleave_high<2>(last_low, first_low);
    rows.of[2] = interleave_low<2>(last_high, first_high);
    rows.of[3] = interleave_high<2>(last_high, first_high);
  }
};

// A dword is 4 k of a row.
struct ByteCodeReader {
  static constexpr int kWidth = 8;
  static constexpr int first_bit(int) { return 0; }

  static void read(const uint8_t* codes, PairedCodes& out) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Bytes first = load_codes(codes, j * Codes::kTileRows * 4), second = load_codes(codes, (j + 4) * Codes::kTileRows * 4);
      out.lower[j] = interleave_low<4>(first, second);
      out.upper[j] = interleave_high<4>(first, second);
    }
  }
};

// A dword is 8 k of a row, the first four in the low nibbles.
struct NibbleReader {
  static constexpr int kWidth = 4;
  static constexpr int first_bit(int j) { return j % 2 * 4; }

  static void read(const uint8_t* codes, PairedCodes& out) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const Bytes first = load_codes(codes, i * Codes::kTileRows * 4), second = load_codes(codes, (i + 2) * Codes::kTileRows * 4);
      out.lower[2 * i] = out.lower[2 * i + 1] = interleave_low<4>(first, second);
      out.upper[2 * i] = out.upper[2 * i + 1] = interleave_high<4>(first, second);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
