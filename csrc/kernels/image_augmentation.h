// Random augmentation of images: each is shifted, rotated, zoomed, flipped and elastically distorted by random numbers
// that are a function of the image's number, the step and the seed.
#pragma once
#include "formulas/image_transform.h"
#include "kernels/elastic_displacements.h"
#include "kernels/image_sampling.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// y = the augmented images of x, both (rows, height * width * channels).
void warp(const WarpArgs& op) {
  const BorderedImage image(op);
  const int64_t ld = round_up(op.width, kLineFloats);
  float* columns = op.scratch + op.channels * warp_frame(op.height, op.width) + 2 * warp_margin(op.width);
  const RowScratch scratch{columns, columns + ld, columns + 2 * ld};
  const Fields fields{columns + 3 * ld, warp_fields(op.height, op.width) / 2, ld};
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const auto image_number = static_cast<uint32_t>(op.first + b);
    const Transform transform = formulas::random_transform(op, op.step, image_number);
    const float* x = op.x + b * op.ld;
    float* y = op.y + b * op.ld;
    if (op.radius >= 0) displace(op, b, fields);
    if (op.radius >= 0 || transform.sine != 0.0f) {
      sample_pixels(op, transform, image, fields, scratch, x, y);
    } else {
      sample_rows(op, transform, image, scratch, x, y);
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
