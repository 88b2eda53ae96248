// Dropout and noise.
#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "formulas/random.h"
#include "graph/operations/random_noise.h"

namespace engine::cuda {
namespace {

/// The random word of element i of a value: the same as on the CPU.
struct RandomWords {
  uint64_t seed;
  int64_t columns, groups;
  bool shared;
  __device__ uint32_t operator()(int64_t i, const Batch& batch) const {
    const int64_t row = shared ? 0 : batch.first_draw * groups + i / columns;
    return formulas::random_word(seed, static_cast<uint64_t>(batch.draw), static_cast<uint32_t>(row), i % columns);
  }
};

RandomWords random_words(const Schedule& schedule, ValueId value, uint64_t seed, bool shared = false) {
  const Placement& place = schedule.placement(value);
  return {seed, place.columns, place.groups, shared};
}

struct DropOut {
  const float* x;
  float *mask, *y;
  RandomWords words;
  uint32_t threshold;
  float scale;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const float factor = words(i, batch) >= threshold ? scale : 0.0f;
    mask[i] = factor;
    y[i] = x[i] * factor;
  }
};

void schedule_dropout(Schedule& schedule, const graph::Dropout& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const float scale = op.rate < 1.0 ? static_cast<float>(1.0 / (1.0 - op.rate)) : 0.0f;
    return for_elements(memory.schedule, op.y,
                        DropOut{memory.scratch(op.x), memory.scratch(op.mask), memory.scratch(op.y),
                                random_words(memory.schedule, op.y, op.seed), formulas::threshold_of(op.rate), scale});
  });
}

struct Noise {
  float* noise;
  RandomWords words;
  bool is_mask;
  uint32_t threshold;
  float mean, scale;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const uint32_t word = words(i, batch);
    noise[i] = is_mask ? (word >= threshold ? scale : 0.0f)
                       : formulas::normal_number<float>(word, scale * formulas::kRootOfTwo, mean);
  }
};

void schedule_random_noise(Schedule& schedule, const graph::RandomNoise& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const bool is_mask = op.distribution == graph::RandomNoise::Distribution::kMask;
    const float scale = is_mask && op.rate >= 1.0 ? 0.0f : op.scale;
    return for_elements(memory.schedule, op.noise,
                        Noise{memory.scratch(op.noise), random_words(memory.schedule, op.noise, op.seed, op.shared),
                              is_mask, formulas::threshold_of(op.rate), op.mean, scale});
  });
}

}  // namespace

void add_random_noise(OperationRegistry& all) {
  all.add<graph::Dropout>(schedule_dropout);
  all.add<graph::RandomNoise>(schedule_random_noise);
}

}  // namespace engine::cuda
