// The steps of a batch that Python does: custom layers, operations on arrays, losses and metrics, penalties and
// constraints. What each is given and returns is said in python/engine/_core_interface/host_steps.py.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "bindings/convert.h"
#include "runtime/program.h"

namespace engine::bindings {

/// Every program that Python has. `hosts` are what the mappings of its layers hold under "host": a function that
/// computes the steps of the layer, or None. Such a function has only a weak reference to its layer, since a model owns
/// both its layers and its program.
class HostedProgram : public Program {
 public:
  using Program::Program;
  void set_hosts(std::vector<py::object> hosts) { hosts_ = std::move(hosts); }
  const py::object& host(int node) const { return hosts_[static_cast<size_t>(node)]; }

 protected:
  void do_step(const std::shared_ptr<Workspace>& workspace, const graph::HostOperation& step) override;

 private:
  std::vector<py::object> hosts_;
};

/// The batch that a step is about.
struct HostBatch {
  const DatasetView* data;
  const std::vector<bool>* weights_are_spread;  // by output: whether Python gave one weight for all rows of a sample
  const int32_t* order;                         // or null
  int64_t first, rows;
};

/// Has Python do a step. `host` is the caller's function for everything but layers, which have functions of their own.
void do_host_step(Program& program, const std::shared_ptr<Workspace>& workspace, const graph::HostOperation& step,
                  const py::object& host, const HostBatch& batch);

/// Predicts the rows of the data set where Python does some of the steps. Returns false if a row is not finite. Called
/// without the GIL.
bool predict_with_host(Program& program, const std::shared_ptr<Workspace>& workspace, RunArguments& arguments);

}  // namespace engine::bindings
