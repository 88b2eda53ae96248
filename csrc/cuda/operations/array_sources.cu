// Where arrays come from and where they go: variables and gradients, constants, targets, random numbers. Arguments and
// results of functions are copied from and to the host before and after the kernels (cuda/function_call.h).
#include <cmath>

#include "cuda/arrays.h"
#include "cuda/elements.h"
#include "formulas/random.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/function.h"
#include "graph/operations/optimizer.h"

namespace engine::cuda {
namespace {

// ---- Variables ------------------------------------------------------------------------------------------------------

void schedule_read_variable(Schedule& schedule, const graph::ReadVariable& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_weights(memory, op.variable, CopyNumbers{memory.numbers(op.variable), memory.scratch(op.y.value)});
  });
}

void schedule_read_gradient(Schedule& schedule, const graph::ReadGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_weights(memory, op.gradient, CopyNumbers{memory.scratch(op.gradient), memory.scratch(op.y.value)});
  });
}

void schedule_store_gradient(Schedule& schedule, const graph::StoreGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_weights(memory, op.gradient, CopyNumbers{memory.scratch(op.x.value), memory.scratch(op.gradient)});
  });
}

void schedule_assign(Schedule& schedule, const graph::AssignVariable& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_weights(memory, op.variable,
                       CopyNumbers{memory.scratch(op.x.value), memory.weights(op.variable).values});
  });
}

// ---- The optimizer --------------------------------------------------------------------------------------------------

struct ReadStep {
  graph::ReadStep::Number number;
  float* y;
  __device__ void operator()(int64_t, const Batch& batch) const {
    const bool is_rate = number == graph::ReadStep::Number::kLearningRate;
    *y = is_rate ? static_cast<float>(batch.step.learning_rate) : static_cast<float>(batch.step.iteration);
  }
};

void schedule_read_step(Schedule& schedule, const graph::ReadStep& op) {
  schedule.add(
      op, [&op](const RunMemory& memory) { return for_count(1, ReadStep{op.number, memory.scratch(op.y.value)}); });
}

/// Where the elements of an array lie in a slot of a variable, whose axes it has, perhaps with fewer elements.
struct SlotIndex {
  int axes = 0;
  int64_t lengths[kMaxGpuAxes], strides[kMaxGpuAxes];

  SlotIndex(const graph::Array& array, const Variable& v) : axes(static_cast<int>(v.shape.size())) {
    int64_t below = 1;  // elements of the variable below an axis
    for (int i = axes; i-- > 0; below *= v.shape[static_cast<size_t>(i)]) {
      lengths[i] = array.shape[static_cast<size_t>(i)].fixed;
      strides[i] = below;
    }
  }
  __device__ int64_t operator()(int64_t element) const {
    int64_t at = 0;
    for (int i = axes; i-- > 0; element /= lengths[i]) at += element % lengths[i] * strides[i];
    return at;
  }
};

struct ReadSlot {
  const float* slot;
  float* y;
  SlotIndex index;
  __device__ void operator()(int64_t i, const Batch&) const { y[i] = slot[index(i)]; }
};

struct StoreSlot {
  const float* x;
  float* slot;
  SlotIndex index;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (batch.steps_weights) slot[index(i)] = x[i];
  }
};

void schedule_read_slot(Schedule& schedule, const graph::ReadSlot& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const SlotIndex index(op.y, memory.schedule.variable(op.weights));
    return for_count(graph::element_count(op.y.shape, 0),
                     ReadSlot{memory.weights(op.weights).slots[op.slot], memory.scratch(op.y.value), index});
  });
}

void schedule_store_slot(Schedule& schedule, const graph::StoreSlot& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const SlotIndex index(op.x, memory.schedule.variable(op.weights));
    return for_count(graph::element_count(op.x.shape, 0),
                     StoreSlot{memory.scratch(op.x.value), memory.weights(op.weights).slots[op.slot], index});
  });
}

// ---- Constants, arguments and targets -------------------------------------------------------------------------------

void schedule_constants(Schedule& schedule, const graph::ConstantArray& op) {
  schedule.place_constants(op.y.value, *op.numbers);
}

void schedule_argument(Schedule&, const graph::ReadArgument&) {}
void schedule_result(Schedule&, const graph::WriteResult&) {}

/// y[b,:] = all targets of sample b
struct ReadTarget {
  TargetView view;
  float* y;
  int64_t of_sample;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const int64_t from = data_row(batch, i / of_sample) * of_sample + i % of_sample;
    y[i] = view.dense ? view.dense[from] : static_cast<float>(view.labels[from]);
  }
};

void schedule_target(Schedule& schedule, const graph::ReadTarget& op) {
  const int64_t of_sample = graph::elements_per_sample(op.y.shape, schedule.graph().batch);
  schedule.add(op, [&op, of_sample](const RunMemory& memory) {
    const TargetView& view = memory.data.targets[static_cast<size_t>(op.output)];
    return for_samples(memory.schedule, of_sample, ReadTarget{view, memory.scratch(op.y.value), of_sample});
  });
}

// ---- Random numbers -------------------------------------------------------------------------------------------------

/// y[i] = number i of a random stream, counted from the first sample of a prediction on
struct RandomArray {
  using Distribution = graph::RandomArray::Distribution;

  float* y;
  uint64_t seed;
  bool fixed;
  Distribution distribution;
  float low, high, below_high;
  int64_t of_sample;  // numbers of each sample; 0 where only whole batches have them

  __device__ float number(uint32_t word) const {
    switch (distribution) {
      case Distribution::kUniform:
        return formulas::uniform_number<float>(word, low, high - low, below_high);
      case Distribution::kNormal:
        return formulas::normal_number<float>(word, high * formulas::kRootOfTwo, low);
      case Distribution::kTruncatedNormal:
        break;
    }
    return formulas::truncated_normal_number<float>(word, high, low);
  }
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const int64_t first = batch.first_draw * of_sample;
    const uint64_t step = fixed ? 0 : static_cast<uint64_t>(batch.draw);
    y[i] = number(formulas::random_word(seed, step, 0, first + i));
  }
};

void schedule_random(Schedule& schedule, const graph::RandomArray& op) {
  // A prediction may be computed in several batches, whose random numbers are those of the whole one. In other modes a
  // batch has numbers of its own.
  const bool cuts_batches = schedule.mode() == graph::Mode::kPredict || schedule.mode() == graph::Mode::kSample;
  const int64_t of_sample = cuts_batches ? graph::elements_per_sample(op.y.shape, schedule.graph().batch) : 0;
  schedule.add(op, [&op, of_sample](const RunMemory& memory) {
    return for_array_elements(memory, op.y,
                              RandomArray{memory.scratch(op.y.value), op.seed, op.fixed, op.distribution, op.low,
                                          op.high, std::nextafter(op.high, op.low), of_sample});
  });
}

}  // namespace

void add_array_sources(OperationRegistry& all) {
  all.add<graph::ReadVariable>(schedule_read_variable);
  all.add<graph::ReadGradient>(schedule_read_gradient);
  all.add<graph::StoreGradient>(schedule_store_gradient);
  all.add<graph::AssignVariable>(schedule_assign);
  all.add<graph::ReadStep>(schedule_read_step);
  all.add<graph::ReadSlot>(schedule_read_slot);
  all.add<graph::StoreSlot>(schedule_store_slot);
  all.add<graph::ConstantArray>(schedule_constants);
  all.add<graph::ReadArgument>(schedule_argument);
  all.add<graph::WriteResult>(schedule_result);
  all.add<graph::ReadTarget>(schedule_target);
  all.add<graph::RandomArray>(schedule_random);
}

}  // namespace engine::cuda
