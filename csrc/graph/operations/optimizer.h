// From stored gradients to new weights: accumulation, clipping, the rules' steps, averages, constraints. In all of
// them, variables and gradients are (k, n).
#pragma once
#include "graph/array.h"
#include "graph/operation.h"
#include "graph/training_spec.h"
#include "graph/variables.h"

namespace engine::graph {

/// sum += gradient, for a variable that several layers share
struct AddGradient final : Operation {
  ValueId gradient = kNoValue, sum = kNoValue;

  const char* name() const override { return "add_gradient"; }
  std::vector<Operand> operands() const override { return {updates(sum, 'k', 'n'), reads(gradient, 'k', 'n')}; }
};

/// The accumulated sum += gradient; after the last batch of a step, gradient = the mean of them, and the sum becomes 0.
struct AccumulateGradient final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue;

  const char* name() const override { return "accumulate_gradient"; }
  std::vector<Operand> operands() const override { return {updates(gradient, 'k', 'n'), reads(weights, 'k', 'n')}; }
};

/// squares[n] = sum over k of x[k,n]^2, of a gradient or of weights
struct SumSquares final : Operation {
  ValueId x = kNoValue, squares = kNoValue;

  const char* name() const override { return "sum_squares"; }
  std::vector<Operand> operands() const override { return {writes(squares, kWhole, 'n'), reads(x, kWhole, 'n')}; }
};

/// scales[i] = what is made of the sums of squares, for each variable i that learns
struct ComputeScales final : Operation {
  enum class Rule {
    kClip,       // factor that limits the norm of each gradient
    kClipAll,    // factor that limits the norm of all gradients together
    kTrust,      // Lamb: length of the step, by the norms of weights and direction
    kAdafactor,  // Adafactor: length of the step, by the root mean squares of both
  };
  Rule rule = Rule::kClip;
  std::vector<ValueId> weights;           // variables that learn
  std::vector<ValueId> gradient_squares;  // their sums of squares
  std::vector<ValueId> weight_squares;    // of kTrust and kAdafactor
  ValueId scales = kNoValue;

  const char* name() const override { return "compute_scales"; }
  std::vector<Operand> operands() const override;
};

/// The optimizer's rule steps the weights by the gradient, or, with rules that give a direction first, puts that in
/// place of the gradient.
struct StepWeights final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue;
  ValueId scales = kNoValue;  // factor number `place` multiplies the gradient
  int place = 0;

  const char* name() const override { return "step_weights"; }
  std::vector<Operand> operands() const override {
    return {updates(weights, 'k', 'n'), updates(gradient, 'k', 'n'), reads(scales, kWhole, kWhole)};
  }
};

/// weights -= scales[place] gradient, where a direction or the whole step has taken the place of the gradient
struct MoveWeights final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue, scales = kNoValue;
  int place = 0;

  const char* name() const override { return "move_weights"; }
  std::vector<Operand> operands() const override {
    return {updates(weights, 'k', 'n'), reads(gradient, 'k', 'n'), reads(scales, kWhole, kWhole)};
  }
};

/// y = the learning rate of this step, or its number, counted from 1
struct ReadStep final : Operation {
  enum class Number { kLearningRate, kIteration };
  Number number = Number::kLearningRate;
  Array y;

  const char* name() const override { return number == Number::kLearningRate ? "learning_rate" : "step_number"; }
  std::vector<Operand> operands() const override { return {writes(y.value, kWhole, kWhole)}; }
};

/// y = what the optimizer keeps in a slot of a variable: the first elements along each axis of the variable, as many as
/// y has
struct ReadSlot final : Operation {
  ValueId weights = kNoValue;
  int slot = 0;
  Array y;

  const char* name() const override { return "read_slot"; }
  std::vector<Operand> operands() const override {
    return {writes(y.value, kWhole, kWhole), reads(weights, kWhole, kWhole)};
  }
};

/// The first elements of a slot along each axis = x, after the batches with which the optimizer steps.
struct StoreSlot final : Operation {
  ValueId weights = kNoValue;
  int slot = 0;
  Array x;

  const char* name() const override { return "store_slot"; }
  std::vector<Operand> operands() const override {
    return {updates(weights, kWhole, kWhole), reads(x.value, kWhole, kWhole)};
  }
};

/// The running mean of the weights follows them, and replaces them every so many steps.
struct AverageWeights final : Operation {
  ValueId weights = kNoValue;

  const char* name() const override { return "average_weights"; }
  std::vector<Operand> operands() const override { return {updates(weights, 'k', 'n')}; }
};

/// Non-negative weights, or limited norms of rows (loop k), of columns (loop n), or of all
struct ConstrainWeights final : Operation {
  ValueId weights = kNoValue;
  ConstraintSpec constraint;

  const char* name() const override { return "constrain_weights"; }
  std::vector<Operand> operands() const override;
};

/// The caller says what the weights are changed to.
struct HostConstraint final : HostOperation {
  ValueId weights = kNoValue;

  const char* name() const override { return "host_constraint"; }
  std::vector<Operand> operands() const override { return {updates(weights, kWhole, kWhole)}; }
};

}  // namespace engine::graph
