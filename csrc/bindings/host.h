// Host steps that are about weights: penalties and constraints in Python.
#pragma once
#include "bindings/convert.h"
#include "plan/program.h"

namespace engine::bindings {

/// Calls `host` with `variable` (its index), `weights` (a copy) and `task`. It returns for "penalty" the penalty and,
/// when training, its derivative by the weights; for "constraint" the weights as they have to be.
void call_weights_host(Program& program, const Workspace& workspace, const Step& step, const py::object& host);

}  // namespace engine::bindings
