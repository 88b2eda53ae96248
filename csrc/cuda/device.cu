// Runs schedules on a GPU. The kernels of some batches are started at a time, while the host prepares those of the next
// ones; all that they need to know of their batch goes ahead of them in one copy.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "cuda/chain_schedule.h"
#include "cuda/chains/data_parallel_kernels.h"
#include "cuda/chains/persistent_kernel.h"
#include "cuda/dataset.h"
#include "cuda/device.h"
#include "cuda/execution_choice.h"
#include "cuda/function_call.h"
#include "cuda/library/matrix_products.h"
#include "cuda/run_state.h"
#include "cuda/schedule.h"
#include "runtime/batch_sizes.h"

namespace engine {
namespace cuda {
namespace {

/// Batches of a group at most, where there is a kernel for each step.
constexpr int64_t kMaxBatches = 32;
/// Row numbers that the card is told for a group; a batch may have more.
constexpr int64_t kMaxOrderRows = 1 << 20;

/// Rows of a prediction that go through the network together.
constexpr int64_t kMaxPredictedTogether = 8192;

template <class... Rules>
void write_coefficients(Optimizer rule, const OptimizerStep& step, unsigned char* to, Types<Rules...>) {
  const auto write = [&](const auto& coefficients) { std::memcpy(to, &coefficients, sizeof coefficients); };
  ((rule == Rules::kKind ? write(Rules::coefficients(step)) : void()), ...);
}

/// All executables that the device is given are its own.
const Schedule& schedule_of(const Executable& executable) { return static_cast<const Schedule&>(executable); }

/// What kernels are told of batch `index` of a run.
Batch batch_at(const RunArguments& arguments, graph::Mode mode, int64_t index) {
  Batch batch{};
  batch.first = index * arguments.batch_size;
  batch.rows = batch.whole = std::min(arguments.batch_size, arguments.data.rows - batch.first);
  const int64_t iteration = arguments.first_iteration + index - arguments.first_batch;
  // A prediction numbers its random draws from its first sample on, since it may be cut into batches in many ways.
  const bool predicts = graph::predicts(mode);
  batch.draw = predicts ? arguments.first_iteration : iteration;
  batch.first_draw = predicts ? batch.first : 0;
  if (!arguments.learning_rates) return batch;
  const OptimizerSpec& optimizer = arguments.training->optimizer;
  const int64_t number = (iteration - 1) / optimizer.accumulate + 1;
  batch.steps_weights = iteration % optimizer.accumulate == 0;
  batch.overwrites = optimizer.overwrite > 0 && number % optimizer.overwrite == 0;
  batch.step = {arguments.learning_rates[index - arguments.first_batch], number, {}};
  std::memcpy(batch.step.parameters, optimizer.parameters, sizeof batch.step.parameters);
  write_coefficients(optimizer.kind, batch.step, batch.coefficients, formulas::Optimizers<float>{});
  if (optimizer.kind == Optimizer::kMuon) {
    write_coefficients(Optimizer::kMuonAdam, batch.step, batch.adam_coefficients, formulas::Optimizers<float>{});
  }
  return batch;
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    const auto ask = [&](cudaDeviceAttr attribute) {
      int value = 0;
      check(cudaDeviceGetAttribute(&value, attribute, index), "asking for its size");
      return value;
    };
    limits_.multiprocessors = ask(cudaDevAttrMultiProcessorCount);
    limits_.shared_bytes = ask(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    limits_.grids_can_wait = ask(cudaDevAttrCooperativeLaunch) != 0;
    // Those of GeForce and workstation cards (8.6, 8.9, 12.0) are not.
    const int major = ask(cudaDevAttrComputeCapabilityMajor), minor = ask(cudaDevAttrComputeCapabilityMinor);
    limits_.fast_tensor_cores = major == 8 ? minor == 0 : major < 12;
    const DeviceGuard device_guard(index);
    keep_freed_memory();
    const ClustersAtOnce one = chains::prepare_persistent_kernel(limits_);
    const ClustersAtOnce other = chains::prepare_data_parallel_kernels(limits_);
    for (size_t i = 0; i < one.size(); ++i) limits_.clusters[i] = std::min(one[i], other[i]);
  }

  std::string name() const override { return "cuda:" + std::to_string(index_); }
  Arena allocate(int64_t floats, float value) const override;
  std::shared_ptr<const DatasetCopy> copy(const DatasetView& data,
                                          const std::vector<TargetSizes>& sizes) const override {
    const DeviceGuard device_guard(index_);
    return std::make_shared<const DatasetOnCard>(data, sizes, copy_stream());
  }
  int64_t memory_of(const Variable& variable) const override;
  void upload(const Variable& variable, const float* values, float* memory) const override {
    copy_weights(memory, values, variable);
  }
  void download(const Variable& variable, const float* memory, float* values) const override {
    copy_weights(values, memory, variable);
  }
  std::shared_ptr<const Executable> compile(std::shared_ptr<const graph::Graph> graph,
                                            const CompileOptions& options) const override {
    const DeviceGuard device_guard(index_);
    return std::make_shared<Schedule>(std::move(graph), options, limits_);
  }
  int64_t run(const Executable& executable, const RunArguments& arguments, int64_t begin, int64_t end,
              const std::function<bool()>& keep_going) override;
  PredictionTeams divide_prediction(const graph::Graph& graph, int64_t rows, int) const override {
    const int64_t all = round_to_power(rows);
    return {1, 1, predicts_in_one_batch(graph) ? all : std::min(all, kMaxPredictedTogether)};
  }
  bool predict(const Executable& executable, const RunArguments& arguments,
               const std::vector<float*>& scratch) override;
  bool predict_here(const Executable& executable, const RunArguments& arguments) override {
    return predict(executable, arguments, {arguments.scratch});
  }
  int threads() const override { return 1; }
  int useful_threads(const graph::Graph&, int64_t) const override { return 1; }

 private:
  void copy_weights(float* to, const float* from, const Variable& variable) const {
    const DeviceGuard device_guard(index_);
    copy_stream().copy(to, from, variable.rows * variable.columns * static_cast<int64_t>(sizeof(float)));
    copy_stream().wait();
  }
  /// Lets the driver keep some of the memory that is freed, as data sets of single batches are.
  void keep_freed_memory() const {
    uint64_t bytes = 64 << 20;
    cudaMemPool_t pool;
    check(cudaDeviceGetDefaultMemPool(&pool, index_), "asking for its memory");
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &bytes), "setting what it keeps");
  }

  const int index_;
  CardLimits limits_;
};

Arena CudaDevice::allocate(int64_t floats, float value) const {
  const DeviceGuard device_guard(index_);
  const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
  Arena arena(cuda::allocate(bytes));
  std::vector<float> values;  // which the stream reads until it is done
  if (value == 0.0f) {
    copy_stream().fill_zeros(arena.data(), bytes);
  } else {
    values.assign(static_cast<size_t>(floats), value);
    copy_stream().copy(arena.data(), values.data(), bytes);
  }
  copy_stream().wait();
  return arena;
}

int64_t CudaDevice::memory_of(const Variable& variable) const {
  constexpr int64_t kAlignment = 32;  // floats of a segment of memory
  return (variable.rows * variable.columns + kAlignment - 1) / kAlignment * kAlignment;
}

// ---- Totals ---------------------------------------------------------------------------------------------------------

std::vector<double> to_doubles(const Totals& totals, const TotalsLayout& layout) {
  std::vector<double> all(static_cast<size_t>(layout.count));
  all[static_cast<size_t>(layout.loss)] = totals.loss;
  all[static_cast<size_t>(layout.samples)] = totals.samples;
  std::copy(totals.output_losses.begin(), totals.output_losses.end(), all.begin() + layout.output_losses);
  for (size_t i = 0; i < layout.metrics.size(); ++i) {
    if (layout.metrics[i] >= 0) std::copy_n(totals.metrics[i].begin(), 2, all.begin() + layout.metrics[i]);
  }
  for (const int metric : layout.metrics_of_sums) {
    const std::vector<double>& sums = totals.metrics[static_cast<size_t>(metric)];
    all.insert(all.end(), sums.begin(), sums.end());
  }
  return all;
}

void from_doubles(const std::vector<double>& all, const TotalsLayout& layout, Totals& totals) {
  totals.loss = all[static_cast<size_t>(layout.loss)];
  totals.samples = all[static_cast<size_t>(layout.samples)];
  std::copy_n(all.begin() + layout.output_losses, totals.output_losses.size(), totals.output_losses.begin());
  for (size_t i = 0; i < layout.metrics.size(); ++i) {
    if (layout.metrics[i] >= 0) std::copy_n(all.begin() + layout.metrics[i], 2, totals.metrics[i].begin());
  }
  auto next = all.begin() + layout.count;
  for (const int metric : layout.metrics_of_sums) {
    std::vector<double>& sums = totals.metrics[static_cast<size_t>(metric)];
    std::copy_n(next, sums.size(), sums.begin());
    next += static_cast<int64_t>(sums.size());
  }
}

// ---- Runs -----------------------------------------------------------------------------------------------------------

/// The state of a workspace; new if it has none, for groups of up to `batches` batches, whose samples have an order or
/// lie in that of the data set.
RunState& state_of(const Schedule& schedule, const RunArguments& arguments, DeviceState& spare, int64_t batches,
                   bool has_order) {
  DeviceState& state = arguments.device_state ? *arguments.device_state : spare;
  if (!state) {
    const int64_t rows = schedule.max_rows();
    const int64_t fitting = has_order ? std::clamp(kMaxOrderRows / rows, int64_t{1}, batches) : batches;
    state = std::make_shared<RunState>(has_order ? fitting * rows : 0, fitting);
  }
  return *static_cast<RunState*>(state.get());
}

/// Everything that may change between two runs of a workspace and that the arguments of kernels depend on.
CapturedKernels::Key key_of(const RunArguments& arguments, const RunMemory& memory) {
  const auto* const data = static_cast<const DatasetOnCard*>(arguments.copy);
  CapturedKernels::Key key{reinterpret_cast<const void*>(data ? data->number() : 0),
                           arguments.scratch,
                           arguments.state.accumulated,
                           arguments.state.averages,
                           arguments.state.offsets,
                           memory.totals,
                           memory.workspace};
  std::copy_n(arguments.state.slots, kMaxSlots, key.end() - kMaxSlots);
  return key;
}

/// Lets all steps do what may fail for the batches of a run, before it changes anything, and returns their workspace.
void* prepare_steps(const Schedule& schedule, const RunArguments& arguments, RunState& state) {
  const int64_t rows = arguments.data.rows;
  if (rows == 0) return nullptr;
  const int64_t last = rows % arguments.batch_size;
  int64_t bytes = 0;
  for (const auto& step : schedule.kernels()) {
    if (rows >= arguments.batch_size) bytes = std::max(bytes, step->prepare(arguments.batch_size));
    if (last > 0) bytes = std::max(bytes, step->prepare(last));
  }
  return bytes > 0 ? state.memory(RunState::Purpose::kWorkspace, bytes) : nullptr;
}

/// Starts the kernels of batches [first, end). Returns of how many: the card may refuse the way that these go.
int64_t start_batches(const Schedule& schedule, const RunArguments& arguments, const RunMemory& memory, RunState& state,
                      int64_t first, int64_t end, Way way) {
  RunState::Group& group = state.next_group();
  auto* const order = static_cast<int32_t*>(group.on_host.get());
  auto* const batches = reinterpret_cast<Batch*>(static_cast<char*>(group.on_host.get()) + state.order_bytes());
  const auto* const order_on_card = static_cast<const int32_t*>(group.on_card.get());
  auto* const batches_on_card = reinterpret_cast<Batch*>(static_cast<char*>(group.on_card.get()) + state.order_bytes());
  int64_t rows = 0;
  for (int64_t i = first; i < end; ++i) {
    Batch& batch = batches[i - first];
    batch = batch_at(arguments, schedule.mode(), i);
    if (arguments.order) {
      std::copy_n(arguments.order + batch.first, batch.rows, order + rows);
      batch.order = order_on_card + rows;
      rows += batch.rows;
    }
  }
  const Stream& stream = state.stream;
  stream.copy(group.on_card.get(), order, rows * static_cast<int64_t>(sizeof(int32_t)));
  stream.copy(batches_on_card, batches, (end - first) * static_cast<int64_t>(sizeof(Batch)));
  const auto start_each = [&] {
    for (int64_t i = 0; i < end - first; ++i) {
      if (way == Way::kDataParallel) {
        if (!schedule.chain().train_data_parallel(stream.get(), memory, batches_on_card + i, batches[i].rows)) return i;
        continue;
      }
      for (const auto& step : schedule.kernels()) {
        step->launch(stream.get(), memory, batches_on_card + i, batches[i].rows);
      }
    }
    return end - first;
  };
  int64_t started = 0;
  if (way == Way::kPersistent) {
    started = schedule.chain().train_persistent(stream, memory, batches_on_card, end - first) ? end - first : 0;
  } else {
    const CapturedKernels::Group shape{end - first, batches[0].rows, batches[end - first - 1].rows,
                                       way == Way::kDataParallel};
    started = group.kernels.launch(stream, key_of(arguments, memory), shape, start_each);
  }
  check(cudaEventRecord(group.done, stream.get()), "recording an event");
  return started;
}

/// Batches of the first launch of the one kernel for many batches, and of each launch twice as many as of the one
/// before: the card begins at once, and the host prepares the others meanwhile.
constexpr int64_t kBatchesOfFirstLaunch = 64;

/// Runs a function once: its arguments go to the card, and its results come back.
int64_t run_function(const Schedule& schedule, const RunArguments& arguments, RunState& state, int64_t begin,
                     int64_t end) {
  const FunctionCall call(schedule, arguments);
  const WaitOnError guard(state.stream);
  void* const workspace = prepare_steps(schedule, arguments, state);
  const RunMemory memory{schedule, arguments, arguments.data, nullptr, nullptr, 0, nullptr, workspace};
  call.upload(memory, state.stream);
  start_batches(schedule, arguments, memory, state, begin, end, Way::kSteps);
  call.download(memory, state.stream);
  state.stream.wait();
  return end;
}

int64_t CudaDevice::run(const Executable& executable, const RunArguments& arguments, int64_t begin, int64_t end,
                        const std::function<bool()>& keep_going) {
  const DeviceGuard device_guard(index_);
  const Schedule& schedule = schedule_of(executable);
  DeviceState spare;
  if (schedule.mode() == graph::Mode::kFunction) {
    return run_function(schedule, arguments, state_of(schedule, arguments, spare, 1, false), begin, end);
  }
  require_supported(arguments.training->metrics);
  const auto& data = static_cast<const DatasetOnCard&>(*arguments.copy);
  const ChainSchedule& chain = schedule.chain();
  Way way = schedule.mode() == graph::Mode::kTrain ? chain.way(arguments, data.view()) : Way::kSteps;
  const bool persistent = way == Way::kPersistent;
  RunState& state = state_of(schedule, arguments, spare,
                             persistent ? chain.batches_together(arguments, data.view()) : kMaxBatches, true);
  const TotalsLayout& layout = schedule.totals();
  std::vector<double> totals = to_doubles(*arguments.totals, layout);
  const auto bytes = static_cast<int64_t>(totals.size() * sizeof(double));
  auto* const on_card = static_cast<double*>(state.memory(RunState::Purpose::kTotals, bytes));
  void* const workspace = way == Way::kSteps ? prepare_steps(schedule, arguments, state) : nullptr;
  const WaitOnError guard(state.stream);
  state.stream.copy(on_card, totals.data(), bytes);
  RunMemory memory{schedule, arguments, data.view(), on_card, nullptr, 0, nullptr, workspace};
  state.group_size.begin_run();
  int64_t reached = begin, together = std::min(state.batches(), kBatchesOfFirstLaunch);
  while (reached < end) {
    const int64_t wanted = way == Way::kPersistent ? together : std::min(state.group_size.next(), kMaxBatches);
    const int64_t next = std::min(end, reached + wanted);
    reached += start_batches(schedule, arguments, memory, state, reached, next, way);
    if (reached < next) {
      way = Way::kSteps;
      memory.workspace = prepare_steps(schedule, arguments, state);
      continue;
    }
    together = std::min(2 * together, state.batches());
    if (reached < end && !keep_going()) break;
  }
  state.stream.copy(totals.data(), on_card, bytes);
  state.stream.wait();
  from_doubles(totals, layout, *arguments.totals);
  return reached;
}

bool CudaDevice::predict(const Executable& executable, const RunArguments& arguments,
                         const std::vector<float*>& scratch) {
  const DeviceGuard device_guard(index_);
  const Schedule& schedule = schedule_of(executable);
  RunArguments own = arguments;
  own.scratch = scratch.front();
  own.batch_size = schedule.max_rows();
  const DatasetView& rows = arguments.data;
  const int64_t row_bytes = rows.stride * bytes_of(rows.type), width = schedule.output_size();
  DeviceState spare;
  RunState& state = state_of(schedule, own, spare, 1, false);
  const int64_t output_bytes = width * static_cast<int64_t>(sizeof(float));
  const bool stays = is_readable_here(rows.x);  // the rows are on the card already
  void* const x = stays ? nullptr : state.memory(RunState::Purpose::kRows, own.batch_size * row_bytes);
  auto* const y = static_cast<float*>(state.memory(RunState::Purpose::kOutputs, own.batch_size * output_bytes));
  auto* const nonfinite = static_cast<int*>(state.memory(RunState::Purpose::kNonfinite, sizeof(int)));
  void* const workspace = prepare_steps(schedule, own, state);
  const WaitOnError guard(state.stream);
  state.stream.fill_zeros(nonfinite, sizeof(int));
  DatasetView on_card = rows;
  if (!stays) on_card.x = x;
  const RunMemory memory{schedule, own, on_card, nullptr, y, width, arguments.finite ? nonfinite : nullptr, workspace};
  for (int64_t first = 0; first < rows.rows; first += own.batch_size) {
    const int64_t count = std::min(own.batch_size, rows.rows - first);
    Batch batch = batch_at(own, schedule.mode(), first / own.batch_size);
    if (!stays) {
      state.stream.copy(x, static_cast<const char*>(rows.x) + first * row_bytes, count * row_bytes);
      batch.first = 0;  // within x
    }
    RunState::Group& group = state.next_group();
    std::memcpy(group.on_host.get(), &batch, sizeof batch);
    state.stream.copy(group.on_card.get(), group.on_host.get(), sizeof batch);
    for (const auto& step : schedule.kernels()) {
      step->launch(state.stream.get(), memory, static_cast<const Batch*>(group.on_card.get()), batch.rows);
    }
    check(cudaEventRecord(group.done, state.stream.get()), "recording an event");
    state.stream.copy(arguments.output + first * width, y, count * output_bytes);
  }
  int found = 0;
  state.stream.copy(&found, nonfinite, sizeof found);
  state.stream.wait();
  return found == 0;
}

int count_devices() {
  int count = 0;
  require_unforked();
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

}  // namespace
}  // namespace cuda

Device& cuda_device(int index) {
  const int count = cuda::count_devices();
  if (index < 0 || index >= count) {
    throw std::invalid_argument(
        "there is no device 'cuda:" + std::to_string(index) +
        "': " + (count == 0 ? cuda_state() : "this machine has " + std::to_string(count) + ", numbered from 0"));
  }
  static std::mutex mutex;
  static auto& devices = *new std::vector<std::unique_ptr<cuda::CudaDevice>>;
  const std::lock_guard<std::mutex> lock(mutex);
  devices.resize(std::max(devices.size(), static_cast<size_t>(count)));
  auto& device = devices[static_cast<size_t>(index)];
  if (!device) device = std::make_unique<cuda::CudaDevice>(index);
  return *device;
}

std::string cuda_state() {
  if (cuda::is_forked()) return "no device: this process was forked from one that had used the GPU";
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    return std::string("no device: ") +
           (status == cudaSuccess ? "this machine has no GPU" : cudaGetErrorString(status));
  }
  std::string names;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    names += (i > 0 ? ", cuda:" : "cuda:") + std::to_string(i) + " " + properties.name;
  }
  return names;
}

std::string cuda_products_state() { return cuda::count_devices() > 0 ? cuda::products_state() : std::string(); }

void set_cuda_library_candidates(std::vector<std::string> files) { cuda::cublaslt::set_candidates(std::move(files)); }

}  // namespace engine
