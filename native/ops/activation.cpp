// Activations of gated feed-forward layers. Each states its error relative to the exact value.
#include "ops/activation.h"

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

namespace {

// x * sigmoid(scale * x) as a quotient: no cancellation on either side of 0.
inline Floats times_sigmoid(Floats x, Floats argument) { return x / (1.0f + exp(-argument)); }

// 4e-7.
struct Silu {
  static Floats apply(Floats x) { return times_sigmoid(x, x); }
};

// x / 2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3). 4e-7, and 3e-7 |2u| where x is negative:
// the exponential magnifies the rounding of its argument.
struct GeluTanh {
  static Floats apply(Floats x) {
    constexpr float kTwiceRoot = 1.5957691216f;
    return times_sigmoid(x, kTwiceRoot * x * multiply_add(0.044715f * x, x, broadcast(1.0f)));
  }
};

// x times the normal distribution function, by erfc z = e^(-z^2) P(t), t = 1 / (1 + z / 2), with P fitted to 4.3e-8
// relative for 0 <= z <= 10. 4e-7, and 1.5e-7 x^2 where x is negative.
struct Gelu {
  static Floats apply(Floats x) {
    static constexpr float kP[9] = {0.28208643f, 0.28237531f,  0.24310371f, 0.20268705f, -0.026626151f,
                                    0.27806795f, -0.48720062f, 0.28457534f, -0.059069041f};
    const Floats z = 0.70710678f * select(x < 0.0f, -x, x);
    const Floats t = 1.0f / multiply_add(z, broadcast(0.5f), broadcast(1.0f));
    Floats p = broadcast(kP[8]);
    for (int i = 7; i >= 0; --i) p = multiply_add(p, t, broadcast(kP[i]));
    const Floats tail = 0.5f * exp(-z * z) * p * t;
    return x * select(x < 0.0f, tail, 1.0f - tail);
  }
};

struct ReluSquared {
  static Floats apply(Floats x) {
    const Floats positive = maximum(Floats{}, x);
    return positive * positive;
  }
};

template <typename Kind>
void apply_gated(const float* gate, const float* up, int width, float* out) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) store(out + i, Kind::apply(load(gate + i)) * load(up + i));
  if (i < width) {
    const int rest = width - i;
    store_first(out + i, rest, Kind::apply(load_first(gate + i, rest)) * load_first(up + i, rest));
  }
}

}  // namespace

void gated_activation(Activation kind, const float* gate, const float* up, int width, float* out) {
  switch (kind) {
    case Activation::silu: return apply_gated<Silu>(gate, up, width, out);
    case Activation::gelu_tanh: return apply_gated<GeluTanh>(gate, up, width, out);
    case Activation::gelu: return apply_gated<Gelu>(gate, up, width, out);
    case Activation::relu_squared: return apply_gated<ReluSquared>(gate, up, width, out);
  }
}

}  // namespace lutmac::LUTMAC_TARGET
