// Networks and trainings that tests ask for.
#pragma once
#include <algorithm>
#include <iterator>

#include "plan/spec.h"

namespace engine::test {

inline LayerSpec dense(int64_t units, Activation activation) {
  LayerSpec layer;
  layer.units = units;
  layer.activation = activation;
  return layer;
}

/// Adam on crossentropy with class indices.
inline TrainingSpec classification() {
  TrainingSpec training;
  training.loss.kind = Loss::kCrossentropy;
  training.loss.target = Target::kSparse;
  training.optimizer.kind = Optimizer::kAdam;
  std::copy_n(std::begin({0.9, 0.999, 1e-7}), 3, training.optimizer.parameters);
  return training;
}

}  // namespace engine::test
