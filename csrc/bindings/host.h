// Host steps that are about weights: penalties and constraints in Python.
#pragma once
#include "bindings/convert.h"
#include "plan/program.h"

namespace engine::bindings {

/// Calls `host` with a `PenaltyStep` or `ConstraintStep` of `python/engine/_base/host_steps.py`, and stores what it
/// returns: the penalty and, when training, its gradient by the weights; or the weights after the constraint.
void call_weights_host(Program& program, const Workspace& workspace, const Step& step, const py::object& host);

}  // namespace engine::bindings
