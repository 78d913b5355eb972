// Activations, element by element. Each states its error relative to the exact value.
#pragma once

#ifdef LUTMAC_TARGET

#include "ops/softplus.h"
#include "simd.h"

#else

#include "runtime/fields.h"

#endif

namespace lutmac {

enum class ActivationKind { silu, gelu_tanh, gelu, relu_squared, sigmoid, softplus, tanh };

#ifdef LUTMAC_TARGET

namespace LUTMAC_TARGET {

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

// 4e-7.
struct Sigmoid {
  static Floats apply(Floats x) { return 1.0f / (1.0f + exp(-x)); }
};

// 4e-7.
struct Softplus {
  static Floats apply(Floats x) { return softplus(x); }
};

// 3e-7.
struct Tanh {
  static Floats apply(Floats x) { return tanh(x); }
};

// function(Silu{}), or whatever the kind is.
template <typename Function>
inline void with_activation(ActivationKind kind, Function function) {
  switch (kind) {
    case ActivationKind::silu: return function(Silu{});
    case ActivationKind::gelu_tanh: return function(GeluTanh{});
    case ActivationKind::gelu: return function(Gelu{});
    case ActivationKind::relu_squared: return function(ReluSquared{});
    case ActivationKind::sigmoid: return function(Sigmoid{});
    case ActivationKind::softplus: return function(Softplus{});
    case ActivationKind::tanh: return function(Tanh{});
  }
}

}  // namespace LUTMAC_TARGET

#else

inline ActivationKind activation_kind(Fields& fields) {
  using enum ActivationKind;
  return fields.choice<ActivationKind>(
      "kind", {{"silu", silu}, {"gelu_tanh", gelu_tanh}, {"gelu", gelu}, {"relu_squared", relu_squared},
               {"sigmoid", sigmoid}, {"softplus", softplus}, {"tanh", ActivationKind::tanh}});
}

#endif

}  // namespace lutmac
