#include "graph/learning.h"

#include <algorithm>
#include <utility>

#include "graph/operations/optimizer.h"
#include "graph/operations/weight_penalty.h"

namespace engine::graph {
namespace {

using Rule = ComputeScales::Rule;

class Learning {
 public:
  Learning(Graph& graph, const OptimizerSpec& optimizer) : graph_(graph), optimizer_(optimizer) {}

  void add(const std::vector<WeightPenalty>& penalties) {
    for (size_t i = 0; i < count(); ++i) {
      add_penalty_gradients(i, penalties);
      if (optimizer_.accumulate > 1) on<AccumulateGradient>(i);
    }
    if (optimizer_.clip == OptimizerSpec::Clip::kNorm) add_norms(Rule::kClip, false);
    if (optimizer_.clip == OptimizerSpec::Clip::kGlobalNorm) add_norms(Rule::kClipAll, false);
    for (size_t i = 0; i < count(); ++i) scaled<StepWeights>(i);
    if (gives_direction(optimizer_.kind)) add_moves();
    for (size_t i = 0; i < count(); ++i) {
      if (optimizer_.averages) graph_.add<AverageWeights>().weights = weights(i);
      add_constraint(i);
    }
  }

 private:
  size_t count() const { return graph_.learning.size(); }
  const Variable& variable(size_t i) const { return graph_.variables()[graph_.learning[i]]; }
  ValueId weights(size_t i) const { return graph_.variable(graph_.learning[i]); }
  ValueId gradient(size_t i) const { return graph_.gradients[i]; }

  /// An operation on variable number i of those that learn, and on its gradient.
  template <class Op>
  Op& on(size_t i) {
    auto& operation = graph_.add<Op>();
    operation.weights = weights(i);
    operation.gradient = gradient(i);
    return operation;
  }

  /// The same with the factor of the variable.
  template <class Op>
  Op& scaled(size_t i) {
    auto& operation = on<Op>(i);
    operation.scales = scales_;
    operation.place = static_cast<int>(i);
    return operation;
  }

  void add_penalty_gradients(size_t i, const std::vector<WeightPenalty>& penalties) {
    const VariableSpec& asked = variable(i).asked;
    if (asked.l1 != 0.0 || asked.l2 != 0.0) {
      auto& add = on<AddPenaltyGradient>(i);
      add.l1 = asked.l1;
      add.l2 = asked.l2;
    }
    for (const WeightPenalty& penalty : penalties) {
      if (penalty.slopes == kNoValue || penalty.variable != graph_.learning[i]) continue;
      auto& add = graph_.add<AddSlopes>();
      add.slopes = penalty.slopes;
      add.gradient = gradient(i);
      add.transposed = penalty.transposed;
    }
  }

  /// Sums of squares are made by column, in the order of the rows. One thread adds the columns in their order.
  void add_norms(Rule rule, bool of_weights) {
    require_scales();
    for (size_t i = 0; i < count(); ++i) {
      if (rule == Rule::kUnit && !optimizer_.orthogonalises(graph_.learning[i])) continue;
      add_squares(gradient(i), gradient_squares_[i]);
      if (of_weights) add_squares(weights(i), weight_squares_[i]);
    }
    add_scales(rule, of_weights);
  }

  void add_squares(ValueId x, ValueId squares) {
    auto& sum = graph_.add<SumSquares>();
    sum.x = x;
    sum.squares = squares;
  }

  void add_scales(Rule rule, bool of_weights) {
    require_scales();
    auto& compute = graph_.add<ComputeScales>();
    compute.rule = rule;
    for (size_t i = 0; i < count(); ++i) compute.weights.push_back(weights(i));
    const bool of_gradients = rule != Rule::kRowMean && rule != Rule::kMuon;
    for (size_t i = 0; i < count(); ++i) {
      const bool has_squares = of_gradients && (rule != Rule::kUnit || optimizer_.orthogonalises(graph_.learning[i]));
      compute.gradient_squares.push_back(has_squares ? gradient_squares_[i] : kNoValue);
      compute.weight_squares.push_back(of_weights ? weight_squares_[i] : kNoValue);
    }
    compute.scales = scales_;
  }

  void require_scales() {
    if (scales_ != kNoValue) return;
    for (size_t i = 0; i < count(); ++i) {
      gradient_squares_.push_back(graph_.add_fixed(1, variable(i).columns));
      weight_squares_.push_back(graph_.add_fixed(1, variable(i).columns));
    }
    scales_ = graph_.add_fixed(1, static_cast<int64_t>(count()));
  }

  /// A direction has taken the place of the gradient. The length of the step depends on norms of it and of the weights.
  void add_moves() {
    if (optimizer_.kind == Optimizer::kMuon) return add_muon();
    const bool factors = optimizer_.kind == Optimizer::kAdafactor;
    if (factors) add_factored();
    add_norms(factors ? Rule::kAdafactor : Rule::kTrust, true);
    for (size_t i = 0; i < count(); ++i) scaled<MoveWeights>(i);
  }

  void add_muon() {
    add_norms(Rule::kUnit, false);
    for (size_t i = 0; i < count(); ++i) {
      if (optimizer_.orthogonalises(graph_.learning[i])) add_newton_schulz(i);
    }
    add_scales(Rule::kMuon, false);
    for (size_t i = 0; i < count(); ++i) {
      if (optimizer_.orthogonalises(graph_.learning[i])) scaled<MoveWeights>(i);
    }
  }

  /// The matrix is held with its longer side as rows, so that the products of its columns are the smallest.
  void add_newton_schulz(size_t i) {
    const Variable& v = variable(i);
    const int64_t length = std::max(v.height(), v.width()), width = std::min(v.height(), v.width());
    const auto add_square = [&] { return graph_.add_fixed(width, width); };
    ValueId rows = graph_.add_fixed(length, width), next = graph_.add_fixed(length, width);
    const ValueId gram = add_square(), gram_rows = add_square(), polynomial = add_square();
    scaled<LoadDirection>(i).x = rows;
    for (int64_t round = 0; round < optimizer_.rounds; ++round) {
      auto& product = graph_.add<Gram>();
      product.x = rows;
      product.gram = gram;
      auto& powers = graph_.add<GramPolynomial>();
      powers.gram = gram;
      powers.rows = gram_rows;
      powers.polynomial = polynomial;
      auto& turn = graph_.add<TurnDirection>();
      turn.x = rows;
      turn.polynomial = polynomial;
      turn.next = next;
      std::swap(rows, next);
    }
    on<StoreDirection>(i).x = rows;
  }

  /// The direction of a matrix takes three operations. That of matrices stored as one row takes one.
  void add_factored() {
    for (size_t i = 0; i < count(); ++i) {
      if (variable(i).is_matrix()) on<FactoredMeans>(i).of_rows = true;
    }
    for (size_t i = 0; i < count(); ++i) {
      if (variable(i).is_matrix()) on<FactoredMeans>(i).of_rows = false;
      if (variable(i).is_flat()) on<FactoredFlat>(i);
    }
    add_scales(Rule::kRowMean, false);
    for (size_t i = 0; i < count(); ++i) {
      if (variable(i).is_matrix()) scaled<FactoredDirection>(i);
    }
  }

  void add_constraint(size_t i) {
    const ConstraintSpec& constraint = variable(i).asked.constraint;
    if (constraint.kind == ConstraintSpec::Kind::kNone) return;
    if (constraint.kind == ConstraintSpec::Kind::kHost) {
      graph_.add<HostConstraint>().weights = weights(i);
      return;
    }
    auto& constrain = graph_.add<ConstrainWeights>();
    constrain.weights = weights(i);
    constrain.constraint = constraint;
  }

  Graph& graph_;
  const OptimizerSpec& optimizer_;
  std::vector<ValueId> gradient_squares_, weight_squares_;
  ValueId scales_ = kNoValue;
};

}  // namespace

void add_learning(Graph& graph, const OptimizerSpec& optimizer, const std::vector<WeightPenalty>& penalties) {
  Learning(graph, optimizer).add(penalties);
}

}  // namespace engine::graph
