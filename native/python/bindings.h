// What the binding files share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "runtime/fields.h"

namespace lutmac {

namespace nb = nanobind;

using IntArray = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FloatArray = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IntMatrix = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using FloatMatrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using MutableFloatMatrix = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AnyArray = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

inline void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

// A new [rows, columns] float32 array for NumPy, uninitialised.
nb::ndarray<nb::numpy, float, nb::ndim<2>> new_matrix(int64_t rows, int64_t columns, float*& data);

// An operation's fields as Python has them: Buffer, State, Matrix, arrays, numbers, texts, and lists of the first and third.
FieldMap to_fields(const nb::dict& fields);

void bind_fields(nb::module_& module);
void bind_mapped(nb::module_& module);
void bind_matrix(nb::module_& module);
void bind_matrix_shape(nb::module_& module);
void bind_program(nb::module_& module);
void bind_sampler(nb::module_& module);

}  // namespace lutmac
