#include "runtime/operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "runtime/rows.h"
#include "runtime/tuning.h"

namespace lutmac {
namespace {

[[gnu::noinline]] void prepare_in_order(const Kernels& kernels, const FormBuffer& form, const float* values,
                                        uint8_t* out) {
  alignas(64) float scratch[kStackRow];
  const size_t width = form.order.size();
  float* ordered = form.form == Form::plain ? reinterpret_cast<float*>(out) : scratch;
  for (size_t i = 0; i < width; ++i) ordered[i] = values[form.order[i]];
  if (form.form != Form::plain) kernels.prepare(form.form, ordered, static_cast<int64_t>(width), out);
}

LayerCache layer_cache(const Step& step, int layer, int group) {
  LayerCache cache = step.groups[group];
  cache.base = step.cache->layer(layer);
  cache.page_stride = step.cache->page_stride(group);
  return cache;
}

}  // namespace

Embed::Embed(std::shared_ptr<PackedMatrix> matrix, int64_t out, float scale)
    : matrix_(std::move(matrix)), out_(out), scale_(scale) {}

int64_t Embed::tasks(const Step& step, int) const { return row_tasks(step, Rows::tokens); }

void Embed::run(const Step& step, int, int64_t task) const {
  const int64_t width = matrix_->columns();
  for_rows(step, Rows::tokens, task, [&](int64_t row) {
    float* out = float_row(step, out_, width, row);
    matrix_->unpack_row(step.batch.tokens[row], out);
    if (scale_ != 1.0f) {
      for (int64_t i = 0; i < width; ++i) out[i] *= scale_;
    }
  });
}

int64_t GatherOutputs::tasks(const Step& step, int) const { return row_tasks(step, Rows::outputs); }

void GatherOutputs::run(const Step& step, int, int64_t task) const {
  for_rows(step, Rows::outputs, task, [&](int64_t row) {
    std::memcpy(float_row(step, out_, width_, row), float_row(step, x_, width_, step.batch.output_rows[row]),
                static_cast<size_t>(width_) * 4);
  });
}

int64_t HiddenStates::tasks(const Step& step, int) const { return step.hidden ? row_tasks(step, Rows::outputs) : 0; }

void HiddenStates::run(const Step& step, int, int64_t task) const {
  for_rows(step, Rows::outputs, task, [&](int64_t row) {
    std::memcpy(step.hidden + row * width_, float_row(step, x_, width_, row), static_cast<size_t>(width_) * 4);
  });
}

RowOutput::RowOutput(const Kernels* kernels, int64_t width, int64_t out, std::vector<FormBuffer> forms)
    : kernels_(kernels), width_(width), out_(out), forms_(std::move(forms)) {
  if (out < 0 && width > kStackRow) throw std::invalid_argument("a fused row may be at most 65536 wide");
}

float* RowOutput::row(const Step& step, int64_t row, float* scratch) const {
  return out_ >= 0 ? float_row(step, out_, width_, row) : scratch;
}

void RowOutput::finish(uint8_t* arena, int64_t row, const float* values) const {
  for (const FormBuffer& form : forms_) {
    uint8_t* out = arena + form.offset + row * form_stride(form.form, width_);
    if (form.order.empty()) {
      kernels_->prepare(form.form, values, width_, out);
    } else {
      prepare_in_order(*kernels_, form, values, out);
    }
  }
}

RowOperation::RowOperation(Rows rows, std::vector<int64_t> inputs, RowOutput output)
    : rows_(rows), inputs_(std::move(inputs)), output_(std::move(output)) {}

int64_t RowOperation::tasks(const Step& step, int) const {
  return taken_over_ && row_count(step, rows_) == 1 ? 0 : row_tasks(step, rows_);
}

void RowOperation::run(const Step& step, int, int64_t task) const {
  for_rows(step, rows_, task, [&](int64_t row) { compute(step, row, step.arena); });
}

bool RowOperation::writes_form(int64_t offset) const {
  const std::vector<FormBuffer>& forms = output_.forms();
  return std::any_of(forms.begin(), forms.end(), [&](const FormBuffer& form) { return form.offset == offset; });
}

bool RowOperation::reads(int64_t begin, int64_t bytes) const {
  const int64_t input_bytes = form_stride(Form::plain, output_.width());
  return std::any_of(inputs_.begin(), inputs_.end(),
                     [&](int64_t input) { return begin < input + input_bytes && input < begin + bytes; });
}

Norm::Norm(const TargetEntry& target, Rows rows, int64_t x, std::vector<float> weight, float weight_bias, float eps,
           bool accumulate, RowOutput output)
    : RowOperation(rows, {x}, std::move(output)),
      ops_(target.ops),
      weight_(std::move(weight)),
      weight_bias_(weight_bias),
      eps_(eps),
      accumulate_(accumulate) {}

void Norm::compute(const Step& step, int64_t row, uint8_t* form_arena) const {
  alignas(64) float scratch[kStackRow];
  const int64_t width = output_.width();
  float* out = output_.row(step, row, scratch);
  const float* x = float_row(step, inputs_[0], width, row);
  float* normed = accumulate_ ? scratch : out;
  const int run = static_cast<int>(weight_.size());
  for (int64_t i = 0; i < width; i += run) ops_->rms_norm(x + i, weight_.data(), weight_bias_, eps_, run, normed + i);
  if (accumulate_) ops_->add_scaled(out, normed, 1.0f, static_cast<int>(width), out);
  output_.finish(form_arena, row, out);
}

void Prepare::compute(const Step& step, int64_t row, uint8_t* form_arena) const {
  output_.finish(form_arena, row, float_row(step, inputs_[0], output_.width(), row));
}

GatedActivation::GatedActivation(const TargetEntry& target, Rows rows, Activation kind, int64_t gate, int64_t up,
                                 RowOutput output)
    : RowOperation(rows, {gate, up}, std::move(output)), ops_(target.ops), kind_(kind) {}

void GatedActivation::compute(const Step& step, int64_t row, uint8_t* form_arena) const {
  alignas(64) float scratch[kStackRow];
  const int64_t width = output_.width();
  float* out = output_.row(step, row, scratch);
  const float *gate = float_row(step, inputs_[0], width, row), *up = float_row(step, inputs_[1], width, row);
  ops_->gated_activation(kind_, gate, up, static_cast<int>(width), out);
  output_.finish(form_arena, row, out);
}

Matmul::Matmul(Rows rows, std::vector<Product> products, bool exact, float scale, float softcap)
    : rows_(rows), products_(std::move(products)), exact_(exact), scale_(scale), softcap_(softcap) {
  block_tokens_ = int64_t{1} << 30;
  for (const Product& product : products_) {
    const Form form = exact ? Form::plain : product.matrix->form();
    const int64_t x_stride = form_stride(form, product.matrix->columns());
    const int64_t tiles = product.matrix->tiles(), task_tiles = std::max<int64_t>(1, tiles / tuning().tasks_per_product);
    shares_.push_back({tasks_per_block_, task_tiles, x_stride});
    tasks_per_block_ += (tiles + task_tiles - 1) / task_tiles;
    block_tokens_ = std::min(block_tokens_, tokens_per_task(x_stride));
  }
}

int64_t Matmul::tasks(const Step& step, int) const {
  return (token_count(step) + block_tokens_ - 1) / block_tokens_ * tasks_per_block_;
}

int64_t Matmul::token_count(const Step& step) const {
  return products_.front().to_logits ? step.num_logits_rows : row_count(step, rows_);
}

bool Matmul::reads_form(int64_t offset) const {
  return !exact_ && std::any_of(products_.begin(), products_.end(), [&](const Product& p) { return p.x == offset; });
}

// All forms must come from there, and none may be read again further on. No product may write over what they are made
// of, for a thread may be late in making its own.
void Matmul::follow(Operation& before, std::span<const std::unique_ptr<Operation>> after) {
  auto* rows = dynamic_cast<RowOperation*>(&before);
  if (rows == nullptr || exact_ || rows->rows() != rows_ || !rows->output().only_forms()) return;
  for (const Product& product : products_) {
    if (!rows->writes_form(product.x)) return;
    if (!product.to_logits && rows->reads(product.y, form_stride(Form::plain, product.matrix->rows()))) return;
  }
  for (const FormBuffer& form : rows->output().forms()) {
    for (const auto& later : after) {
      if (later->reads_form(form.offset)) return;
      if (later->writes_form(form.offset)) break;
    }
  }
  rows->take_over();
  taken_over_ = rows;
}

void Matmul::begin(const Step& step) const {
  if (taken_over_ && row_count(step, rows_) == 1) taken_over_->run_own(step);
}

void Matmul::run(const Step& step, int, int64_t task) const {
  // All tiles for one block of tokens, then the next: the block's forms stay in cache.
  const int64_t block = task / tasks_per_block_, in_block = task % tasks_per_block_;
  size_t index = products_.size() - 1;
  while (shares_[index].first_task > in_block) --index;
  const Product& product = products_[index];
  const Share& share = shares_[index];
  const int64_t tile_begin = (in_block - share.first_task) * share.task_tiles;
  const int64_t tile_end = std::min(product.matrix->tiles(), tile_begin + share.task_tiles);
  const int64_t token_begin = block * block_tokens_;
  const int64_t token_end = std::min(token_count(step), token_begin + block_tokens_);
  const int64_t rows = product.matrix->rows();
  MatmulArgs args;
  args.x = (taken_over_ && row_count(step, rows_) == 1 ? step.own_arena : step.arena) + product.x;
  args.x_stride = share.x_stride;
  args.y = product.to_logits ? step.logits : reinterpret_cast<float*>(step.arena + product.y);
  args.y_stride = product.to_logits ? rows : float_stride(rows);
  args.bias = product.bias.empty() ? nullptr : product.bias.data();
  args.accumulate = product.accumulate;
  product.matrix->matmul(args, exact_, tile_begin, tile_end, token_begin, token_end);
  if (scale_ == 1.0f && softcap_ == 0.0f) return;
  const int64_t tile_rows = product.matrix->target().kernels->tile_rows;
  for (int64_t token = token_begin; token < token_end; ++token) {
    float* y = args.y + token * args.y_stride;
    for (int64_t row = tile_begin * tile_rows; row < std::min(rows, tile_end * tile_rows); ++row) {
      y[row] *= scale_;
      if (softcap_ != 0.0f) y[row] = softcap_ * std::tanh(y[row] / softcap_);
    }
  }
}

RopeAngles::RopeAngles(const TargetEntry& target, RopeArgs rope, std::vector<float> inverse_frequency, int max_tokens)
    : ops_(target.ops),
      rope_(rope),
      inverse_frequency_(std::move(inverse_frequency)),
      table_(std::make_unique<Mapping>(static_cast<size_t>(max_tokens) * rope.rotary_dim * sizeof(float), false)) {
  rope_.inverse_frequency = inverse_frequency_.data();
}

void RopeAngles::run(const Step& step, int, int64_t task) const {
  float* table = reinterpret_cast<float*>(table_->data());
  ops_->rope_angles(step.batch, rope_, static_cast<int>(task), table + task * rope_.rotary_dim);
}

bool RopeAngles::serves(const RopeArgs& rope, const std::vector<float>& inverse_frequency) const {
  return rope_.rotary_dim == rope.rotary_dim && rope_.attention_factor == rope.attention_factor &&
         inverse_frequency_ == inverse_frequency;
}

RopeStore::RopeStore(const TargetEntry& target, RopeStoreArgs args, int layer, int group, int64_t q, int64_t k,
                     int64_t v)
    : ops_(target.ops), args_(args), layer_(layer), group_(group), q_(q), k_(k), v_(v) {
  args_.q_stride = float_stride(int64_t{args.num_heads} * args.head_dim);
  args_.k_stride = args_.v_stride = float_stride(int64_t{args.num_kv_heads} * args.head_dim);
}

RopeStoreArgs RopeStore::args_for(const Step& step) const {
  RopeStoreArgs args = args_;
  args.batch = &step.batch;
  args.q = reinterpret_cast<float*>(step.arena + q_);
  args.k = reinterpret_cast<const float*>(step.arena + k_);
  args.v = reinterpret_cast<const float*>(step.arena + v_);
  args.cache = layer_cache(step, layer_, group_);
  return args;
}

int64_t RopeStore::tasks(const Step& step, int) const { return ops_->rope_store_tasks(args_for(step)); }

void RopeStore::run(const Step& step, int, int64_t task) const {
  ops_->rope_store(args_for(step), static_cast<int>(task));
}

Attention::Attention(const TargetEntry& target, AttentionArgs args, int layer, int group, int64_t q, int64_t out)
    : ops_(target.ops), args_(args), layer_(layer), group_(group), q_(q), out_(out) {
  args_.q_stride = args_.out_stride = float_stride(int64_t{args.num_heads} * args.head_dim);
}

AttentionArgs Attention::args_for(const Step& step) const {
  AttentionArgs args = args_;
  args.batch = &step.batch;
  args.q = reinterpret_cast<const float*>(step.arena + q_);
  args.out = reinterpret_cast<float*>(step.arena + out_);
  args.cache = layer_cache(step, layer_, group_);
  args.scratch = step.scratch;
  args.scratch_bytes = step.scratch_bytes;
  return args;
}

int64_t Attention::tasks(const Step& step, int phase) const {
  const AttentionArgs args = args_for(step);
  return phase == 0 ? ops_->attention_tasks(args) : ops_->attention_combine_tasks(args);
}

void Attention::run(const Step& step, int phase, int64_t task) const {
  const AttentionArgs args = args_for(step);
  if (phase == 0) {
    ops_->attention(args, static_cast<int>(task));
  } else {
    ops_->attention_combine(args, static_cast<int>(task));
  }
}

}  // namespace lutmac
