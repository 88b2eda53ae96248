#include "bindings/run.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "bindings/custom.h"
#include "bindings/gil.h"
#include "bindings/host.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/totals.h"
#include "bindings/views.h"
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
  const Unlocked unlocked;
  std::vector<int32_t> order(static_cast<size_t>(rows));
  fill_permutation(seed, stream, order.data(), rows);
  if (how == 1) return order;
  // Each batch keeps its rows, in the order in which the permutation names them.
  std::vector<int64_t> next(static_cast<size_t>(divide_up(rows, batch_size)));
  for (size_t batch = 0; batch < next.size(); ++batch) next[batch] = static_cast<int64_t>(batch) * batch_size;
  std::vector<int32_t> within(static_cast<size_t>(rows));
  for (const int32_t row : order) within[static_cast<size_t>(next[static_cast<size_t>(row / batch_size)]++)] = row;
  return within;
}

/// Weights of samples, given to each of their rows of outputs; empty where they needn't be.
std::vector<float> spread_weights(const Dataset& dataset, int64_t groups) {
  const DatasetView& view = dataset.view();
  std::vector<float> weights;
  if (!view.sample_weight || dataset.weights() == groups) return weights;
  weights.reserve(static_cast<size_t>(view.rows * groups));
  for (int64_t b = 0; b < view.rows; ++b) {
    weights.insert(weights.end(), static_cast<size_t>(groups), view.sample_weight[b]);
  }
  return weights;
}

void require_fitting(const Program& program, const TrainingSpec& training, const Dataset& dataset) {
  const DatasetView& view = dataset.view();
  if (view.stride != program.model().input_size) {
    throw py::value_error("rows of `x` have " + std::to_string(view.stride) + " values, expected " +
                          std::to_string(program.model().input_size));
  }
  const bool sparse = training.loss.target == Target::kSparse;
  const int64_t groups = program.model().output_groups;
  const std::string each = groups == 1 ? "" : std::to_string(groups) + " by sample, ";
  if (sparse ? dataset.labels() != groups : dataset.outputs() != program.output_size()) {
    throw py::value_error(sparse ? "`y` must be int32 class indices, " + each + "for this loss"
                                 : "`y` must be float32 (n, " + std::to_string(program.output_size()) +
                                       ") for this loss and model");
  }
  if (dataset.weights() != 1 && dataset.weights() != groups) {
    throw py::value_error("`sample_weight` must hold 1 or " + std::to_string(groups) + " numbers by sample, got " +
                          std::to_string(dataset.weights()));
  }
}

}  // namespace

Run::Run(std::shared_ptr<Program> program, std::shared_ptr<const TrainingSpec> training, Plan::Mode mode)
    : program_(std::move(program)),
      training_(std::move(training)),
      mode_(mode),
      totals_(no_totals(*training_, program_->output_width())) {}

void Run::feed(const py::object& dataset, int64_t batch_size, const std::string& shuffle, uint64_t seed,
               uint64_t stream) {
  const Turn turn(busy_);
  const auto& data = dataset.cast<const Dataset&>();
  require_fitting(*program_, *training_, data);
  if (batch_size < 1) throw py::value_error("`batch_size` must be at least 1, got " + std::to_string(batch_size));
  batch_size = std::min(batch_size, data.view().rows);
  std::vector<int32_t> order = make_order(shuffle, data.view().rows, batch_size, seed, stream);
  std::vector<float> weights = spread_weights(data, program_->model().output_groups);
  auto workspace = workspace_;
  const bool compressed = data.view().is_compressed();
  if (!workspace || workspace->plan->max_rows < batch_size || workspace->plan->compressed != compressed) {
    workspace = program_->lease(mode_, compressed, batch_size, cpu_executor().threads());
  }
  const Step& gather = workspace->plan->steps.front();
  auto sparse = mode_ == Plan::Mode::kTrain && gather.nonzeros >= 0 ? data.sparse_rows(gather.scale) : nullptr;
  reserve_scores(*training_, data.view().rows * program_->output_size(), totals_);
  const bool binary = reads_signs(*training_) && data.binary();
  // From here on nothing fails, so that what belongs to one data set is never read with another.
  dataset_ = dataset;
  data_ = data.view();
  data_.binary = binary;
  batch_size_ = batch_size;
  order_ = std::move(order);
  weights_ = std::move(weights);
  if (!weights_.empty()) data_.sample_weight = weights_.data();
  workspace_ = std::move(workspace);
  sparse_ = std::move(sparse);
}

void Run::reset_totals() { resume_totals(no_totals(*training_, program_->output_width())); }

void Run::resume_totals(Totals totals) {
  const Turn turn(busy_);
  require_states(*training_, program_->output_width(), totals);
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
      const Unlocked unlocked;
      cursor = stretch(cursor, end * steps, rates ? rates + (cursor / steps - begin) : nullptr, deadline);
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (cursor == end * steps) break;
    if (now() >= deadline) {
      if (!poll.is_none()) ask(poll, py::int_(cursor / steps));
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
  const auto lock = program_->lock_for(plan.mode);
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
  frame.executor_state = &workspace_->executor_state;
  const int64_t reached = cpu_executor().run(
      plan, frame, cursor, end, [&] { return !program_->awaited() && std::chrono::steady_clock::now() < deadline; });
  if (plan.mode == Plan::Mode::kTrain) {
    program_->set_iterations(program_->iterations() + reached / steps - cursor / steps);
  }
  return reached;
}

void Run::call_host(const Step& step, const py::object& host, int64_t batch) {
  if (host.is_none()) throw py::value_error("this plan has a host step: pass `host`");
  const Plan& plan = *workspace_->plan;
  if (step.kernel >= 0) return call_weights_host(*program_, *workspace_, step, host);
  const int64_t first = batch * batch_size_, rows = std::min(batch_size_, data_.rows - first);
  const BatchViews views(workspace_, rows);
  const int64_t groups = program_->model().output_groups, count = rows * groups, outputs = program_->output_width();
  const Targets targets{data_.labels, data_.dense, order_.empty() ? nullptr : order_.data(), first, groups};
  py::array_t<int32_t> indices(rows), labels(data_.labels ? count : 0);
  // Those given for whole samples are given back so.
  const bool by_row = data_.sample_weight && weights_.empty();
  py::array_t<float> weights(by_row ? count : rows), dense({data_.dense ? count : 0, outputs});
  for (int64_t b = 0; b < count; ++b) {
    const int64_t row = targets.row(b);
    const bool begins = b % groups == 0;
    if (begins) indices.mutable_at(b / groups) = static_cast<int32_t>(row / groups);
    if (by_row || begins) {
      weights.mutable_at(by_row ? b : b / groups) = data_.sample_weight ? data_.sample_weight[row] : 1.0f;
    }
    if (data_.labels) labels.mutable_at(b) = data_.labels[row];
    if (data_.dense) std::copy_n(data_.dense + row * outputs, outputs, dense.mutable_data(b, 0));
  }
  py::dict batch_views;
  batch_views["training"] = plan.mode == Plan::Mode::kTrain;
  batch_views["y_true"] = data_.labels ? py::object(labels) : py::object(dense);
  batch_views["y_pred"] = views.matrix(plan.y_pred);
  const bool loss = step.losses >= 0;
  batch_views["step"] = loss ? "loss" : "metrics";
  if (loss) {
    batch_views["gradient"] = views.matrix(plan.gradient);
    batch_views["losses"] = views.vector(plan.losses, count);
  }
  batch_views["indices"] = indices;
  batch_views["sample_weight"] = weights;
  batch_views["mask"] = plan.counted < 0 ? py::object(py::none()) : views.matrix(plan.counted);
  ask(host, batch_views);
}

void register_run(py::module_& m) {
  py::class_<Run>(m, "Run")
      .def_property_readonly("batches", &Run::batches)
      .def_property_readonly("totals", [](const Run& run) { return to_python(std::make_unique<Totals>(run.totals())); })
      .def("feed", &Run::feed, py::arg("data"), py::arg("batch_size"), py::arg("shuffle") = "none", py::arg("seed") = 0,
           py::arg("stream") = 0)
      .def("reset_totals", &Run::reset_totals)
      .def("resume_totals", &Run::resume_totals, py::arg("totals"))
      .def("advance", &Run::advance, py::arg("begin"), py::arg("end"), py::arg("learning_rates") = py::none(),
           py::arg("poll") = py::none(), py::arg("host") = py::none());
}

}  // namespace engine::bindings
