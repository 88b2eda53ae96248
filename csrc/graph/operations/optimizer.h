// From stored gradients to new weights: accumulation, clipping, the rules' steps, averages, constraints. In all of
// them, variables and gradients are (k, n).
#pragma once
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
    kRowMean,    // mean of Adafactor's means of rows
    kTrust,      // Lamb: length of the step, by the norms of weights and direction
    kAdafactor,  // Adafactor: length of the step, by the root mean squares of both
    kUnit,       // Muon: factor that gives the direction norm 1
    kMuon,       // Muon: length of the step, by the longer side of the matrix
  };
  Rule rule = Rule::kClip;
  std::vector<ValueId> weights;           // variables that learn
  std::vector<ValueId> gradient_squares;  // their sums of squares; kNoValue where the rule needs none
  std::vector<ValueId> weight_squares;
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

/// Adafactor's running means of the squared gradient: of its rows (loop k), or of its columns (loop n)
struct FactoredMeans final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue;
  bool of_rows = true;

  const char* name() const override { return of_rows ? "factored_rows" : "factored_columns"; }
  std::vector<Operand> operands() const override {
    if (of_rows) return {updates(weights, 'k', kWhole), reads(gradient, 'k', kWhole)};
    return {updates(weights, kWhole, 'n'), reads(gradient, kWhole, 'n')};
  }
};

/// Adafactor's means and direction for a stack of matrices that is stored as one row
struct FactoredFlat final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue;

  const char* name() const override { return "factored_flat"; }
  std::vector<Operand> operands() const override {
    return {updates(weights, kWhole, kWhole), updates(gradient, kWhole, kWhole)};
  }
};

/// gradient = Adafactor's direction, from the means of rows and columns
struct FactoredDirection final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue, scales = kNoValue;
  int place = 0;

  const char* name() const override { return "factored_direction"; }
  std::vector<Operand> operands() const override {
    // It reads the means of all rows and columns, which belong to the variable.
    return {updates(weights, kWhole, kWhole), updates(gradient, 'k', 'n'), reads(scales, kWhole, kWhole)};
  }
};

/// weights -= scales[place] direction, where the direction has taken the place of the gradient
struct MoveWeights final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue, scales = kNoValue;
  int place = 0;

  const char* name() const override { return "move_weights"; }
  std::vector<Operand> operands() const override {
    return {updates(weights, 'k', 'n'), reads(gradient, 'k', 'n'), reads(scales, kWhole, kWhole)};
  }
};

// Muon's direction, made nearly orthogonal by the iteration of Newton and Schulz: x = a x + b x g + c x g^2 with
// g = x^T x. The matrix is held with its longer side as rows, so that g is small.

/// x[r,:] = scales[place] * direction, or its transpose
struct LoadDirection final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue, scales = kNoValue, x = kNoValue;
  int place = 0;

  const char* name() const override { return "load_direction"; }
  std::vector<Operand> operands() const override {
    return {writes(x, 'r', kWhole), reads(gradient, kWhole, kWhole), reads(scales, kWhole, kWhole)};
  }
};

/// gram[:,n] = x^T x[:,n], in panels
struct Gram final : Operation {
  ValueId x = kNoValue, gram = kNoValue;

  const char* name() const override { return "gram"; }
  std::vector<Operand> operands() const override { return {writes(gram, kWhole, 'n'), reads(x, kWhole, kWhole)}; }
};

/// polynomial[r,:] = b gram[r,:] + c gram[r,:] gram, in panels; `rows` is a copy of the gram matrix in plain rows
struct GramPolynomial final : Operation {
  ValueId gram = kNoValue, rows = kNoValue, polynomial = kNoValue;

  const char* name() const override { return "gram_polynomial"; }
  std::vector<Operand> operands() const override {
    return {writes(polynomial, 'r', kWhole), writes(rows, 'r', kWhole), reads(gram, kWhole, kWhole)};
  }
};

/// next[r,:] = a x[r,:] + x[r,:] polynomial
struct TurnDirection final : Operation {
  ValueId x = kNoValue, polynomial = kNoValue, next = kNoValue;

  const char* name() const override { return "turn_direction"; }
  std::vector<Operand> operands() const override {
    return {writes(next, 'r', kWhole), reads(x, 'r', kWhole), reads(polynomial, kWhole, kWhole)};
  }
};

/// gradient = x, or its transpose
struct StoreDirection final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue, x = kNoValue;

  const char* name() const override { return "store_direction"; }
  std::vector<Operand> operands() const override { return {updates(gradient, 'k', 'n'), reads(x, kWhole, kWhole)}; }
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
