// Images changed at random: moved, turned, zoomed, mirrored, displaced. The random numbers, and the integers that
// smooth displacements, are those of the CPU.
#include "cuda/elements.h"
#include "formulas/image_transform.h"
#include "formulas/random.h"
#include "graph/operations/image_augmentation.h"

namespace engine::cuda {
namespace {

constexpr int64_t kTransformFloats = sizeof(formulas::ImageTransform) / sizeof(float);

/// The map of each image.
struct DrawTransforms {
  ImageChanges changes;
  formulas::ImageTransform* transforms;
  __device__ void operator()(int64_t b, const Batch& batch) const {
    const auto image = static_cast<uint32_t>(batch.first_draw + b);
    transforms[b] = formulas::random_transform(changes, static_cast<uint64_t>(batch.draw), image);
  }
};

// ---- Displacements --------------------------------------------------------------------------------------------------
// Each pixel has two, in rows and in columns, which lie side by side: element 2 p + f of an image is that of pixel p.

/// The noise that they are made from: 16 bits of a random word for each.
struct DrawNoise {
  uint64_t seed;
  int16_t* noise;
  int64_t pixels;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const auto image = static_cast<uint32_t>(batch.first_draw + i / 2 / pixels);
    const uint32_t word = formulas::random_word(seed, static_cast<uint64_t>(batch.draw), image, i / 2 % pixels);
    noise[i] = static_cast<int16_t>(static_cast<uint16_t>(i % 2 == 0 ? word : word >> 16));
  }
};

/// A filter of integers, whose sum kFilterSum stands for 1.
struct Filter {
  const int32_t* taps;  // (2 radius + 1,)
  int64_t radius;

  /// The sum over the neighbours of element `at` along an axis: `position` of `length`, with elements `stride` apart.
  __device__ int32_t sum(const int16_t* from, int64_t at, int64_t position, int64_t length, int64_t stride) const {
    int32_t total = 0;
    for (int64_t d = -radius; d <= radius; ++d) {
      if (position + d >= 0 && position + d < length) total += taps[radius - d] * from[at + d * stride];
    }
    return total;
  }
};

struct SmoothColumns {
  const int16_t* noise;
  int16_t* smooth;
  Filter filter;
  int64_t height, width;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int32_t sum = filter.sum(noise, i, i / 2 / width % height, height, 2 * width);
    smooth[i] = static_cast<int16_t>((sum + kFilterSum / 2) >> kFilterBits);
  }
};

struct SmoothRows {
  const int16_t* smooth;
  float* displacements;
  Filter filter;
  int64_t width;
  float scale;
  __device__ void operator()(int64_t i, const Batch&) const {
    displacements[i] = static_cast<float>(filter.sum(smooth, i, i / 2 % width, width, 2)) * scale;
  }
};

// ---- Sampling -------------------------------------------------------------------------------------------------------

__device__ int64_t floor_of(float x) {
  const auto whole = static_cast<int64_t>(x);
  return static_cast<float>(whole) > x ? whole - 1 : whole;
}

/// The two neighbours of a coordinate along an axis, and the weight of the second.
struct Between {
  int64_t first, second;  // -1: outside, where the fill value is read
  float weight;

  __device__ Between(float x, int64_t n, const ImageChanges& changes) {
    constexpr float kFar = 1e6f;
    x = x < -kFar ? -kFar : x > kFar ? kFar : x;
    const int64_t whole = floor_of(changes.nearest ? x + 0.5f : x);
    weight = changes.nearest ? 0.0f : x - static_cast<float>(whole);
    first = index_of(whole, n, changes.fill);
    second = index_of(whole + 1, n, changes.fill);
  }

  /// The index within the image that stands for index i.
  __device__ static int64_t index_of(int64_t i, int64_t n, Fill fill) {
    if (i >= 0 && i < n) return i;
    if (fill == Fill::kConstant) return -1;
    if (fill == Fill::kNearest) return i < 0 ? 0 : n - 1;
    const int64_t period = fill == Fill::kWrap ? n : 2 * n, at = (i % period + period) % period;
    return at < n ? at : 2 * n - 1 - at;
  }
};

struct Sample {
  const float *x, *displacements;  // no displacements: null
  float* y;
  const formulas::ImageTransform* transforms;
  ImageChanges changes;

  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t channel = i % changes.channels, pixel = i / changes.channels;  // of all images
    const int64_t pixels = changes.height * changes.width, b = pixel / pixels;
    const int64_t row = pixel % pixels / changes.width, column = pixel % changes.width;
    const formulas::ImageTransform& t = transforms[b];
    const float middle = 0.5f * static_cast<float>(changes.height - 1);
    const float centre = 0.5f * static_cast<float>(changes.width - 1);
    const float v = (static_cast<float>(row) - middle) * t.tall - t.down;
    const float u = (static_cast<float>(column) - centre) * t.wide - t.right;
    float down = t.sine * u + (t.cosine * v + middle), right = t.cosine * u + (centre - t.sine * v);
    if (displacements) {
      down = down + displacements[2 * pixel];
      right = right + displacements[2 * pixel + 1];
    }
    const Between rows(down, changes.height, changes), columns(right, changes.width, changes);
    const auto read = [&](int64_t r, int64_t c) {
      const bool is_outside = r < 0 || c < 0;
      return is_outside ? changes.fill_value
                        : x[((b * changes.height + r) * changes.width + c) * changes.channels + channel];
    };
    const auto interpolated = [](float first, float second, float share) { return first + share * (second - first); };
    const float above = interpolated(read(rows.first, columns.first), read(rows.first, columns.second), columns.weight);
    const float below =
        interpolated(read(rows.second, columns.first), read(rows.second, columns.second), columns.weight);
    y[i] = interpolated(above, below, rows.weight);
  }
};

// ---- Schedule -------------------------------------------------------------------------------------------------------

std::vector<int32_t> integer_taps(const std::vector<float>& taps) {
  std::vector<int32_t> integers;
  for (const float tap : taps) integers.push_back(static_cast<int32_t>(tap * kFilterSum + 0.5f));
  return integers;
}

/// Appends the kernels that displace pixels; returns where in scratch they leave the displacements.
int64_t add_displacements(Schedule& schedule, const graph::AugmentImages& op) {
  const ImageChanges& changes = *op.changes;
  const int64_t of_sample = 2 * changes.height * changes.width, most = of_sample * schedule.max_rows();
  const int64_t noise = schedule.add_scratch((most + 1) / 2), smooth = schedule.add_scratch((most + 1) / 2);
  const int64_t displacements = schedule.add_scratch(most);
  const auto halves = [](const RunMemory& memory, int64_t at) {
    return reinterpret_cast<int16_t*>(memory.arguments.scratch + at);
  };
  const auto taps = copy_to_card(integer_taps(*op.taps));
  schedule.add(op, [&changes, of_sample, noise, halves](const RunMemory& memory) {
    return for_samples(memory.schedule, of_sample, DrawNoise{changes.seed, halves(memory, noise), of_sample / 2});
  });
  schedule.add(op, [&changes, of_sample, noise, smooth, halves, taps](const RunMemory& memory) {
    return for_samples(memory.schedule, of_sample,
                       SmoothColumns{halves(memory, noise),
                                     halves(memory, smooth),
                                     {taps.get(), changes.radius},
                                     changes.height,
                                     changes.width});
  });
  schedule.add(op, [&changes, of_sample, smooth, displacements, halves, taps](const RunMemory& memory) {
    return for_samples(memory.schedule, of_sample,
                       SmoothRows{halves(memory, smooth),
                                  memory.arguments.scratch + displacements,
                                  {taps.get(), changes.radius},
                                  changes.width,
                                  changes.alpha * 0x1p-15f / kFilterSum});
  });
  return displacements;
}

void schedule_augmentation(Schedule& schedule, const graph::AugmentImages& op) {
  const int64_t transforms = schedule.add_scratch(kTransformFloats * schedule.max_rows());
  const auto transforms_of = [transforms](const RunMemory& memory) {
    return reinterpret_cast<formulas::ImageTransform*>(memory.arguments.scratch + transforms);
  };
  schedule.add(op, [&op, transforms_of](const RunMemory& memory) {
    return for_samples(memory.schedule, 1, DrawTransforms{*op.changes, transforms_of(memory)});
  });
  const bool displaces = op.changes->radius >= 0;
  const int64_t displacements = displaces ? add_displacements(schedule, op) : 0;
  schedule.add(op, [&op, transforms_of, displaces, displacements](const RunMemory& memory) {
    return for_elements(memory.schedule, op.y,
                        Sample{memory.scratch(op.x), displaces ? memory.arguments.scratch + displacements : nullptr,
                               memory.scratch(op.y), transforms_of(memory), *op.changes});
  });
}

}  // namespace

void add_image_augmentation(OperationRegistry& all) { all.add<graph::AugmentImages>(schedule_augmentation); }

}  // namespace engine::cuda
