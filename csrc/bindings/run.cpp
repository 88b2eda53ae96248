#include "bindings/run.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bindings/gil.h"
#include "bindings/host_steps.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/totals.h"
#include "cpu/device.h"
#include "runtime/random.h"

namespace engine::bindings {
namespace {

/// How long Ctrl-C and the progress bar wait at most.
constexpr std::chrono::milliseconds kStretch{50};

/// So many rows are put into their order within 20 us, which is less than to wait for the interpreter's lock after it.
constexpr int64_t kQuickRows = 10'000;

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
  return std::any_of(training.losses.begin(), training.losses.end(),
                     [](const LossSpec& loss) { return reads_signs(loss.kind); }) ||
         std::any_of(training.metrics.begin(), training.metrics.end(),
                     [](const MetricSpec& metric) { return reads_signs(metric.loss.kind); });
}

/// Rows in the order of a pass, keyed by (seed, stream); empty for the order they lie in.
std::vector<int32_t> make_order(const std::string& shuffle, int64_t rows, int64_t batch_size, uint64_t seed,
                                uint64_t stream) {
  static constexpr const char* kShuffles[] = {"none", "rows", "batches"};
  const int how = to_index(shuffle, kShuffles, 3, "shuffle");
  if (how == 0) return {};
  std::optional<Unlocked> unlocked;
  if (rows > kQuickRows) unlocked.emplace();
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

void require_fitting(const graph::Model& model, const TrainingSpec& training, const Dataset& dataset) {
  const DatasetView& view = dataset.view();
  if (view.stride != model.input_size()) {
    throw py::value_error("rows of `x` have " + std::to_string(view.stride) + " values, expected " +
                          std::to_string(model.input_size()));
  }
  if (view.is_compressed() && model.spec().input_sizes.size() > 1) {
    throw py::value_error("a model with several inputs takes arrays, no compressed rows");
  }
  const size_t outputs = model.spec().outputs.size();
  if (dataset.sizes().size() != outputs) {
    throw py::value_error("`y` must have an entry for each of " + std::to_string(outputs) + " outputs");
  }
  for (size_t i = 0; i < outputs; ++i) {
    const TargetSizes& sizes = dataset.sizes()[i];
    const bool sparse = training.losses[i].target == Target::kSparse;
    const int64_t groups = model.spec().outputs[i].groups;
    const std::string each = groups == 1 ? "" : std::to_string(groups) + " by sample, ";
    const int64_t own = training.losses[i].target_size;
    const int64_t targets = own != 0 ? own : sparse ? groups : model.output_size(i);
    if ((sparse ? sizes.labels : sizes.outputs) != targets) {
      throw py::value_error(sparse
                                ? "`y` must be int32 class indices, " + each + "for this loss"
                                : "`y` must be float32 (n, " + std::to_string(targets) + ") for this loss and model");
    }
    if (sizes.weights != 1 && sizes.weights != groups) {
      throw py::value_error("`sample_weight` must hold 1 or " + std::to_string(groups) + " numbers by sample, got " +
                            std::to_string(sizes.weights));
    }
  }
}

}  // namespace

Run::Run(std::shared_ptr<Program> program, std::shared_ptr<const TrainingSpec> training, graph::Mode mode)
    : program_(std::move(program)),
      training_(std::move(training)),
      mode_(mode),
      totals_(no_totals(*training_, program_->model())) {}

void Run::feed(const std::shared_ptr<const Dataset>& dataset, int64_t batch_size, const std::string& shuffle,
               uint64_t seed, uint64_t stream) {
  const Turn turn(busy_);
  const Dataset& data = *dataset;
  const graph::Model& model = program_->model();
  require_fitting(model, *training_, data);
  data.require_readable_by(program_->device());
  if (batch_size < 1) throw py::value_error("`batch_size` must be at least 1, got " + std::to_string(batch_size));
  batch_size = std::min(batch_size, data.view().rows);
  std::vector<int32_t> order = make_order(shuffle, data.view().rows, batch_size, seed, stream);
  std::vector<std::vector<float>> row_weights;
  for (size_t i = 0; i < data.sizes().size(); ++i) {
    row_weights.push_back(data.spread_weights(i, model.spec().outputs[i].groups));
  }
  auto workspace = workspace_;
  const bool compressed = data.view().is_compressed();
  if (!workspace || workspace->executable->max_rows() < batch_size ||
      workspace->executable->compressed() != compressed) {
    workspace = program_->lease(mode_, {compressed, batch_size, 0});
  }
  const auto scale = workspace->executable->sparse_scale();
  auto sparse = mode_ == graph::Mode::kTrain && scale ? data.sparse_rows(*scale) : nullptr;
  reserve_scores(*training_, model, data.view().rows, totals_);
  auto copy = dataset_ == dataset ? copy_ : copy_for(data, row_weights);
  std::vector<bool> binary;
  for (size_t i = 0; i < data.sizes().size(); ++i) binary.push_back(reads_signs(*training_) && data.binary(i));
  // From here on nothing fails, so that what belongs to one data set is never read with another.
  dataset_ = dataset;
  data_ = data.view();
  batch_size_ = batch_size;
  order_ = std::move(order);
  row_weights_ = std::move(row_weights);
  weights_are_spread_.assign(row_weights_.size(), false);
  for (size_t i = 0; i < row_weights_.size(); ++i) {
    data_.targets[i].binary = binary[i];
    weights_are_spread_[i] = !row_weights_[i].empty();
    if (weights_are_spread_[i]) data_.targets[i].sample_weight = row_weights_[i].data();
  }
  workspace_ = std::move(workspace);
  sparse_ = std::move(sparse);
  copy_ = std::move(copy);
}

std::shared_ptr<const DatasetCopy> Run::copy_for(const Dataset& data,
                                                 const std::vector<std::vector<float>>& row_weights) const {
  const Device& device = program_->device();
  const auto is_spread = [](const std::vector<float>& weights) { return !weights.empty(); };
  if (std::none_of(row_weights.begin(), row_weights.end(), is_spread)) return data.copy_on(device);
  DatasetView weighted = data.view();
  std::vector<TargetSizes> sizes = data.sizes();
  for (size_t i = 0; i < row_weights.size(); ++i) {
    if (row_weights[i].empty()) continue;
    weighted.targets[i].sample_weight = row_weights[i].data();
    sizes[i].weights = program_->model().spec().outputs[i].groups;
  }
  const Unlocked unlocked;
  return device.copy(weighted, sizes);
}

void Run::reset_totals() { resume_totals(no_totals(*training_, program_->model())); }

void Run::resume_totals(Totals totals) {
  const Turn turn(busy_);
  require_states(*training_, program_->model(), totals);
  totals_ = std::move(totals);
  reserve_scores(*training_, program_->model(), data_.rows, totals_);
}

void Run::advance(int64_t begin, int64_t end, const double* rates, const py::object& poll, const py::object& host) {
  const Turn turn(busy_);
  const Executable& executable = *workspace_->executable;
  if (begin < 0 || begin > end || end > batches()) {
    throw py::value_error("batches [" + std::to_string(begin) + ", " + std::to_string(end) + ") do not lie in [0, " +
                          std::to_string(batches()) + ")");
  }
  const int64_t steps = executable.steps();
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
    const graph::HostOperation* const step = executable.host_operation(cursor % steps);
    if (!step) continue;
    do_step(*step, host, cursor / steps);
    ++cursor;
  }
}

int64_t Run::stretch(int64_t cursor, int64_t end, const double* learning_rates, Time deadline) {
  const Executable& executable = *workspace_->executable;
  const int64_t steps = executable.steps();
  const auto lock = program_->lock_for(executable.mode());
  if (training_ != program_->training() || training_ != workspace_->training) {
    throw py::value_error("the program was compiled again after this run began; begin a new one");
  }
  RunArguments arguments;
  arguments.training = training_.get();
  arguments.weights = program_->weights();
  arguments.state = program_->state_for(executable.graph());
  arguments.scratch = workspace_->scratch.data();
  arguments.data = data_;
  arguments.sparse = sparse_.get();
  arguments.copy = copy_.get();
  arguments.order = order_.empty() ? nullptr : order_.data();
  arguments.batch_size = batch_size_;
  arguments.learning_rates = learning_rates;
  arguments.first_batch = cursor / steps;
  OptimizerState& state = *program_->optimizer_state();
  arguments.first_iteration = state.iterations() + 1;
  arguments.totals = &totals_;
  arguments.device_state = &workspace_->device_state;
  const int64_t reached = program_->device().run(executable, arguments, cursor, end, [&] {
    return !program_->awaited() && std::chrono::steady_clock::now() < deadline;
  });
  if (executable.mode() == graph::Mode::kTrain) {
    state.set_iterations(state.iterations() + reached / steps - cursor / steps);
  }
  return reached;
}

void Run::do_step(const graph::HostOperation& step, const py::object& host, int64_t batch) {
  const int64_t first = batch * batch_size_;
  do_host_step(*program_, workspace_, step, host,
               {&data_, &weights_are_spread_, order_.empty() ? nullptr : order_.data(), first,
                std::min(batch_size_, data_.rows - first)});
}

namespace {

void advance(Run& run, int64_t begin, int64_t end, const py::object& learning_rates, const py::object& poll,
             const py::object& host) {
  py::array_t<double, kReadable | py::array::forcecast> rates;
  if (!learning_rates.is_none()) rates = learning_rates;
  if (run.trains() && rates.size() != end - begin) {
    throw py::value_error("training needs one learning rate per batch: " + std::to_string(end - begin) + ", got " +
                          std::to_string(rates.size()));
  }
  run.advance(begin, end, run.trains() ? rates.data() : nullptr, poll, host);
}

}  // namespace

void register_run(py::module_& m) {
  py::class_<Run>(m, "Run")
      .def_property_readonly("batches", &Run::batches)
      .def_property_readonly("totals", [](const Run& run) { return to_python(std::make_unique<Totals>(run.totals())); })
      .def("feed", &Run::feed, py::arg("data").none(false), py::arg("batch_size"), py::arg("shuffle") = "none",
           py::arg("seed") = 0, py::arg("stream") = 0)
      .def("reset_totals", &Run::reset_totals)
      .def("resume_totals", &Run::resume_totals, py::arg("totals"))
      .def("advance", &advance, py::arg("begin"), py::arg("end"), py::arg("learning_rates") = py::none(),
           py::arg("poll") = py::none(), py::arg("host") = py::none());
}

}  // namespace engine::bindings
