// A matrix in the packing of one ISA target, and the way there from a checkpoint's bytes.
#pragma once

#include <memory>
#include <vector>

#include "kernels/lut.h"
#include "runtime/low_bit_source.h"
#include "runtime/memory.h"
#include "runtime/targets.h"

namespace lutmac {

struct DenseSource : DenseShape {
  const void* data = nullptr;  // [rows, columns]
};

// Random codes, affine or ternary, under f16 scales, for benchmarks. The zero point is the mean code.
struct RandomSource : LowBitShape {
  RandomSource(int64_t rows, int64_t columns, CodeKind kind, int bits, int64_t group_size, int scale_exponent, uint64_t seed);
  int scale_exponent;  // scales are f16 from 2^this to twice that
  uint64_t seed;
};

struct Span {
  const uint8_t* data = nullptr;
  int64_t bytes = 0;
};

// Memory that holds a matrix in a target's packing already, such as a mapped file: its parts in the order in which they
// are taken (codes or floats, scale, its super-scale, offset, its super-scale), less those that it does not have.
struct PackedBytes {
  std::vector<Span> parts;
  std::shared_ptr<const void> owner;  // keeps them; null: the matrix gets memory of its own
};

// Tiles and tokens of a product.
struct ProductPart {
  int64_t tile_begin, tile_end, token_begin, token_end;
};

class PackedMatrix {
 public:
  // Allocates the memory. The caller then calls fill_tile for every tile, with the same source.
  // Throw std::invalid_argument where the description contradicts itself.
  PackedMatrix(const TargetEntry& target, const LowBitSource& source);
  PackedMatrix(const TargetEntry& target, const DenseSource& source);
  PackedMatrix(const TargetEntry& target, const RandomSource& source);
  // Over packed bytes it is complete. Throw std::invalid_argument also where the bytes do not fit the shape.
  PackedMatrix(const TargetEntry& target, const LowBitShape& shape, PackedBytes packed);
  PackedMatrix(const TargetEntry& target, const DenseShape& shape, PackedBytes packed);
  // Streamed: rows stay where the source has them, and unpack_row reads them from there. For what is looked up and never
  // multiplied: there are no bytes for a product. owner: keeps what the source points to.
  PackedMatrix(const TargetEntry& target, const LowBitSource& source, std::shared_ptr<const void> owner);
  PackedMatrix(const TargetEntry& target, const DenseSource& source, std::shared_ptr<const void> owner);
  void fill_tile(const LowBitSource& source, int64_t tile) const;
  void fill_tile(const DenseSource& source, int64_t tile) const;
  void fill_tile(const RandomSource& source, int64_t tile) const;

  const TargetEntry& target() const { return *target_; }
  bool is_dense() const { return dense_.data != nullptr; }
  const LowBit& lowbit() const { return lowbit_; }
  const Dense& dense() const { return dense_; }
  int64_t rows() const { return is_dense() ? dense_.rows : lowbit_.rows; }
  int64_t columns() const { return is_dense() ? dense_.columns : lowbit_.columns; }
  int tile_rows() const { return target_->kernels->packing.tile_rows; }
  int64_t tiles() const { return (rows() + tile_rows() - 1) / tile_rows(); }
  bool streamed() const { return owner_ != nullptr; }
  // In memory: of a streamed matrix 0.
  int64_t bytes() const { return bytes_; }
  // What PackedBytes takes to make the same matrix; each a multiple of 64 bytes.
  const std::vector<Span>& parts() const { return parts_; }
  // The form that the default product takes; where the row's arithmetic depends on its role, that of generated tokens.
  Form form() const;
  // That of the fastest product, which may round what the default one does not: floats to bf16.
  Form rounded_form() const;
  // Whether there is a product on activations in this form.
  bool reads(Form form) const { return form == Form::plain || form == this->form() || form == rounded_form(); }

  void unpack_row(int64_t row, float* out) const;
  void matmul(const MatmulArgs& args, bool exact, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
              int64_t token_end) const;
  // Of a dense matrix, on the form bf16.
  void matmul_bfloat16(const MatmulArgs& args, const ProductPart& part) const;
  // The default product of a prompt's rows, on the form that prompt_form names for form().
  void matmul_prompt(const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin, int64_t token_end) const;

 private:
  const TargetEntry* target_ = nullptr;
  LowBit lowbit_;
  Dense dense_;
  std::vector<Allocation> allocations_;
  std::vector<Span> parts_;
  PackedBytes given_;
  std::shared_ptr<const void> owner_;  // of a streamed matrix, which has one of these
  std::unique_ptr<const LowBitSource> low_bit_rows_;
  std::unique_ptr<const DenseSource> dense_rows_;
  int64_t bytes_ = 0;

  uint8_t* take(int64_t bytes);
  void fill_codes(const LowBitSource& source, int64_t tile) const;
  void fill_param(const LowBitSource& source, const ParamShape& shape, const ParamArray& array, int64_t tile,
                  const PackedParam& packed) const;
};

// What a prompt's row holds in a buffer of this form: on targets that compute prompts' rows in another arithmetic another one.
inline Form prompt_form(const Kernels& kernels, Form form) {
  return kernels.matmul_prompt != nullptr && form != Form::plain ? Form::bf16 : form;
}

// Of rows that lie in a buffer of this form, in exact mode plain. prompt: of a prompt, else of generated tokens.
void multiply(const PackedMatrix& matrix, const MatmulArgs& args, Form form, bool prompt, const ProductPart& part);

// Tokens whose forms are worth keeping in cache while the tiles of a matrix pass by.
int64_t tokens_per_task(int64_t x_stride);

// How many generated rows are a block, of which each makes so many tasks: `most`, or fewer where threads would wait for each other,
// since the tasks do not divide among them.
int64_t generated_block(int64_t rows, int64_t most, int64_t tasks_per_block, int threads);

// How many of a prompt's rows are a block, of which each makes so many tasks: as many as share unpacking, or fewer where threads
// would be without work.
int64_t prompt_block(int64_t rows, int64_t tasks_per_block, int threads);

}  // namespace lutmac
