// What a user asked for, as plain data: the input of the plan compiler.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/kinds.h"
#include "kernels/table.h"

namespace engine {

struct LayerSpec {
  enum class Kind { kDense, kActivation, kDropout, kRescaling, kTake };
  Kind kind = Kind::kDense;
  int64_t groups = 1;  // rows per sample for what works on rows: dense, softmax
  Activation activation = Activation::kLinear;
  // dense
  int64_t units = 0;
  bool use_bias = true;
  bool trainable = true;
  double kernel_l2 = 0.0;
  double bias_l2 = 0.0;
  // dropout
  double rate = 0.0;
  uint64_t seed = 0;
  // rescaling
  float scale = 1.0f;
  float offset = 0.0f;
  // take: number j of the output is number take[j] of the input, or 0 for -1
  std::vector<int32_t> take;
};

struct ModelSpec {
  int64_t input_size = 0;
  std::vector<LayerSpec> layers;
};

struct LossSpec {
  enum class Kind { kCategorical, kBinary, kMeanSquaredError, kHost };
  Kind kind = Kind::kMeanSquaredError;
  Target target = Target::kDense;
  bool from_logits = false;
  float label_smoothing = 0.0f;
};

struct OptimizerSpec {
  Optimizer kind = Optimizer::kSgd;
  double parameters[3] = {};
  double kernel_decay = 0.0;  // decoupled weight decay, per unit of the learning rate
  double bias_decay = 0.0;
};

struct MetricSpec {
  Metric kind = Metric::kCategoricalAccuracy;
  bool weighted = false;
  float threshold = 0.5f;
};

struct TrainingSpec {
  LossSpec loss;
  OptimizerSpec optimizer;
  std::vector<MetricSpec> metrics;
};

}  // namespace engine
