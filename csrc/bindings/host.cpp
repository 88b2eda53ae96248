#include "bindings/host.h"

#include <algorithm>

#include "bindings/gil.h"
#include "bindings/state.h"
#include "plan/panels.h"

namespace engine::bindings {
namespace {

using Array = py::array_t<float, py::array::forcecast | py::array::c_style>;

/// What Python returned, in the shape of the weights.
Array checked(const py::handle& value, const py::array_t<float>& weights, const char* what) {
  const Array array = py::reinterpret_borrow<py::object>(value);
  const auto* shape = array.shape();
  if (array.ndim() != weights.ndim() || !std::equal(shape, shape + array.ndim(), weights.shape())) {
    throw py::value_error(std::string("the ") + what + " must have the weights' shape " +
                          py::repr(weights.attr("shape")).cast<std::string>() + ", got " +
                          py::repr(array.attr("shape")).cast<std::string>());
  }
  return array;
}

}  // namespace

void call_weights_host(Program& program, const Workspace& workspace, const Step& step, const py::object& host) {
  const Variable& variable = program.parameters().variables[static_cast<size_t>(step.kernel)];
  float* values = program.weights()[step.kernel];
  const bool penalty = step.index >= 0;
  py::dict views;
  views["task"] = penalty ? "penalty" : "constraint";
  views["variable"] = step.kernel;
  const py::array_t<float> weights = [&] {
    const auto lock = read_lock(program);
    return copy_of(variable, values);
  }();
  views["weights"] = weights;
  const Plan& plan = *workspace.plan;
  const int slopes = penalty ? plan.penalties[static_cast<size_t>(step.index)].slopes : -1;
  views["wants_slope"] = slopes >= 0;
  const py::object answer = ask(host, views);
  if (!penalty) {
    const Array wanted = checked(answer, weights, "constrained weights");
    const Unlocked unlocked;
    const auto lock = program.write_lock();
    pack_panels(wanted.data(), variable.columns, variable.rows, variable.columns, values);
    return;
  }
  const auto pair = answer.cast<py::tuple>();
  *workspace.buffer(step.out) = pair[0].cast<float>();
  if (slopes < 0) return;
  const Array slope = checked(pair[1], weights, "gradient of the penalty");
  const int64_t ld = plan.buffers[static_cast<size_t>(slopes)].ld;
  for (int64_t i = 0; i < variable.rows; ++i) {
    std::copy_n(slope.data() + i * variable.columns, variable.columns, workspace.buffer(slopes) + i * ld);
  }
}

}  // namespace engine::bindings
