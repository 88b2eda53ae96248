// What runs graphs: the interface of a device, implemented by csrc/cpu and csrc/cuda, and the arguments of a run.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "runtime/arena.h"
#include "runtime/data.h"
#include "runtime/sparse_rows.h"

namespace engine::graph {
class ValueNames;  // graph/print.h
}

namespace engine {

/// A value in the scratch memory of a run, as the caller reads and writes it while the device waits.
struct ValueView {
  float* data = nullptr;
  int64_t ld = 0;      // floats from one row to the next
  int64_t groups = 1;  // rows for each sample
  int64_t columns = 0;
};

struct CompileOptions {
  bool compressed = false;  // whether the rows of the data set are compressed
  int64_t max_rows = 1;     // samples of the largest batch
  int threads = 1;          // at most; 0, for `Program::lease`: as many as such a batch is worth and the device has
  /// Whether kernels may read the arguments of a function where they lie: all are float32, side by side, and vectors
  /// may be read up to a line behind their ends.
  bool arguments_in_place = false;
};

/// A graph that has been compiled for a device. It is immutable: runs of it work in memory of their own.
class Executable {
 public:
  Executable(std::shared_ptr<const graph::Graph> graph, const CompileOptions& options)
      : graph_(std::move(graph)), options_(options) {}
  virtual ~Executable() = default;
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  const graph::Graph& graph() const { return *graph_; }
  graph::Mode mode() const { return graph_->mode(); }
  bool compressed() const { return options_.compressed; }
  bool arguments_in_place() const { return options_.arguments_in_place; }
  int64_t max_rows() const { return options_.max_rows; }

  /// Steps of one batch. A run counts on from batch to batch: cursor = batch * steps() + step.
  virtual int64_t steps() const = 0;
  /// What the caller has to do at that step of each batch; null where the device does it.
  virtual const graph::HostOperation* host_operation(int64_t step) const = 0;

  virtual int64_t scratch_floats() const = 0;
  virtual ValueView view(float* scratch, graph::ValueId value) const = 0;

  /// If runs are faster with records of the data set's non-zero numbers: the factor of the numbers in them.
  virtual std::optional<float> sparse_scale() const = 0;

  /// The steps as text, for people.
  virtual std::string to_text(const graph::ValueNames& names) const = 0;

 protected:
  std::shared_ptr<const graph::Graph> graph_;
  CompileOptions options_;
};

/// What a device has learned about an executable in earlier runs, such as how many threads are fastest. It is null
/// until the device sets it, and no other code knows its type.
using DeviceState = std::shared_ptr<void>;

/// What an optimizer keeps for each weight, in arenas that are laid out alike. Null where it keeps nothing of a kind.
struct OptimizerStateView {
  float* slots[kMaxSlots] = {};
  float* accumulated = nullptr;      // sums of gradients, if the optimizer accumulates
  float* averages = nullptr;         // of the weights, if it keeps them
  const int64_t* offsets = nullptr;  // in floats, of each variable that learns, in each arena
};

/// What a device has copied of a data set into memory of its own. Only the device knows what is in it.
class DatasetCopy {
 public:
  virtual ~DatasetCopy() = default;
};

/// Everything that one run works on. Pointers are borrowed.
struct RunArguments {
  const TrainingSpec* training = nullptr;  // null for predictions
  float* const* weights = nullptr;         // of each variable
  OptimizerStateView state;
  float* scratch = nullptr;
  DatasetView data;
  const SparseRows* sparse = nullptr;  // records of the rows of `data`; null: none
  const DatasetCopy* copy = nullptr;   // what the device made of `data` before the run; null: nothing
  const int32_t* order = nullptr;      // data set row of each sample of the pass; null: in their order
  int64_t batch_size = 1;
  const double* learning_rates = nullptr;  // of batch `first_batch` and those after it; null where none is read
  int64_t first_batch = 0;
  int64_t first_iteration = 1;              // optimizer step of batch `first_batch`, from 1
  const ArgumentView* arguments = nullptr;  // of a function
  float* const* results = nullptr;          // the same: contiguous arrays
  float* output = nullptr;                  // predictions: (rows, numbers of all outputs), contiguous
  bool finite = false;                      // predictions: whether to refuse rows with numbers that are not finite
  Totals* totals = nullptr;
  DeviceState* device_state = nullptr;  // of the workspace; null: the device learns nothing from this run
};

/// How a prediction is divided: `teams` executables for `threads` threads each, of which each takes batches of up to
/// `batch_rows` rows until none is left.
struct PredictionTeams {
  int teams = 1;
  int threads = 1;
  int64_t batch_rows = 1;
};

class Device {
 public:
  virtual ~Device() = default;

  /// As users write it: "cpu", "cuda:0".
  virtual std::string name() const = 0;

  /// An array in memory of the device, with `value` everywhere. Throws std::bad_alloc.
  virtual Arena allocate(int64_t floats, float value = 0.0f) const = 0;
  /// Copies a data set into memory of the device, before the first run over it; null where runs read it where it lies.
  /// `sizes` has an entry for each of its targets.
  virtual std::shared_ptr<const DatasetCopy> copy(const DatasetView& data,
                                                  const std::vector<TargetSizes>& sizes) const = 0;

  /// Floats that a variable takes in memory of the device, with the space behind it.
  virtual int64_t memory_of(const Variable& variable) const = 0;
  /// Copies `values`, in the row-major order that users see, to where the device keeps the variable.
  virtual void upload(const Variable& variable, const float* values, float* memory) const = 0;
  virtual void download(const Variable& variable, const float* memory, float* values) const = 0;

  /// Throws std::length_error where a batch needs more memory than any machine has.
  virtual std::shared_ptr<const Executable> compile(std::shared_ptr<const graph::Graph> graph,
                                                    const CompileOptions& options) const = 0;

  /// Runs steps from cursor `begin` to `end`. Returns the cursor reached: `end`, the next step that the caller does, or
  /// a later batch boundary once `keep_going`, which one thread asks at every batch boundary, has said no. Where a run
  /// is interrupted never changes a bit.
  virtual int64_t run(const Executable& executable, const RunArguments& arguments, int64_t begin, int64_t end,
                      const std::function<bool()>& keep_going) = 0;

  /// How to predict so many rows on at most `most_threads` threads; 0: on those of `threads`.
  virtual PredictionTeams divide_prediction(const graph::Graph& graph, int64_t rows, int most_threads) const = 0;
  /// Predicts all rows of the data set with a team for each of `scratch`. Returns false, with some of the output
  /// written, if a row is not finite and the arguments ask for that.
  virtual bool predict(const Executable& executable, const RunArguments& arguments,
                       const std::vector<float*>& scratch) = 0;
  /// The same on the thread that calls, for an executable for one thread and with the scratch of the arguments.
  virtual bool predict_here(const Executable& executable, const RunArguments& arguments) = 0;

  /// Threads of the next run; 1 where the device has none of its own. It may ask the system, which takes as long as a
  /// small layer.
  virtual int threads() const = 0;
  /// The most threads that batches of so many rows are worth, however many the device has.
  virtual int useful_threads(const graph::Graph& graph, int64_t rows) const = 0;
};

}  // namespace engine
