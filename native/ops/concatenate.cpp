// The columns of one row, then those of another.
#include "ops/op.h"


#ifdef LUTMAC_TARGET

namespace lutmac::LUTMAC_TARGET {

LUTMAC_LOOPS(concatenate, NoLoops, {});

}  // namespace lutmac::LUTMAC_TARGET

#else

#include <cstring>

namespace lutmac {
namespace {

class Concatenate final : public RowOperation {
 public:
  explicit Concatenate(Fields& fields) : RowOperation(fields), parts_{input(fields, "a"), input(fields, "b")} {
    if (fields.has("c")) parts_.push_back(input(fields, "c"));
    int64_t total = 0;
    for (const Buffer& part : parts_) total += part.width;
    fields.require(total == width(), "its result is not as wide as its parts");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    float* next = out;
    for (const Buffer& part : parts_) {
      std::memcpy(next, part.floats(step, row), static_cast<size_t>(part.width) * sizeof(float));
      next += part.width;
    }
    return out;
  }

  std::vector<Buffer> parts_;
};

}  // namespace

LUTMAC_OPERATION(concatenate, Concatenate)

}  // namespace lutmac

#endif
