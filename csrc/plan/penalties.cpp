// Penalties on weights: what they add to the loss.
#include <algorithm>

#include "kernels/layout.h"
#include "plan/learning.h"

namespace engine {
namespace {

using Kind = Step::Kind;

/// Whether its sums are those of slices of rows, which whoever steps these weights then makes; else they are of
/// columns.
bool sums_by_slice(const Variable& v) { return v.rows > 1 && sums_in_slices(v.columns); }

/// The mean over pairs of different rows or columns; nothing where there is one alone.
Penalty orthogonal(Plan& plan, int variable, const Variable& v) {
  const bool columns = v.asked.orthogonal_columns;
  const int64_t size = columns ? v.columns : v.rows, width = columns ? v.rows : v.columns;
  const double pairs = 0.5 * static_cast<double>(size) * static_cast<double>(size - 1);
  Penalty penalty{Penalty::Kind::kOrthogonal, variable, size > 1 ? 0.5 * v.asked.orthogonal / pairs : 0.0};
  penalty.sums = add_buffer(plan, 1, size);
  penalty.units = add_buffer(plan, size, width);
  penalty.norms = add_buffer(plan, 1, size);
  if (plan.mode == Plan::Mode::kTrain) penalty.slopes = add_buffer(plan, size, width);
  return penalty;
}

Penalty host(Plan& plan, int variable, const Variable& v) {
  Penalty penalty{Penalty::Kind::kHost, variable, 1.0};
  penalty.sums = add_buffer(plan, 1, 1);
  if (plan.mode == Plan::Mode::kTrain) penalty.slopes = add_buffer(plan, v.rows, v.columns);
  return penalty;
}

Penalty elementwise(Plan& plan, Penalty::Kind kind, int variable, const Variable& v, double factor) {
  Penalty penalty{kind, variable, factor};
  penalty.sums = add_buffer(plan, 2, sums_by_slice(v) ? divide_up(v.rows, kSlice) : v.columns);
  plan.buffers.back().alternates = true;
  return penalty;
}

Step& emit(Plan& plan, Kind kind, Split split, size_t index) {
  const Penalty& penalty = plan.penalties[index];
  Step step{kind, split, false, -1, penalty.sums};
  step.kernel = penalty.variable;
  step.index = static_cast<int>(index);
  plan.steps.push_back(step);
  return plan.steps.back();
}

void emit_orthogonal(Plan& plan, size_t index) {
  const Penalty& penalty = plan.penalties[index];
  Step& norms = emit(plan, Kind::kUnitRows, Split::kInputs, index);
  norms.out = penalty.units;
  norms.saved = penalty.norms;
  Step& pairs = emit(plan, Kind::kOrthogonal, Split::kInputs, index);
  pairs.in = penalty.units;
  pairs.saved = penalty.norms;
  pairs.y_pred = penalty.slopes;
}

}  // namespace

bool has_host_penalty(const Parameters& parameters) {
  const auto& all = parameters.variables;
  return std::any_of(all.begin(), all.end(), [](const Variable& v) { return v.asked.host_penalty; });
}

void emit_penalties(Plan& plan, const Parameters& parameters) {
  for (size_t i = 0; i < parameters.variables.size(); ++i) {
    const Variable& v = parameters.variables[i];
    const int variable = static_cast<int>(i);
    const auto add = [&](const Penalty& penalty) {
      plan.penalties.push_back(penalty);
      return plan.penalties.size() - 1;
    };
    const auto add_elementwise = [&](Penalty::Kind kind, double factor) {
      if (factor == 0.0) return;
      const size_t index = add(elementwise(plan, kind, variable, v, factor));
      emit(plan, Kind::kPenalty, sums_by_slice(v) ? Split::kInputs : Split::kUnits, index);
    };
    add_elementwise(Penalty::Kind::kMagnitudes, v.asked.l1);
    add_elementwise(Penalty::Kind::kSquares, v.asked.l2);
    if (v.asked.orthogonal != 0.0) emit_orthogonal(plan, add(orthogonal(plan, variable, v)));
    if (v.asked.host_penalty) emit(plan, Kind::kHost, Split::kNone, add(host(plan, variable, v)));
  }
}

}  // namespace engine
