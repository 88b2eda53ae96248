// Layers as operations: what each one computes, before any buffer or step exists.
#pragma once
#include <cstdint>
#include <vector>

#include "plan/spec.h"

namespace engine {

/// One operation of the network with its buffers. Each sample is `groups` rows of `width` numbers.
struct Operation {
  enum class Kind {
    kDense,
    kActivation,
    kRowActivation,
    kDropout,
    kAffine,
    kReshape,
    kTake,
    kNoise,
    kLearned,
    kStandardizeColumns,
    kStandardizeRows,
    kEmbed,
    kEncode,
    kCustom,
    kWarp,
    kActivity,
    kMean,
    kMask,
  };
  Kind kind;
  const LayerSpec* spec;
  int layer;
  int64_t groups, width;                        // of its output
  Activation activation = Activation::kLinear;  // dense: fused
  bool follows_product = false;                 // of an activation: nobody else reads its input
  // Buffers, filled in as the forward steps are emitted.
  int in = -1, out = -1;
  int saved = -1;       // what the activation's gradient is computed from, or the dropout mask
  int statistics = -1;  // of the columns or rows of the input
  int corrections = -1;
  int counted = -1;    // (samples, rows of each): 1, or 0 for rows that a mask leaves out of it
  int masked_by = -1;  // number of the operation by whose input rows count or don't
  const Operation* mask = nullptr;
  bool trainable = false;
  bool feeds_loss = false;  // of a training step, in the same stretch
};

/// Drops what does nothing, and folds an activation that products fuse into the linear dense operation before it. What
/// works on rows of a certain width gets its input reshaped to it, and so does the output.
/// Without `drops_out` dropout is one of the things that do nothing.
std::vector<Operation> to_operations(const ModelSpec& model, bool drops_out);

/// Numbers per sample after `layer`, where there were `size` before.
int64_t size_after(const LayerSpec& layer, int64_t size);

/// Rows of each sample that the last mask of the model is about; 0 without one.
int64_t masked_rows(const ModelSpec& model);

/// Whether training changes weights of `layer`.
bool learns(const LayerSpec& layer);

/// Whether Python is needed in the middle; a prediction leaves out penalties.
bool asks_python(const ModelSpec& model, bool predicts);

/// Whether outputs depend on the other samples of the batch, when `training`.
bool mixes_samples(const ModelSpec& model);

}  // namespace engine
