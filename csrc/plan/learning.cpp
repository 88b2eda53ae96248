#include "plan/learning.h"

#include <algorithm>

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
      if (optimizer_.accumulate > 1) emit(Kind::kAccumulate, v);
    }
    const bool by_norm = optimizer_.clip == OptimizerSpec::Clip::kNorm;
    if (by_norm || optimizer_.clip == OptimizerSpec::Clip::kGlobalNorm) emit_scales();
    for (size_t i = 0; i < plan_.learning.size(); ++i) {
      const int v = plan_.learning[i];
      Step& step = emit(Kind::kStepWeights, v);
      step.in = plan_.scales;
      step.index = static_cast<int>(i);
      if (optimizer_.averages) emit(Kind::kAverage, v);
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

  /// Squares are summed by columns, whose order is that of the rows, and the columns in theirs by one thread.
  void emit_scales() {
    const auto count = static_cast<int64_t>(plan_.learning.size());
    int64_t widest = 0;
    for (const int v : plan_.learning) widest = std::max(widest, variable(v).columns);
    plan_.squares = add_buffer(plan_, count, widest);
    plan_.scales = add_buffer(plan_, 1, count);
    for (size_t i = 0; i < plan_.learning.size(); ++i) {
      Step& step = emit(Kind::kSquares, plan_.learning[i]);
      step.split = Split::kUnits;
      step.out = plan_.squares;
      step.index = static_cast<int>(i);
    }
    Step step{Kind::kScale, Split::kNone, false, plan_.squares, plan_.scales};
    plan_.steps.push_back(step);
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
  return variable < 0 || parameters.variables[static_cast<size_t>(variable)].asked.l1 == 0.0;
}

void store_gradient(Plan& plan, const Parameters& parameters, int variable) {
  if (plan.gradients < 0) plan.gradients = add_buffer(plan, 1, parameters.size);
  plan.learning.push_back(variable);
}

void emit_learning(Plan& plan, const Parameters& parameters, const OptimizerSpec& optimizer) {
  if (plan.learning.empty()) return;
  std::sort(plan.learning.begin(), plan.learning.end());
  Learning(plan, parameters, optimizer).emit();
}

void emit_penalties(Plan& plan, const Parameters& parameters) {
  int64_t widest = 0;
  for (size_t i = 0; i < parameters.variables.size(); ++i) {
    const Variable& v = parameters.variables[i];
    const auto add = [&](Penalty::Kind kind, double factor) {
      if (factor == 0.0) return;
      plan.penalised.push_back({kind, static_cast<int>(i), factor});
      widest = std::max(widest, v.columns);
    };
    add(Penalty::Kind::kMagnitudes, v.asked.l1);
    add(Penalty::Kind::kSquares, v.asked.l2);
  }
  if (plan.penalised.empty()) return;
  plan.penalties = add_buffer(plan, static_cast<int64_t>(plan.penalised.size()), widest);
  for (size_t row = 0; row < plan.penalised.size(); ++row) {
    Step step{Kind::kPenalty, Split::kUnits, false, -1, plan.penalties};
    step.kernel = plan.penalised[row].variable;
    step.index = static_cast<int>(row);
    plan.steps.push_back(step);
  }
}

Split weights_split(const Variable& variable, int threads) {
  if (feeds_all(variable.columns, threads)) return Split::kUnits;
  return variable.rows > 1 ? Split::kInputs : Split::kNone;
}

}  // namespace engine
