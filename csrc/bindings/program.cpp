#include "runtime/program.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "bindings/compressed.h"
#include "bindings/convert.h"
#include "bindings/device_array.h"
#include "bindings/devices.h"
#include "bindings/dict_entries.h"
#include "bindings/floats.h"
#include "bindings/functions.h"
#include "bindings/gil.h"
#include "bindings/host_steps.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "bindings/weights.h"
#include "cpu/device.h"
#include "graph/print.h"

namespace engine::bindings {
namespace {

/// A prediction met a number that is not finite. Python gets a class of its own, as it can name the array and the row.
struct NotFinite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

py::list read_variables(Program& program, size_t first, size_t count) {
  const auto& all = program.variables().all;
  if (first > all.size() || count > all.size() - first) {
    throw py::index_error("there are " + std::to_string(all.size()) + " variables");
  }
  const auto lock = read_lock(program);
  py::list copies;
  for (size_t v = first; v < first + count; ++v) copies.append(copy_of(program.device(), all[v], program.weights()[v]));
  return copies;
}

void write_variables(Program& program, const py::sequence& values, size_t first) {
  const auto& all = program.variables().all;
  const size_t begin = std::min(first, all.size()), end = std::min(begin + values.size(), all.size());
  std::vector<std::vector<int64_t>> shapes;
  for (size_t v = begin; v < end; ++v) shapes.push_back(all[v].shape);
  const auto sources = to_arrays(shapes, values);
  const Unlocked unlocked;
  const auto lock = program.write_lock();
  for (size_t v = 0; v < sources.size(); ++v) {
    program.device().upload(all[first + v], sources[v].data(), program.weights()[first + v]);
  }
}

using Arrays = std::vector<std::shared_ptr<WeightArray>>;

/// The device of a new program: that of other programs which use its arrays, or else the one that Python chose.
Device& device_for(const Arrays& arrays) {
  for (const auto& array : arrays) {
    if (Device* const device = array ? array->device() : nullptr) return *device;
  }
  return device_of_new_programs();
}

/// Makes a program without the GIL, as a thread that holds the lock of an array may wait for the GIL.
std::shared_ptr<Program> make(graph::ModelSpec model, const Arrays& arrays, std::vector<py::object> hosts) {
  std::shared_ptr<HostedProgram> program;
  {
    const Unlocked unlocked;
    program = std::make_shared<HostedProgram>(device_for(arrays), std::move(model), arrays);
  }
  program->set_hosts(std::move(hosts));
  return program;
}

std::shared_ptr<Program> make_program(const py::object& input_size, const py::sequence& layers, int64_t output_rows,
                                      const Arrays& arrays, const py::sequence& outputs) {
  std::vector<py::object> hosts;
  for (const py::handle layer : layers) hosts.push_back(py::cast<py::dict>(layer).attr("get")("host"));
  return make(to_model(input_size, layers, output_rows, outputs), arrays, std::move(hosts));
}

std::shared_ptr<Program> make_function(const py::sequence& layers, const std::vector<int>& results, int64_t batch,
                                       const Arrays& arrays) {
  return make(to_function(layers, results, batch), arrays, std::vector<py::object>(layers.size(), py::none()));
}

py::list arrays_of_program(const Program& program) {
  py::list arrays;
  for (size_t v = 0; v < program.variables().all.size(); ++v) arrays.append(to_python(program.array(v)));
  return arrays;
}

/// Floats that the weights take up, with the space behind each.
int64_t weight_floats(const Program& program) {
  int64_t floats = 0;
  for (const Variable& variable : program.variables().all) floats += program.device().memory_of(variable);
  return floats;
}

py::object state_of(const Program& program) {
  const auto lock = read_lock(program);
  return to_python(program.optimizer_state());
}

/// Computes the results of a function from its arguments. `step` is the number of the random draws, and of the
/// optimizer's step.
py::list call(Program& program, const py::sequence& arguments, int64_t step, double learning_rate) {
  require_function(program, arguments.size());
  const auto& shapes = program.model().arguments();
  std::vector<py::array> given;
  std::vector<ArgumentView> views;
  for (size_t i = 0; i < shapes.size(); ++i) {
    given.push_back(py::cast<py::array>(arguments[i]));
    views.push_back(to_argument(given.back(), i, shapes[i]));
  }
  py::list results;
  std::vector<float*> outputs;
  for (size_t i = 0; i < program.model().spec().results.size(); ++i) {
    const std::vector<py::ssize_t> lengths = result_shape(program, i);
    const py::object result = empty_array(static_cast<int>(lengths.size()), lengths.data());
    outputs.push_back(reinterpret_cast<float*>(proxy(result).data));
    results.append(result);
  }
  const Unlocked unlocked;
  const auto workspace = program.lease_function(true);
  program.call(workspace, views.data(), outputs.data(), step, learning_rate);
  return results;
}

/// Returns what the program was compiled with. ValueError unless it has a loss for each output.
std::shared_ptr<const TrainingSpec> require_losses(const Program& program) {
  auto training = program.training();
  if (!training || training->losses.size() != program.model().spec().outputs.size()) {
    throw py::value_error("compile the program with losses before a run");
  }
  return training;
}

/// The losses of the outputs: one mapping, or a sequence of them. None for programs that have the state of an
/// optimizer alone.
std::vector<LossSpec> to_losses(const py::object& loss, const graph::Model& model) {
  std::vector<py::dict> mappings;
  if (py::isinstance<py::dict>(loss)) {
    mappings.push_back(py::cast<py::dict>(loss));
  } else {
    for (const py::handle each : py::cast<py::sequence>(loss)) mappings.push_back(py::cast<py::dict>(each));
  }
  std::vector<LossSpec> losses;
  for (const py::dict& each : mappings) losses.push_back(to_loss(each));
  const size_t outputs = model.spec().outputs.size();
  if (losses.empty()) return losses;
  if (losses.size() != outputs) {
    fail("there must be a loss for each of " + std::to_string(outputs) + " outputs, got " +
         std::to_string(losses.size()));
  }
  for (size_t i = 0; i < outputs; ++i) {
    if (is_traced(mappings[i])) {
      losses[i].traced =
          to_traced_function(mappings[i], model.spec().outputs[i].groups, model.output_width(i), losses[i].target);
      losses[i].target_size = losses[i].traced->model.spec().input_sizes[0];
    }
    if (losses[i].masked && model.masked_rows(i) != model.spec().outputs[i].groups) {
      fail("a loss can be 'masked' where a mask is about the rows of outputs");
    }
    if (losses[i].masked && losses[i].divides_penalties) fail("a 'masked' loss can't divide penalties");
  }
  return losses;
}

void compile(Program& program, const py::object& loss, const py::dict& optimizer, const py::sequence& metrics,
             bool host_metrics, std::shared_ptr<OptimizerState> state) {
  const graph::Model& model = program.model();
  TrainingSpec training;
  training.losses = to_losses(loss, model);
  training.optimizer = to_optimizer(optimizer);
  require_variables(training.optimizer, program.variables().all.size());
  training.host_metrics = host_metrics;
  for (const py::handle each : metrics) {
    training.metrics.push_back(to_metric(py::cast<py::dict>(each)));
    const MetricSpec& metric = training.metrics.back();
    const auto output = static_cast<size_t>(metric.output);
    if (output >= training.losses.size()) fail("a metric must look at an output of the model");
    const LossSpec& at = training.losses[output];
    const int64_t rows = model.spec().outputs[output].groups, columns = model.output_width(output);
    const int64_t targets = at.target == Target::kSparse ? rows : rows * columns;
    if (metric.kind == MetricSpec::Kind::kTraced) {
      auto mapping = py::cast<py::dict>(each);
      training.metrics.back().traced = to_traced_function(mapping, rows, columns, at.target);
      if (training.metrics.back().traced->model.spec().input_sizes[0] != (at.target_size ? at.target_size : targets)) {
        fail("a metric must read as many targets by sample as the loss of its output");
      }
    } else if (at.target_size != 0 && at.target_size != targets) {
      fail("targets of another size than the outputs can only be read by traced metrics");
    }
    require_suitable(metric, columns, at.target);
  }
  const Unlocked unlocked;
  program.compile(std::move(training), std::move(state));
}

py::object begin(const std::shared_ptr<Program>& program, const std::string& mode, const py::object& data,
                 int64_t batch_size, const std::string& shuffle, uint64_t seed, uint64_t stream) {
  static constexpr const char* kNames[] = {"train", "evaluate"};
  static constexpr graph::Mode kModes[] = {graph::Mode::kTrain, graph::Mode::kEvaluate};
  const graph::Mode chosen = kModes[to_index(mode, kNames, 2, "mode")];
  const auto training = require_losses(*program);
  auto run = std::make_unique<Run>(program, training, chosen);
  run->feed(data.cast<std::shared_ptr<Dataset>>(), batch_size, shuffle, seed, stream);
  return to_python(std::move(run));
}

/// Whether a loss or a metric that a user wrote depends on which samples are in a batch together.
bool losses_join_samples(const Program& program) {
  const auto training = program.training();
  if (!training) return false;
  const auto joins = [](const auto& each) { return each.traced && each.traced->model.joins_samples(); };
  return std::any_of(training->losses.begin(), training->losses.end(), joins) ||
         std::any_of(training->metrics.begin(), training->metrics.end(), joins);
}

/// Predicts the rows of the data set; returns false where one of them is not finite.
bool run_prediction(Program& program, graph::Mode mode, RunArguments& arguments) {
  Device& device = program.device();
  const PredictionTeams division = device.divide_prediction(*program.graph(mode), arguments.data.rows, 0);
  std::vector<std::shared_ptr<Workspace>> workspaces;
  std::vector<float*> scratch;
  for (int team = 0; team < division.teams; ++team) {
    workspaces.push_back(program.lease(mode, {arguments.data.is_compressed(), division.batch_rows, division.threads}));
    scratch.push_back(workspaces.back()->scratch.data());
  }
  arguments.weights = program.weights();
  arguments.device_state = &workspaces.front()->device_state;
  if (program.model().asks_host(true)) return predict_with_host(program, workspaces.front(), arguments);
  const auto lock = program.lock_for(mode);
  return device.predict(*workspaces.front()->executable, arguments, scratch);
}

/// Where a prediction of `rows` rows is written to: `out`, or a new array of NumPy for None.
struct Outputs {
  py::object array;
  float* data;

  Outputs(const Program& program, const py::object& out, int64_t rows) : array(out) {
    const int64_t columns = program.model().output_size();
    if (const DeviceArray* const on_gpu = as_device_array(out)) {
      const TensorView& view = on_gpu->view();
      if (view.type != NumberType::kFloat32 || view.shape != std::vector<int64_t>{rows, columns} ||
          !view.is_contiguous() || on_gpu->read_only() || &on_gpu->device() != &program.device()) {
        throw py::value_error("`out` on a GPU must be writable, contiguous, float32, of shape (" +
                              std::to_string(rows) + ", " + std::to_string(columns) + ") and on the model's device");
      }
      data = static_cast<float*>(const_cast<void*>(view.data));
      return;
    }
    py::array_t<float> result;
    if (out.is_none()) {
      result = py::array_t<float>({rows, columns});
    } else {
      if (!py::isinstance<py::array_t<float>>(out)) throw py::value_error("`out` must be a float32 array");
      result = py::reinterpret_borrow<py::array_t<float>>(out);
      if (result.ndim() != 2 || result.shape(0) != rows || result.shape(1) != columns ||
          !(result.flags() & py::array::c_style) || !result.writeable()) {
        throw py::value_error("`out` must be writable, C-contiguous and of shape (" + std::to_string(rows) + ", " +
                              std::to_string(columns) + ")");
      }
    }
    data = result.mutable_data();
    array = result;
  }
};

py::object predict(Program& program, const py::object& x, const py::object& out, bool finite, bool training,
                   uint64_t seed) {
  const DatasetView rows = view_of(x);
  if (rows.stride != program.model().input_size()) {
    throw py::value_error("rows of `x` have " + std::to_string(rows.stride) + " values, expected " +
                          std::to_string(program.model().input_size()));
  }
  const DeviceArray* const on_gpu = as_device_array(x);
  if (on_gpu && &on_gpu->device() != &program.device()) {
    throw py::value_error("`x` is on '" + on_gpu->device().name() + "', the model on '" + program.device().name() +
                          "'");
  }
  Outputs outputs(program, out, rows.rows);
  RunArguments arguments;
  arguments.data = rows;
  arguments.output = outputs.data;
  arguments.finite = finite && !rows.is_compressed();  // the numbers of compressed rows have been checked before
  arguments.first_iteration = static_cast<int64_t>(seed);
  bool good;
  {
    const Unlocked unlocked;
    good = run_prediction(program, training ? graph::Mode::kSample : graph::Mode::kPredict, arguments);
  }
  if (!good) throw NotFinite("`x` holds a number that is not finite or too large for float32");
  return outputs.array;
}

/// The graph of a batch and its schedule on this machine, for people.
py::tuple to_text(Program& program, const std::string& mode, int64_t batch_size, int threads,
                  const std::vector<std::string>& names) {
  static constexpr const char* kNames[] = {"train", "evaluate", "predict", "function"};
  static constexpr graph::Mode kModes[] = {graph::Mode::kTrain, graph::Mode::kEvaluate, graph::Mode::kPredict,
                                           graph::Mode::kFunction};
  const graph::Mode chosen = kModes[to_index(mode, kNames, 4, "mode")];
  if (program.model().is_function() != (chosen == graph::Mode::kFunction)) {
    throw py::value_error("the mode is 'function' for functions, and another for models");
  }
  if (!graph::predicts(chosen)) require_losses(program);
  if (chosen == graph::Mode::kFunction) batch_size = program.model().spec().batch;
  const auto graph = program.graph(chosen);
  const Device& device = program.device();
  PredictionTeams division{1, threads > 0 ? threads : device.threads(), batch_size};
  if (chosen == graph::Mode::kPredict) division = device.divide_prediction(*graph, batch_size, threads);
  const bool arguments_in_place = chosen == graph::Mode::kFunction;
  const auto executable = device.compile(graph, {false, division.batch_rows, division.threads, arguments_in_place});
  const graph::ValueNames text_names(*graph, names);
  std::string schedule = executable->to_text(text_names);
  if (division.teams > 1) {
    schedule += "\n" + std::to_string(division.teams) +
                " threads take batches in turn, each with this schedule. None waits for another.\n";
  }
  return py::make_tuple(graph::to_text(*graph, text_names), schedule);
}

}  // namespace

void register_program(py::module_& m) {
  py::register_exception<NotFinite>(m, "NotFiniteError", PyExc_ValueError);
  py::class_<Program, std::shared_ptr<Program>> type(m, "Program");
  def_init(type, &make_program, py::arg("input_size"), py::arg("layers"), py::arg("output_rows") = 1,
           py::arg("arrays") = Arrays(), py::arg("outputs") = py::tuple());
  type.def_static("function", &make_function, py::arg("layers"), py::arg("results"), py::arg("batch") = 1,
                  py::arg("arrays") = Arrays())
      .def("use_state", &Program::use_state, py::arg("state").none(false), py::call_guard<Unlocked>())
      .def_property_readonly("state", &state_of)
      .def("call", &call, py::arg("arguments"), py::arg("step") = 1, py::arg("learning_rate") = 0.0);
  type.def_property_readonly("variables", [](Program& p) { return read_variables(p, 0, p.variables().all.size()); })
      .def_property_readonly("weight_floats", &weight_floats)
      .def_property_readonly("device", [](const Program& p) { return p.device().name(); })
      .def_property_readonly("arrays", &arrays_of_program)
      .def("read_variables", &read_variables, py::arg("first"), py::arg("count"))
      .def_property_readonly(
          "joins_samples", [](const Program& p) { return p.model().joins_samples() || p.model().changes_variables(); })
      .def_property_readonly("losses_join_samples", &losses_join_samples)
      .def_property_readonly("output_size", [](const Program& p) { return p.model().output_size(); })
      .def_property_readonly("output_width", [](const Program& p) { return p.model().output_width(0); })
      .def("to_text", &to_text, py::arg("mode"), py::arg("batch_size"), py::arg("threads") = 0,
           py::arg("names") = std::vector<std::string>())
      .def("write_variables", &write_variables, py::arg("values"), py::arg("first") = 0)
      .def("compile", &compile, py::arg("loss"), py::arg("optimizer"), py::arg("metrics"),
           py::arg("host_metrics") = false, py::arg("state") = py::none())
      .def("begin", &begin, py::arg("mode"), py::arg("data"), py::arg("batch_size"), py::arg("shuffle") = "none",
           py::arg("seed") = 0, py::arg("stream") = 0)
      .def("predict", &predict, py::arg("x"), py::arg("out") = py::none(), py::arg("finite") = false,
           py::arg("training") = false, py::arg("seed") = 0);
}

}  // namespace engine::bindings
