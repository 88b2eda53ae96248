#include "bindings/host_steps.h"

#include <algorithm>
#include <stdexcept>

#include "bindings/gil.h"
#include "bindings/register.h"
#include "bindings/views.h"
#include "bindings/weights.h"
#include "cpu/device.h"
#include "graph/operations/host_array.h"
#include "graph/operations/host_layer.h"
#include "graph/operations/loss.h"
#include "graph/operations/optimizer.h"
#include "graph/operations/weight_penalty.h"
#include "kernels/table.h"

namespace engine::bindings {
namespace {

using Array = py::array_t<float, py::array::forcecast | py::array::c_style>;

py::array_t<float> read_only(py::array_t<float> array) {
  array.attr("flags").attr("writeable") = false;
  return array;
}

/// What computes the operations on arrays. It is set when the package is imported, and never freed, as programs may
/// outlive the interpreter's modules.
py::object& array_functions() {
  static auto* const functions = new py::object(py::none());
  return *functions;
}

/// One step, with everything that its views are made from.
class HostStep {
 public:
  HostStep(Program& program, const std::shared_ptr<Workspace>& workspace, const py::object& host,
           const HostBatch& batch)
      : program_(program), workspace_(workspace), host_(host), batch_(batch), views_(workspace, batch.rows) {}

  void run(const graph::HostOperation& step) const {
    if (const auto* array = dynamic_cast<const graph::HostArray*>(&step)) return run(*array);
    if (const auto* layer = dynamic_cast<const graph::HostLayer*>(&step)) return run(*layer);
    if (const auto* gradient = dynamic_cast<const graph::HostLayerGradient*>(&step)) return run(*gradient);
    if (const auto* penalty = dynamic_cast<const graph::HostActivityPenalty*>(&step)) return run(*penalty);
    if (const auto* added = dynamic_cast<const graph::HostActivityPenaltyGradient*>(&step)) return run(*added);
    if (host_.is_none()) throw py::value_error("this program has a host step: pass `host`");
    if (const auto* loss = dynamic_cast<const graph::HostLoss*>(&step)) return run(*loss);
    if (const auto* metrics = dynamic_cast<const graph::HostMetrics*>(&step)) return run(*metrics);
    if (const auto* penalty = dynamic_cast<const graph::HostPenalty*>(&step)) return run(*penalty);
    if (const auto* constraint = dynamic_cast<const graph::HostConstraint*>(&step)) return run(*constraint);
    throw std::logic_error(std::string("Python has no step for the operation '") + step.name() + "'");
  }

 private:
  graph::Mode mode() const { return workspace_->executable->mode(); }
  bool trains() const { return mode() == graph::Mode::kTrain; }

  py::object mask(graph::ValueId row_mask) const {
    return row_mask == graph::kNoValue ? py::object(py::none()) : py::object(read_only(views_.matrix(row_mask)));
  }

  // ---- Operations on arrays -----------------------------------------------------------------------------------------
  void run(const graph::HostArray& step) const {
    py::list inputs;
    for (const graph::Array& each : step.x) inputs.append(read_only(views_.array(each)));
    py::dict views;
    views["function"] = step.function;
    views["options"] = step.options;
    views["inputs"] = inputs;
    views["outputs"] = views_.array(step.y);
    ask(array_functions(), views);
  }

  // ---- Layers -------------------------------------------------------------------------------------------------------
  void call_layer(int node, const py::dict& views) const {
    ask(static_cast<const HostedProgram&>(program_).host(node), views);
  }

  void add_losses(py::dict& views, graph::ValueId losses) const {
    if (losses == graph::kNoValue) return;
    std::fill_n(workspace_->view(losses).data, batch_.rows, 0.0f);
    views["losses"] = views_.vector(losses, batch_.rows);
  }

  void run(const graph::HostLayer& layer) const {
    py::dict views;
    views["kind"] = "forward";
    views["inputs"] = read_only(views_.matrix(layer.x));
    views["outputs"] = views_.matrix(layer.y);
    if (layer.kept != graph::kNoValue) views["output_mask"] = views_.matrix(layer.kept);
    add_losses(views, layer.losses);
    views["training"] = trains() || mode() == graph::Mode::kSample;
    views["mask"] = mask(layer.row_mask);
    call_layer(layer.node, views);
  }

  void run(const graph::HostLayerGradient& gradient) const {
    py::list weight_gradients;
    for (const graph::ValueId each : gradient.dweights) weight_gradients.append(views_.gradient(each));
    py::dict views;
    views["kind"] = "backward";
    views["inputs"] = read_only(views_.matrix(gradient.x));
    views["upstream"] = read_only(views_.matrix(gradient.dy));
    views["gradient"] =
        gradient.dx == graph::kNoValue ? py::object(py::none()) : py::object(views_.matrix(gradient.dx));
    views["weight_gradients"] = weight_gradients;
    views["mask"] = mask(gradient.row_mask);
    call_layer(gradient.node, views);
  }

  void run(const graph::HostActivityPenalty& penalty) const {
    py::dict views;
    views["kind"] = "forward";
    views["inputs"] = read_only(views_.matrix(penalty.x));
    add_losses(views, penalty.losses);
    views["training"] = trains();
    views["mask"] = py::none();
    call_layer(penalty.node, views);
  }

  void run(const graph::HostActivityPenaltyGradient& penalty) const {
    py::dict views;
    views["kind"] = "backward";
    views["inputs"] = read_only(views_.matrix(penalty.x));
    views["upstream"] = read_only(views_.matrix(penalty.dx));
    views["gradient"] = views_.matrix(penalty.dx);
    views["weight_gradients"] = py::list();
    views["mask"] = py::none();
    call_layer(penalty.node, views);
  }

  // ---- Losses and metrics -------------------------------------------------------------------------------------------
  /// Targets, predictions and weights of one output.
  py::dict output_views(int output, graph::ValueId y_pred) const {
    const auto i = static_cast<size_t>(output);
    const TargetView& view = batch_.data->targets[i];
    const graph::Model& model = program_.model();
    const int64_t groups = model.spec().outputs[i].groups, outputs = model.output_width(i);
    const int64_t count = batch_.rows * groups;
    const Targets targets{view.labels, view.dense, batch_.order, batch_.first, groups};
    py::array_t<int32_t> labels(view.labels ? count : 0);
    // Weights that Python gave for whole samples are given back so.
    const bool by_row = view.sample_weight && !(*batch_.weights_are_spread)[i];
    py::array_t<float> weights(by_row ? count : batch_.rows), dense({view.dense ? count : 0, outputs});
    for (int64_t b = 0; b < count; ++b) {
      const int64_t row = targets.row(b);
      if (by_row || b % groups == 0) {
        weights.mutable_at(by_row ? b : b / groups) = view.sample_weight ? view.sample_weight[row] : 1.0f;
      }
      if (view.labels) labels.mutable_at(b) = view.labels[row];
      if (view.dense) std::copy_n(view.dense + row * outputs, outputs, dense.mutable_data(b, 0));
    }
    const graph::ValueId row_mask = workspace_->executable->graph().outputs[i].row_mask;
    py::dict views;
    views["y_true"] = view.labels ? py::object(labels) : py::object(dense);
    views["y_pred"] = views_.matrix(y_pred);
    views["sample_weight"] = weights;
    views["mask"] = row_mask == graph::kNoValue ? py::object(py::none()) : py::object(views_.matrix(row_mask));
    return views;
  }

  /// The rows of the batch as numbers of the data set's rows.
  py::array_t<int32_t> indices() const {
    py::array_t<int32_t> rows(batch_.rows);
    for (int64_t b = 0; b < batch_.rows; ++b) {
      const int64_t sample = batch_.first + b;
      rows.mutable_at(b) = batch_.order ? batch_.order[sample] : static_cast<int32_t>(sample);
    }
    return rows;
  }

  void run(const graph::HostLoss& loss) const {
    py::dict views = output_views(loss.output, loss.y_pred);
    views["training"] = trains();
    views["kind"] = "loss";
    views["output"] = loss.output;
    views["gradient"] = views_.matrix(loss.gradient);
    views["losses"] = views_.vector(loss.losses, batch_.rows * workspace_->view(loss.losses).groups);
    views["indices"] = indices();
    ask(host_, views);
  }

  void run(const graph::HostMetrics& metrics) const {
    py::list outputs;
    for (size_t i = 0; i < metrics.y_pred.size(); ++i) {
      outputs.append(output_views(static_cast<int>(i), metrics.y_pred[i]));
    }
    py::dict views;
    views["training"] = trains();
    views["kind"] = "metrics";
    views["outputs"] = outputs;
    views["indices"] = indices();
    ask(host_, views);
  }

  // ---- Weights ------------------------------------------------------------------------------------------------------
  const Variable& variable(int v) const { return program_.variables()[v]; }

  py::array_t<float> weights_of(int v) const {
    const auto lock = read_lock(program_);
    return copy_of(program_.device(), variable(v), program_.weights()[v]);
  }

  /// What Python returned, in the shape of the weights.
  static Array checked(const py::handle& value, const py::array_t<float>& weights, const char* what) {
    const Array array = py::reinterpret_borrow<py::object>(value);
    const auto* shape = array.shape();
    if (array.ndim() != weights.ndim() || !std::equal(shape, shape + array.ndim(), weights.shape())) {
      throw py::value_error(std::string("the ") + what + " must have the weights' shape " +
                            py::repr(weights.attr("shape")).cast<std::string>() + ", got " +
                            py::repr(array.attr("shape")).cast<std::string>());
    }
    return array;
  }

  void run(const graph::HostPenalty& penalty) const {
    const int v = workspace_->executable->graph().value(penalty.weights).variable;
    const py::array_t<float> weights = weights_of(v);
    const bool wants_gradient = penalty.slopes != graph::kNoValue;
    py::dict views;
    views["kind"] = "penalty";
    views["variable"] = v;
    views["weights"] = weights;
    views["wants_gradient"] = wants_gradient;
    const auto answer = ask(host_, views).cast<py::tuple>();
    *workspace_->view(penalty.sum).data = answer[0].cast<float>();
    if (!wants_gradient) return;
    const Array gradient = checked(answer[1], weights, "gradient of the penalty");
    const ValueView slopes = workspace_->view(penalty.slopes);
    const int64_t columns = variable(v).columns;
    for (int64_t i = 0; i < variable(v).rows; ++i) {
      std::copy_n(gradient.data() + i * columns, columns, slopes.data + i * slopes.ld);
    }
  }

  void run(const graph::HostConstraint& constraint) const {
    const int v = workspace_->executable->graph().value(constraint.weights).variable;
    const py::array_t<float> weights = weights_of(v);
    py::dict views;
    views["kind"] = "constraint";
    views["variable"] = v;
    views["weights"] = weights;
    const Array wanted = checked(ask(host_, views), weights, "constrained weights");
    const Unlocked unlocked;
    const auto lock = program_.write_lock();
    program_.device().upload(variable(v), wanted.data(), program_.weights()[v]);
  }

  Program& program_;
  const std::shared_ptr<Workspace>& workspace_;
  const py::object& host_;
  const HostBatch& batch_;
  BatchViews views_;
};

}  // namespace

void HostedProgram::do_step(const std::shared_ptr<Workspace>& workspace, const graph::HostOperation& step) {
  const Locked locked;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  const py::object no_host = py::none();
  do_host_step(*this, workspace, step, no_host, {nullptr, nullptr, nullptr, 0, model().spec().batch});
}

void do_host_step(Program& program, const std::shared_ptr<Workspace>& workspace, const graph::HostOperation& step,
                  const py::object& host, const HostBatch& batch) {
  HostStep(program, workspace, host, batch).run(step);
}

bool predict_with_host(Program& program, const std::shared_ptr<Workspace>& workspace, RunArguments& arguments) {
  Device& device = program.device();
  if (arguments.finite && cpu::first_nonfinite_row(arguments.data) >= 0) return false;
  const Executable& executable = *workspace->executable;
  arguments.scratch = workspace->scratch.data();
  arguments.batch_size = executable.max_rows();
  const int64_t steps = executable.steps();
  const int64_t end = divide_up(arguments.data.rows, executable.max_rows()) * steps;
  for (int64_t cursor = 0; cursor < end;) {
    {
      const auto lock = program.lock_for(executable.mode());
      cursor = device.run(executable, arguments, cursor, end, [] { return true; });
    }
    if (cursor == end) break;
    const graph::HostOperation* const step = executable.host_operation(cursor % steps);
    if (!step) continue;
    const Locked locked;
    const int64_t first = cursor / steps * executable.max_rows();
    const py::object no_host = py::none();
    do_host_step(
        program, workspace, *step, no_host,
        {&arguments.data, nullptr, nullptr, first, std::min(executable.max_rows(), arguments.data.rows - first)});
    ++cursor;
  }
  return true;
}

void register_host_steps(py::module_& m) {
  m.def("compute_arrays_by", [](const py::object& functions) { array_functions() = functions; }, py::arg("functions"));
}

}  // namespace engine::bindings
