// The signed, blockwise Walsh-Hadamard transform, in natural order, its blocks scaled to keep their length.
#include "ops/op.h"

namespace lutmac {

struct HadamardLoops {
  // One row of `width` floats, a multiple of `block`, which is a power of two of at least 32. signs: [width], or null.
  // out = H (signs * x), inverse: signs * (H x), H the transform of each block. out may be x.
  void (*hadamard)(const float* x, const float* signs, bool inverse, int width, int block, float* out);
};

}  // namespace lutmac

#ifdef LUTMAC_TARGET

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

// The stages within a vector, the nearest lanes first.
template <int kStride = 1>
inline Floats turn_lanes(Floats v) {
  if constexpr (kStride < kLanes) {
    const Bits minus = (Bits)((Lanes::kIndex & kStride) != 0) & 0x80000000u;
    return turn_lanes<2 * kStride>(Lanes::swap<kStride>(v) + (Floats)((Bits)v ^ minus));
  } else {
    return v;
  }
}

// Two stages over four vectors: the pairs of neighbours first.
inline void turn_four(Floats v[4]) {
  const Floats a = v[0] + v[1], b = v[0] - v[1], c = v[2] + v[3], d = v[2] - v[3];
  v[0] = a + c;
  v[1] = b + d;
  v[2] = a - c;
  v[3] = b - d;
}

// The stages from `stride` on (at least kLanes), two at a time while there are two. Stages go by growing stride on every
// target, so that all have the same bits.
void turn_far(float* block, int size, int stride) {
  for (; 4 * stride <= size; stride *= 4)
    for (int base = 0; base < size; base += 4 * stride)
      for (int i = base; i < base + stride; i += kLanes) {
        Floats v[4];
        for (int part = 0; part < 4; ++part) v[part] = load(block + i + part * stride);
        turn_four(v);
        for (int part = 0; part < 4; ++part) store(block + i + part * stride, v[part]);
      }
  if (stride == size) return;
  for (int i = 0; i < stride; i += kLanes) {
    const Floats a = load(block + i), b = load(block + i + stride);
    store(block + i, a + b);
    store(block + i + stride, a - b);
  }
}

void hadamard(const float* x, const float* signs, bool inverse, int width, int block, float* out) {
  const Floats scale = broadcast(1.0f / __builtin_sqrtf(static_cast<float>(block)));
  const float* before = inverse ? nullptr : signs;
  const auto turned = [&](int i) {
    const Floats v = before != nullptr ? load(x + i) * load(before + i) : load(x + i);
    return turn_lanes(v * scale);
  };
  for (int begin = 0; begin < width; begin += block) {
    if (block >= 4 * kLanes) {
      for (int i = begin; i < begin + block; i += 4 * kLanes) {
        Floats v[4];
        for (int part = 0; part < 4; ++part) v[part] = turned(i + part * kLanes);
        turn_four(v);
        for (int part = 0; part < 4; ++part) store(out + i + part * kLanes, v[part]);
      }
      turn_far(out + begin, block, 4 * kLanes);
    } else {
      for (int i = begin; i < begin + block; i += kLanes) store(out + i, turned(i));
      turn_far(out + begin, block, kLanes);
    }
  }
  if (!inverse || signs == nullptr) return;
  for (int i = 0; i < width; i += kLanes) store(out + i, load(out + i) * load(signs + i));
}

}  // namespace

LUTMAC_LOOPS(hadamard, HadamardLoops, {hadamard});

}  // namespace lutmac::LUTMAC_TARGET

#else

namespace lutmac {
namespace {

class Hadamard final : public RowOperation {
 public:
  explicit Hadamard(Fields& fields)
      : RowOperation(fields),
        loops_(fields.loops<HadamardLoops>()),
        x_(input(fields, "x")),
        block_(fields.integer("block_size", 32, 1 << 16)),
        inverse_(fields.flag("inverse")) {
    if (fields.has("signs")) signs_ = fields.vector("signs", width());
    fields.require(x_.width == width(), "its rows differ in width");
    fields.require((block_ & (block_ - 1)) == 0 && width() % block_ == 0, "its rows are not blocks of a power of two");
  }

 private:
  const float* make_row(const Step& step, int64_t row, float* out) const override {
    const float* signs = signs_.empty() ? nullptr : signs_.data();
    loops_.hadamard(x_.floats(step, row), signs, inverse_, static_cast<int>(width()), block_, out);
    return out;
  }

  const HadamardLoops& loops_;
  Buffer x_;
  std::vector<float> signs_;
  int block_;
  bool inverse_;
};

}  // namespace

LUTMAC_OPERATION(hadamard, Hadamard)

}  // namespace lutmac

#endif
