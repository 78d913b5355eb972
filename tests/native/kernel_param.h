// A scale or offset of a random low-bit matrix: the bytes of one of the kinds in memory, and the values that they stand for.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "runtime/packed_matrix.h"

inline double half_value(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

// A scale or offset in one of the kinds in memory, and the values [rows, groups] that it stands for.
class KernelParam {
 public:
  KernelParam(TestRandom& random, lutmac::ParamKind kind, int64_t rows, int64_t groups, bool with_sign)
      : kind_(kind), values_(static_cast<size_t>(rows * groups)) {
    using lutmac::ParamKind;
    if (kind == ParamKind::none) return;
    if (kind == ParamKind::f16) {
      for (double& value : values_) value = half_value(add_half(random, half_, with_sign));
    } else if (kind == ParamKind::f32) {
      for (double& value : values_) value = add_float(random, single_, with_sign);
    } else if (kind == ParamKind::bf16) {
      for (double& value : values_) value = add_bfloat(random, half_, with_sign);
    } else if (kind == ParamKind::e8m0 || kind == ParamKind::e4m3) {
      for (double& value : values_) value = add_byte(random, small_, kind, with_sign);
    } else {
      const int64_t supers = (groups + kGroupsPerSuper - 1) / kGroupsPerSuper;
      for (int64_t at = 0; at < rows * groups; ++at) {
        if (at % groups % kGroupsPerSuper == 0) {
          super_ = kind == ParamKind::two_level_f16 ? half_value(add_half(random, half_, false))
                                                    : add_float(random, single_, false);
        }
        small_.push_back(static_cast<int8_t>(with_sign ? random.below(255) - 127 : random.below(128)));
        values_[at] = small_.back() * super_;
      }
      check(static_cast<int64_t>(half_.size() + single_.size()) == rows * supers, "a super-scale per super group");
    }
  }

  double value(int64_t at) const { return values_[at]; }
  lutmac::ParamShape shape() const { return {kind_, kGroupsPerSuper}; }
  lutmac::ParamArray array() const {
    if (kind_ == lutmac::ParamKind::none) return {};
    const void* large = half_.empty() ? static_cast<const void*>(single_.data()) : half_.data();
    if (small_.empty()) return {nullptr, large, nullptr};
    const bool two_levels = lutmac::format_of(kind_).super != lutmac::ParamKind::none;
    return {nullptr, small_.data(), two_levels ? large : nullptr};
  }

 private:
  static constexpr int kGroupsPerSuper = 8;

  // 2^-9 to 2^-1, so that all kinds meet the same activations at the same size. Each draw is a statement of its own: the order
  // of two draws in one expression is the compiler's.
  static uint16_t add_half(TestRandom& random, std::vector<uint16_t>& to, bool with_sign) {
    const int sign = with_sign ? random.below(2) << 15 : 0, exponent = 6 + random.below(8), mantissa = random.below(1024);
    to.push_back(static_cast<uint16_t>(sign | exponent << 10 | mantissa));
    return to.back();
  }
  static float add_float(TestRandom& random, std::vector<float>& to, bool with_sign) {
    const int exponent = -random.below(8) - 2;
    const float value = std::ldexp(1.5f + 0.5f * random.signed_unit(), exponent);
    to.push_back(with_sign && random.below(2) ? -value : value);
    return to.back();
  }

  static float add_bfloat(TestRandom& random, std::vector<uint16_t>& to, bool with_sign) {
    const int sign = with_sign ? random.below(2) << 15 : 0, exponent = 118 + random.below(8), mantissa = random.below(128);
    to.push_back(static_cast<uint16_t>(sign | exponent << 7 | mantissa));
    const uint32_t bits = uint32_t{to.back()} << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  // e4m3 below 2^-6 is subnormal: it reaches down to 2^-9. e8m0 has no sign.
  static double add_byte(TestRandom& random, std::vector<int8_t>& to, lutmac::ParamKind kind, bool with_sign) {
    if (kind == lutmac::ParamKind::e8m0) {
      const int exponent = random.below(8) - 9;
      to.push_back(static_cast<int8_t>(exponent + 127));
      return std::ldexp(1.0, exponent);
    }
    const int sign = with_sign ? random.below(2) : 0, exponent = random.below(7), mantissa = random.below(8);
    to.push_back(static_cast<int8_t>(sign << 7 | exponent << 3 | mantissa));
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    return sign ? -magnitude : magnitude;
  }

  lutmac::ParamKind kind_;
  std::vector<double> values_;
  std::vector<uint16_t> half_;
  std::vector<float> single_;
  std::vector<int8_t> small_;
  double super_ = 0.0;
};
