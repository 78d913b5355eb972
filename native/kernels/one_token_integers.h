// One token's product with 8-bit codes and codebooks: as in one_token.h, the integers stay in registers up to their floats. Their
// arithmetic is that of several tokens (integer_product.h, lookup_products.h), to the bit.
#pragma once

#include "kernels/book_pass.h"
#include "kernels/chunks.h"
#include "kernels/integer_product.h"
#include "kernels/one_token.h"

namespace lutmac::LUTMAC_TARGET {

// Target: as of LookupProducts.
template <typename Target>
struct OneTokenIntegers {
  static void byte_product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    const bool with_offset = w.offset.kind != ParamKind::none;
    const auto sum = w.group_size < 32 ? (with_offset ? sum_bytes<true, true> : sum_bytes<true, false>)
                                       : (with_offset ? sum_bytes<false, true> : sum_bytes<false, false>);
    sum(w, args, tile, token);
  }

  static void book_product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    w.group_size < 32 ? sum_books<true>(w, args, tile, token) : sum_books<false>(w, args, tile, token);
  }

 private:
  using IntegerSum = typename Target::IntegerSum;

  // What a chunk of one block, or of the half of one, is multiplied by.
  struct Integers {
    const uint8_t* x;
    int32_t sum;
  };

  // kTogether of its vectors.
  template <int kTogether, typename Reader>
  [[gnu::always_inline]] static inline void add_piece(const Reader& reader, const uint8_t* at, const uint8_t* x,
                                                      IntegerSum (&sum)[kTogether]) {
    constexpr int kBytes = kTogether == 4 ? Reader::kPieceBytes : kTogether * Reader::kVectorBytes;
    typename IntegerSum::Weight weights[kTogether][Reader::kUnits];
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) reader.load(at + t * Reader::kVectorBytes, weights[t]);
    fetch_piece<Reader::kFetch, kBytes>(at);
#pragma GCC unroll 4
    for (int unit = 0; unit < Reader::kUnits; ++unit) {
      const auto integers = IntegerSum::template load<kTogether>(x + unit * IntegerSum::kColumns * 2);
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) sum[t].add(weights[t][unit], integers);
    }
  }

  // add(t, integers of vector t of rows) for all four. codes: of the tile.
  template <bool kHalves, typename Reader, typename Add>
  [[gnu::always_inline]] static inline void multiply(const Reader& reader, const uint8_t* codes, const Chunk& chunk,
                                                     Integers integers, Add add) {
    constexpr int kTogether = IntegerSum::template together<Reader>(1);
    constexpr int kPieceColumns = IntegerSum::kColumns * Reader::kUnits, kPieces = (kHalves ? 16 : 32) / kPieceColumns;
    codes += (chunk.block * 32 + chunk.first_column()) / kPieceColumns * Reader::kPieceBytes;
#pragma GCC unroll 4
    for (int t0 = 0; t0 < 4; t0 += kTogether) {
      IntegerSum sum[kTogether];
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) sum[t].start(integers.sum);
#pragma GCC unroll 1  // all pieces at once do not fit the registers
      for (int piece = 0; piece < kPieces; ++piece) {
        const uint8_t* at = codes + piece * Reader::kPieceBytes + t0 * Reader::kVectorBytes;
        add_piece<kTogether>(reader, at, integers.x + piece * kPieceColumns * 2, sum);
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) add(t0 + t, sum[t].total());
    }
  }

  // each(chunk, its forms, its integers), with the scales of its group read. x: the token's form.
  template <bool kHalves, typename Each>
  [[gnu::always_inline]] static inline void each_block(const LowBit& w, const uint8_t* x, int64_t tile, Scales& scales, Each each) {
    const auto group = [&](int64_t at) __attribute__((always_inline)) { scales.read(w, tile, at); };
    const auto chunk = [&](const Chunk& of) __attribute__((always_inline)) {
      ChunkForms<1> forms;
      int32_t sum;
      forms.read_integers(w.columns, x, 0, of, &sum);
      each(of, forms, Integers{x + of.block * 64 + of.first_column() * 2, sum});
    };
    if constexpr (kHalves) {
      each_half_block(w, group, chunk);
    } else {
      each_span(w, 1, group, chunk);
    }
  }

  // kHalves: groups are of 16.
  template <bool kHalves, bool kOffset>
  [[gnu::noinline]] static void sum_bytes(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    const uint8_t* codes = w.codes + tile * Target::Codes::packed_tile_bytes(CodeKind::affine, 8, w.columns);
    const Floats center = broadcast(center_of(8) - w.zero_point);
    Scales scales;
    Floats totals[4] = {};
    each_block<kHalves>(w, args.x + token * args.x_stride, tile, scales,
                        [&](const Chunk& chunk, const ChunkForms<1>& forms, Integers integers) __attribute__((always_inline)) {
      const ToFloats floats(*forms.unit.first, *forms.activations.first, center);
      multiply<kHalves>(typename Target::ByteReader{}, codes, chunk, integers, [&](int t, Ints sum) __attribute__((always_inline)) {
        totals[t] = floats.add(sum, load(scales.scale + t * kLanes), totals[t]);
        if constexpr (kOffset) totals[t] = floats.add_offset(load(scales.offset + t * kLanes), totals[t]);
      });
    });
    store_totals(w, args, tile, token, totals);
  }

  template <bool kHalves>
  [[gnu::noinline]] static void sum_books(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    BookPass passes[4];
    int count = book_passes(w.codebook, false, passes);
    if (w.has_second) count += book_passes(w.second, true, passes + count);
    const uint8_t* codes = w.codes + tile * Target::Codes::packed_tile_bytes(CodeKind::codebook, 4, w.columns);
    const bool with_offset = !w.has_second && w.offset.kind != ParamKind::none;
    Scales scales;
    Floats totals[4] = {};
    each_block<kHalves>(w, args.x + token * args.x_stride, tile, scales,
                        [&](const Chunk& chunk, const ChunkForms<1>& forms, Integers integers) __attribute__((always_inline)) {
      for (int i = 0; i < count; ++i) {
        const typename Target::CodebookReader reader(passes[i].values);
        const Floats unit = broadcast(passes[i].scale * *forms.unit.first);
        const float* params = passes[i].second ? scales.offset : scales.scale;
        multiply<kHalves>(reader, codes, chunk, integers, [&](int t, Ints sum) __attribute__((always_inline)) {
          totals[t] = multiply_add(to_floats(sum) * unit, load(params + t * kLanes), totals[t]);
        });
      }
      const Floats activations = broadcast(*forms.activations.first);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) {
        if (with_offset) totals[t] = multiply_add(load(scales.offset + t * kLanes), activations, totals[t]);
      }
    });
    store_totals(w, args, tile, token, totals);
  }
};

}  // namespace lutmac::LUTMAC_TARGET
