// Predictions with little overhead for one thread.
#pragma once
#include <memory>
#include <vector>

#include "runtime/device.h"
#include "runtime/program.h"

namespace engine {

/// Predicts with a copy of a program's weights and with memory that it allocates once. A prediction takes no lock,
/// allocates nothing and starts no thread. Only one thread at a time may use an object.
class Predictor {
 public:
  enum class Answer { kGood, kNotFinite, kNoToken };

  /// Prepares predictions in batches of up to `together` rows. Throws std::invalid_argument if a layer of the model is
  /// written in Python.
  Predictor(std::shared_ptr<Program> program, int64_t together);

  int64_t inputs() const { return program_->model().input_size(); }
  int64_t outputs() const { return program_->model().output_size(); }

  /// Copies the weights that the program has now.
  void refresh();

  /// Computes out (rows, outputs) from x (rows, inputs). Returns kNotFinite if x has a number that is not finite, and
  /// kNoToken if it has a number that an embedding can't look up; `out` is undefined then.
  Answer predict(const float* x, int64_t rows, float* out);

 private:
  std::shared_ptr<Program> program_;
  std::shared_ptr<Workspace> workspace_;
  std::vector<Arena> weights_;  // of each variable
  std::vector<float*> values_;  // what they point to, side by side
  RunArguments arguments_;
  int64_t tokens_ = 0;  // number of indices, if the first layer that computes takes indices; else 0
};

}  // namespace engine
