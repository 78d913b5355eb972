// wide.h in plain C++, for tests on processors without VBMI: the same results to the bit. Never a target of its own.
#pragma once

#include <cstring>

#include "kernels/arithmetic.h"
#include "target.h"

namespace lutmac::LUTMAC_TARGET {

struct Wide {
  struct Int {
    alignas(64) uint8_t bytes[64];
    int32_t& at(int lane) { return reinterpret_cast<Dword*>(bytes)[lane].value; }
    int32_t at(int lane) const { return reinterpret_cast<const Dword*>(bytes)[lane].value; }
  };
  struct Float {
    float lanes[16];
  };

  static Int load(const uint8_t* p) {
    Int v;
    std::memcpy(v.bytes, p, 64);
    return v;
  }
  static const uint8_t* again(const uint8_t* p) { return p; }
  static void prefetch(const uint8_t*) {}
  static Int set32(int32_t value) {
    Int v;
    for (int i = 0; i < 16; ++i) v.at(i) = value;
    return v;
  }
  static Int add(Int a, Int b) {
    for (int i = 0; i < 16; ++i) a.at(i) += b.at(i);
    return a;
  }
  static Int times_16(Int v) {
    for (int i = 0; i < 16; ++i) v.at(i) *= 16;
    return v;
  }

  static Int low_indices(Int v) {
    for (int i = 0; i < 64; ++i) v.bytes[i] = static_cast<uint8_t>((v.bytes[i] & 15) | i % 4 * 16);
    return v;
  }
  static Int high_indices(Int v) {
    for (int i = 0; i < 64; ++i) v.bytes[i] = static_cast<uint8_t>(v.bytes[i] >> 4 | i % 4 * 16);
    return v;
  }
  static Int look_up(const Int& tables, Int indices) {
    for (uint8_t& byte : indices.bytes) byte = tables.bytes[byte & 63];
    return indices;
  }

  static Int look_up_128(const Int& low, const Int& high, Int indices) {
    for (uint8_t& byte : indices.bytes) byte = (byte & 64 ? high : low).bytes[byte & 63];
    return indices;
  }
  static Int xor_bytes(Int v, int value) {
    for (uint8_t& byte : v.bytes) byte = static_cast<uint8_t>(byte ^ value);
    return v;
  }
  using Signs = uint64_t;
  static Signs signs(const Int& v) {
    Signs found = 0;
    for (int i = 0; i < 64; ++i) found |= uint64_t{v.bytes[i] >> 7u} << i;
    return found;
  }
  static Int signed_sum(Int a, const Int& b, Signs signs) {
    for (int i = 0; i < 64; ++i) {
      a.bytes[i] = static_cast<uint8_t>(a.bytes[i] + b.bytes[i]);
      if (signs >> i & 1) a.bytes[i] = static_cast<uint8_t>(-a.bytes[i]);
    }
    return a;
  }

  static void add_weighted(Int& sum, const Int& entries, const Int& weights) {
    for (int i = 0; i < 64; ++i) sum.at(i / 4) += entries.bytes[i] * static_cast<int8_t>(weights.bytes[i]);
  }
  static void add_weighted(Int& sum, const Int& first, const Int& second, const Int& weights) {
    add_weighted(sum, first, weights);
    add_weighted(sum, second, weights);
  }

  static void store_weights(const int32_t* multiples, int count, uint32_t* out) {
    for (int i = 0; i < count * 4; ++i) out[i] = static_cast<uint32_t>(multiples[i / 4]) * 0x01010101u << i % 4;
  }

  static Float set_float(float value) {
    Float v;
    for (float& lane : v.lanes) lane = value;
    return v;
  }
  static Float to_float(const Int& v) {
    Float out;
    for (int i = 0; i < 16; ++i) out.lanes[i] = static_cast<float>(v.at(i));
    return out;
  }
  static Float load_float(const float* p) {
    Float v;
    std::memcpy(v.lanes, p, 64);
    return v;
  }
  static void store_float(float* p, const Float& v) { std::memcpy(p, v.lanes, 64); }
  static Float multiply(Float a, const Float& b) {
    for (int i = 0; i < 16; ++i) a.lanes[i] *= b.lanes[i];
    return a;
  }
  // Rounded once, also where that takes a call of the library.
  static Float multiply_add(Float a, const Float& b, const Float& c) {
    for (int i = 0; i < 16; ++i) a.lanes[i] = __builtin_fmaf(a.lanes[i], b.lanes[i], c.lanes[i]);
    return a;
  }
  static Float load_halves(const uint8_t* p) {
    Float v;
    halves_to_floats(reinterpret_cast<const uint16_t*>(p), v.lanes, 16);
    return v;
  }
  static Float load_bytes(const uint8_t* p) {
    Float v;
    for (int i = 0; i < 16; ++i) v.lanes[i] = static_cast<int8_t>(p[i]);
    return v;
  }

 private:
  struct [[gnu::may_alias]] Dword {
    int32_t value;
  };
};

}  // namespace lutmac::LUTMAC_TARGET
