// NEON with dot products (aarch64): lookups of 32 entries, the planes of a row weighted and summed by udot.
#include <type_traits>

#include "kernels/book_pass.h"
#include "kernels/kernel_table.h"
#include "kernels/neon/forms.h"
#include "kernels/neon/lookup.h"
#include "kernels/params.h"
#include "kernels/plain_products.h"

namespace lutmac::neon {
namespace {

// Blocks that take one way from integers to floats: of one weight group, and of tables with a common unit.
struct Chunk {
  int64_t block;
  int blocks;
  Part part;
};

// Where, for each token, a chunk's floats are: what an integer stands for, and the sum of the activations.
template <int kTokens>
struct TokenScales {
  float unit[kTokens], activations[kTokens];
};

// Tiles that many tokens go through together, so that their tables come from the L2 cache once for 64 rows: 1 KB for a
// block and 8 tokens, against 2 KB of sums and as much of parameters that have to stay in the L1 cache.
template <int kTokens>
inline constexpr int kTiles = kTokens == 1 ? 1 : 4;

// Totals, and scale and offset of the weight group, of one tile.
template <int kTokens>
struct TileState {
  float total[kTokens * kTileRows] = {};
  float scale[kTileRows], offset[kTileRows];
};

const float* floats_at(const uint8_t* form, int64_t offset, int64_t index) {
  return reinterpret_cast<const float*>(form + offset) + index;
}

template <int kTokens>
TokenScales<kTokens> table_scales(int64_t columns, const uint8_t* x, int64_t stride, const Chunk& chunk) {
  TokenScales<kTokens> scales;
  for (int n = 0; n < kTokens; ++n, x += stride) {
    scales.unit[n] = *floats_at(x, TableForm::unit_offset(columns), chunk.block / (kTableUnit / kTableGroup));
    if (chunk.part != Part::both) {
      scales.activations[n] = *floats_at(x, TableForm::sum16_offset(columns), chunk.block * 2 + (chunk.part == Part::high));
      continue;
    }
    const float* sums = floats_at(x, TableForm::sum32_offset(columns), chunk.block);
    float together = sums[0];
    for (int b = 1; b < chunk.blocks; ++b) together += sums[b];
    scales.activations[n] = together;
  }
  return scales;
}

template <int kTokens>
TokenScales<kTokens> integer_scales(int64_t columns, const uint8_t* x, int64_t stride, const Chunk& chunk) {
  TokenScales<kTokens> scales;
  for (int n = 0; n < kTokens; ++n, x += stride) {
    scales.unit[n] = *floats_at(x, IntegerForm::scale_offset(columns), chunk.block);
    const int32_t* sum16 = reinterpret_cast<const int32_t*>(x + IntegerForm::sum_offset(columns)) + chunk.block * 2;
    const int32_t sum = chunk.part == Part::both ? sum16[0] + sum16[1] : sum16[chunk.part == Part::high];
    scales.activations[n] = static_cast<float>(sum) * scales.unit[n];
  }
  return scales;
}

// Weights of 4 rows x 8 k: 8-bit codes as they are, or 4-bit codes by lookup of a codebook's values.
struct ByteReader {
  void load(const int8_t* at, int8x16_t* weights) const {
    weights[0] = vld1q_s8(at);
    weights[1] = vld1q_s8(at + 4 * kTileRows);
  }
};
struct CodebookReader {
  int8x16_t values;
  void load(const int8_t* at, int8x16_t* weights) const {
    const uint8x16_t codes = vreinterpretq_u8_s8(vld1q_s8(at));
    weights[0] = vqtbl1q_s8(values, vandq_u8(codes, vdupq_n_u8(15)));
    weights[1] = vqtbl1q_s8(values, vshrq_n_u8(codes, 4));
  }
};

// integers [kTokens][kTileRows] = sum of weight * integer over a block or half of it. sdot takes a lane of the form, 4 high
// or 4 low halves, to 4 rows of weights; 16 bytes of the form are 8 k.
template <int kTokens, typename Reader>
[[gnu::noinline]] void multiply(const Reader& reader, const uint8_t* codes, const uint8_t* x, int64_t stride, int count,
                                int32_t* integers) {
  constexpr int kTogether = kTokens == 1 ? 4 : 2, kStride = kTileRows * (std::is_same_v<Reader, ByteReader> ? 8 : 4);
  for (int t0 = 0; t0 < 4; t0 += kTogether) {
    int32x4_t high[kTokens][kTogether] = {}, low[kTokens][kTogether] = {};
    for (int k = 0; k < count; k += 8) {
      const int8_t* at = reinterpret_cast<const int8_t*>(codes) + k / 8 * kStride + t0 * 16;
      int8x16_t weights[kTogether][2];
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) reader.load(at + t * 16, weights[t]);
      if (kTokens == 1) {
        for (int ahead = 0; ahead < kStride; ahead += 64) __builtin_prefetch(at + ahead + kPrefetch);
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const int8x16_t halves = vld1q_s8(reinterpret_cast<const int8_t*>(x) + n * stride + k * 2);
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) {
          high[n][t] = vdotq_laneq_s32(high[n][t], weights[t][0], halves, 0);
          low[n][t] = vdotq_laneq_s32(low[n][t], weights[t][0], halves, 1);
          high[n][t] = vdotq_laneq_s32(high[n][t], weights[t][1], halves, 2);
          low[n][t] = vdotq_laneq_s32(low[n][t], weights[t][1], halves, 3);
        }
      }
    }
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) {
        const int32x4_t sum = vaddq_s32(vshlq_n_s32(high[n][t], 8), low[n][t]);
        vst1q_s32(integers + n * kTileRows + (t0 + t) * 4, sum);
      }
    }
  }
}

template <int kBits, int kTokens>
void sum_integers(int64_t columns, const uint8_t* codes, const uint8_t* x, int64_t stride, const Chunk& chunk,
                  int32_t* integers) {
  codes += chunk.block * Codes::block_bytes(kBits);
  if constexpr (kBits == 8) {
    const int first = chunk.part == Part::high ? 16 : 0, count = chunk.part == Part::both ? 32 : 16;
    multiply<kTokens>(ByteReader{}, codes + first * kTileRows, x + chunk.block * 64 + first * 2, stride, count, integers);
  } else {
    const uint8_t* multiples = x + TableForm::multiple_offset(columns) + chunk.block * 4;
    const LookupArgs lookup{codes, x + chunk.block * 128, multiples, stride, chunk.blocks};
    if (chunk.part == Part::both) return look_up<kBits, kTokens, Part::both>(lookup, integers);
    if (chunk.part == Part::low) return look_up<kBits, kTokens, Part::low>(lookup, integers);
    look_up<kBits, kTokens, Part::high>(lookup, integers);
  }
}

// Adds a chunk to the totals: 4 instructions for 4 rows.
template <int kTokens>
[[gnu::noinline]] void flush(const int32_t* integers, const TokenScales<kTokens>& scales, TileState<kTokens>& state) {
#pragma GCC unroll 8
  for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 4
    for (int r = 0; r < kTileRows; r += 4) {
      float* total = state.total + n * kTileRows + r;
      const float32x4_t value = vmulq_n_f32(vcvtq_f32_s32(vld1q_s32(integers + n * kTileRows + r)), scales.unit[n]);
      const float32x4_t sum = vfmaq_f32(vld1q_f32(total), value, vld1q_f32(state.scale + r));
      vst1q_f32(total, vfmaq_n_f32(sum, vld1q_f32(state.offset + r), scales.activations[n]));
    }
  }
}

// Adds integers that are weights of a codebook's pass.
template <int kTokens>
void flush_pass(const int32_t* integers, const TokenScales<kTokens>& scales, const BookPass& pass, TileState<kTokens>& state) {
  const float* params = pass.second ? state.offset : state.scale;
  for (int n = 0; n < kTokens; ++n) {
    const float unit = pass.scale * scales.unit[n];
    for (int r = 0; r < kTileRows; r += 4) {
      float* total = state.total + n * kTileRows + r;
      const float32x4_t value = vmulq_n_f32(vcvtq_f32_s32(vld1q_s32(integers + n * kTileRows + r)), unit);
      vst1q_f32(total, vfmaq_f32(vld1q_f32(total), value, vld1q_f32(params + r)));
    }
  }
}

template <int kTokens>
void flush_offsets(const TokenScales<kTokens>& scales, TileState<kTokens>& state) {
  for (int n = 0; n < kTokens; ++n) {
    for (int r = 0; r < kTileRows; r += 4) {
      float* total = state.total + n * kTileRows + r;
      vst1q_f32(total, vfmaq_n_f32(vld1q_f32(total), vld1q_f32(state.offset + r), scales.activations[n]));
    }
  }
}

template <int kTokens>
void store_tile(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token, const TileState<kTokens>& state) {
  const int64_t row = tile * kTileRows, left = w.rows - row;
  const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
  for (int n = 0; n < kTokens; ++n) store_rows(args, token + n, row, valid, state.total + n * kTileRows);
}

// The chunk that begins at k; what it holds depends on the matrix alone.
template <int kBits>
Chunk chunk_at(const LowBit& w, int64_t k) {
  if (w.group_size == 16) return {k / 32, 1, k % 32 == 0 ? Part::low : Part::high};
  if (kBits == 8) return {k / 32, 1, Part::both};
  int64_t end = (k / w.group_size + 1) * w.group_size;
  const int64_t unit_end = (k / kTableUnit + 1) * kTableUnit;
  end = end < unit_end ? end : unit_end;
  end = end < w.columns ? end : w.columns;
  return {k / 32, static_cast<int>((end - k) / 32), Part::both};
}

// `tiles` tiles, at most kTiles, times kTokens tokens.
template <int kBits, int kTokens>
void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int tiles, int64_t token) {
  TileState<kTokens> states[kTiles<kTokens>];
  int32_t integers[kTokens * kTileRows];
  const uint8_t* x = args.x + token * args.x_stride;
  const int64_t tile_bytes = Codes::packed_tile_bytes(w.kind, kBits, w.columns);
  for (int64_t k = 0; k < w.columns;) {
    const Chunk chunk = chunk_at<kBits>(w, k);
    const TokenScales<kTokens> scales = kBits == 8 ? integer_scales<kTokens>(w.columns, x, args.x_stride, chunk)
                                                   : table_scales<kTokens>(w.columns, x, args.x_stride, chunk);
    for (int i = 0; i < tiles; ++i) {
      TileState<kTokens>& state = states[i];
      if (k % w.group_size == 0) {
        load_group(w, kTileRows, tile + i, k / w.group_size, center_of(kBits), state.scale, state.offset);
      }
      sum_integers<kBits, kTokens>(w.columns, w.codes + (tile + i) * tile_bytes, x, args.x_stride, chunk, integers);
      flush<kTokens>(integers, scales, state);
    }
    k += chunk.part == Part::both ? chunk.blocks * 32 : 16;
  }
  for (int i = 0; i < tiles; ++i) store_tile<kTokens>(w, args, tile + i, token, states[i]);
}

// A codebook's passes; wide integers take two, 256 * high + low, and a second codebook has its own scale.
template <int kTokens>
void book_product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
  BookPass passes[4];
  int count = book_passes(w.codebook, false, passes);
  if (w.has_second) count += book_passes(w.second, true, passes + count);
  TileState<kTokens> state;
  int32_t integers[kTokens * kTileRows];
  const uint8_t* codes = w.codes + tile * Codes::packed_tile_bytes(w.kind, 4, w.columns);
  const uint8_t* x = args.x + token * args.x_stride;
  const int size = w.group_size < 32 ? 16 : 32;
  for (int64_t k = 0; k < w.columns; k += size) {
    if (k % w.group_size == 0) {
      load_group(w, kTileRows, tile, k / w.group_size, w.zero_point, state.scale, state.offset);
    }
    const Part part = size == 32 ? Part::both : k % 32 == 0 ? Part::low : Part::high;
    const TokenScales<kTokens> scales = integer_scales<kTokens>(w.columns, x, args.x_stride, {k / 32, 1, part});
    for (int i = 0; i < count; ++i) {
      const CodebookReader reader{vld1q_s8(passes[i].values)};
      multiply<kTokens>(reader, codes + k * kTileRows / 2, x + k * 2, args.x_stride, size, integers);
      flush_pass<kTokens>(integers, scales, passes[i], state);
    }
    if (!w.has_second) flush_offsets<kTokens>(scales, state);
  }
  store_tile<kTokens>(w, args, tile, token, state);
}

template <int kBits>
void products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
              int64_t token_end) {
  for (int64_t tile = tile_begin; tile < tile_end; tile += 4) {
    const int tiles = static_cast<int>(tile_end - tile < 4 ? tile_end - tile : 4);
    int64_t token = token_begin;
    for (; token + 4 <= token_end; token += 4) product<kBits, 4>(w, args, tile, tiles, token);
    for (; token + 2 <= token_end; token += 2) product<kBits, 2>(w, args, tile, tiles, token);
    if (token == token_end) continue;
    for (int i = 0; i < tiles; ++i) product<kBits, 1>(w, args, tile + i, 1, token);
  }
}

void book_products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    int64_t token = token_begin;
    for (; token + 4 <= token_end; token += 4) book_product<4>(w, args, tile, token);
    for (; token + 2 <= token_end; token += 2) book_product<2>(w, args, tile, token);
    if (token < token_end) book_product<1>(w, args, tile, token);
  }
}

void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  if (w.kind == CodeKind::ternary) return PlainProducts<Codes>::matmul_lowbit(w, args, tile_begin, tile_end, token_begin, token_end);
  if (w.kind == CodeKind::codebook) return book_products(w, args, tile_begin, tile_end, token_begin, token_end);
  using Products = void (*)(const LowBit&, const MatmulArgs&, int64_t, int64_t, int64_t, int64_t);
  static constexpr Products kProducts[] = {products<1>, products<2>, products<3>, products<4>,
                                           products<5>, products<6>, products<7>, products<8>};
  kProducts[w.bits - 1](w, args, tile_begin, tile_end, token_begin, token_end);
}

}  // namespace

const Kernels kKernels = kernel_table<Codes>(prepare<VectorTables, PlainTernaryTables, lay_as_halves>, matmul_lowbit);

}  // namespace lutmac::neon
