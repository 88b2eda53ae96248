#include "plan/operations.h"

#include <cstddef>
#include <utility>

namespace engine {
namespace {

using Kind = Operation::Kind;

class Lowering {
 public:
  explicit Lowering(int64_t input_size) : width_(input_size) {}

  void add(const LayerSpec& spec, int layer, bool drops_out) {
    spec_ = &spec;
    layer_ = layer;
    switch (spec.kind) {
      case LayerSpec::Kind::kDense:
        reshape(spec.groups);
        width_ = spec.units;
        push(Kind::kDense).trainable = learns(spec);
        return add_activation();
      case LayerSpec::Kind::kActivation:
        return add_activation();
      case LayerSpec::Kind::kDropout:
        if (drops_out && spec.rate > 0.0) push(Kind::kDropout);
        return;
      case LayerSpec::Kind::kRescaling:
        push(Kind::kAffine);
        return;
      case LayerSpec::Kind::kActivity:
        push(Kind::kActivity);
        return;
      case LayerSpec::Kind::kTake:
        reshape(1);
        width_ = static_cast<int64_t>(spec.take.size());
        push(Kind::kTake);
        return;
      case LayerSpec::Kind::kNoise:
        if (!drops_out) return;
        if (!spec.take.empty()) reshape(1);
        push(Kind::kNoise);
        return;
      case LayerSpec::Kind::kLearned:
        reshape(spec.groups);
        return add_learned();
      case LayerSpec::Kind::kBatchNormalization:
        reshape(spec.groups);
        push(Kind::kStandardizeColumns).masked_by = spec.masked ? mask_ : -1;
        return add_learned();
      case LayerSpec::Kind::kStandardize:
        reshape(spec.groups);
        push(Kind::kStandardizeColumns);
        return;
      case LayerSpec::Kind::kRowNormalization:
        reshape(spec.groups);
        push(Kind::kStandardizeRows);
        return;
      case LayerSpec::Kind::kEmbedding:
        reshape(1);
        groups_ = width_;
        width_ = spec.units;
        push(Kind::kEmbed).trainable = learns(spec);
        if (masks(spec)) mask_ = last();
        return;
      case LayerSpec::Kind::kMask:
        reshape(spec.groups);
        push(Kind::kMask);
        mask_ = operations_.back().masked_by = last();
        return;
      case LayerSpec::Kind::kMean:
      case LayerSpec::Kind::kMax:
        reshape(spec.groups);
        groups_ = 1;
        push(Kind::kMean).masked_by = spec.masked ? mask_ : -1;
        return;
      case LayerSpec::Kind::kEncoding:
        reshape(spec.groups);
        width_ = spec.tokens;
        push(Kind::kEncode);
        return;
      case LayerSpec::Kind::kCustom:
        reshape(1);
        width_ = spec.units;
        push(Kind::kCustom).trainable = learns(spec);
        operations_.back().masked_by = spec.masked ? mask_ : -1;
        if (masks(spec)) mask_ = last();
        return;
      case LayerSpec::Kind::kWarp:
        if (!drops_out) return;
        reshape(1);
        push(Kind::kWarp);
        return;
    }
  }

  std::vector<Operation> finish(int64_t groups) {
    reshape(groups);
    return std::move(operations_);
  }

 private:
  Operation& push(Kind kind) {
    operations_.push_back({kind, spec_, layer_, groups_, width_});
    return operations_.back();
  }

  void reshape(int64_t groups) {
    if (groups == groups_) return;
    width_ = width_ * groups_ / groups;
    groups_ = groups;
    push(Kind::kReshape);
  }

  void add_learned() {
    if (!spec_->use_gain && !spec_->use_shift) return;
    push(Kind::kLearned).trainable = learns(*spec_);
  }

  void add_activation() {
    const Activation activation = spec_->activation;
    if (activation == Activation::kLinear) return;
    const bool by_row = !is_elementwise(activation);
    if (by_row) reshape(spec_->groups);
    Operation* last = operations_.empty() ? nullptr : &operations_.back();
    const bool follows_product = last && last->kind == Kind::kDense && last->activation == Activation::kLinear;
    if (follows_product && is_fused(activation)) {
      last->activation = activation;
      return;
    }
    Operation& own = push(by_row ? Kind::kRowActivation : Kind::kActivation);
    own.activation = activation;
    own.follows_product = follows_product;
  }

  int last() const { return static_cast<int>(operations_.size()) - 1; }

  std::vector<Operation> operations_;
  int mask_ = -1;
  int64_t groups_ = 1, width_;
  const LayerSpec* spec_ = nullptr;
  int layer_ = -1;
};

}  // namespace

std::vector<Operation> to_operations(const ModelSpec& model, bool drops_out) {
  Lowering lowering(model.input_size);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    lowering.add(model.layers[i], static_cast<int>(i), drops_out);
  }
  return lowering.finish(model.output_groups);
}

int64_t size_after(const LayerSpec& layer, int64_t size) {
  switch (layer.kind) {
    case LayerSpec::Kind::kDense:
      return layer.groups * layer.units;
    case LayerSpec::Kind::kTake:
      return static_cast<int64_t>(layer.take.size());
    case LayerSpec::Kind::kEmbedding:
      return size * layer.units;
    case LayerSpec::Kind::kEncoding:
      return layer.groups * layer.tokens;
    case LayerSpec::Kind::kCustom:
      return layer.units;
    case LayerSpec::Kind::kMean:
    case LayerSpec::Kind::kMax:
      return size / layer.groups;
    case LayerSpec::Kind::kActivation:
    case LayerSpec::Kind::kDropout:
    case LayerSpec::Kind::kRescaling:
    case LayerSpec::Kind::kNoise:
    case LayerSpec::Kind::kLearned:
    case LayerSpec::Kind::kBatchNormalization:
    case LayerSpec::Kind::kStandardize:
    case LayerSpec::Kind::kRowNormalization:
    case LayerSpec::Kind::kWarp:
    case LayerSpec::Kind::kActivity:
    case LayerSpec::Kind::kMask:
      break;
  }
  return size;
}

int64_t masked_rows(const ModelSpec& model) {
  int64_t size = model.input_size, rows = 0;
  for (const LayerSpec& layer : model.layers) {
    if (layer.kind == LayerSpec::Kind::kMask) rows = layer.groups;
    if (layer.masks) rows = size;
    if (layer.mask_rows != 0) rows = layer.mask_rows;
    size = size_after(layer, size);
  }
  return rows;
}

bool learns(const LayerSpec& layer) {
  switch (layer.kind) {
    case LayerSpec::Kind::kDense:
    case LayerSpec::Kind::kEmbedding:
      return layer.trainable;
    case LayerSpec::Kind::kLearned:
    case LayerSpec::Kind::kBatchNormalization:
      return layer.trainable && layer.constants[0].empty() && (layer.use_gain || layer.use_shift);
    case LayerSpec::Kind::kCustom:
      for (const LayerSpec::Custom& variable : layer.variables) {
        if (layer.trainable && variable.trainable) return true;
      }
      return false;
    default:
      return false;
  }
}

bool asks_python(const ModelSpec& model, bool predicts) {
  for (const LayerSpec& layer : model.layers) {
    if (layer.kind == LayerSpec::Kind::kCustom || (layer.hosted && !predicts)) return true;
  }
  return false;
}

bool mixes_samples(const ModelSpec& model) {
  for (const LayerSpec& layer : model.layers) {
    if (layer.kind == LayerSpec::Kind::kBatchNormalization && layer.trainable) return true;
  }
  return false;
}

}  // namespace engine
