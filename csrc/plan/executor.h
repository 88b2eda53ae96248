// What runs a plan: the interface, and everything it is given besides the plan itself.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/compressed_rows.h"
#include "kernels/table.h"
#include "plan/plan.h"
#include "plan/records.h"

namespace engine {

struct DatasetView {
  const void* x = nullptr;  // (rows, stride) of `type`
  RowType type = RowType::kFloat32;
  int64_t rows = 0;
  int64_t stride = 0;
  CompressedRows compressed = {};  // instead of `x`, of so many rows that would have so many numbers; null: none
  bool is_compressed() const { return compressed.begins != nullptr; }
  // A sample's output is `output_groups` rows, each of which has its target and its weight.
  const int32_t* labels = nullptr;       // (rows, groups)
  const float* dense = nullptr;          // (rows, groups, outputs)
  const float* sample_weight = nullptr;  // (rows, groups), or null
  bool binary = false;                   // all of `dense` are 0 or 1
};

/// Running sums of a pass, in double and in the order of the samples.
struct Totals {
  double loss = 0.0;
  double samples = 0.0;
  std::vector<std::vector<double>> metrics;  // the state of each
};

/// What an executor has learned about a workspace in earlier runs, such as how many threads are fastest. It is null
/// until the executor sets it, and no other code knows its type.
using ExecutorState = std::shared_ptr<void>;

/// Everything one run works on. Pointers are borrowed.
struct Frame {
  const ModelSpec* model = nullptr;
  const Parameters* parameters = nullptr;
  const TrainingSpec* training = nullptr;
  float* const* weights = nullptr;  // of each variable
  float* slots[kMaxSlots] = {};
  float* accumulated = nullptr;  // sums of gradients, where the optimizer accumulates
  float* averages = nullptr;     // of the weights, where it keeps them
  float* arena = nullptr;
  DatasetView data;
  const SparseRows* sparse = nullptr;  // records of the rows of `data`; null: read them as they lie
  const int32_t* order = nullptr;      // data set row of each sample of the pass; null: as they lie
  int64_t batch_size = 1;
  const double* learning_rates = nullptr;  // of batch `first_batch` and those after
  int64_t first_batch = 0;
  int64_t first_iteration = 1;  // optimizer step of batch `first_batch`, from 1
  float* output = nullptr;      // predict: (rows, outputs), contiguous
  bool finite = false;          // predict: look for rows that hold a number that is no finite float32
  Totals* totals = nullptr;
  ExecutorState* executor_state = nullptr;  // of the workspace; null: the executor learns nothing from this run
};

class Executor {
 public:
  virtual ~Executor() = default;

  /// Runs the plan's steps from cursor `begin` to `end`, where cursor = batch * steps + step. Returns the cursor
  /// reached: `end`, the next host step, or a later batch boundary once `keep_going`, asked at every batch
  /// boundary by one thread, has said no. Where a run is cut never changes a bit.
  virtual int64_t run(const Plan& plan, const Frame& frame, int64_t begin, int64_t end,
                      const std::function<bool()>& keep_going) = 0;

  /// Predicts all rows of `frame.data`, each of `arenas` being scratch for `plan`. A plan for one thread gets a thread
  /// per arena, and each takes batches of up to `plan.max_rows` until none is left; a plan for several has one arena.
  /// Returns false, with some of the output written, where a row is not finite and `frame.finite` asks for that.
  virtual bool predict(const Plan& plan, const Frame& frame, const std::vector<float*>& arenas) = 0;

  /// The same on the caller's thread alone, for a plan for one thread and with the frame's arena.
  virtual bool predict_here(const Plan& plan, const Frame& frame) = 0;

  /// Records of the rows of `data`, times `scale`; of kind kNone where they would not pay.
  virtual SparseRows sparse_rows(const DatasetView& data, float scale) = 0;

  /// First row of `data` with a value that is no finite float32; -1 for none.
  virtual int64_t first_nonfinite_row(const DatasetView& data) = 0;

  /// Threads for the next run: what was asked for, or else what the machine allows this process.
  virtual int threads() const = 0;
  /// 0 goes back to the machine's own number.
  virtual void set_threads(int n) = 0;
};

}  // namespace engine
