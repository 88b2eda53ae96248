#include "plan/program.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "bindings/compressed.h"
#include "bindings/convert.h"
#include "bindings/custom.h"
#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/mapping.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "bindings/state.h"
#include "cpu/executor.h"
#include "plan/costs.h"
#include "plan/operations.h"
#include "plan/panels.h"

namespace engine::bindings {
namespace {

/// What the caller says more about than the core knows.
struct NotFinite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

py::list read_variables(Program& program, size_t first, size_t count) {
  const auto& all = program.parameters().variables;
  if (first > all.size() || count > all.size() - first) {
    throw py::index_error("there are " + std::to_string(all.size()) + " variables");
  }
  const auto lock = read_lock(program);
  py::list copies;
  for (size_t v = first; v < first + count; ++v) copies.append(copy_of(all[v], program.weights()[v]));
  return copies;
}

void write_variables(Program& program, const py::sequence& values, size_t first) {
  const auto& all = program.parameters().variables;
  const size_t begin = std::min(first, all.size()), end = std::min(begin + values.size(), all.size());
  const auto at = [&](size_t v) { return all.begin() + static_cast<std::ptrdiff_t>(v); };
  const auto sources = to_arrays({at(begin), at(end)}, values);
  const Unlocked unlocked;
  const auto lock = program.write_lock();
  for (size_t v = 0; v < sources.size(); ++v) {
    const Variable& variable = program.parameters().variables[first + v];
    pack_panels(sources[v].data(), variable.columns, variable.rows, variable.columns, program.weights()[first + v]);
  }
}

/// Of each variable (program, number) where it is lent, or None.
std::vector<Loan> to_loans(const py::sequence& given) {
  std::vector<Loan> loans;
  for (const py::handle each : given) {
    Loan loan;
    if (!each.is_none()) {
      const auto place = py::cast<py::tuple>(each);
      loan = {place[0].cast<std::shared_ptr<Program>>(), place[1].cast<size_t>()};
    }
    loans.push_back(std::move(loan));
  }
  return loans;
}

std::shared_ptr<Program> make_program(int64_t input_size, const py::sequence& layers, int64_t output_rows,
                                      const py::sequence& loans) {
  std::vector<py::object> hosts;
  for (const py::handle layer : layers) hosts.push_back(py::cast<py::dict>(layer).attr("get")("host"));
  return std::make_shared<HostedProgram>(to_model(input_size, layers, output_rows), to_loans(loans), std::move(hosts));
}

void configure(Program& program, const py::dict& loss, const py::dict& optimizer, const py::sequence& metrics,
               bool host_metrics) {
  TrainingSpec training;
  training.loss = to_loss(loss);
  if (training.loss.masked && masked_rows(program.model()) != program.model().output_groups) {
    fail("a loss can be 'masked' where a mask is about the rows of outputs");
  }
  training.optimizer = to_optimizer(optimizer);
  require_variables(training.optimizer, program.parameters().variables.size());
  training.host_metrics = host_metrics;
  for (const py::handle metric : metrics) {
    training.metrics.push_back(to_metric(py::cast<py::dict>(metric)));
    require_suitable(training.metrics.back(), program.output_width(), training.loss.target);
  }
  const Unlocked unlocked;
  program.configure(std::move(training));
}

py::object begin(const std::shared_ptr<Program>& program, const std::string& mode, const py::object& data,
                 int64_t batch_size, const std::string& shuffle, uint64_t seed, uint64_t stream) {
  static constexpr const char* kModes[] = {"train", "evaluate"};
  static constexpr Plan::Mode kPlans[] = {Plan::Mode::kTrain, Plan::Mode::kEvaluate};
  const Plan::Mode plan = kPlans[to_index(mode, kModes, 2, "mode")];
  const auto training = program->training();
  if (!training) throw py::value_error("compile the program before a run");
  auto run = std::make_unique<Run>(program, training, plan);
  run->feed(data, batch_size, shuffle, seed, stream);
  return to_python(std::move(run));
}

/// Runs a prediction of the rows of `frame.data`; false where one of them is not finite.
bool run_prediction(Program& program, Plan::Mode mode, Frame& frame) {
  const Shares shares = share_out(program.model(), mode, frame.data.rows, [] { return cpu_executor().threads(); });
  std::vector<std::shared_ptr<Workspace>> workspaces;
  std::vector<float*> arenas;
  for (int team = 0; team < shares.teams; ++team) {
    workspaces.push_back(program.lease(mode, frame.data.is_compressed(), shares.batch_rows, shares.threads));
    arenas.push_back(workspaces.back()->arena.data());
  }
  frame.model = &program.model();
  frame.parameters = &program.parameters();
  frame.weights = program.weights();
  frame.executor_state = &workspaces.front()->executor_state;
  if (asks_python(program.model(), true)) return predict_hosted(program, workspaces.front(), frame);
  const auto lock = program.lock_for(mode);
  return cpu_executor().predict(*workspaces.front()->plan, frame, arenas);
}

py::array_t<float> predict(Program& program, const py::object& x, const py::object& out, bool finite, bool training,
                           uint64_t seed) {
  const DatasetView rows = view_of(x);
  if (rows.stride != program.model().input_size) {
    throw py::value_error("rows of `x` have " + std::to_string(rows.stride) + " values, expected " +
                          std::to_string(program.model().input_size));
  }
  const int64_t outputs = program.output_size();
  py::array_t<float> result;
  if (out.is_none()) {
    result = py::array_t<float>({rows.rows, outputs});
  } else {
    if (!py::isinstance<py::array_t<float>>(out)) throw py::value_error("`out` must be a float32 array");
    result = py::reinterpret_borrow<py::array_t<float>>(out);
    if (result.ndim() != 2 || result.shape(0) != rows.rows || result.shape(1) != outputs ||
        !(result.flags() & py::array::c_style) || !result.writeable()) {
      throw py::value_error("`out` must be writable, C-contiguous and of shape (" + std::to_string(rows.rows) + ", " +
                            std::to_string(outputs) + ")");
    }
  }
  Frame frame;
  frame.data = rows;
  frame.output = result.mutable_data();
  frame.finite = finite && !rows.is_compressed();  // whose numbers are checked by whoever made them
  frame.first_iteration = static_cast<int64_t>(seed);
  bool good;
  {
    const Unlocked unlocked;
    good = run_prediction(program, training ? Plan::Mode::kSample : Plan::Mode::kPredict, frame);
  }
  if (!good) throw NotFinite("`x` holds a number that is not finite or too large for float32");
  return result;
}

}  // namespace

void register_program(py::module_& m) {
  py::register_exception<NotFinite>(m, "NotFiniteError", PyExc_ValueError);
  py::class_<Program, std::shared_ptr<Program>> type(m, "Program");
  def_init(type, &make_program, py::arg("input_size"), py::arg("layers"), py::arg("output_rows") = 1,
           py::arg("loans") = py::tuple());
  type.def_property_readonly("variables",
                             [](Program& p) { return read_variables(p, 0, p.parameters().variables.size()); })
      .def_property_readonly("weight_count", [](const Program& p) { return p.parameters().size; })
      .def("read_variables", &read_variables, py::arg("first"), py::arg("count"))
      .def_property_readonly("output_size", &Program::output_size)
      .def_property_readonly("output_width", &Program::output_width)
      .def_property("iterations", &Program::iterations, &set_iterations)
      .def("write_variables", &write_variables, py::arg("values"), py::arg("first") = 0)
      .def("compile", &configure, py::arg("loss"), py::arg("optimizer"), py::arg("metrics"),
           py::arg("host_metrics") = false)
      .def("begin", &begin, py::arg("mode"), py::arg("data"), py::arg("batch_size"), py::arg("shuffle") = "none",
           py::arg("seed") = 0, py::arg("stream") = 0)
      .def("predict", &predict, py::arg("x"), py::arg("out") = py::none(), py::arg("finite") = false,
           py::arg("training") = false, py::arg("seed") = 0)
      .def_property_readonly("state_counts", &state_counts)
      .def("read_state", &read_state, py::arg("kind"), py::arg("number"), py::arg("raw") = false,
           py::arg("index") = py::none())
      .def("write_state", &write_state, py::arg("kind"), py::arg("number"), py::arg("values"), py::arg("raw") = false,
           py::arg("index") = py::none());
}

}  // namespace engine::bindings
