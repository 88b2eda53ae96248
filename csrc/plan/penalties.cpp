// Penalties on weights: what they add to the loss.
#include <algorithm>

#include "plan/learning.h"

namespace engine {
namespace {

using Kind = Step::Kind;

/// The mean over pairs of different rows or columns; nothing where there is one alone.
Penalty orthogonal(Plan& plan, int variable, const Variable& v) {
  const bool columns = v.asked.orthogonal_columns;
  const int64_t size = columns ? v.columns : v.rows, width = columns ? v.rows : v.columns;
  const double pairs = 0.5 * static_cast<double>(size) * static_cast<double>(size - 1);
  Penalty penalty{Penalty::Kind::kOrthogonal, variable, size > 1 ? 0.5 * v.asked.orthogonal / pairs : 0.0, size};
  penalty.units = add_buffer(plan, size, width);
  penalty.norms = add_buffer(plan, 1, size);
  if (plan.mode == Plan::Mode::kTrain) penalty.slopes = add_buffer(plan, size, width);
  return penalty;
}

Penalty host(Plan& plan, int variable, const Variable& v) {
  Penalty penalty{Penalty::Kind::kHost, variable, 1.0, 1};
  if (plan.mode == Plan::Mode::kTrain) penalty.slopes = add_buffer(plan, v.rows, v.columns);
  return penalty;
}

void emit(Plan& plan, Kind kind, Split split, size_t row) {
  const Penalty& penalty = plan.penalised[row];
  Step step{kind, split, false, penalty.units, plan.penalties, penalty.norms};
  step.kernel = penalty.variable;
  step.index = static_cast<int>(row);
  if (kind == Kind::kUnitRows) step.out = penalty.units;
  if (kind == Kind::kOrthogonal) step.y_pred = penalty.slopes;
  plan.steps.push_back(step);
}

}  // namespace

bool has_host_penalty(const Parameters& parameters) {
  const auto& all = parameters.variables;
  return std::any_of(all.begin(), all.end(), [](const Variable& v) { return v.asked.host_penalty; });
}

void emit_penalties(Plan& plan, const Parameters& parameters) {
  int64_t widest = 0;
  for (size_t i = 0; i < parameters.variables.size(); ++i) {
    const Variable& v = parameters.variables[i];
    const int variable = static_cast<int>(i);
    const auto add = [&](const Penalty& penalty) {
      plan.penalised.push_back(penalty);
      widest = std::max(widest, penalty.sums);
    };
    if (v.asked.l1 != 0.0) add({Penalty::Kind::kMagnitudes, variable, v.asked.l1, v.columns});
    if (v.asked.l2 != 0.0) add({Penalty::Kind::kSquares, variable, v.asked.l2, v.columns});
    if (v.asked.orthogonal != 0.0) add(orthogonal(plan, variable, v));
    if (v.asked.host_penalty) add(host(plan, variable, v));
  }
  if (plan.penalised.empty()) return;
  plan.penalties = add_buffer(plan, static_cast<int64_t>(plan.penalised.size()), widest);
  for (size_t row = 0; row < plan.penalised.size(); ++row) {
    switch (plan.penalised[row].kind) {
      case Penalty::Kind::kSquares:
      case Penalty::Kind::kMagnitudes:
        emit(plan, Kind::kPenalty, Split::kUnits, row);
        break;
      case Penalty::Kind::kOrthogonal:
        emit(plan, Kind::kUnitRows, Split::kInputs, row);
        emit(plan, Kind::kOrthogonal, Split::kInputs, row);
        break;
      case Penalty::Kind::kHost:
        emit(plan, Kind::kHost, Split::kNone, row);
        break;
    }
  }
}

}  // namespace engine
