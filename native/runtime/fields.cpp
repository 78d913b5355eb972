#include "runtime/fields.h"

#include <cmath>

#include "runtime/operation_list.h"
#include "runtime/program.h"

namespace lutmac {
namespace {

// Far above any model's, and with the limits of a program still no overflow in a product of 64 bits.
constexpr int64_t kWidest = int64_t{1} << 24;
constexpr int kMostPerToken = 1024;

}  // namespace

Fields::Fields(Program& program, const std::string& operation, FieldMap given)
    : program_(program), operation_(operation), given_(std::move(given)) {}

const TargetEntry& Fields::target() const { return program_.target(); }

void Fields::fail(const std::string& message) const { throw std::invalid_argument(operation_ + ": " + message); }

const void* Fields::find_loops(const std::string& operation) const {
  return *program_.target().loops[operation_number(operation)];
}

Buffer Fields::checked(Buffer buffer, const char* name) const {
  const std::string which(name);
  if (buffer.width < 1 || buffer.width > kWidest) fail(which + " has no width that a row can have");
  if (buffer.form != Form::plain && buffer.width % kTableGroup != 0) {
    fail(which + " is in a form, whose width must be a multiple of 32");
  }
  if (buffer.rows.per_token < 1 || buffer.rows.per_token > kMostPerToken) {
    fail(which + " must have 1 to 1024 rows per token");
  }
  const int64_t bytes = buffer.stride() * program_.max_tokens() * buffer.rows.per_token;
  if (buffer.offset < 0 || buffer.offset % 64 != 0 || buffer.offset > program_.arena_bytes() - bytes) {
    fail(which + " lies outside the arena or is not aligned to 64 bytes");
  }
  if (!buffer.order.empty() && static_cast<int64_t>(buffer.order.size()) != buffer.width) {
    fail(which + " has an order that is not one of its width");
  }
  for (const int32_t from : buffer.order) {
    if (from < 0 || from >= buffer.width) fail(which + " has an order that names an element outside of its row");
  }
  return buffer;
}

Buffer Fields::reads_form(const char* name) {
  Buffer buffer = checked(get<Buffer>(name, "a buffer"), name);
  forms_read_.insert(buffer.offset);
  return buffer;
}

Buffer Fields::writes_form(const char* name) {
  Buffer buffer = checked(get<Buffer>(name, "a buffer"), name);
  forms_written_.insert(buffer.offset);
  return buffer;
}

Buffer Fields::reads(const char* name) {
  Buffer buffer = reads_form(name);
  require(buffer.form == Form::plain && buffer.order.empty(), "what it reads must be plain floats");
  return buffer;
}

Buffer Fields::writes(const char* name) {
  Buffer buffer = writes_form(name);
  require(buffer.form == Form::plain && buffer.order.empty(), "what it writes must be plain floats");
  return buffer;
}

std::vector<Buffer> Fields::writes_forms(const char* name) {
  if (!has(name)) return {};
  std::vector<Buffer> found = get<std::vector<Buffer>>(name, "a list of buffers");
  for (Buffer& buffer : found) {
    buffer = checked(buffer, name);
    forms_written_.insert(buffer.offset);
  }
  return found;
}

bool Fields::flag(const char* name) { return has(name) && get<bool>(name, "true or false"); }

int Fields::integer(const char* name, int low, int high) {
  const int64_t value = get<int64_t>(name, "an integer");
  if (value < low || value > high) {
    fail(std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
         std::to_string(high));
  }
  return static_cast<int>(value);
}

std::vector<int64_t> Fields::integers(const char* name, int low, int high) {
  const auto& found = get<std::vector<int64_t>>(name, "a list of integers");
  require(!found.empty(), "it has no integers");
  for (const int64_t value : found) {
    if (value < low || value > high) {
      fail(std::string(name) + " has " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
           std::to_string(high));
    }
  }
  return found;
}

float Fields::number(const char* name) {
  const float value = static_cast<float>(get<double>(name, "a number"));
  if (!std::isfinite(value)) fail(std::string(name) + " is not finite");
  return value;
}

void Fields::check_matrix(const MatrixPtr& matrix, const char* name) const {
  if (!matrix) fail(std::string(name) + " is missing");
  if (&matrix->target() != &program_.target()) fail(std::string(name) + " is packed for another ISA target");
}

MatrixPtr Fields::table(const char* name) {
  MatrixPtr found = get<MatrixPtr>(name, "a matrix");
  check_matrix(found, name);
  return found;
}

MatrixPtr Fields::matrix(const char* name) {
  MatrixPtr found = table(name);
  require(!found->streamed(), "its matrix is not in memory");
  return found;
}

std::vector<MatrixPtr> Fields::matrices(const char* name) {
  std::vector<MatrixPtr> found = get<std::vector<MatrixPtr>>(name, "a list of matrices");
  require(!found.empty(), "it has no matrices");
  for (const MatrixPtr& matrix : found) {
    check_matrix(matrix, name);
    require(!matrix->streamed(), "one of its matrices is not in memory");
  }
  return found;
}

std::vector<float> Fields::vector(const char* name) { return get<std::vector<float>>(name, "a vector"); }

std::vector<float> Fields::vector(const char* name, int64_t width) {
  std::vector<float> found = vector(name);
  if (static_cast<int64_t>(found.size()) != width) {
    fail(std::string(name) + " has " + std::to_string(found.size()) + " values, expected " + std::to_string(width));
  }
  return found;
}

std::pair<std::vector<float>, int64_t> Fields::vectors(const char* name) {
  std::vector<float> joined;
  const auto& found = get<std::vector<std::vector<float>>>(name, "a list of vectors");
  require(!found.empty() && !found.front().empty(), "it has no vectors");
  for (const std::vector<float>& vector : found) {
    require(vector.size() == found.front().size(), "its vectors differ in width");
    joined.insert(joined.end(), vector.begin(), vector.end());
  }
  return {std::move(joined), static_cast<int64_t>(found.size())};
}

const ProgramState& Fields::state(const char* name) {
  const StateIndex state = get<StateIndex>(name, "a state");
  if (state.index < 0 || state.index >= static_cast<int>(program_.states().size())) fail("no such state");
  return program_.states()[state.index];
}

const ProgramState& Fields::pages(const char* name) {
  const ProgramState& found = state(name);
  require(!found.slot, "its state is a slot, not pages");
  return found;
}

const ProgramState& Fields::slot(const char* name, int64_t bytes) {
  const ProgramState& found = state(name);
  require(found.slot && found.bytes == bytes, "its state is not a slot of that size");
  return found;
}

void Fields::finish() const {
  for (const auto& [name, value] : given_) {
    if (read_.count(name) == 0) fail("it has no field " + name);
  }
}

}  // namespace lutmac
