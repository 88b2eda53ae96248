#include "plan/predictor.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "plan/operations.h"

namespace engine {

Predictor::Predictor(std::shared_ptr<Program> program, Executor& executor, int64_t together)
    : program_(std::move(program)), executor_(executor) {
  const ModelSpec& model = program_->model();
  if (asks_python(model, true)) {
    throw std::invalid_argument("a layer of the model is written in Python, and needs the interpreter: ask `predict`");
  }
  workspace_ = program_->lease(Plan::Mode::kPredict, false, together, 1);
  weights_ = Arena(program_->parameters().size);
  for (const Variable& variable : program_->parameters().variables) {
    values_.push_back(weights_.data() + variable.offset);
  }
  refresh();
  const auto first = std::find_if(model.layers.begin(), model.layers.end(),
                                  [](const LayerSpec& layer) { return layer.kind != LayerSpec::Kind::kTake; });
  if (first != model.layers.end()) tokens_ = first->tokens;
  frame_.model = &model;
  frame_.parameters = &program_->parameters();
  frame_.weights = values_.data();
  frame_.arena = workspace_->arena.data();
  frame_.data.stride = model.input_size;
  frame_.finite = true;
}

void Predictor::refresh() {
  const auto lock = program_->read_lock();
  for (size_t v = 0; v < values_.size(); ++v) {
    const auto floats = static_cast<size_t>(program_->parameters().variables[v].floats());
    std::memcpy(values_[v], program_->weights()[v], floats * sizeof(float));
  }
}

Predictor::Answer Predictor::predict(const float* x, int64_t rows, float* out) {
  for (int64_t i = 0; tokens_ > 0 && i < rows * frame_.data.stride; ++i) {
    const bool within = x[i] >= 0.0f && x[i] < static_cast<float>(tokens_);
    if (!within || static_cast<float>(static_cast<int64_t>(x[i])) != x[i]) return Answer::kNoToken;
  }
  frame_.data.x = x;
  frame_.data.rows = rows;
  frame_.output = out;
  return executor_.predict_here(*workspace_->plan, frame_) ? Answer::kGood : Answer::kNotFinite;
}

}  // namespace engine
