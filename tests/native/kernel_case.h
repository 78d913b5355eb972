// A random low-bit matrix with activations, its product in double, and how far from that a kernel may be.
//
// The bounds are derived, not tuned. u = 2^-24 is float's unit of rounding, b the bits.
//
// Form. A table entry is a multiple of the table scale, so it is off by at most half of one; a block of 32 activations takes
// 8 lookups for each of the planes weighted 1, 2, 4, ...: 8 (2^b - 1) halves of a table scale, which counts as half of itself
// times the weights' scale. The table scale is what the largest sum of 4 magnitudes of the block, rounded up to the next multiple of the unit (at most
// 1/kMaxMultiple of the unit's largest), makes of 127. Integers: an activation is off by half a scale, 1/(2 * 127 * 256) of
// the block's largest, so a product by that times |W|. Where all activations are below kQuietest they are taken as zeros.
//
// Rounding. No partial sum is larger than the sum of |x| (scale (2^b + |zero point|) + |offset|), and what the form adds. A
// row is at most K/16 chunks, each added in two roundings (product, offset), and within a chunk come the table scale, the sum of 16
// activations, the scale and its kind: fewer than 24 roundings in a row. A codebook takes up to 4 passes over its chunks, and
// its integers are within 1/(2 * 127 * 256) of its largest value, or a millionth. In exact mode every k is one fused multiply-add, or
// two roundings in portable. Below the normal floats a rounding is absolute: 2^-149, times what it is multiplied by.
//
// Prompts' rows. bf16 has 8 bits, so a weight and an activation are each off by at most 2^-9 of themselves, and their product by
// 2^-8 and a little. A weight is made of a code that stands in a float of 128 or 256, by one FMA with an offset: a rounding of
// that much times the scale, of which 2^-16 of the weight's magnitude is more. 32 k at a time are two chains of 16 FMAs and two additions, so a
// sum of K is (K/32 + 20) roundings. Denormals are zero: 2^-126 for each number, times what it is multiplied by.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "kernel_param.h"
#include "runtime/codebook.h"
#include "runtime/packed_matrix.h"

inline constexpr double kBookError = 1e-6 + 0.5 / (127 * 256);

// A codebook that integers of 8 bits state, one that takes wide ones, and one whose largest value is small.
inline constexpr float kBooks[3][16] = {
    {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
    {-1.0f, -0.6961928f, -0.5250731f, -0.3949175f, -0.2844414f, -0.1847734f, -0.09105f, 0.0f,
     0.0795803f, 0.1609302f, 0.2461123f, 0.3379152f, 0.4407098f, 0.562617f, 0.7229568f, 1.0f},
    {0.0f, 0.0005f, 0.001f, 0.0015f, 0.002f, 0.003f, 0.004f, 0.006f, 0, 0, 0, 0, 0, 0, 0, 0},
};

struct KernelShape {
  lutmac::CodeKind kind = lutmac::CodeKind::affine;
  int book = 0, second_book = -1;  // of kBooks; no second one
  int bits = 4;
  int64_t group_size = 32, rows = 1, columns = 32;
  int tokens = 1;
  lutmac::ParamKind scale_kind = lutmac::ParamKind::f16, offset_kind = lutmac::ParamKind::none;
  float zero_point = 0.0f;

  int64_t groups() const { return (columns + group_size - 1) / group_size; }
  std::string describe() const {
    char text[200];
    std::snprintf(text, sizeof(text), "kind %d, books %d and %d, %d bits, group %d, %d x %d, %d tokens, scale kind %d, offset kind %d, zero point %g",
                  static_cast<int>(kind), book, second_book, bits, static_cast<int>(group_size), static_cast<int>(rows), static_cast<int>(columns), tokens,
                  static_cast<int>(scale_kind), static_cast<int>(offset_kind), static_cast<double>(zero_point));
    return text;
  }
};

// Activations [tokens, columns] whose size, every 32 another, lies between 10^quietest and 10^loudest.
inline std::vector<float> make_activations(TestRandom& random, const KernelShape& shape, float quietest = -3.0f,
                                           float loudest = 2.0f) {
  std::vector<float> x = random.floats(static_cast<size_t>(shape.tokens * shape.columns));
  for (size_t i = 0; i < x.size(); i += 32) {
    const float middle = 0.5f * (quietest + loudest), reach = 0.5f * (loudest - quietest);
    const float size = std::pow(10.0f, middle + reach * random.signed_unit());
    for (size_t k = i; k < i + 32; ++k) x[k] *= size;
  }
  return x;
}

class KernelCase {
 public:
  // x: [tokens, columns].
  KernelCase(TestRandom& random, const KernelShape& case_shape, std::vector<float> activations)
      : shape(case_shape),
        scale(random, shape.scale_kind, shape.rows, shape.groups(), false),
        offset(random, shape.offset_kind, shape.rows, shape.groups(), true),
        codes(static_cast<size_t>(shape.rows * shape.columns)),
        x(std::move(activations)) {
    const int count = shape.kind == lutmac::CodeKind::ternary ? 3 : 1 << shape.bits;
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random.below(count));
    if (shape.kind == lutmac::CodeKind::float8) {
      for (uint8_t& code : codes) code &= (code & 0x7f) == 0x7f ? 0xfe : 0xff;  // that would be no number
    }
    for (int64_t row = 0; row < shape.rows; ++row) {
      for (int64_t k = 0; k < shape.columns; ++k) add_weight(row, k);
    }
    for (int token = 0; token < shape.tokens; ++token) {
      for (int64_t row = 0; row < shape.rows; ++row) expected.push_back(expect(token, row));
    }
  }

  lutmac::LowBitSource source() const {
    lutmac::LowBitSource source;
    source.rows = shape.rows;
    source.columns = shape.columns;
    source.kind = shape.kind;
    if (shape.kind == lutmac::CodeKind::codebook) source.codebook = lutmac::make_codebook(kBooks[shape.book]);
    source.has_second = shape.second_book >= 0;
    if (source.has_second) source.second = lutmac::make_codebook(kBooks[shape.second_book]);
    source.bits = shape.bits;
    source.group_size = shape.group_size;
    source.bytes = codes.data();
    source.row_bytes = shape.columns;
    source.block_weights = source.block_bytes = 32;
    source.codes = lutmac::BlockNumbers({{.first = 0, .count = 32, .byte = 0, .shift = 0, .width = 8, .dest = 0, .stride = 8}});
    source.zero_point = shape.zero_point;
    source.scale = scale.shape();
    source.offset = offset.shape();
    source.scale_array = scale.array();
    source.offset_array = offset.array();
    return source;
  }

  double weight(int64_t row, int64_t k) const { return weights_[row * shape.columns + k]; }
  // No weight, and nothing on the way to it, is larger.
  double magnitude(int64_t row, int64_t k) const { return magnitudes_[row * shape.columns + k]; }

  struct Expected {
    double value = 0.0;
    double form = 0.0;            // what rounding the activations to their form may cost
    double rounding = 0.0;        // float arithmetic from the form to the result
    double exact_rounding = 0.0;  // and in exact mode
    double prompt = 0.0;          // all that the arithmetic of prompts' rows may cost
    double unscaled = 0.0;        // what sums reach before they meet a scale
  };

  KernelShape shape;
  KernelParam scale, offset;
  std::vector<uint8_t> codes;
  std::vector<float> x;
  std::vector<Expected> expected;  // [tokens, rows]

 private:
  double scale_at(int64_t row, int64_t k) const { return scale.value(row * shape.groups() + k / shape.group_size); }

  static double largest_of(const float* book) {
    double largest = 0.0;
    for (int i = 0; i < 16; ++i) largest = std::max(largest, std::abs(double{book[i]}));
    return largest;
  }

  // OCP's E4M3: 4 bits of exponent around 7, 3 of mantissa.
  static double float8_value(uint8_t code) {
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    const double value = std::ldexp(exponent > 0 ? 8 + mantissa : mantissa, std::max(exponent, 1) - 10);
    return code & 0x80 ? -value : value;
  }

  void add_weight(int64_t row, int64_t k) {
    const double code = codes[row * shape.columns + k], zero_point = double{shape.zero_point};
    const double shift = offset.value(row * shape.groups() + k / shape.group_size);
    if (shape.kind == lutmac::CodeKind::codebook) {
      const int at = codes[row * shape.columns + k];
      const bool with_second = shape.second_book >= 0;
      const double second = with_second ? double{kBooks[shape.second_book][at]} : 1.0;
      const double second_largest = with_second ? largest_of(kBooks[shape.second_book]) : 1.0;
      weights_.push_back(scale_at(row, k) * kBooks[shape.book][at] + shift * second);
      magnitudes_.push_back(scale_at(row, k) * largest_of(kBooks[shape.book]) + std::abs(shift) * second_largest);
      return;
    }
    if (shape.kind == lutmac::CodeKind::float8) {
      weights_.push_back(scale_at(row, k) * float8_value(codes[row * shape.columns + k]));
      magnitudes_.push_back(scale_at(row, k) * 448.0);
      return;
    }
    weights_.push_back(scale_at(row, k) * (code - zero_point) + shift);
    magnitudes_.push_back(scale_at(row, k) * ((1 << shape.bits) + std::abs(zero_point)) + std::abs(shift));
  }

  Expected expect(int token, int64_t row) const {
    Expected result;
    double sum = 0.0, tiny = 0.0;
    for (int64_t k = 0; k < shape.columns; ++k) {
      const double activation = x[token * shape.columns + k];
      result.value += weight(row, k) * activation;
      sum += magnitude(row, k) * std::abs(activation);
      result.unscaled += std::ldexp(std::abs(activation), shape.bits + 1);
      tiny += 0x1p-149 * (1.0 + magnitude(row, k));
      const double product = std::abs(weight(row, k) * activation);
      result.prompt += product * (0x1p-8 + 0x1p-17 + 0x1p-24 * (static_cast<double>(shape.columns) / 32 + 20)) +
                       0x1p-16 * magnitude(row, k) * std::abs(activation) +
                       0x1p-126 * (2.0 + std::abs(activation) + std::abs(weight(row, k)));
      result.form += lutmac::kQuietest * magnitude(row, k);
    }
    if (shape.kind == lutmac::CodeKind::float8) {
      result.form = 0.0;
    } else if (shape.kind == lutmac::CodeKind::ternary) {
      result.form += form_of_lut_groups(token, row);
    } else {
      for (int64_t block = 0; block < shape.columns; block += 32) result.form += form_of_block(token, row, block);
    }
    constexpr double kUnit = 0x1p-24;
    // Products of FP8 weights are those of exact mode.
    if (shape.kind == lutmac::CodeKind::float8) {
      result.rounding = result.exact_rounding = sum * kUnit * (2.0 * static_cast<double>(shape.columns) + 4.0) + tiny;
      return result;
    }
    const double passes = shape.kind == lutmac::CodeKind::codebook ? 4.0 : 1.0;
    result.rounding = (sum + result.form) * kUnit * (static_cast<double>(shape.columns) / 8.0 * passes + 24.0) + tiny;
    result.exact_rounding = sum * kUnit * (2.0 * static_cast<double>(shape.columns) + 4.0) + tiny;
    return result;
  }

  double form_of_block(int token, int64_t row, int64_t block) const {
    double cost = 0.0;
    const bool codebook = shape.kind == lutmac::CodeKind::codebook;
    if (shape.bits == 8 || codebook) {
      double largest = 0.0;
      for (int64_t k = block; k < block + 32; ++k) largest = std::max(largest, std::abs(activation(token, k)));
      for (int64_t k = block; k < block + 32; ++k) {
        cost += std::abs(weight(row, k)) * largest / (2 * 127 * 256);
        if (codebook) cost += magnitude(row, k) * largest * kBookError;
      }
      return cost;
    }
    const int64_t unit = block / 128 * 128;
    double top = 0.0;
    for (int64_t k = unit; k < std::min(unit + 128, shape.columns); k += 32) top = std::max(top, largest_sum(token, k));
    const double table_scale = (largest_sum(token, block) + top / lutmac::TableForm::kMaxMultiple) / 127;
    const double scales = std::max(scale_at(row, block), scale_at(row, block + 16));
    return scales * table_scale / 2 * 8 * ((1 << shape.bits) - 1) / 2;
  }
  // Ternary: a LUT group's two entries are off by at most half a scale each. A scale is that of 9 LUT groups of a block of 128, and
  // the multiple's rounding more.
  double form_of_lut_groups(int token, int64_t row) const {
    double cost = 0.0;
    for (int64_t block = 0; block < shape.columns; block += 128) {
      const int64_t end = std::min(block + 128, shape.columns);
      std::vector<double> largest(3);
      double top = 0.0;
      for (int64_t group = 0; block + group * 5 < end; ++group) {
        double sum = 0.0;
        for (int64_t k = block + group * 5; k < std::min(block + group * 5 + 5, end); ++k) sum += std::abs(activation(token, k));
        largest[group / 9] = std::max(largest[group / 9], sum);
        top = std::max(top, sum);
      }
      for (const double sum : largest) cost += 9 * (sum + top / lutmac::TernaryForm::kMaxMultiple) / 126 * scale_at(row, block);
    }
    return cost;
  }
  double largest_sum(int token, int64_t block) const {
    double largest = 0.0;
    for (int64_t k = block; k < block + 32; k += 4) {
      double sum = 0.0;
      for (int64_t i = k; i < k + 4; ++i) sum += std::abs(activation(token, i));
      largest = std::max(largest, sum);
    }
    return largest;
  }
  double activation(int token, int64_t k) const { return x[token * shape.columns + k]; }

  std::vector<double> weights_, magnitudes_;  // [rows, columns]
};

// The forms of all tokens, as `target` prepares them.
class FormRows {
 public:
  FormRows(const lutmac::Kernels& kernels, lutmac::Form form, const std::vector<float>& x, int64_t columns)
      : stride_(lutmac::form_stride(form, columns)), tokens_(static_cast<int64_t>(x.size()) / columns),
        memory_(static_cast<size_t>(stride_ * tokens_ + 64)) {
    for (int64_t token = 0; token < tokens_; ++token) {
      kernels.prepare(form, x.data() + token * columns, columns, data() + token * stride_);
    }
  }
  int64_t stride() const { return stride_; }
  int64_t tokens() const { return tokens_; }
  // On a cache line, as the program's arena has it.
  uint8_t* data() { return memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64; }

 private:
  int64_t stride_, tokens_;
  std::vector<uint8_t> memory_;
};

template <typename Source>
lutmac::PackedMatrix pack(const lutmac::TargetEntry& target, const Source& source) {
  lutmac::PackedMatrix matrix(target, source);
  for (int64_t tile = 0; tile < matrix.tiles(); ++tile) matrix.fill_tile(source, tile);
  return matrix;
}

// product(args, tokens) on prepared rows. [tokens, rows]; checks that nothing past a row's end is written.
template <typename Product>
std::vector<float> multiply_by(const lutmac::PackedMatrix& matrix, FormRows& forms, Product product) {
  constexpr float kUntouched = 7.25f;
  const int64_t rows = matrix.rows(), stride = rows + 3, tokens = forms.tokens();
  std::vector<float> y(static_cast<size_t>(tokens * stride), kUntouched);
  lutmac::MatmulArgs args;
  args.x = forms.data();
  args.x_stride = forms.stride();
  args.y = y.data();
  args.y_stride = stride;
  product(args, tokens);
  std::vector<float> result;
  for (int64_t token = 0; token < tokens; ++token) {
    for (int64_t row = 0; row < rows; ++row) result.push_back(y[token * stride + row]);
    for (int64_t i = rows; i < stride; ++i) check(y[token * stride + i] == kUntouched, "a product wrote past its row");
  }
  return result;
}

inline std::vector<float> multiply(const lutmac::PackedMatrix& matrix, FormRows& forms, bool exact) {
  return multiply_by(matrix, forms, [&](const lutmac::MatmulArgs& args, int64_t tokens) {
    matrix.matmul(args, exact, 0, matrix.tiles(), 0, tokens);
  });
}

inline std::vector<lutmac::TargetEntry> runnable_kernels() {
  std::vector<lutmac::TargetEntry> found;
  for (const lutmac::TargetEntry& target : lutmac::targets()) {
    if (target.runs_here()) found.push_back(target);
  }
  return found;
}
