// The running sums of a Run.
#pragma once
#include "bindings/convert.h"
#include "plan/executor.h"

namespace engine::bindings {

/// The sums before the first batch.
Totals no_totals(const TrainingSpec& training, int64_t outputs);

/// Makes room for scores of so many outputs more, which a team of threads must not fail to find.
void reserve_scores(const TrainingSpec& training, int64_t outputs, Totals& totals);

/// Throws unless there is a state for each metric of `training`.
void require_states(const TrainingSpec& training, int64_t outputs, const Totals& totals);

}  // namespace engine::bindings
