#include "bindings/run.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "bindings/custom.h"
#include "bindings/host.h"
#include "bindings/register.h"
#include "bindings/totals.h"
#include "cpu/executor.h"
#include "plan/random.h"

namespace engine::bindings {
namespace {

/// How long Ctrl-C and the progress bar wait at most.
constexpr std::chrono::milliseconds kStretch{50};

/// A run in the hands of one caller: its scratch and its totals serve one thread at a time.
class Turn {
 public:
  explicit Turn(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true)) {
      throw std::runtime_error("this run is already being advanced; begin another one for another thread");
    }
  }
  ~Turn() { busy_ = false; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& busy_;
};

/// Whether 0 and 1 as targets mean something else to the loss or to a metric.
bool reads_signs(const TrainingSpec& training) {
  return reads_signs(training.loss.kind) || std::any_of(training.metrics.begin(), training.metrics.end(),
                                                        [](const auto& m) { return reads_signs(m.loss.kind); });
}

/// Rows in the order of a pass, keyed by (seed, stream); empty for the order they lie in.
std::vector<int32_t> make_order(const std::string& shuffle, int64_t rows, int64_t batch_size, uint64_t seed,
                                uint64_t stream) {
  static constexpr const char* kShuffles[] = {"none", "rows", "batches"};
  const int how = to_index(shuffle, kShuffles, 3, "shuffle");
  if (how == 0) return {};
  const py::gil_scoped_release release;
  std::vector<int32_t> order(static_cast<size_t>(rows));
  fill_permutation(seed, stream, order.data(), rows);
  if (how == 1) return order;
  // Each batch keeps its rows, in the order in which the permutation names them.
  std::vector<int64_t> next(static_cast<size_t>((rows + batch_size - 1) / batch_size));
  for (size_t batch = 0; batch < next.size(); ++batch) next[batch] = static_cast<int64_t>(batch) * batch_size;
  std::vector<int32_t> within(static_cast<size_t>(rows));
  for (const int32_t row : order) within[static_cast<size_t>(next[static_cast<size_t>(row / batch_size)]++)] = row;
  return within;
}

void require_fitting(const Program& program, const TrainingSpec& training, const Dataset& dataset) {
  const DatasetView& view = dataset.view();
  if (view.stride != program.model().input_size) {
    throw py::value_error("rows of `x` have " + std::to_string(view.stride) + " values, expected " +
                          std::to_string(program.model().input_size));
  }
  const bool sparse = training.loss.target == Target::kSparse;
  if (sparse ? !view.labels : !view.dense || dataset.outputs() != program.output_size()) {
    throw py::value_error(sparse ? "`y` must be int32 class indices for this loss"
                                 : "`y` must be float32 (n, " + std::to_string(program.output_size()) +
                                       ") for this loss and model");
  }
}

}  // namespace

Dataset::Dataset(const py::array& x, const py::object& y, const py::object& sample_weight, bool records)
    : x_(x), y_(y), sample_weight_(sample_weight), view_(view_rows(x)), records_(records) {
  const auto check = [&](const py::array& array, const char* name) {
    require_readable(array, name);
    if (array.shape(0) != view_.rows) {
      throw py::value_error(std::string("`x` has ") + std::to_string(view_.rows) + " rows, `" + name + "` has " +
                            std::to_string(array.shape(0)));
    }
  };
  if (py::isinstance<py::array_t<int32_t>>(y) && py::cast<py::array>(y).ndim() == 1) {
    check(y, "y");
    view_.labels = static_cast<const int32_t*>(py::cast<py::array>(y).data());
  } else if (py::isinstance<py::array_t<float>>(y) && py::cast<py::array>(y).ndim() == 2) {
    check(y, "y");
    view_.dense = static_cast<const float*>(py::cast<py::array>(y).data());
    outputs_ = py::cast<py::array>(y).shape(1);
  } else if (!y.is_none()) {
    throw py::value_error("`y` must be int32 (n,) or float32 (n, outputs)");
  }
  if (sample_weight.is_none()) return;
  if (!py::isinstance<py::array_t<float>>(sample_weight) || py::cast<py::array>(sample_weight).ndim() != 1) {
    throw py::value_error("`sample_weight` must be float32 (n,)");
  }
  check(sample_weight, "sample_weight");
  view_.sample_weight = static_cast<const float*>(py::cast<py::array>(sample_weight).data());
}

std::shared_ptr<const SparseRows> Dataset::sparse_rows(float scale) const {
  if (!records_) return nullptr;
  const py::gil_scoped_release release;
  const std::lock_guard<std::mutex> lock(sparse_mutex_);
  if (!sparse_ || sparse_->scale != scale) {
    sparse_ = std::make_shared<const SparseRows>(cpu_executor().sparse_rows(view_, scale));
  }
  return sparse_->values == RecordValues::kNone ? nullptr : sparse_;
}

bool Dataset::binary() const {
  if (!binary_) {
    const float* end = view_.dense ? view_.dense + view_.rows * outputs_ : nullptr;
    binary_ = std::all_of(view_.dense, end, [](float t) { return t == 0.0f || t == 1.0f; });
  }
  return *binary_;
}

Run::Run(std::shared_ptr<Program> program, std::shared_ptr<const TrainingSpec> training, Plan::Mode mode)
    : program_(std::move(program)),
      training_(std::move(training)),
      mode_(mode),
      totals_(no_totals(*training_, program_->output_size())) {}

void Run::feed(const py::object& dataset, int64_t batch_size, const std::string& shuffle, uint64_t seed,
               uint64_t stream) {
  const Turn turn(busy_);
  const auto& data = dataset.cast<const Dataset&>();
  require_fitting(*program_, *training_, data);
  if (batch_size < 1) throw py::value_error("`batch_size` must be at least 1, got " + std::to_string(batch_size));
  batch_size = std::min(batch_size, data.view().rows);
  std::vector<int32_t> order = make_order(shuffle, data.view().rows, batch_size, seed, stream);
  if (!workspace_ || workspace_->plan->max_rows < batch_size) {
    workspace_ = program_->lease(mode_, batch_size, cpu_executor().threads());
  }
  dataset_ = dataset;
  data_ = data.view();
  data_.binary = reads_signs(*training_) && data.binary();
  reserve_scores(*training_, data_.rows * program_->output_size(), totals_);
  batch_size_ = batch_size;
  order_ = std::move(order);
  const Step& gather = workspace_->plan->steps.front();
  sparse_ = mode_ == Plan::Mode::kTrain && gather.nonzeros >= 0 ? data.sparse_rows(gather.scale) : nullptr;
}

void Run::reset_totals() { resume_totals(no_totals(*training_, program_->output_size())); }

void Run::resume_totals(Totals totals) {
  const Turn turn(busy_);
  require_states(*training_, program_->output_size(), totals);
  totals_ = std::move(totals);
  reserve_scores(*training_, data_.rows * program_->output_size(), totals_);
}

void Run::advance(int64_t begin, int64_t end, const py::object& learning_rates, const py::object& poll,
                  const py::object& host) {
  const Turn turn(busy_);
  const Plan& plan = *workspace_->plan;
  if (begin < 0 || begin > end || end > batches()) {
    throw py::value_error("batches [" + std::to_string(begin) + ", " + std::to_string(end) + ") do not lie in [0, " +
                          std::to_string(batches()) + ")");
  }
  const double* rates = nullptr;
  py::array_t<double, kReadable | py::array::forcecast> rate_array;
  if (plan.mode == Plan::Mode::kTrain) {
    if (!learning_rates.is_none()) rate_array = learning_rates;
    if (rate_array.size() != end - begin) {
      throw py::value_error("training needs one learning rate per batch: " + std::to_string(end - begin) + ", got " +
                            std::to_string(rate_array.size()));
    }
    rates = rate_array.data();
  }
  const auto steps = static_cast<int64_t>(plan.steps.size());
  const auto now = [] { return std::chrono::steady_clock::now(); };
  Time deadline = now() + kStretch;
  for (int64_t cursor = begin * steps; cursor < end * steps;) {
    {
      const py::gil_scoped_release release;
      cursor = stretch(cursor, end * steps, rates ? rates + (cursor / steps - begin) : nullptr, deadline);
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (cursor == end * steps) break;
    if (now() >= deadline) {
      if (!poll.is_none()) poll(cursor / steps);
      deadline = now() + kStretch;
    }
    const Step& step = plan.steps[static_cast<size_t>(cursor % steps)];
    if (!is_host(step.kind)) continue;
    if (step.kind == Step::Kind::kHost) {
      call_host(step, host, cursor / steps);
    } else {
      const int64_t first = cursor / steps * batch_size_;
      call_layer(*program_, workspace_, step, std::min(batch_size_, data_.rows - first));
    }
    ++cursor;
  }
}

int64_t Run::stretch(int64_t cursor, int64_t end, const double* learning_rates, Time deadline) {
  const Plan& plan = *workspace_->plan;
  const auto steps = static_cast<int64_t>(plan.steps.size());
  const auto run = [&] {
    if (training_ != program_->training() || training_ != workspace_->training) {
      throw py::value_error("the program was compiled again after this run began; begin a new one");
    }
    Frame frame;
    frame.model = &program_->model();
    frame.parameters = &program_->parameters();
    frame.training = training_.get();
    frame.weights = program_->weights();
    for (int s = 0; s < kMaxSlots; ++s) frame.slots[s] = program_->slots(s);
    frame.accumulated = program_->accumulated();
    frame.averages = program_->averages();
    frame.arena = workspace_->arena.data();
    frame.data = data_;
    frame.sparse = sparse_.get();
    frame.order = order_.empty() ? nullptr : order_.data();
    frame.batch_size = batch_size_;
    frame.learning_rates = learning_rates;
    frame.first_batch = cursor / steps;
    frame.first_iteration = program_->iterations() + 1;
    frame.totals = &totals_;
    const int64_t reached = cpu_executor().run(
        plan, frame, cursor, end, [&] { return !program_->awaited() && std::chrono::steady_clock::now() < deadline; });
    if (plan.mode == Plan::Mode::kTrain) {
      program_->set_iterations(program_->iterations() + reached / steps - cursor / steps);
    }
    return reached;
  };
  if (plan.mode == Plan::Mode::kTrain) {
    const auto lock = program_->write_lock();
    return run();
  }
  const auto lock = program_->read_lock();
  return run();
}

void Run::call_host(const Step& step, const py::object& host, int64_t batch) {
  if (host.is_none()) throw py::value_error("this plan has a host step: pass `host`");
  const Plan& plan = *workspace_->plan;
  if (step.kernel >= 0) return call_weights_host(*program_, *workspace_, step, host);
  const int64_t first = batch * batch_size_, rows = std::min(batch_size_, data_.rows - first);
  const py::object owner = py::cast(this, py::return_value_policy::reference);
  const auto matrix = [&](int buffer) {
    const Buffer& shape = plan.buffers[static_cast<size_t>(buffer)];
    return view(workspace_->buffer(buffer), rows, shape.columns, shape.ld, owner);
  };
  const int64_t outputs = program_->output_size();
  py::array_t<int32_t> indices(rows), labels(data_.labels ? rows : 0);
  py::array_t<float> weights(rows), dense({data_.dense ? rows : 0, outputs});
  for (int64_t b = 0; b < rows; ++b) {
    const int64_t row = order_.empty() ? first + b : order_[static_cast<size_t>(first + b)];
    indices.mutable_at(b) = static_cast<int32_t>(row);
    weights.mutable_at(b) = data_.sample_weight ? data_.sample_weight[row] : 1.0f;
    if (data_.labels) labels.mutable_at(b) = data_.labels[row];
    if (data_.dense) std::copy_n(data_.dense + row * outputs, outputs, dense.mutable_data(b, 0));
  }
  py::dict batch_views;
  batch_views["training"] = plan.mode == Plan::Mode::kTrain;
  batch_views["y_true"] = data_.labels ? py::object(labels) : py::object(dense);
  batch_views["y_pred"] = matrix(plan.y_pred);
  const bool loss = step.losses >= 0;
  batch_views["step"] = loss ? "loss" : "metrics";
  if (loss) {
    batch_views["gradient"] = matrix(plan.gradient);
    batch_views["losses"] =
        py::array_t<float>({rows}, {static_cast<py::ssize_t>(sizeof(float))}, workspace_->buffer(plan.losses), owner);
  }
  batch_views["indices"] = indices;
  batch_views["sample_weight"] = weights;
  host(batch_views);
}

void register_run(py::module_& m) {
  py::class_<Dataset>(m, "Dataset")
      .def(py::init<const py::array&, const py::object&, const py::object&, bool>(), py::arg("x"),
           py::arg("y") = py::none(), py::arg("sample_weight") = py::none(), py::arg("records") = true)
      .def("__len__", [](const Dataset& data) { return data.view().rows; });

  py::class_<Run>(m, "Run")
      .def_property_readonly("batches", &Run::batches)
      .def_property_readonly("totals", &Run::totals, py::return_value_policy::copy)
      .def("feed", &Run::feed, py::arg("data"), py::arg("batch_size"), py::arg("shuffle") = "none", py::arg("seed") = 0,
           py::arg("stream") = 0)
      .def("reset_totals", &Run::reset_totals)
      .def("resume_totals", &Run::resume_totals, py::arg("totals"))
      .def("advance", &Run::advance, py::arg("begin"), py::arg("end"), py::arg("learning_rates") = py::none(),
           py::arg("poll") = py::none(), py::arg("host") = py::none());
}

}  // namespace engine::bindings
