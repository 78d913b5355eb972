// Weights of any format as bf16: scales, offsets and codebooks are folded in, each weight is rounded once.
#pragma once

#include "kernels/amx/codes.h"
#include "kernels/amx/columns.h"
#include "kernels/amx/trits.h"

namespace lutmac::LUTMAC_TARGET {

// A block of weights: 32 rows and 256 k are 16 KB, a third of the 48 KB L1 cache that all cores with a matrix unit have. The rest is
// for the activations and sums of 32 tokens at a time, 16 KB and 4 KB.
inline constexpr int kBlockRows = 32, kBlockColumns = 256;
inline constexpr int kTileBytes = kStepPairs * 64, kStepBytes = kBlockRows / 16 * kTileBytes;

// Codes become floats by their place: a code at bit 23 - n of a float of exponent n is 2^n + code. 8 bits need n = 8.
template <int kWidth>
struct CodeFloats {
  static constexpr int kExponent = kWidth == 8 ? 8 : 7, kPlace = 23 - kExponent;
  static constexpr float kBase = 1 << kExponent;
  static constexpr uint32_t kBits = (127u + kExponent) << 23, kMask = ((1u << kWidth) - 1) << kPlace;

  // kBase + the code that begins at bit `from` of each lane.
  static Floats at(Bytes codes, int from) {
    const Bits moved = from > kPlace ? (Bits)codes >> (from - kPlace) : (Bits)codes << (kPlace - from);
    return (Floats)masked_or((Bytes)moved, (Bytes)(Bits{} + kMask), (Bytes)(Bits{} + kBits));
  }
};

class WeightBlock {
 public:
  explicit WeightBlock(const LowBit& w) : w_(w), center_(center_of(w)), unpack_(find(w)) {
    if (w.kind != CodeKind::codebook) return;
    first_book_ = load(w.codebook.values);
    second_book_ = load(w.second.values);
  }

  // 32 rows, from `row` of the tile on (0 or 32), and `columns` k from k on, at most kBlockColumns, of which k is a multiple.
  void unpack(int64_t tile, int row, int64_t k, int columns) {
    tile_codes_ = w_.codes + tile * Codes::packed_tile_bytes(w_.kind, w_.bits, w_.columns);
    loaded_until_ = 0;
    unpack_(*this, tile, row, k, columns);
  }

  // [step of 32 k][16 rows][pair][16 rows by place][2 bf16]
  const uint8_t* step(int number) const { return bytes_ + number * kStepBytes; }

 private:
  using Unpack = void (*)(WeightBlock&, int64_t tile, int row, int64_t k, int columns);

  static Unpack find(const LowBit& w) {
    static constexpr Unpack kPlanes[] = {unpack_affine<PlaneReader<1>>, unpack_affine<PlaneReader<2>>, unpack_affine<PlaneReader<3>>,
                                         unpack_affine<PlaneReader<4>>, unpack_affine<PlaneReader<5>>, unpack_affine<PlaneReader<6>>,
                                         unpack_affine<PlaneReader<7>>, unpack_affine<ByteCodeReader>};
    if (w.kind == CodeKind::ternary) return unpack_ternary;
    if (w.kind == CodeKind::codebook) return w.has_second ? unpack_book<true> : unpack_book<false>;
    return kPlanes[w.bits - 1];
  }

  // What is added to a code on its way to a float, negative.
  static float center_of(const LowBit& w) {
    if (w.kind != CodeKind::affine) return 0.0f;
    return w.bits == 8 ? -CodeFloats<8>::kBase : -CodeFloats<7>::kBase;
  }

  // Scales and offsets of 16 rows in the order of lanes; groups of 16 differ between the k of a pair.
  struct Pairs {
    Floats scale[2], offset[2];  // of the lower and of the upper places
  };

  // Of the 32 k from k on.
  void load_groups(int64_t tile, int64_t k) {
    if (k >= loaded_from_ && k < loaded_until_) return;
    if (w_.group_size < kStepColumns) {
      load_group(tile, k / 16, 0);
      load_group(tile, k / 16 + 1, 1);
    } else {
      const int64_t group = k / w_.group_size;
      load_group(tile, group, 0);
      loaded_from_ = group * w_.group_size;
      loaded_until_ = loaded_from_ + w_.group_size;
    }
  }

  void load_group(int64_t tile, int64_t group, int to) {
    float *scale = scale_[to], *offset = offset_[to];
    load_scales<kTileRows>(w_, tile, group, scale, offset);
    const Floats shift = broadcast(center_ - w_.zero_point);
    for (int r = 0; r < kTileRows; r += kLanes) {
      const Floats added = w_.offset.kind == ParamKind::none ? Floats{} : load(offset + r);
      store(offset + r, w_.has_second ? added : multiply_add(load(scale + r), shift, added));
    }
  }

  Pairs pairs(int row) const {
    const int last = w_.group_size < kStepColumns;
    const auto interleave = [row, last](const float (&values)[2][kTileRows], Floats* out) __attribute__((always_inline)) {
      const Bytes first = (Bytes)load(values[0] + row), second = (Bytes)load(values[last] + row);
      out[0] = (Floats)interleave_low<4>(first, second);
      out[1] = (Floats)interleave_high<4>(first, second);
    };
    Pairs found;
    interleave(scale_, found.scale);
    interleave(offset_, found.offset);
    return found;
  }

  static void put(uint8_t* out, int pair, Floats lower, Floats upper) {
    store(reinterpret_cast<int32_t*>(out + pair * 64), (Ints)concatenate_bfloat16(lower, upper));
  }

  // Instructions for 32 weights: at most 2 shifts, 2 vpternlogd, 2 FMAs, one conversion and a store.
  template <typename Reader>
  [[gnu::noinline]] static void unpack_affine(WeightBlock& self, int64_t tile, int row, int64_t k, int columns) {
    self.each_step<Reader>(tile, row, k, columns, [](Bytes codes, int from, Floats scale, Floats offset) __attribute__((always_inline)) {
      return multiply_add(CodeFloats<Reader::kWidth>::at(codes, from), scale, offset);
    });
  }

  template <bool kSecond>
  [[gnu::noinline]] static void unpack_book(WeightBlock& self, int64_t tile, int row, int64_t k, int columns) {
    const Floats first = self.first_book_, second = self.second_book_;
    self.each_step<NibbleReader>(tile, row, k, columns, [first, second](Bytes codes, int from, Floats scale, Floats offset) __attribute__((always_inline)) {
      const Ints indices = (Ints)((Bits)codes >> from);
      const Floats other = kSecond ? look_up_floats(second, indices) * offset : offset;
      return multiply_add(look_up_floats(first, indices), scale, other);
    });
  }

  // value(codes, from, scale, offset): the weights of the codes at bit `from`.
  template <typename Reader, typename Value>
  [[gnu::always_inline]] void each_step(int64_t tile, int row, int64_t k, int columns, Value value) {
    constexpr int kBits = Reader::kWidth;  // in memory, too
    const uint8_t* codes = tile_codes_ + k / 32 * Codes::block_bytes(kBits) + row * 4;
    uint8_t* out = bytes_;
    for (int64_t end = k + columns; k < end; k += kStepColumns, codes += Codes::block_bytes(kBits)) {
      load_groups(tile, k);
      for (int rows = 0; rows < kBlockRows; rows += 16, out += kTileBytes) {
        PairedCodes paired;
        Reader::read(codes + rows * 4, paired);
        const Pairs params = pairs(row + rows);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            const int from = 8 * i + Reader::first_bit(j);
            put(out, 4 * j + i, value(paired.lower[j], from, params.scale[0], params.offset[0]),
                value(paired.upper[j], from, params.scale[1], params.offset[1]));
          }
        }
      }
    }
  }

  [[gnu::noinline]] static void unpack_ternary(WeightBlock& self, int64_t tile, int row, int64_t k, int columns) {
    const uint8_t* codes = self.tile_codes_ + k / TritBlock::kColumns * 13 * kTileRows * 4 + row * 4;
    TritBlock trits;
    for (int rows = 0; rows < kBlockRows; rows += 16) {
      trits.read(codes + rows * 4, columns);
      uint8_t* out = self.bytes_ + rows / 16 * kTileBytes;
      for (int at = 0; at < columns; at += kStepColumns, out += kStepBytes) {
        self.load_groups(tile, k + at);
        const Pairs params = self.pairs(row + rows);
#pragma GCC unroll 4
        for (int pair = 0; pair < kStepPairs; ++pair) {
          const uint8_t *first = trits.column(at + pair), *second = trits.column(at + pair + 16);
          put(out, pair, multiply_add(to_floats(interleave_widened(first, second)), params.scale[0], params.offset[0]),
              multiply_add(to_floats(interleave_widened(first + 8, second + 8)), params.scale[1], params.offset[1]));
        }
      }
    }
  }

  static constexpr int kTileRows = Codes::kTileRows;

  const LowBit& w_;
  const float center_;
  const Unpack unpack_;
  Floats first_book_{}, second_book_{};
  const uint8_t* tile_codes_ = nullptr;
  int64_t loaded_from_ = 0, loaded_until_ = 0;  // the k of the group that scale_[0] has, where groups are of 32 and more
  alignas(64) float scale_[2][kTileRows], offset_[2][kTileRows];  // of the first and of the second 16 k, where groups are of 16
  alignas(64) uint8_t bytes_[kBlockColumns / kStepColumns * kStepBytes];
};

}  // namespace lutmac::LUTMAC_TARGET
