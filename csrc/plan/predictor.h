// A model's answers for one caller at a time, with weights and scratch of its own: no lock, no allocation, no team.
#pragma once
#include <memory>
#include <vector>

#include "plan/executor.h"
#include "plan/program.h"

namespace engine {

class Predictor {
 public:
  enum class Answer { kGood, kNotFinite, kNoToken };

  /// For up to `together` rows at a time. Throws std::invalid_argument where Python has a part in the model.
  Predictor(std::shared_ptr<Program> program, Executor& executor, int64_t together);

  int64_t inputs() const { return program_->model().input_size; }
  int64_t outputs() const { return program_->output_size(); }

  /// Takes the weights that the model has now.
  void refresh();

  /// out (rows, outputs) from x (rows, inputs). The rows are looked through for numbers that the model can't take; what
  /// belongs to them in `out` is of no account then.
  Answer predict(const float* x, int64_t rows, float* out);

 private:
  std::shared_ptr<Program> program_;
  Executor& executor_;
  std::shared_ptr<Workspace> workspace_;
  Arena weights_;
  std::vector<float*> values_;  // of each variable, in there
  Frame frame_;
  int64_t tokens_ = 0;  // where the first layer that changes numbers takes indices: how many there are
};

}  // namespace engine
