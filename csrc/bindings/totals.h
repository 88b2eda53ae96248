// The running sums of a Run.
#pragma once
#include "bindings/convert.h"
#include "runtime/data.h"

namespace engine::bindings {

/// The sums before the first batch.
Totals no_totals(const TrainingSpec& training, const graph::Model& model);

/// Returns (sum of losses, samples, sums of the losses of the outputs, [state of each metric as an array]) for Python.
py::tuple sums_of(const Totals& totals);

/// Makes room for the scores of `rows` samples more, which a team of threads must not fail to find.
void reserve_scores(const TrainingSpec& training, const graph::Model& model, int64_t rows, Totals& totals);

/// Throws unless there is a state for each metric of `training`, and a loss for each output.
void require_states(const TrainingSpec& training, const graph::Model& model, const Totals& totals);

}  // namespace engine::bindings
