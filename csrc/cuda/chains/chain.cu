#include <algorithm>
#include <unordered_map>

#include "cuda/chains/chain.h"
#include "cuda/chains/network.h"
#include "graph/operations/activation.h"
#include "graph/operations/map.h"
#include "graph/operations/random_noise.h"
#include "graph/operations/weight_penalty.h"

namespace engine::cuda::chains {
namespace {

using graph::kNoValue;
using graph::ValueId;

template <class Op>
const Op* as(const graph::Operation& operation) {
  return dynamic_cast<const Op*>(&operation);
}

/// Reads the operations of a graph one by one.
class ChainReader {
 public:
  explicit ChainReader(const graph::Graph& graph) : graph_(graph) {}

  /// Returns false where the operation belongs to no chain.
  bool read(const graph::Operation& operation) {
    if (const auto* op = as<graph::ReadInput>(operation)) return read_input(*op);
    if (const auto* op = as<graph::Dense>(operation)) return read_dense(*op);
    if (const auto* op = as<graph::ElementwiseActivation>(operation)) return read_stage(*op, op->x, op->y);
    if (const auto* op = as<graph::Dropout>(operation)) return read_stage(*op, op->x, op->y);
    if (const auto* op = as<graph::LossOfRows>(operation)) return read_loss(*op);
    if (const auto* op = as<graph::MetricOfRows>(operation)) return read_metric(*op);
    if (const auto* op = as<graph::WeightSums>(operation)) return read_squares(*op);
    if (const auto* op = as<graph::AddLosses>(operation)) return read_penalties(*op);
    // What the operations above imply.
    if (const auto* op = as<graph::DenseInputGradient>(operation)) return op->addend == kNoValue;
    if (const auto* op = as<graph::DenseWeightGradient>(operation)) return op->steps;
    return as<graph::ElementwiseActivationGradient>(operation) || is_gradient_of_dropout(operation) ||
           as<graph::AddMetric>(operation);
  }

  std::string complete() const {
    if (!chain.input || chain.layers.empty() || !chain.loss) return "it is no chain from an input to a loss";
    if (static_cast<int>(chain.layers.size()) > kMaxLayers) return "it has more than six dense layers";
    if (static_cast<int>(chain.metrics.size()) > kMaxMetrics) return "it has more than four metrics";
    for (const Chain::Layer& layer : chain.layers) {
      const int fused = layer.dense->activation != Activation::kLinear ? 1 : 0;
      if (static_cast<int>(layer.stages.size()) + fused > kMaxStages) {
        return "more than three activations or dropouts follow a dense layer";
      }
    }
    return {};
  }

  Chain chain;

 private:
  /// Whether it multiplies a gradient by masks.
  bool is_gradient_of_dropout(const graph::Operation& operation) const {
    const auto* const map = as<graph::Map>(operation);
    if (!map || !chain.loss) return false;
    const auto& all = map->code.instructions;
    return std::all_of(all.begin(), all.end(), [](const MapInstruction& each) { return each.op == MapOp::kMultiply; });
  }
  bool read_input(const graph::ReadInput& op) {
    if (chain.input || graph_.value(op.x).groups != 1) return false;
    chain.input = &op;
    end_ = op.x;
    return true;
  }
  bool read_dense(const graph::Dense& op) {
    if (chain.loss || op.x != end_ || end_ == kNoValue || !op.trainable || graph_.value(op.y).groups != 1) return false;
    Chain::Layer layer;
    layer.dense = &op;
    chain.layers.push_back(layer);
    end_ = op.y;
    return true;
  }
  bool read_stage(const graph::Operation& op, ValueId x, ValueId y) {
    if (chain.loss || chain.layers.empty() || x != end_) return false;
    chain.layers.back().stages.push_back(&op);
    end_ = y;
    return true;
  }
  bool read_loss(const graph::LossOfRows& op) {
    if (chain.loss || op.x != end_ || op.row_mask != kNoValue) return false;
    chain.loss = &op;
    return true;
  }
  bool read_metric(const graph::MetricOfRows& op) {
    const ValueId predicted = !chain.loss || chain.loss->y_pred == kNoValue ? end_ : chain.loss->y_pred;
    chain.metrics.push_back(&op);
    return chain.loss && op.y_pred == predicted;
  }
  bool read_squares(const graph::WeightSums& op) {
    squares_[op.sums] = op.weights;
    return op.squares;
  }
  bool read_penalties(const graph::AddLosses& op) {
    if (!op.activity_penalties.empty() || op.losses.size() != 1) return false;
    for (const graph::PenaltyTerm& penalty : op.penalties) {
      const auto found = squares_.find(penalty.sums);
      if (found == squares_.end() || !add_penalty(found->second, penalty.factor)) return false;
    }
    return true;
  }
  bool add_penalty(ValueId variable, double factor) {
    for (Chain::Layer& layer : chain.layers) {
      if (layer.dense->kernel == variable) return layer.kernel_penalty += factor, true;
      if (layer.dense->bias == variable) return layer.bias_penalty += factor, true;
    }
    return false;
  }

  const graph::Graph& graph_;
  ValueId end_ = kNoValue;                        // of the chain so far
  std::unordered_map<ValueId, ValueId> squares_;  // the variable whose squares a value sums
};

}  // namespace

std::optional<Chain> find_chain(const graph::Graph& graph, std::string& why_not) {
  if (graph.mode() != graph::Mode::kTrain) {
    why_not = "the kernels for chains only train";
    return std::nullopt;
  }
  ChainReader reader(graph);
  for (const auto& operation : graph.operations()) {
    if (reader.read(*operation)) continue;
    const std::string attributes = operation->attributes();
    why_not = std::string("the kernels for chains train dense layers by SGD or Adam, and this graph has '") +
              operation->name() + (attributes.empty() ? "'" : " " + attributes + "'");
    return std::nullopt;
  }
  why_not = reader.complete();
  if (!why_not.empty()) return std::nullopt;
  return reader.chain;
}

}  // namespace engine::cuda::chains
