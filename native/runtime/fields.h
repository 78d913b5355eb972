// What an operation is made of: its fields by name, checked as they are read.
//
// An operation's constructor reads each of its fields once; finish() finds those that it has not read. Everything that could
// make a step read or write outside of its memory is checked here, for callers in C++ and in Python: buffers are aligned and
// lie in the arena for any number of rows; matrices are packed for the program's target; states exist.
#pragma once

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "runtime/operation.h"
#include "runtime/packed_matrix.h"
#include "runtime/targets.h"

namespace lutmac {

class Program;
struct ProgramState;

using MatrixPtr = std::shared_ptr<PackedMatrix>;

// A state of the program, by its number.
struct StateIndex {
  int index = -1;
};

using Field = std::variant<bool, int64_t, double, std::string, Buffer, StateIndex, MatrixPtr, std::vector<float>,
                           std::vector<int64_t>, std::vector<Buffer>, std::vector<MatrixPtr>, std::vector<std::vector<float>>>;
using FieldMap = std::map<std::string, Field>;

class Fields {
 public:
  Fields(Program& program, const std::string& operation, FieldMap given);

  Program& program() { return program_; }
  const TargetEntry& target() const;
  // The loops of an operation as they are compiled for the program's target: of this one, or of another by name.
  template <typename Loops>
  const Loops& loops() const {
    return *static_cast<const Loops*>(find_loops(operation_));
  }
  template <typename Loops>
  const Loops& loops_of(const char* operation) const {
    return *static_cast<const Loops*>(find_loops(operation));
  }

  bool has(const char* name) const { return given_.count(name) > 0; }
  // A buffer of plain floats that the operation reads, or writes.
  Buffer reads(const char* name);
  Buffer writes(const char* name);
  // A buffer in whatever form.
  Buffer reads_form(const char* name);
  Buffer writes_form(const char* name);
  std::vector<Buffer> writes_forms(const char* name);  // none where the field is missing

  bool flag(const char* name);  // false where it is missing
  int integer(const char* name, int low, int high);
  std::vector<int64_t> integers(const char* name, int low, int high);  // not empty
  float number(const char* name);
  template <typename Enum>
  Enum choice(const char* name, std::initializer_list<std::pair<const char*, Enum>> choices) {
    const std::string& found = get<std::string>(name, "a text");
    for (const auto& [text, value] : choices) {
      if (found == text) return value;
    }
    fail(std::string(name) + " is '" + found + "', which is none of its kinds");
  }
  MatrixPtr matrix(const char* name);
  MatrixPtr table(const char* name);  // a matrix whose rows are looked up and which is not multiplied: it may be streamed
  std::vector<MatrixPtr> matrices(const char* name);
  std::vector<float> vector(const char* name);
  std::vector<float> vector(const char* name, int64_t width);
  // Vectors of equal widths, not empty, one behind the other; and how many they are.
  std::pair<std::vector<float>, int64_t> vectors(const char* name);
  // Of pages, or a slot of so many bytes.
  const ProgramState& pages(const char* name);
  const ProgramState& slot(const char* name, int64_t bytes);

  void require(bool condition, const char* message) const {
    if (!condition) fail(message);
  }
  // Throws std::invalid_argument for a field that was not read.
  void finish() const;
  // Offsets of buffers that were read and written, as far as they are in a form.
  const std::set<int64_t>& forms_read() const { return forms_read_; }
  const std::set<int64_t>& forms_written() const { return forms_written_; }

 private:
  [[noreturn]] void fail(const std::string& message) const;
  const void* find_loops(const std::string& operation) const;
  const ProgramState& state(const char* name);
  Buffer checked(Buffer buffer, const char* name) const;
  void check_matrix(const MatrixPtr& matrix, const char* name) const;

  template <typename T>
  const T& get(const char* name, const char* what) {
    const auto found = given_.find(name);
    if (found == given_.end()) fail(std::string(name) + " is missing");
    const T* value = std::get_if<T>(&found->second);
    if (value == nullptr) fail(std::string(name) + " is not " + what);
    read_.insert(name);
    return *value;
  }

  Program& program_;
  std::string operation_;
  FieldMap given_;
  std::set<std::string> read_;
  std::set<int64_t> forms_read_, forms_written_;
};

}  // namespace lutmac
