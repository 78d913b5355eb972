// Activations to forms, in vectors.
#pragma once

#include <arm_neon.h>

#include "kernels/prepare.h"

namespace lutmac::neon {

struct VectorTables {
  static float sum16(const float* x) {
    return vaddvq_f32(vaddq_f32(vaddq_f32(vld1q_f32(x), vld1q_f32(x + 4)), vaddq_f32(vld1q_f32(x + 8), vld1q_f32(x + 12))));
  }

  static float largest_entry(const float* x) {
    float32x4_t largest = vdupq_n_f32(0.0f);
    for (int i = 0; i < 32; i += 16) {
      // Each lane the sum of 4 neighbours.
      const float32x4_t a = vpaddq_f32(vabsq_f32(vld1q_f32(x + i)), vabsq_f32(vld1q_f32(x + i + 4)));
      const float32x4_t b = vpaddq_f32(vabsq_f32(vld1q_f32(x + i + 8)), vabsq_f32(vld1q_f32(x + i + 12)));
      largest = vmaxq_f32(largest, vpaddq_f32(a, b));
    }
    return vmaxvq_f32(largest);
  }

  static void store_table(const float* x, float inverse, uint8_t* table) {
    const float32x4_t scaled = vmulq_n_f32(vld1q_f32(x), inverse);
    float32x4_t pairs = vfmaq_laneq_f32(vdupq_n_f32(128.0f), vld1q_f32(kSigns[0]), scaled, 0);
    pairs = vfmaq_laneq_f32(pairs, vld1q_f32(kSigns[1]), scaled, 1);
    uint16x4_t entries[4];
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      const float32x4_t sum = vfmaq_laneq_f32(pairs, vld1q_f32(kSigns[2] + 4 * e), scaled, 2);
      entries[e] = vmovn_u32(vcvtnq_u32_f32(vfmaq_laneq_f32(sum, vld1q_f32(kSigns[3] + 4 * e), scaled, 3)));
    }
    const uint8x8_t first = vmovn_u16(vcombine_u16(entries[0], entries[1]));
    vst1q_u8(table, vcombine_u8(first, vmovn_u16(vcombine_u16(entries[2], entries[3]))));
  }
};

}  // namespace lutmac::neon
