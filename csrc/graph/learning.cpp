#include "graph/learning.h"

#include <cmath>
#include <numeric>

#include "graph/operations/array_sources.h"
#include "graph/operations/contraction.h"
#include "graph/operations/optimizer.h"
#include "graph/operations/recorded_number.h"
#include "graph/operations/reduction.h"
#include "graph/operations/weight_penalty.h"

namespace engine::graph {
namespace {

using Rule = ComputeScales::Rule;
using Number = RecordedNumber;

/// Keras' guard against a norm of zero, `backend.epsilon()`
constexpr double kNormEpsilon = 1e-7;

class Learning {
 public:
  Learning(Graph& graph, const OptimizerSpec& optimizer) : graph_(graph), optimizer_(optimizer) {}

  void add(const std::vector<WeightPenalty>& penalties) {
    for (size_t i = 0; i < count(); ++i) {
      add_penalty_gradients(i, penalties);
      if (optimizer_.accumulate > 1) on<AccumulateGradient>(i);
    }
    if (optimizer_.clip == OptimizerSpec::Clip::kNorm) add_norms(Rule::kClip, graph_.gradients, false);
    if (optimizer_.clip == OptimizerSpec::Clip::kGlobalNorm) add_norms(Rule::kClipAll, graph_.gradients, false);
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
    const VariableSpec& spec = variable(i).spec;
    if (spec.l1 != 0.0 || spec.l2 != 0.0) {
      auto& add = on<AddPenaltyGradient>(i);
      add.l1 = spec.l1;
      add.l2 = spec.l2;
    }
    for (const WeightPenalty& penalty : penalties) {
      if (penalty.slopes == kNoValue || penalty.variable != graph_.learning[i]) continue;
      auto& add = graph_.add<AddSlopes>();
      add.slopes = penalty.slopes;
      add.gradient = gradient(i);
    }
  }

  /// Sums of squares are made by column, in the order of the rows. One thread adds the columns in their order.
  void add_norms(Rule rule, const std::vector<ValueId>& gradients, bool of_weights) {
    if (scales_ == kNoValue) scales_ = graph_.add_fixed(1, static_cast<int64_t>(count()));
    std::vector<ValueId> gradient_squares, weight_squares;
    for (size_t i = 0; i < count(); ++i) {
      gradient_squares.push_back(add_squares(i, gradients[i]));
      if (of_weights) weight_squares.push_back(add_squares(i, weights(i)));
    }
    auto& compute = graph_.add<ComputeScales>();
    compute.rule = rule;
    for (size_t i = 0; i < count(); ++i) compute.weights.push_back(weights(i));
    compute.gradient_squares = gradient_squares;
    compute.weight_squares = weight_squares;
    compute.scales = scales_;
  }

  ValueId add_squares(size_t i, ValueId x) {
    const ValueId squares = graph_.add_fixed(1, variable(i).columns);
    auto& sum = graph_.add<SumSquares>();
    sum.x = x;
    sum.squares = squares;
    return squares;
  }

  // ---- Steps of directions, which have taken the place of the gradients

  void add_moves() {
    const size_t begin = graph_.operations().size();
    add_directions_and_moves();
    for (size_t i = begin; i < graph_.operations().size(); ++i) graph_.operations()[i]->is_of_step = true;
  }

  void add_directions_and_moves() {
    if (optimizer_.kind == Optimizer::kMuon) return add_muon();
    const bool is_adafactor = optimizer_.kind == Optimizer::kAdafactor;
    std::vector<ValueId> directions = graph_.gradients;
    if (is_adafactor) {
      share_ = step_share();
      for (size_t i = 0; i < count(); ++i) directions[i] = store(i, adafactor_direction(i));
    }
    add_norms(is_adafactor ? Rule::kAdafactor : Rule::kTrust, directions, true);
    for (size_t i = 0; i < count(); ++i) scaled<MoveWeights>(i).gradient = directions[i];
  }

  void add_muon() {
    const Array learning_rate = read_step(ReadStep::Number::kLearningRate);
    for (size_t i = 0; i < count(); ++i) {
      if (!optimizer_.orthogonalises(graph_.learning[i])) continue;
      const ValueId step = store(i, muon_step(i, learning_rate));
      on<MoveWeights>(i).gradient = step;
    }
  }

  /// An array in the memory layout of a variable.
  ValueId store(size_t i, const Array& x) {
    const ValueId stored = graph_.add_gradient(graph_.learning[i]);
    auto& store = graph_.add<StoreGradient>();
    store.x = x;
    store.gradient = stored;
    return stored;
  }

  Array read_step(ReadStep::Number number) {
    const Array y = add_array(graph_, {});
    auto& read = graph_.add<ReadStep>();
    read.number = number;
    read.y = y;
    return y;
  }

  Shape shape(size_t i) const {
    Shape shape;
    for (const int64_t length : variable(i).shape) shape.push_back({length, 0});
    return shape;
  }

  Array read_gradient(size_t i) {
    const Array y = add_array(graph_, shape(i));
    auto& read = graph_.add<ReadGradient>();
    read.gradient = gradient(i);
    read.y = y;
    return y;
  }

  template <class Formula, class... Inputs>
  Array map(const Shape& shape, Formula&& formula, const Inputs&... inputs) {
    return add_recorded_map(graph_, shape, formula, inputs...);
  }

  Array squares(const Array& x) {
    return map(x.shape, [](Number a) { return a * a; }, x);
  }

  Array sum(const Array& x) {
    std::vector<int> axes(x.shape.size());
    std::iota(axes.begin(), axes.end(), 0);
    return axes.empty() ? x : add_sum(graph_, x, axes);
  }

  /// The sum over one axis, which then has length 1.
  Array sum_over(const Array& x, size_t axis) {
    const std::vector<int> axes{static_cast<int>(axis)};
    return {add_sum(graph_, x, axes).value, with_ones(x.shape, axes)};
  }

  /// Muon: the direction of length 1, made nearly orthogonal by the iteration of Newton and Schulz, as often as
  /// `rounds` says: x = a x + (b g + c g^2) x with g = x x^T. Of a tall matrix it is x = a x + x (b g + c g^2) with
  /// g = x^T x, so that g is small. (Jordan et al. 2024)
  Array muon_step(size_t i, const Array& learning_rate) {
    const double *factor = optimizer_.quintic, rms_rate = optimizer_.rms_rate;
    const Shape matrix = shape(i);
    const bool is_tall = matrix[0].fixed > matrix[1].fixed;
    const Array direction = read_gradient(i);
    Array x = map(
        matrix, [](Number d, Number squares) { return d / (sqrt(squares) + kNormEpsilon); }, direction,
        sum(squares(direction)));
    for (int64_t round = 0; round < optimizer_.rounds; ++round) {
      const Array g =
          is_tall ? add_product(graph_, x, "ki", x, "kj", "ij") : add_product(graph_, x, "ik", x, "jk", "ij");
      const Array polynomial = map(
          g.shape, [&](Number g, Number g2) { return factor[1] * g + factor[2] * g2; }, g,
          add_product(graph_, g, "ik", g, "kj", "ij"));
      const Array turned = is_tall ? add_product(graph_, x, "ik", polynomial, "kj", "ij")
                                   : add_product(graph_, polynomial, "ik", x, "kj", "ij");
      x = map(matrix, [&](Number x, Number turned) { return factor[0] * x + turned; }, x, turned);
    }
    const auto longer = static_cast<double>(std::max(matrix[0].fixed, matrix[1].fixed));
    const double length = rms_rate > 0.0 ? rms_rate * std::sqrt(longer) : 1.0;
    return map(matrix, [&](Number x, Number rate) { return x * (rate * length); }, x, learning_rate);
  }

  Array read_slot(size_t i, int slot, const Shape& shape) {
    const Array y = add_array(graph_, shape);
    auto& read = graph_.add<ReadSlot>();
    read.weights = weights(i);
    read.slot = slot;
    read.y = y;
    return y;
  }

  void store_slot(size_t i, int slot, const Array& x) {
    auto& store = graph_.add<StoreSlot>();
    store.weights = weights(i);
    store.slot = slot;
    store.x = x;
  }

  /// t^-decay, the share of step t in running means
  Array step_share() {
    const auto decay = static_cast<float>(optimizer_.parameters[0]);
    return map({}, [&](Number t) { return power(t, -decay); }, read_step(ReadStep::Number::kIteration));
  }

  /// mean = (1 - share) mean + share (sum / count + epsilon), of what a slot holds
  Array next_mean(size_t i, int slot, const Array& sum, int64_t count) {
    const double epsilon = optimizer_.parameters[1];
    const Array next = map(
        sum.shape,
        [&](Number mean, Number sum, Number share) {
          return (1.0 - share) * mean + share * (sum / static_cast<double>(count) + epsilon);
        },
        read_slot(i, slot, sum.shape), sum, share_);
    store_slot(i, slot, next);
    return next;
  }

  /// The running mean of the squared gradient, in slot 0. That of matrices is r c / mean(r), where r are means over
  /// rows (in the first column of slot 2) and c over columns (in the first row of slot 1).
  Array adafactor_mean(size_t i, const Array& squares) {
    const size_t axes = squares.shape.size();
    if (axes < 2) return next_mean(i, 0, squares, 1);
    const size_t row = axes - 2, column = axes - 1;
    const int64_t rows = squares.shape[row].fixed, columns = squares.shape[column].fixed;
    const Array r = next_mean(i, 2, sum_over(squares, column), columns);
    const Array c = next_mean(i, 1, sum_over(squares, row), rows);
    const Array share =
        map(r.shape, [&](Number r, Number sum) { return r / (sum / static_cast<double>(rows)); }, r, sum_over(r, row));
    const Array v = map(squares.shape, [](Number share, Number c) { return share * c; }, share, c);
    store_slot(i, 0, v);
    return v;
  }

  /// Adafactor: the gradient over the root of its running mean square. (Shazeer & Stern 2018, in Keras' form)
  Array adafactor_direction(size_t i) {
    const Array g = read_gradient(i);
    return map(g.shape, [](Number g, Number v) { return g / sqrt(v); }, g, adafactor_mean(i, squares(g)));
  }

  void add_constraint(size_t i) {
    const ConstraintSpec& constraint = variable(i).spec.constraint;
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
  ValueId scales_ = kNoValue;
  Array share_;  // of this step in Adafactor's running means
};

}  // namespace

void add_learning(Graph& graph, const OptimizerSpec& optimizer, const std::vector<WeightPenalty>& penalties) {
  Learning(graph, optimizer).add(penalties);
}

}  // namespace engine::graph
