// The state of a metric, computed without a program.
#pragma once
#include <optional>

#include "bindings/convert.h"
#include "kernels/table.h"

namespace engine::bindings {

/// The state of `metric` after the samples given, which was `state` before; None: the state before any sample. `binary`
/// says whether all of `y` are 0 or 1; without it, that is found out.
py::array_t<double> accumulate(const py::dict& metric, const py::array_t<float, kReadable>& y_pred, const py::array& y,
                               const py::object& sample_weight, const py::object& state, std::optional<bool> binary,
                               const KernelTable& table);

}  // namespace engine::bindings
