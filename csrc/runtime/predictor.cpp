#include "runtime/predictor.h"

#include <cstring>
#include <stdexcept>
#include <utility>

namespace engine {

Predictor::Predictor(std::shared_ptr<Program> program, int64_t together) : program_(std::move(program)) {
  const graph::Model& model = program_->model();
  if (model.asks_host(true)) {
    throw std::invalid_argument("a layer of the model is written in Python, and needs the interpreter: ask `predict`");
  }
  if (model.changes_variables()) {
    throw std::invalid_argument("a layer of the model assigns weights in predictions: ask `predict`");
  }
  if (program_->device().name() != "cpu") {
    throw std::invalid_argument("a predictor runs on the CPU, but the weights lie in memory of '" +
                                program_->device().name() + "': ask `predict`");
  }
  workspace_ = program_->lease(graph::Mode::kPredict, {false, together, 1});
  for (const Variable& variable : program_->variables().all) {
    weights_.emplace_back(program_->device().memory_of(variable));
    values_.push_back(weights_.back().data());
  }
  refresh();
  tokens_ = model.tokens();
  arguments_.weights = values_.data();
  arguments_.scratch = workspace_->scratch.data();
  arguments_.data.stride = model.input_size();
  arguments_.finite = true;
}

void Predictor::refresh() {
  const auto lock = program_->read_lock();
  for (size_t v = 0; v < values_.size(); ++v) {
    const int64_t floats = program_->device().memory_of(program_->variables().all[v]);
    std::memcpy(values_[v], program_->weights()[v], static_cast<size_t>(floats) * sizeof(float));
  }
}

Predictor::Answer Predictor::predict(const float* x, int64_t rows, float* out) {
  for (int64_t i = 0; tokens_ > 0 && i < rows * arguments_.data.stride; ++i) {
    const bool within = x[i] >= 0.0f && x[i] < static_cast<float>(tokens_);
    if (!within || static_cast<float>(static_cast<int64_t>(x[i])) != x[i]) return Answer::kNoToken;
  }
  arguments_.data.x = x;
  arguments_.data.rows = rows;
  arguments_.output = out;
  return program_->device().predict_here(*workspace_->executable, arguments_) ? Answer::kGood : Answer::kNotFinite;
}

}  // namespace engine
