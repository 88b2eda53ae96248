// Layers that are written in Python: their methods, and how a step of a plan calls them.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "bindings/convert.h"
#include "plan/program.h"

namespace engine::bindings {

/// Every program that Python has; `hosts` are what the mappings of its layers hold under "host", or None: weak
/// references to methods, since a model owns both its layers and its program.
class HostedProgram : public Program {
 public:
  HostedProgram(ModelSpec model, const std::vector<Loan>& loans, std::vector<py::object> hosts)
      : Program(std::move(model), loans), hosts_(std::move(hosts)) {}
  const py::object& host(int layer) const { return hosts_[static_cast<size_t>(layer)]; }

 private:
  std::vector<py::object> hosts_;
};

/// Calls the host of an operation for the `rows` of a batch, with a `ForwardStep` or `BackwardStep` of
/// `python/engine/_base/host_steps.py`.
void call_layer(const Program& program, const std::shared_ptr<Workspace>& workspace, const Step& step, int64_t rows);

/// Predicts the rows of `frame.data` by a plan with such steps; false where one of them is not finite. Without the GIL.
bool predict_hosted(Program& program, const std::shared_ptr<Workspace>& workspace, Frame& frame);

}  // namespace engine::bindings
