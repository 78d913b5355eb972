// A product of random codes and activations: what benchmarks of single kernels multiply.
#pragma once

#include <cstdlib>
#include <vector>

#include "runtime/codebook.h"
#include "runtime/packed_matrix.h"
#include "runtime/targets.h"

struct ProductKind {
  const char* name;
  lutmac::CodeKind kind;
  int bits;
};
inline constexpr ProductKind kProductKinds[] = {
    {"1 bit", lutmac::CodeKind::affine, 1},    {"2 bits", lutmac::CodeKind::affine, 2},
    {"3 bits", lutmac::CodeKind::affine, 3},   {"4 bits", lutmac::CodeKind::affine, 4},
    {"5 bits", lutmac::CodeKind::affine, 5},   {"6 bits", lutmac::CodeKind::affine, 6},
    {"7 bits", lutmac::CodeKind::affine, 7},   {"8 bits", lutmac::CodeKind::affine, 8},
    {"ternary", lutmac::CodeKind::ternary, 2}, {"codebook", lutmac::CodeKind::codebook, 4}};

// group_size: weights that share a scale (f16).
struct ProductShape {
  int64_t rows, columns, group_size;
  int tokens;
};

inline lutmac::PackedMatrix random_matrix(const lutmac::TargetEntry& entry, const ProductKind& kind, const ProductShape& shape) {
  using namespace lutmac;
  std::vector<uint8_t> codes(shape.rows * shape.columns);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(std::rand() % (kind.kind == CodeKind::ternary ? 3 : 1 << kind.bits));
  std::vector<uint16_t> scales(shape.rows * (shape.columns / shape.group_size), 0x2000);
  const float book[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  LowBitSource source;
  source.rows = shape.rows;
  source.columns = shape.columns;
  source.kind = kind.kind;
  if (kind.kind == CodeKind::codebook) source.codebook = make_codebook(book);
  source.bits = kind.bits;
  source.group_size = shape.group_size;
  source.bytes = codes.data();
  source.row_bytes = shape.columns;
  source.block_weights = source.block_bytes = 32;
  source.codes = BlockNumbers({BitFields{0, 32, 0, 0, 8, 0, 8, {}, {}}});
  if (kind.kind == CodeKind::ternary) source.zero_point = 1.0f;
  source.scale.kind = ParamKind::f16;
  source.scale_array.values = scales.data();
  PackedMatrix matrix(entry, source);
  for (int64_t tile = 0; tile < matrix.tiles(); ++tile) matrix.fill_tile(source, tile);
  return matrix;
}

// A matrix, the prepared activations of some tokens, and their product.
class Product {
 public:
  // prompt: in the arithmetic of prompts' rows.
  Product(const lutmac::TargetEntry& entry, const ProductKind& kind, const ProductShape& shape, bool prompt)
      : kernels_(*entry.kernels), matrix_(random_matrix(entry, kind, shape)), shape_(shape), prompt_(prompt), y_(shape.rows * shape.tokens) {
    stride_ = lutmac::form_stride(matrix_.form(), shape.columns);
    forms_.resize(stride_ * shape.tokens + 64);
    x_ = forms_.data() + (64 - reinterpret_cast<uintptr_t>(forms_.data()) % 64) % 64;
    activations_.resize(shape.columns);
    for (float& value : activations_) value = static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) - 0.5f;
    for (int token = 0; token < shape.tokens; ++token) prepare(token);
  }

  // Makes the form of one token.
  void prepare(int token) {
    const lutmac::Form form = prompt_ ? lutmac::prompt_form(kernels_, matrix_.form()) : matrix_.form();
    kernels_.prepare(form, activations_.data(), shape_.columns, x_ + token * stride_);
  }

  void run() {
    lutmac::MatmulArgs args;
    args.x = x_;
    args.x_stride = stride_;
    args.y = y_.data();
    args.y_stride = matrix_.rows();
    lutmac::multiply(matrix_, args, matrix_.form(), prompt_, {0, matrix_.tiles(), 0, shape_.tokens});
  }

 private:
  const lutmac::Kernels& kernels_;
  lutmac::PackedMatrix matrix_;
  ProductShape shape_;
  bool prompt_;
  std::vector<float> y_, activations_;
  std::vector<uint8_t> forms_;
  uint8_t* x_ = nullptr;
  int64_t stride_ = 0;
};
