#include "runtime/operation.h"

#include "ops/add.h"
#include "runtime/fields.h"
#include "runtime/program.h"

namespace lutmac {
namespace {

// Widest row that is computed on its thread's stack.
constexpr int64_t kStackRow = 65536;

[[gnu::noinline]] void prepare_in_order(const Kernels& kernels, Form form, const std::vector<int32_t>& order, const float* values,
                                       uint8_t* out) {
  alignas(64) float scratch[kStackRow];
  const size_t width = order.size();
  float* ordered = form == Form::plain ? reinterpret_cast<float*>(out) : scratch;
  for (size_t i = 0; i < width; ++i) ordered[i] = values[order[i]];
  if (form != Form::plain) kernels.prepare(form, ordered, static_cast<int64_t>(width), out);
}

}  // namespace

void Operation::take_over(const RowOperation&) {
  throw std::invalid_argument("forms are left to an operation that cannot make them");
}

void Operation::join(Operation&) { throw std::invalid_argument("operations of this kind do not run side by side"); }

RowOperation::RowOperation(Fields& fields)
    : kernels_(fields.target().kernels),
      add_scaled_(fields.loops_of<AddLoops>("add").add_scaled),
      forms_(fields.writes_forms("forms")),
      accumulate_(fields.flag("accumulate")),
      own_(fields.flag("own")) {
  if (fields.has("out")) out_ = fields.writes("out");
  fields.require(out_.offset >= 0 || !forms_.empty(), "it writes nothing");
  const Buffer& first = out_.offset >= 0 ? out_ : forms_.front();
  rows_ = first.rows;
  width_ = first.width;
  for (const Buffer& form : forms_) {
    fields.require(form.rows == rows_ && form.width == width_, "its forms and its result differ in rows or width");
    fields.require(form.order.empty() || width_ <= kStackRow, "a row that is put in order may be at most 65536 wide");
  }
  fields.require(!accumulate_ || out_.offset >= 0, "what it adds onto is missing");
  fields.require((out_.offset >= 0 && !accumulate_) || width_ <= kStackRow, "a fused row may be at most 65536 wide");
  fields.require(!own_ || out_.offset < 0, "a result that is read by others is nobody's own");
}

Buffer RowOperation::input(Fields& fields, const char* name) {
  Buffer found = fields.reads(name);
  fields.require(found.rows == rows_, "what it reads has other rows than what it writes");
  inputs_.push_back(found);
  return found;
}

int64_t RowOperation::tasks(const Step& step, int) const {
  return own_ && row_count(step, rows_) == 1 ? 0 : row_tasks(step, rows_);
}

void RowOperation::run(const Step& step, int, int64_t task) const {
  for_rows(step, rows_, task, [&](int64_t row) { finish_row(step, row, step.arena); });
}

bool RowOperation::writes_form(int64_t offset) const {
  return std::any_of(forms_.begin(), forms_.end(), [&](const Buffer& form) { return form.offset == offset; });
}

bool RowOperation::reads(int64_t begin, int64_t bytes) const {
  return std::any_of(inputs_.begin(), inputs_.end(), [&](const Buffer& input) {
    return begin < input.offset + input.stride() && input.offset < begin + bytes;
  });
}

void RowOperation::finish_row(const Step& step, int64_t row, uint8_t* form_arena) const {
  alignas(64) float scratch[kStackRow];
  float* out = out_.offset >= 0 ? out_.floats(step, row) : scratch;
  const float* made = make_row(step, row, accumulate_ ? scratch : out);
  if (accumulate_) {
    add_scaled_(out, made, 1.0f, static_cast<int>(width_), out);
    made = out;
  }
  write_forms(form_arena, row, row >= generated_row_count(step, rows_), made);
}

void RowOperation::write_forms(uint8_t* arena, int64_t row, bool prompt, const float* values) const {
  for (const Buffer& buffer : forms_) {
    const Form form = prompt ? prompt_form(*kernels_, buffer.form) : buffer.form;
    if (buffer.order.empty()) {
      kernels_->prepare(form, values, width_, buffer.row(arena, row));
    } else {
      prepare_in_order(*kernels_, form, buffer.order, values, buffer.row(arena, row));
    }
  }
}

}  // namespace lutmac
