// Layers as operations: what each one computes, before any buffer or step exists.
#pragma once
#include <cstdint>
#include <vector>

#include "plan/spec.h"

namespace engine {

/// One operation of the network with its buffers.
struct Operation {
  enum class Kind { kDense, kActivation, kSoftmax, kDropout, kAffine };
  Kind kind;
  const LayerSpec* spec;
  int layer;
  int64_t width;                                // of its output
  Activation activation = Activation::kLinear;  // dense: fused
  // Buffers, filled in as the forward steps are emitted.
  int in = -1, out = -1;
  int saved = -1;  // what the activation's gradient is computed from, or the dropout mask
  bool trainable = false;
};

/// Drops what does nothing, and folds an elementwise activation into the linear dense operation before it.
/// Without `drops_out` dropout is one of the things that do nothing.
std::vector<Operation> to_operations(const ModelSpec& model, bool drops_out);

}  // namespace engine
