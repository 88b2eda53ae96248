#include "bindings/custom.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/executor.h"

namespace engine::bindings {
namespace {

/// Keeps the scratch of a batch as long as an array looks at it.
py::capsule owner_of(const std::shared_ptr<Workspace>& workspace) {
  return {new std::shared_ptr<Workspace>(workspace),
          [](void* p) { delete static_cast<std::shared_ptr<Workspace>*>(p); }};
}

py::array_t<float> read_only(py::array_t<float> array) {
  array.attr("flags").attr("writeable") = false;
  return array;
}

/// Gradients by the variables of a custom layer that learn, each in its own shape.
py::list gradients(const Program& program, const Workspace& workspace, int layer, const py::object& owner) {
  const LayerSpec& spec = program.model().layers[static_cast<size_t>(layer)];
  const int first = program.parameters().layers[static_cast<size_t>(layer)].first;
  py::list found;
  for (size_t i = 0; i < spec.variables.size() && spec.trainable; ++i) {
    if (!spec.variables[i].trainable) continue;
    const Variable& variable = program.parameters().variables[static_cast<size_t>(first) + i];
    found.append(
        py::array_t<float>(variable.shape, workspace.buffer(workspace.plan->gradients) + variable.offset, owner));
  }
  return found;
}

}  // namespace

void call_layer(const Program& program, const std::shared_ptr<Workspace>& workspace, const Step& step, int64_t rows) {
  const Plan& plan = *workspace->plan;
  const py::object method = static_cast<const HostedProgram&>(program).host(step.index)();
  if (method.is_none()) throw std::runtime_error("the layer that this plan needs is gone");
  const py::object owner = owner_of(workspace);
  const auto matrix = [&](int buffer) {
    const Buffer& shape = plan.buffers[static_cast<size_t>(buffer)];
    return view(workspace->buffer(buffer), rows * shape.groups, shape.columns, shape.ld, owner);
  };
  py::dict views;
  if (step.kind == Step::Kind::kCustomForward) {
    views["inputs"] = read_only(matrix(step.in));
    if (step.out >= 0) views["outputs"] = matrix(step.out);
    if (step.losses >= 0) {
      float* losses = std::fill_n(workspace->buffer(step.losses), rows, 0.0f) - rows;
      views["losses"] = py::array_t<float>(rows, losses, owner);
    }
    views["training"] = plan.mode == Plan::Mode::kTrain || plan.mode == Plan::Mode::kSample;
  } else {
    views["inputs"] = read_only(matrix(step.saved));
    views["upstream"] = read_only(matrix(step.in));
    views["gradient"] = step.out >= 0 ? py::object(matrix(step.out)) : py::none();
    views["weights"] = gradients(program, *workspace, step.index, owner);
  }
  method(views);
}

bool predict_hosted(Program& program, const std::shared_ptr<Workspace>& workspace, Frame& frame) {
  if (frame.finite && cpu_executor().first_nonfinite_row(frame.data) >= 0) return false;
  const Plan& plan = *workspace->plan;
  frame.arena = workspace->arena.data();
  frame.batch_size = plan.max_rows;
  const auto steps = static_cast<int64_t>(plan.steps.size());
  const int64_t end = (frame.data.rows + plan.max_rows - 1) / plan.max_rows * steps;
  for (int64_t cursor = 0; cursor < end;) {
    {
      const auto lock = program.read_lock();
      cursor = cpu_executor().run(plan, frame, cursor, end, [] { return true; });
    }
    if (cursor == end) break;
    const Step& step = plan.steps[static_cast<size_t>(cursor % steps)];
    if (is_host(step.kind)) {
      const py::gil_scoped_acquire acquire;
      const int64_t first = cursor / steps * plan.max_rows;
      call_layer(program, workspace, step, std::min(plan.max_rows, frame.data.rows - first));
      ++cursor;
    }
  }
  return true;
}

}  // namespace engine::bindings
