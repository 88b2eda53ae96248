// A graph scheduled for a GPU: steps, each of which is one kernel, and where values lie in memory of the card.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/kernel.h"
#include "formulas/kinds.h"
#include "graph/graph.h"
#include "runtime/device.h"

namespace engine::cuda {

using graph::kNoValue;
using graph::ValueId;

/// A variable on the card, with what its optimizer keeps: (rows, columns) in rows, without gaps.
struct CardWeights {
  float* values = nullptr;
  float* slots[kMaxSlots] = {};
  float l2_slope = 0.0f;  // factor of the weights in their gradient: twice that of their L2 penalty
  double decay = 0.0;     // decoupled weight decay, per unit of the learning rate
};

/// Where a value lies in the scratch memory of a run: (rows, columns) in rows, without gaps.
struct Placement {
  int64_t groups = 0;  // rows for each sample; 0 for what does not depend on the batch
  int64_t rows = 0, columns = 0;
  int64_t offset = 0;              // in floats
  bool in_scratch = false;         // false for variables and constants
  const float* numbers = nullptr;  // those of a constant
};

/// Where the sums over a pass lie on the card, as doubles.
struct TotalsLayout {
  int64_t loss = 0, samples = 1, output_losses = 2;
  std::vector<int64_t> metrics;  // where the sum and the weight of each begin; -1 for those that have other sums
  int64_t count = 2;
  /// Metrics with other sums, whose number is known with the run. They follow in this order.
  std::vector<int> metrics_of_sums;
};

class Schedule;
class ChainSchedule;  // cuda/chain_schedule.h
struct CardLimits;    // cuda/execution_choice.h

/// The memory of one run, from which steps take their pointers.
struct RunMemory {
  const Schedule& schedule;
  const RunArguments& arguments;
  const DatasetView& data;  // on the card
  double* totals;
  float* output;        // of predictions: (rows of a batch, numbers of all outputs)
  int64_t output_size;  // numbers of all outputs
  int* nonfinite;       // set to 1 where a row of the input is not finite; null: nobody asks
  void* workspace;      // as large as the steps have asked for

  float* scratch(ValueId value) const;  // null for kNoValue
  /// A row of numbers: those of a variable, of constants, or of scratch; null for kNoValue.
  const float* numbers(ValueId value) const;
  CardWeights weights(ValueId variable) const;  // null pointers for kNoValue
  /// Memory that the steps of one operation use from their first to their last; see `share_scratch`.
  float* shared_scratch() const;
  /// The state of a metric that is made from other sums than those of a mean, and how many numbers it has.
  double* metric_sums(int metric) const;
  int64_t metric_sums_size(int metric) const;
  const TrainingSpec& training() const { return *arguments.training; }
};

/// A step of a batch: it starts one kernel, or several.
class Step {
 public:
  explicit Step(const graph::Operation& operation) : operation(operation) {}
  virtual ~Step() = default;
  /// The batch lies on the card; `samples` is the number of its samples, for what the host has to know.
  virtual void launch(cudaStream_t stream, const RunMemory& memory, const Batch* batch, int64_t samples) const = 0;
  /// Does what may fail for batches of so many samples, before the first batch of a run. Returns the bytes of workspace
  /// that it needs.
  virtual int64_t prepare(int64_t) const { return 0; }
  /// Who computes it, for people; empty for this project's kernels.
  virtual std::string by_whom() const { return {}; }

  const graph::Operation& operation;
};

class Schedule final : public Executable {
 public:
  Schedule(std::shared_ptr<const graph::Graph> graph, const CompileOptions& options, const CardLimits& limits);
  ~Schedule() override;

  int64_t steps() const override { return 1; }  // the card does the whole batch; the caller never takes part
  const graph::HostOperation* host_operation(int64_t) const override { return nullptr; }
  int64_t scratch_floats() const override { return scratch_floats_; }
  ValueView view(float*, ValueId) const override { return {}; }
  std::optional<float> sparse_scale() const override { return std::nullopt; }
  std::string to_text(const graph::ValueNames& names) const override;

  const std::vector<std::unique_ptr<Step>>& kernels() const { return steps_; }
  /// How training runs as one kernel, where it can.
  const ChainSchedule& chain() const { return *chain_; }
  const graph::Value& value(ValueId id) const { return graph().value(id); }
  const Placement& placement(ValueId id) const { return placements_[static_cast<size_t>(id)]; }
  const Variable& variable(ValueId id) const { return graph().variables()[value(id).variable]; }
  const TotalsLayout& totals() const { return totals_; }
  /// Numbers of all outputs that predictions write for a sample.
  int64_t output_size() const;
  /// Rows of a value in the largest batch.
  int64_t rows(ValueId id) const { return placement(id).rows; }
  int64_t multiprocessors() const { return multiprocessors_; }

  // ---- For those who schedule operations --------------------------------------------------------------------------
  /// Appends a step with one kernel: `make` gives a kernel body (kernel.h), for the memory of a run. Its function
  /// `blocks()` says how many blocks can work side by side (0: there is nothing to do), and `shared_bytes()` how much
  /// memory each of them shares.
  template <class Make>
  void add(const graph::Operation& operation, Make make) {
    steps_.push_back(std::make_unique<KernelStep<Make>>(operation, std::move(make), most_blocks()));
  }
  /// Appends a step that is not one kernel.
  void add_step(std::unique_ptr<Step> step) { steps_.push_back(std::move(step)); }
  /// Scratch beside the values of the graph: the offset of so many floats.
  int64_t add_scratch(int64_t floats);
  /// Asks for so many floats of scratch that all operations share: what one leaves there, the next one overwrites.
  void share_scratch(int64_t floats) { shared_floats_ = std::max(shared_floats_, floats); }
  int64_t shared_scratch() const { return shared_scratch_; }
  /// Where 16-bit copies of values lie in scratch, for as long as the values are what they were when they were rounded.
  std::map<std::pair<ValueId, Precision>, int64_t>& rounded() { return rounded_; }
  /// Where the sum of weights of an output with a mask lies in scratch, for those that have been added (row_weights.h).
  std::map<std::pair<int, ValueId>, int64_t>& sums_of_weights() { return sums_of_weights_; }
  /// Says that the numbers of a value never change.
  void place_constants(ValueId value, const std::vector<float>& numbers);

 private:
  /// More blocks than the card runs at the same time gain nothing: each takes several parts of the work.
  int64_t most_blocks() const { return multiprocessors_ * 8; }

  template <class Make>
  class KernelStep final : public Step {
   public:
    KernelStep(const graph::Operation& operation, Make make, int64_t most_blocks)
        : Step(operation), make_(std::move(make)), most_blocks_(most_blocks) {}
    void launch(cudaStream_t stream, const RunMemory& memory, const Batch* batch, int64_t) const override {
      const auto body = make_(memory);
      const int64_t blocks = std::min(body.blocks(), most_blocks_);
      if (blocks > 0) cuda::launch(stream, body, batch, blocks, body.shared_bytes());
    }

   private:
    Make make_;
    int64_t most_blocks_;
  };

  void place_values();
  /// By value: the one in whose memory it lies, often itself.
  std::vector<ValueId> share_memory() const;
  void schedule_operations();

  int64_t multiprocessors_;
  std::unique_ptr<const ChainSchedule> chain_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Placement> placements_;
  std::map<std::pair<int, ValueId>, int64_t> sums_of_weights_;
  std::vector<std::shared_ptr<const float>> constants_;
  TotalsLayout totals_;
  int64_t scratch_floats_ = 0, shared_floats_ = 0, shared_scratch_ = 0;
  std::map<std::pair<ValueId, Precision>, int64_t> rounded_;
};

/// Throws std::invalid_argument for metrics that a GPU can't compute.
void require_supported(const std::vector<MetricSpec>& metrics);

/// How each kind of operation is scheduled.
class OperationRegistry {
 public:
  template <class Op>
  void add(void (*schedule)(Schedule&, const Op&)) {
    table_[typeid(Op)] = [schedule](Schedule& to, const graph::Operation& operation) {
      schedule(to, static_cast<const Op&>(operation));
    };
  }
  /// Throws std::invalid_argument for a kind that has no kernel.
  void schedule(Schedule& to, const graph::Operation& operation) const;

 private:
  std::unordered_map<std::type_index, std::function<void(Schedule&, const graph::Operation&)>> table_;
};

// Each file of cuda/operations/ adds its kinds.
void add_activations(OperationRegistry& all);
void add_arrangements(OperationRegistry& all);
void add_array_sources(OperationRegistry& all);
void add_batch_normalization(OperationRegistry& all);
void add_contractions(OperationRegistry& all);
void add_dense(OperationRegistry& all);
void add_embedding(OperationRegistry& all);
void add_image_augmentation(OperationRegistry& all);
void add_input_output(OperationRegistry& all);
void add_losses(OperationRegistry& all);
void add_maps(OperationRegistry& all);
void add_metric_sums(OperationRegistry& all);
void add_optimizers(OperationRegistry& all);
void add_penalties(OperationRegistry& all);
void add_pooling(OperationRegistry& all);
void add_random_noise(OperationRegistry& all);
void add_reductions(OperationRegistry& all);
void add_sorting(OperationRegistry& all);
void add_row_normalization(OperationRegistry& all);
void add_traced_losses(OperationRegistry& all);

}  // namespace engine::cuda
