// The function `accumulate` of engine._core, with an argument for the instruction set.
#include <string>

#include "bindings/losses_and_metrics.h"
#include "cpu/dispatch.h"
#include "register.h"

namespace engine::bindings {
namespace {

py::array_t<double> accumulate_with(const py::dict& metric, const py::array_t<float, kReadable>& y_pred,
                                    const py::array& y, const py::object& sample_weight, const py::object& state,
                                    bool binary, const std::string& isa) {
  return accumulate(metric, y_pred, y, sample_weight, state, binary, cpu::kernels_for(isa));
}

}  // namespace

void register_metrics(py::module_& m) {
  m.def("accumulate", &accumulate_with, py::arg("metric"), py::arg("y_pred"), py::arg("y"), py::arg("sample_weight"),
        py::arg("state"), py::arg("binary"), py::arg("isa"));
}

}  // namespace engine::bindings
