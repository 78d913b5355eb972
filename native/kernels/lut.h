// The contract that every ISA target's kernels implement: packing, forms, matrix products.
//
// The definition of correct, for a row m and a token (W the matrix, x the activations, both exact):
//     y[m] = sum over k of W[m,k] * x[k],   W[m,k] = scale[m,g] * (q[m,k] - zero_point) + offset[m,g]
// A kernel may replace x by the form it asked for (tables, integers); portable states the arithmetic for each form.
//
// Batch invariance: a token's result depends bit for bit only on its own form and the matrix. Every kernel reduces k in
// the same order for any number of tokens, and k is never split between threads.
#pragma once

#include <cstdint>

#include "target.h"

namespace lutmac {

inline constexpr int kTableGroup = 32;  // run of k that shares a table scale; K is a multiple of it
inline constexpr int kTableUnit = 128;  // run of k whose table scales are multiples of one unit

// What a kernel wants its activations turned into.
enum class Form {
  plain,     // f32, as they are
  tables,    // for 1 to 7 bits
  integers,  // for 8 bits
};

// Kinds of per-group parameter (scale, offset), kept in memory as small as in the file.
enum class ParamKind {
  none,
  f16,
  f32,
  two_level_f16,  // int8 values under an f16 super-scale
  two_level_f32,
};

enum class DenseType { f32, f16, bf16 };

// Tables of one token: for each LUT group of 4 activations, 16 entries u8 = round(sum / step) + 128, the sum taken as
// +x where the bit is 1 and -x where it is 0; the step is shared by a table group.
// [tables u8: K/4 * 16][half_step f32: K/32][sum32 f32: K/32][sum16 f32: K/16][multiple s32: K/32][unit f32: K/128 up]
// half_step = step / 2 (sum of bit*x = (T + sum x) / 2); sumN: sums of N consecutive activations.
// half_step = unit * multiple, the multiple from 1 to kMaxMultiple: kernels may sum integers times multiples over the
// table groups of a unit, and go to floats once.
struct TableForm {
  // The largest at which plane 6's weight times it fits s16. A finer unit is no better: the table group with the largest
  // step, which makes the error, is at this multiple.
  static constexpr int kMaxMultiple = 511;
  static int64_t units(int64_t k) { return (k + kTableUnit - 1) / kTableUnit; }
  static int64_t scale_offset(int64_t k) { return k * 4; }
  static int64_t sum32_offset(int64_t k) { return k * 4 + k / 32 * 4; }
  static int64_t sum16_offset(int64_t k) { return k * 4 + k / 32 * 8; }
  static int64_t multiple_offset(int64_t k) { return k * 4 + k / 32 * 16; }
  static int64_t unit_offset(int64_t k) { return k * 4 + k / 32 * 20; }
  static int64_t bytes(int64_t k) { return unit_offset(k) + units(k) * 4; }
};

// Integers of one token: x = step * i, i s16 of at most 127 * 256, the step shared by 32 activations.
// [i: K/4 times 4 integers, 8 bytes][step f32: K/32][sum16 s32: K/16, sums of 16 consecutive i]
// The 4 integers of an 8-byte unit lie as s16 in portable and avx2, as 4 high s8 then 4 low s8 (i = 256 * high + low) in
// avx512.
struct IntegerForm {
  static int64_t step_offset(int64_t k) { return k * 2; }
  static int64_t sum_offset(int64_t k) { return k * 2 + k / 32 * 4; }
  static int64_t bytes(int64_t k) { return k * 2 + k / 32 * 12; }
};

// Bytes from one token's form to the next: an odd number of cache lines, so that the same place of 8 tokens does not
// fall into one set of the L1 cache.
inline int64_t form_stride(Form form, int64_t k) {
  int64_t bytes = form == Form::plain ? k * 4 : form == Form::tables ? TableForm::bytes(k) : IntegerForm::bytes(k);
  return ((bytes + 63) / 64 | 1) * 64;
}

// A packed matrix. Codes and parameters are in the order of the target's packing.
struct LowBit {
  int64_t rows = 0, columns = 0;
  int bits = 0;
  int64_t group_size = 0;  // 16, or a multiple of 32
  int64_t groups = 0;      // ceil(columns / group_size)
  float zero_point = 0.0f;
  ParamKind scale_kind = ParamKind::none, offset_kind = ParamKind::none;
  int groups_per_super = 0, offset_groups_per_super = 0;
  int64_t super_groups = 0, offset_super_groups = 0;  // ceil(groups / groups_per_super)
  uint8_t* codes = nullptr;
  // Parameters in tiles: [tile][group][tile_rows], super-scales [tile][super group][tile_rows].
  uint8_t *scale = nullptr, *scale_super = nullptr, *offset = nullptr, *offset_super = nullptr;
};

struct Dense {
  int64_t rows = 0, columns = 0;
  DenseType type = DenseType::f32;
  uint8_t* data = nullptr;  // tiles: [tile][k][tile_rows]
};

// One product: y[n, m] = form[n] . W[m] (+ bias[m]) (+ y[n, m] before, where accumulate is set).
struct MatmulArgs {
  const uint8_t* x = nullptr;  // forms, or f32 rows
  int64_t x_stride = 0;        // bytes from a token to the next
  float* y = nullptr;
  int64_t y_stride = 0;        // floats from a token to the next
  const float* bias = nullptr;
  bool accumulate = false;
};

// The kernels of one ISA target. Tiles are tile_rows rows; rows past the matrix's end are packed as zeros and never
// written to y. Products work on tiles [tile_begin, tile_end) and tokens [token_begin, token_end).
struct Kernels {
  const char* name;
  int tile_rows;

  // Activations to a form; one token.
  void (*prepare)(Form form, const float* x, int64_t k, uint8_t* out);

  // codes: [tile_rows, columns] one code per byte (zeros past the last row). out: packed_tile_bytes.
  int64_t (*packed_tile_bytes)(int bits, int64_t columns);
  void (*pack_tile)(int bits, int64_t columns, const uint8_t* codes, uint8_t* out);

  void (*matmul_lowbit)(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                        int64_t token_begin, int64_t token_end);
  // The same product on plain activations in f32, for exact mode.
  void (*matmul_lowbit_exact)(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                              int64_t token_begin, int64_t token_end);
  void (*matmul_dense)(const Dense& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                       int64_t token_begin, int64_t token_end);

  // One row as f32.
  void (*unpack_row_lowbit)(const LowBit& w, int64_t row, float* out);
  void (*unpack_row_dense)(const Dense& w, int64_t row, float* out);
};

namespace portable { extern const Kernels kKernels; }
namespace avx2 { extern const Kernels kKernels; }
namespace avx512 { extern const Kernels kKernels; }
namespace neon { extern const Kernels kKernels; }

}  // namespace lutmac
