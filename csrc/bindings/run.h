// Run: one pass over a Dataset.
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "bindings/dataset.h"
#include "runtime/fork.h"
#include "runtime/program.h"

namespace engine::bindings {

class Run {
 public:
  Run(std::shared_ptr<Program> program, std::shared_ptr<const TrainingSpec> training, graph::Mode mode);

  /// Goes on with another data set, or another order of the same: batches count from 0 again, totals add up.
  void feed(const std::shared_ptr<const Dataset>& dataset, int64_t batch_size, const std::string& shuffle,
            uint64_t seed, uint64_t stream);

  bool trains() const { return mode_ == graph::Mode::kTrain; }
  int64_t batches() const { return divide_up(data_.rows, batch_size_); }
  const Totals& totals() const { return totals_; }
  void reset_totals();
  /// Goes on from totals of an earlier run of the same training.
  void resume_totals(Totals totals);
  /// Runs batches [begin, end). `rates` are the learning rate of each, which only training reads.
  void advance(int64_t begin, int64_t end, const double* rates, const py::object& poll, const py::object& host);

 private:
  /// What the program's device copies of a data set, whose weights of samples may be spread over rows.
  std::shared_ptr<const DatasetCopy> copy_for(const Dataset& data,
                                              const std::vector<std::vector<float>>& row_weights) const;

  using Time = std::chrono::steady_clock::time_point;
  /// Runs until `end`, a host step, the deadline, or somebody waits for the weights. No GIL is held.
  int64_t stretch(int64_t cursor, int64_t end, const double* learning_rates, Time deadline);
  /// Calls `host` with one of the steps of `python/engine/_core_interface/host_steps.py`.
  void do_step(const graph::HostOperation& step, const py::object& host, int64_t batch);

  std::shared_ptr<Program> program_;
  std::shared_ptr<const TrainingSpec> training_;
  graph::Mode mode_;
  std::shared_ptr<Workspace> workspace_;
  std::shared_ptr<const Dataset> dataset_;
  DatasetView data_;
  /// By output: weights of samples, copied for each of their rows; empty where that is not necessary.
  std::vector<std::vector<float>> row_weights_;
  std::vector<bool> weights_are_spread_;  // by output: whether they had to be
  std::shared_ptr<const SparseRows> sparse_;
  std::shared_ptr<const DatasetCopy> copy_;  // of `data_`, by the program's device
  int64_t batch_size_ = 1;
  std::vector<int32_t> order_;
  Totals totals_;
  std::atomic<bool> busy_{false};
  ChildReset reset_{&busy_, [](void* busy) { *static_cast<std::atomic<bool>*>(busy) = false; }};
};

}  // namespace engine::bindings
