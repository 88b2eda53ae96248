#include "plan/learning.h"

#include <algorithm>
#include <utility>

#include "plan/costs.h"

namespace engine {
namespace {

using Kind = Step::Kind;

class Learning {
 public:
  Learning(Plan& plan, const Parameters& parameters, const OptimizerSpec& optimizer)
      : plan_(plan), parameters_(parameters), optimizer_(optimizer) {}

  void emit() {
    for (const int v : plan_.learning) {
      if (variable(v).asked.l1 != 0.0 || variable(v).asked.l2 != 0.0) emit(Kind::kPenaltyGradient, v);
      emit_slopes(v);
      if (optimizer_.accumulate > 1) emit(Kind::kAccumulate, v);
    }
    emit_clipping();
    for (size_t i = 0; i < plan_.learning.size(); ++i) {
      Step& step = emit(Kind::kStepWeights, plan_.learning[i]);
      step.in = plan_.scales;
      step.index = static_cast<int>(i);
    }
    if (gives_direction(optimizer_.kind)) emit_moves();
    for (const int v : plan_.learning) {
      if (optimizer_.averages) emit(Kind::kAverage, v);
      if (variable(v).asked.constraint.kind != ConstraintSpec::Kind::kNone) emit_constraint(v);
    }
  }

 private:
  const Variable& variable(int v) const { return parameters_.variables[static_cast<size_t>(v)]; }

  Step& emit(Kind kind, int v) {
    Step step{kind, weights_split(variable(v), plan_.threads)};
    step.kernel = v;
    plan_.steps.push_back(step);
    return plan_.steps.back();
  }

  void emit_slopes(int v) {
    for (size_t i = 0; i < plan_.penalties.size(); ++i) {
      const Penalty& penalty = plan_.penalties[i];
      if (penalty.slopes < 0 || penalty.variable != v) continue;
      Step& step = emit(Kind::kSlopeGradient, v);
      step.in = penalty.slopes;
      step.index = static_cast<int>(i);
    }
  }

  void emit_clipping() {
    if (optimizer_.clip == OptimizerSpec::Clip::kNorm) emit_scales(Scaling::kClip, false);
    if (optimizer_.clip == OptimizerSpec::Clip::kGlobalNorm) emit_scales(Scaling::kClipAll, false);
  }

  /// Squares are summed by columns, whose order is that of the rows, and the columns in theirs by one thread.
  void emit_scales(Scaling scaling, bool of_weights) {
    const size_t count = plan_.learning.size();
    for (size_t i = 0; i < count; ++i) {
      if (scaling == Scaling::kUnit && !optimizer_.orthogonalises(plan_.learning[i])) continue;
      emit_squares(Kind::kSquares, i, i);
      if (of_weights) emit_squares(Kind::kWeightSquares, i, count + i);
    }
    emit_scaling(scaling);
  }

  void emit_squares(Kind kind, size_t learning, size_t row) {
    require_scales();
    Step& step = emit(kind, plan_.learning[learning]);
    step.split = Split::kUnits;
    step.out = plan_.squares;
    step.index = static_cast<int>(row);
  }

  void emit_scaling(Scaling scaling) {
    require_scales();
    Step step{Kind::kScale, Split::kNone, false, plan_.squares, plan_.scales};
    step.scaling = scaling;
    plan_.steps.push_back(step);
  }

  void require_scales() {
    if (plan_.scales >= 0) return;
    const auto count = static_cast<int64_t>(plan_.learning.size());
    int64_t widest = 0;
    for (const int v : plan_.learning) widest = std::max(widest, variable(v).columns);
    plan_.squares = add_buffer(plan_, 2 * count, widest);
    plan_.scales = add_buffer(plan_, 1, count);
  }

  /// The direction is where the gradient was; its length depends on norms of it and of the weights.
  void emit_moves() {
    if (optimizer_.kind == Optimizer::kMuon) return emit_orthogonal();
    const bool factors = optimizer_.kind == Optimizer::kAdafactor;
    if (factors) emit_factored();
    emit_scales(factors ? Scaling::kAdafactor : Scaling::kTrust, true);
    emit_scaled(Kind::kMove, [](int) { return true; });
  }

  void emit_orthogonal() {
    const auto applies = [&](int v) { return optimizer_.orthogonalises(v); };
    emit_scales(Scaling::kUnit, false);
    for (size_t i = 0; i < plan_.learning.size(); ++i) {
      if (applies(plan_.learning[i])) emit_newton_schulz(i);
    }
    emit_scaling(Scaling::kMuon);
    emit_scaled(Kind::kMove, applies);
  }

  /// The matrix is walked as rows that are its shorter side long, so that products of columns are the smallest.
  void emit_newton_schulz(size_t learning) {
    const Variable& v = variable(plan_.learning[learning]);
    const int64_t length = std::max(v.height(), v.width()), width = std::min(v.height(), v.width());
    const auto in_panels = [&] { return add_buffer(plan_, 1, Panels(width, width).floats()); };
    int rows = add_buffer(plan_, length, width), next = add_buffer(plan_, length, width);
    const int gram = in_panels(), gram_rows = add_buffer(plan_, width, width), quintic = in_panels();
    const auto add = [&](Kind kind, Split split, int in, int out, int saved) -> Step& {
      Step& step = emit(kind, plan_.learning[learning]);
      step.split = split;
      step.in = in;
      step.out = out;
      step.saved = saved;
      step.index = static_cast<int>(learning);
      return step;
    };
    add(Kind::kLoadDirection, Split::kInputs, plan_.scales, rows, -1);
    for (int64_t round = 0; round < optimizer_.rounds; ++round) {
      add(Kind::kGram, Split::kUnits, rows, gram, -1);
      add(Kind::kQuintic, Split::kInputs, gram, quintic, gram_rows);
      add(Kind::kTurnDirection, Split::kInputs, rows, next, quintic);
      std::swap(rows, next);
    }
    Step& last = emit(Kind::kStoreDirection, plan_.learning[learning]);
    last.in = rows;
  }

  /// Of matrices the direction itself takes three steps, unless they lie flat.
  void emit_factored() {
    const auto is_matrix = [&](int v) { return variable(v).is_matrix(); };
    for (const int v : plan_.learning) {
      if (is_matrix(v)) emit(Kind::kFactoredRows, v).split = Split::kInputs;
    }
    for (const int v : plan_.learning) {
      if (is_matrix(v)) emit(Kind::kFactoredColumns, v).split = Split::kUnits;
      if (variable(v).is_flat()) emit(Kind::kFactoredFlat, v).split = Split::kNone;
    }
    emit_scaling(Scaling::kRowMean);
    emit_scaled(Kind::kFactoredDirection, is_matrix);
  }

  template <class F>
  void emit_scaled(Kind kind, F&& applies) {
    for (size_t i = 0; i < plan_.learning.size(); ++i) {
      if (!applies(plan_.learning[i])) continue;
      Step& step = emit(kind, plan_.learning[i]);
      step.in = plan_.scales;
      step.index = static_cast<int>(i);
    }
  }

  void emit_constraint(int v) {
    const ConstraintSpec& constraint = variable(v).asked.constraint;
    const bool host = constraint.kind == ConstraintSpec::Kind::kHost;
    Step& step = emit(host ? Kind::kHost : Kind::kConstrain, v);
    if (constraint.kind != ConstraintSpec::Kind::kNorm) return;
    step.split = constraint.over == ConstraintSpec::Over::kColumn ? Split::kUnits
                 : constraint.over == ConstraintSpec::Over::kRow  ? Split::kInputs
                                                                  : Split::kNone;
  }

  Plan& plan_;
  const Parameters& parameters_;
  const OptimizerSpec& optimizer_;
};

}  // namespace

bool can_fuse(const OptimizerSpec& optimizer, const Parameters& parameters, int variable) {
  if (static_cast<int>(optimizer.kind) >= kFusedOptimizers || optimizer.clip != OptimizerSpec::Clip::kNone ||
      optimizer.accumulate > 1 || optimizer.averages) {
    return false;
  }
  if (variable < 0) return true;
  const Variable& v = parameters.variables[static_cast<size_t>(variable)];
  const VariableSpec& asked = v.asked;
  return !v.shared && asked.l1 == 0.0 && asked.orthogonal == 0.0 && !asked.host_penalty &&
         asked.constraint.kind == ConstraintSpec::Kind::kNone;
}

void emit_gradients(Plan& plan, const Parameters& parameters, Step step, const std::vector<int>& variables) {
  const auto stored = [&](int v) {
    return std::find(plan.learning.begin(), plan.learning.end(), v) != plan.learning.end();
  };
  step.stores = true;
  step.apart = std::any_of(variables.begin(), variables.end(), stored);
  plan.steps.push_back(step);
  int& arena = step.apart ? plan.apart : plan.gradients;
  for (const int v : variables) {
    if (v < 0) continue;
    if (arena < 0) arena = add_buffer(plan, 1, parameters.size);
    if (!step.apart) {
      plan.learning.push_back(v);
      continue;
    }
    Step sum{Kind::kAddGradient, weights_split(parameters.variables[static_cast<size_t>(v)], plan.threads)};
    sum.kernel = v;
    plan.steps.push_back(sum);
  }
}

void emit_learning(Plan& plan, const Parameters& parameters, const OptimizerSpec& optimizer) {
  if (plan.learning.empty()) return;
  std::sort(plan.learning.begin(), plan.learning.end());
  Learning(plan, parameters, optimizer).emit();
}

Split weights_split(const Variable& variable, int threads) {
  if (feeds_all(variable.columns, threads)) return Split::kUnits;
  return variable.rows > 1 ? Split::kInputs : Split::kNone;
}

}  // namespace engine
