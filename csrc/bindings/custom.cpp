#include "bindings/custom.h"

#include <algorithm>
#include <stdexcept>

#include "bindings/gil.h"
#include "bindings/views.h"
#include "cpu/executor.h"

namespace engine::bindings {
namespace {

py::array_t<float> read_only(py::array_t<float> array) {
  array.attr("flags").attr("writeable") = false;
  return array;
}

/// Gradients by the variables of a custom layer that learn, each in its own shape.
py::list gradients(const Program& program, const Plan& plan, const BatchViews& batch, const Step& step) {
  const auto layer = static_cast<size_t>(step.index);
  const LayerSpec& spec = program.model().layers[layer];
  const int first = program.parameters().layers[layer].first;
  py::list found;
  for (size_t i = 0; i < spec.variables.size() && spec.trainable; ++i) {
    if (!spec.variables[i].trainable) continue;
    found.append(batch.gradient(program.parameters().variables[static_cast<size_t>(first) + i],
                                step.apart ? plan.apart : plan.gradients));
  }
  return found;
}

}  // namespace

void call_layer(const Program& program, const std::shared_ptr<Workspace>& workspace, const Step& step, int64_t rows) {
  const Plan& plan = *workspace->plan;
  const py::object method = static_cast<const HostedProgram&>(program).host(step.index)();
  if (method.is_none()) throw std::runtime_error("the layer that this plan needs is gone");
  const BatchViews batch(workspace, rows);
  py::dict views;
  if (step.kind == Step::Kind::kCustomForward) {
    views["inputs"] = read_only(batch.matrix(step.in));
    if (step.out >= 0) views["outputs"] = batch.matrix(step.out);
    if (step.saved >= 0) views["counted"] = batch.matrix(step.saved);
    if (step.losses >= 0) {
      std::fill_n(workspace->buffer(step.losses), rows, 0.0f);
      views["losses"] = batch.vector(step.losses, rows);
    }
    views["training"] = plan.mode == Plan::Mode::kTrain || plan.mode == Plan::Mode::kSample;
  } else {
    views["inputs"] = read_only(batch.matrix(step.saved));
    views["upstream"] = read_only(batch.matrix(step.in));
    views["gradient"] = step.out >= 0 ? py::object(batch.matrix(step.out)) : py::none();
    views["weights"] = gradients(program, plan, batch, step);
  }
  views["mask"] = step.counted < 0 ? py::object(py::none()) : py::object(read_only(batch.matrix(step.counted)));
  ask(method, views);
}

bool predict_hosted(Program& program, const std::shared_ptr<Workspace>& workspace, Frame& frame) {
  if (frame.finite && cpu_executor().first_nonfinite_row(frame.data) >= 0) return false;
  const Plan& plan = *workspace->plan;
  frame.arena = workspace->arena.data();
  frame.batch_size = plan.max_rows;
  const auto steps = static_cast<int64_t>(plan.steps.size());
  const int64_t end = divide_up(frame.data.rows, plan.max_rows) * steps;
  for (int64_t cursor = 0; cursor < end;) {
    {
      const auto lock = program.lock_for(plan.mode);
      cursor = cpu_executor().run(plan, frame, cursor, end, [] { return true; });
    }
    if (cursor == end) break;
    const Step& step = plan.steps[static_cast<size_t>(cursor % steps)];
    if (is_host(step.kind)) {
      const Locked locked;
      const int64_t first = cursor / steps * plan.max_rows;
      call_layer(program, workspace, step, std::min(plan.max_rows, frame.data.rows - first));
      ++cursor;
    }
  }
  return true;
}

}  // namespace engine::bindings
