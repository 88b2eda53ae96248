// Operations on elements: activations, dropout and noise.
#include "cuda/activations.h"
#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "cuda/warp_rows.h"
#include "formulas/random.h"
#include "formulas/row_activations.h"
#include "graph/operations/activation.h"
#include "graph/operations/random_noise.h"

namespace engine::cuda {
namespace {

// ---- Activations --------------------------------------------------------------------------------------------------

struct Activate {
  const float* x;
  float* y;
  Activation activation;
  ActivationParameters parameters;
  __device__ void operator()(int64_t i, const Batch&) const { y[i] = forward(activation, x[i], parameters); }
};

void schedule_activation(Schedule& schedule, const graph::ElementwiseActivation& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.y,
                        Activate{memory.scratch(op.x), memory.scratch(op.y), op.activation, parameters_of(op)});
  });
}

struct ActivateBackward {
  const float *dy, *saved;
  float* dx;
  Activation activation;
  ActivationParameters parameters;
  __device__ void operator()(int64_t i, const Batch&) const {
    dx[i] = backward(activation, dy[i], saved[i], parameters);
  }
};

void schedule_activation_gradient(Schedule& schedule, const graph::ElementwiseActivationGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.dx,
                        ActivateBackward{memory.scratch(op.dy), memory.scratch(op.saved), memory.scratch(op.dx),
                                         op.activation, parameters_of(op)});
  });
}

/// Softmax and the like: a warp for each row.
struct RowActivationStep {
  const float *x, *dy;
  float* y;
  int64_t columns;
  Activation activation;
  bool backward;

  __device__ void operator()(int64_t b, const Batch&) const {
    const int64_t at = b * columns;
    ActivationRow row{{columns}, x + at, dy ? dy + at : nullptr, y + at};
    with_formula(activation, formulas::RowActivations{}, [&](auto chosen) {
      using Formula = typename decltype(chosen)::Type;
      if (backward) {
        Formula::backward(row);
      } else {
        Formula::forward(row);
      }
    });
  }
};

void schedule_row_activation(Schedule& schedule, const graph::RowActivation& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_rows(memory.schedule, op.y,
                    RowActivationStep{memory.scratch(op.x), nullptr, memory.scratch(op.y),
                                      memory.schedule.placement(op.y).columns, op.activation, false});
  });
}

void schedule_row_activation_gradient(Schedule& schedule, const graph::RowActivationGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_rows(memory.schedule, op.dx,
                    RowActivationStep{memory.scratch(op.y), memory.scratch(op.dy), memory.scratch(op.dx),
                                      memory.schedule.placement(op.dx).columns, op.activation, true});
  });
}

// ---- Random numbers -------------------------------------------------------------------------------------------------

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

void add_elementwise(OperationRegistry& all) {
  all.add<graph::ElementwiseActivation>(schedule_activation);
  all.add<graph::ElementwiseActivationGradient>(schedule_activation_gradient);
  all.add<graph::RowActivation>(schedule_row_activation);
  all.add<graph::RowActivationGradient>(schedule_row_activation_gradient);
  all.add<graph::Dropout>(schedule_dropout);
  all.add<graph::RandomNoise>(schedule_random_noise);
}

}  // namespace engine::cuda
