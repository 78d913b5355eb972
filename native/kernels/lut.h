// The contract that every ISA target's kernels implement: packing, forms, matrix products.
//
// The definition of correct, for a row m and a token (W the matrix, x the activations, both exact):
//     y[m] = sum over k of W[m,k] * x[k],   W[m,k] = scale[m,g] * value(q[m,k]) + offset[m,g] * second(q[m,k])
// with value(q) = q - zero_point and second(q) = 1 for affine and ternary codes, and look-ups of 16 values each for a
// codebook (second is 1 where there is one codebook alone). FP8 codes are floats themselves.
// A kernel may replace x by the form it asked for (tables, integers); portable states the arithmetic for each form.
//
// Batch invariance: a token's result depends bit for bit only on its own form and the matrix. Every kernel reduces k in
// the same order for any number of tokens, and k is never split between threads.
#pragma once

#include <cstdint>

#include "target.h"

namespace lutmac {

struct AttentionArgs;

inline constexpr int kTableGroup = 32;  // consecutive k that share a table scale; K is a multiple of it
inline constexpr int kTableUnit = 128;  // consecutive k whose table scales are multiples of one unit

// Tables and integers take activations as zeros where all that share a unit or a scale are smaller: their reciprocals would
// leave the range of float. Where one is not finite the form is NaN, and so is the token's result.
inline constexpr float kQuietest = 0x1p-100f;
inline constexpr float kLargestFloat = 0x1.fffffep127f;

// What a kernel wants its activations turned into.
enum class Form {
  plain,     // f32, as they are: for floats, and for FP8
  tables,    // for 1 to 7 bits
  integers,  // for 8 bits and for codebooks
  ternary,   // for ternary codes
  bf16,      // for rows of prompts on targets with a matrix unit: takes the place of the three before, and less room than any;
             // for dense matrices whose product may round, on targets that multiply bf16
};

// What codes mean, and how they are packed.
enum class CodeKind {
  affine,    // 1 to 8 bits: a number
  codebook,  // 4 bits: an index into 16 values
  ternary,   // 0, 1, 2, five of them in a byte; one scale per row, or for each 128 weights or a multiple of them
  float8,    // 8 bits: an FP8 E4M3, see ParamKind::e4m3; there is no offset
};

// Kinds of per-group parameter (scale, offset): the rows of scales.def.
enum class ParamKind {
  none,
#define LUTMAC_SCALE(kind, ...) kind,
#include "scales.def"
#undef LUTMAC_SCALE
};

struct ParamFormat {
  const char* name;
  int bytes;        // of a value
  ParamKind super;  // of the super-scale
};

// By ParamKind.
inline constexpr ParamFormat kParamFormats[] = {
    {"none", 0, ParamKind::none},
#define LUTMAC_SCALE(kind, name, bytes, super, read) {name, bytes, ParamKind::super},
#include "scales.def"
#undef LUTMAC_SCALE
};
inline constexpr const ParamFormat& format_of(ParamKind kind) { return kParamFormats[static_cast<int>(kind)]; }

enum class DenseType { f32, f16, bf16 };
inline constexpr ParamKind param_of(DenseType type) {
  return type == DenseType::f32 ? ParamKind::f32 : type == DenseType::f16 ? ParamKind::f16 : ParamKind::bf16;
}

// Tables of one token: for each LUT group of 4 activations, 16 entries u8 = round(sum / scale) + 128, the sum taken as
// +x where the bit is 1 and -x where it is 0; the scale is shared by a table group.
// [tables u8: K/4 * 16][half_scale f32: K/32][sum32 f32: K/32][sum16 f32: K/16][multiple s32: K/32][unit f32: K/128 up]
// half_scale = scale / 2 (sum of bit*x = (T + sum x) / 2); sumN: sums of N consecutive activations.
// half_scale = unit * multiple, the multiple from 1 to kMaxMultiple: kernels may sum integers times multiples over the
// table groups of a unit, and go to floats once.
struct TableForm {
  // The largest whose product with plane 3's weight fits s8, in which avx512vbmi has both as one number.
  static constexpr int kMaxMultiple = 15;
  static int64_t units(int64_t k) { return (k + kTableUnit - 1) / kTableUnit; }
  static int64_t scale_offset(int64_t k) { return k * 4; }
  static int64_t sum32_offset(int64_t k) { return k * 4 + k / 32 * 4; }
  static int64_t sum16_offset(int64_t k) { return k * 4 + k / 32 * 8; }
  static int64_t multiple_offset(int64_t k) { return k * 4 + k / 32 * 16; }
  static int64_t unit_offset(int64_t k) { return k * 4 + k / 32 * 20; }
  static int64_t bytes(int64_t k) { return unit_offset(k) + units(k) * 4; }
};

// Integers of one token: x = scale * i, i s16 of at most 127 * 256, the scale shared by 32 activations.
// [i: K/4 times 4 integers, 8 bytes][scale f32: K/32][sum16 s32: K/16, sums of 16 consecutive i]
// The 4 integers of an 8-byte unit lie as the target's dot products want them: as s16, or as 4 high s8 then 4 low s8
// (i = 256 * high + low).
struct IntegerForm {
  static int64_t scale_offset(int64_t k) { return k * 2; }
  static int64_t sum_offset(int64_t k) { return k * 2 + k / 32 * 4; }
  static int64_t bytes(int64_t k) { return k * 2 + k / 32 * 12; }
};

// Tables of one token for ternary codes. A LUT group is 5 activations; of its 5 trits (-1, 0, 1) the first three make the
// number a = 9 t2 + 3 t1 + t0 and the other two the index c = 3 t4 + t3 + 4. The LUT group's sum of trit * x is
// scale * (sign(a) * A[|a|] + C[c] - 128):
//   A: 16 entries s8; |a| of 0 to 13, the first of them 0
//   C: 16 entries u8; c of 0 to 8, around 128: C[8 - c] - 128 is -(C[c] - 128)
// A block is 128 activations, in 26 LUT groups of which the last has 3; at the end of a row it may be shorter. Its LUT groups
// share three scales: the first 9, the next 9, the rest. A scale is unit * multiple, the multiple from 1 to kMaxMultiple and the
// unit the block's: a block's sum is one integer. Activations past column k count as zeros.
// [A of 4 LUT groups, C of them: 128 bytes for each 4][multiple s32: 3 for each block][unit f32: of each block]
// [bias s32: of each block, the sum of multiple * 128 over its LUT groups][byte multiple u8: 28 for each block]
// byte multiple: each LUT group's multiple once more. A block that begins at an odd multiple of 128 has two zeros in front of
// its 26, the others behind them; so the byte multiples of 4 LUT groups whose tables lie side by side are a dword.
struct TernaryForm {
  static constexpr int kBlock = 128, kBlockLutGroups = 26, kBlockScales = 3, kLutGroupsPerScale = 9, kBlockMultiples = 28;
  static constexpr int kMaxMultiple = 255;
  static int64_t blocks(int64_t k) { return (k + kBlock - 1) / kBlock; }
  static int64_t lut_groups(int64_t k) { return k / kBlock * kBlockLutGroups + (k % kBlock + 4) / 5; }
  // LUT groups of a block.
  static int block_lut_groups(int64_t k, int64_t block) {
    return static_cast<int>(k - block * kBlock < kBlock ? (k % kBlock + 4) / 5 : kBlockLutGroups);
  }
  // The LUT group's A; its C lies 64 bytes behind it.
  static int64_t table_offset(int64_t lut_group) { return lut_group / 4 * 128 + lut_group % 4 * 16; }
  static int64_t multiple_offset(int64_t k) { return (lut_groups(k) + 3) / 4 * 128; }
  static int64_t unit_offset(int64_t k) { return multiple_offset(k) + blocks(k) * kBlockScales * 4; }
  static int64_t bias_offset(int64_t k) { return unit_offset(k) + blocks(k) * 4; }
  static int64_t byte_multiple_offset(int64_t k) { return bias_offset(k) + blocks(k) * 4; }
  static int64_t bytes(int64_t k) { return byte_multiple_offset(k) + blocks(k) * kBlockMultiples; }
};

// Bytes from one token's form to the next: an odd number of cache lines, so that the same place of 8 tokens does not
// fall into one set of the L1 cache.
inline int64_t form_stride(Form form, int64_t k) {
  int64_t bytes = k * 4;
  if (form == Form::tables) bytes = TableForm::bytes(k);
  if (form == Form::integers) bytes = IntegerForm::bytes(k);
  if (form == Form::ternary) bytes = TernaryForm::bytes(k);
  if (form == Form::bf16) bytes = k * 2;  // in the target's own order
  return ((bytes + 63) / 64 | 1) * 64;
}

// 16 values, and what the integer kernels read for them: value = scale * integer. The integers fit s8 where that states the
// values to within a millionth of the largest; else they are of at most 127 * 256 (wide): within 1.6e-5 of the largest.
struct Codebook {
  float values[16] = {};
  int16_t integers[16] = {};
  float scale = 0.0f;
  bool wide = false;
};

struct ParamShape {
  ParamKind kind = ParamKind::none;
  int groups_per_super = 1;
};

// What a low-bit matrix is, wherever its bytes lie.
struct LowBitShape {
  int64_t rows = 0, columns = 0;
  CodeKind kind = CodeKind::affine;
  int bits = 0;            // 1 to 8; codebook: 4; ternary: 2; float8: 8
  int64_t group_size = 0;  // 16, or a multiple of 32
  float zero_point = 0.0f;
  float factor = 1.0f;     // of every scale and offset
  bool has_second = false;
  Codebook codebook, second;
  ParamShape scale, offset;

  int64_t count_groups() const { return (columns + group_size - 1) / group_size; }
  int64_t count_super_groups(const ParamShape& param) const {
    return (count_groups() + param.groups_per_super - 1) / param.groups_per_super;
  }
};

// Parameters in tiles: values [tile][group][tile_rows], super-scales [tile][super group][tile_rows].
struct PackedParam {
  uint8_t *values = nullptr, *super = nullptr;
  int64_t super_groups = 0;
};

// A packed matrix: a shape, and codes and parameters in the order of the target's packing.
struct LowBit : LowBitShape {
  int64_t groups = 0;
  uint8_t* codes = nullptr;
  PackedParam packed_scale, packed_offset;
};

struct DenseShape {
  int64_t rows = 0, columns = 0;
  DenseType type = DenseType::f32;
};

struct Dense : DenseShape {
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

// The order in which a target's kernels read codes. A tile is tile_rows rows; rows past the matrix's end are zeros.
struct Packing {
  int tile_rows;
  int64_t (*packed_tile_bytes)(CodeKind kind, int bits, int64_t columns);

  // codes: [tile_rows, columns] one code per byte. out: packed_tile_bytes. A tile of codes that are not ternary may be
  // packed in pieces of columns, multiples of 32: what lies left of column k takes packed_tile_bytes(kind, bits, k).
  void (*pack_tile)(CodeKind kind, int bits, int64_t columns, const uint8_t* codes, uint8_t* out);

  // The way back: the 32 codes of a row from column 32 * block on. tile: what pack_tile has written.
  void (*unpack_row_block)(CodeKind kind, int bits, const uint8_t* tile, int64_t block, int row, uint8_t* codes);
};

// Of prompts' rows so many share the work of unpacking a block of weights. Half as many take a fifth longer by the matrix unit; twice as many
// save a tenth, and their sums (64 KB here) and activations no longer leave the weights their half of a 2 MB L2 cache.
inline constexpr int kPromptTokens = 512;

// The kernels of one ISA target. Rows past the matrix's end are never written to y. Products work on tiles
// [tile_begin, tile_end) and tokens [token_begin, token_end).
struct Kernels {
  Packing packing;

  // Activations to a form; one token.
  void (*prepare)(Form form, const float* x, int64_t k, uint8_t* out);

  void (*matmul_lowbit)(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                        int64_t token_begin, int64_t token_end);
  // The same product on plain activations in f32, for exact mode; of FP8 codes the only one.
  void (*matmul_lowbit_exact)(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                              int64_t token_begin, int64_t token_end);
  void (*matmul_dense)(const Dense& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                       int64_t token_begin, int64_t token_end);

  // The product of prompts' rows, on the form bf16, with weights rounded to bf16, of all codes but FP8. Null: the target has one
  // arithmetic for all rows.
  void (*matmul_prompt)(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                        int64_t token_end);
  // A task of attention whose rows are of a prompt, see ops/prompt_attention.h. Null where matmul_prompt is.
  void (*attend_prompt)(const AttentionArgs& args, int task);

  // The product of a dense matrix on the form bf16, with weights rounded to bf16. Null: the target multiplies floats only.
  void (*matmul_dense_bfloat16)(const Dense& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                                int64_t token_begin, int64_t token_end);

  // One row as f32.
  void (*unpack_row_lowbit)(const LowBit& w, int64_t row, float* out);
  void (*unpack_row_dense)(const Dense& w, int64_t row, float* out);

  // Whether products of prompts' rows have another arithmetic than those of generated tokens (see Batch::generated_rows).
  bool by_role() const { return matmul_prompt != nullptr; }
};

#define LUTMAC_ISA(name, architecture, ...) LUTMAC_BUILT_##architecture(namespace name { extern const Kernels kKernels; })
#include "targets.def"
#undef LUTMAC_ISA

}  // namespace lutmac
