// Products of matrices with rows: of layers, side by side, and of the head.
#pragma once

#include "runtime/fields.h"
#include "runtime/operation.h"

namespace lutmac {

struct Product {
  MatrixPtr matrix;
  Buffer x;
  Buffer out;  // offset -1: the caller's array of logits
  std::vector<float> bias;
  bool accumulate = false;
  // The row of x that it reads first, how many lie from one to the next, and where in a row of results its own begin.
  int64_t first_row = 0, row_step = 1, first_column = 0;
};

// Their tiles are one list of tasks.
class ProductOperation : public Operation {
 public:
  int64_t tasks(const Step& step, int phase) const override;
  void take_over(const RowOperation& maker) override;
  void begin(const Step& step) const override;
  void run(const Step& step, int phase, int64_t task) const override;

 protected:
  // Reads weight and x.
  static Product read_product(Fields& fields);
  void add_product(Product product);
  // Rows of which each product multiplies one.
  virtual Rows counted() const { return products_.front().x.rows; }
  // How many are multiplied.
  virtual int64_t token_count(const Step& step) const { return row_count(step, counted()); }
  // What becomes of the results of some rows of the matrix.
  virtual void finish(float*, int64_t) const {}

  std::vector<Product> products_;

 private:
  // A product's part of the tasks of one token block.
  struct Share {
    int64_t first_task, task_tiles;
  };

  RowBlocks blocks(const Step& step) const;
  bool own_forms(const Step& step) const { return maker_ && row_count(step, products_.front().x.rows) == 1; }

  std::vector<Share> shares_;  // of each product
  int64_t tasks_per_block_ = 0, block_tokens_ = int64_t{1} << 30;
  const RowOperation* maker_ = nullptr;  // of the forms of all products: for steps of one row they are made in begin()
};

}  // namespace lutmac
