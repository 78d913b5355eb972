#include "runtime/product.h"

#include "runtime/tuning.h"

namespace lutmac {

Product ProductOperation::read_product(Fields& fields) {
  Product product;
  product.matrix = fields.matrix("weight");
  product.x = fields.reads_form("x");
  fields.require(product.x.width == product.matrix->columns(), "its matrix has another number of columns");
  fields.require(product.matrix->reads(product.x.form), "its matrix does not read that form");
  return product;
}

void ProductOperation::add_product(Product product) {
  const int64_t tiles = product.matrix->tiles(), task_tiles = std::max<int64_t>(1, tiles / tuning().tasks_per_product);
  shares_.push_back({tasks_per_block_, task_tiles});
  tasks_per_block_ += (tiles + task_tiles - 1) / task_tiles;
  block_tokens_ = std::min(block_tokens_, tokens_per_task(product.x.stride()));
  products_.push_back(std::move(product));
}

RowBlocks ProductOperation::blocks(const Step& step) const {
  const int64_t rows = token_count(step), generated = std::min(rows, generated_row_count(step, counted()));
  return {generated, rows, generated_block(generated, block_tokens_, tasks_per_block_, step.threads),
          prompt_block(rows - generated, tasks_per_block_, step.threads)};
}

int64_t ProductOperation::tasks(const Step& step, int) const { return blocks(step).count() * tasks_per_block_; }

// No product may write over what the forms are made of, for a thread may be late in making its own.
void ProductOperation::take_over(const RowOperation& maker) {
  for (const Product& product : products_) {
    if (maker.rows() != product.x.rows || !maker.writes_form(product.x.offset)) Operation::take_over(maker);
    if (product.out.offset >= 0 && maker.reads(product.out.offset, product.out.stride())) Operation::take_over(maker);
  }
  maker_ = &maker;
}

void ProductOperation::begin(const Step& step) const {
  if (own_forms(step)) maker_->run_own(step);
}

void ProductOperation::run(const Step& step, int, int64_t task) const {
  // All tiles for one token block, then the next.
  const int64_t block = task / tasks_per_block_, in_block = task % tasks_per_block_;
  size_t index = products_.size() - 1;
  while (shares_[index].first_task > in_block) --index;
  const Product& product = products_[index];
  const Share& share = shares_[index];
  const int64_t tile_begin = (in_block - share.first_task) * share.task_tiles;
  const int64_t tile_end = std::min(product.matrix->tiles(), tile_begin + share.task_tiles);
  const auto [token_begin, token_end, prompt] = blocks(step).range(block);
  const int64_t rows = product.matrix->rows();
  const bool to_caller = product.out.offset < 0;
  MatmulArgs args;
  args.x = product.x.row(own_forms(step) ? step.own_arena : step.arena, product.first_row);
  args.x_stride = product.x.stride() * product.row_step;
  args.y = to_caller ? step.logits : product.out.floats(step, 0) + product.first_column;
  args.y_stride = to_caller ? rows : float_stride(product.out.width);
  args.bias = product.bias.empty() ? nullptr : product.bias.data();
  args.accumulate = product.accumulate;
  multiply(*product.matrix, args, product.x.form, prompt, {tile_begin, tile_end, token_begin, token_end});
  const int64_t tile_rows = product.matrix->tile_rows();
  const int64_t row_begin = tile_begin * tile_rows, row_end = std::min(rows, tile_end * tile_rows);
  for (int64_t token = token_begin; token < token_end; ++token) {
    finish(args.y + token * args.y_stride + row_begin, row_end - row_begin);
  }
}

}  // namespace lutmac
