#include "graph/rewrites.h"

#include <algorithm>

#include "graph/operations/activation.h"
#include "graph/operations/dense.h"
#include "graph/operations/elementwise.h"
#include "graph/operations/input_output.h"

namespace engine::graph {
namespace {

/// For each pair of an operation of type `Second` and the operation of type `First` that computes its input: calls
/// fold(first, second), and removes the second where the answer is true. No other operation may read what is between
/// them, and it may be no output of the model.
template <class First, class Second, class Input, class Fold>
void fold_pairs(Graph& graph, Input input, Fold&& fold) {
  const Uses uses(graph);
  const auto& operations = graph.operations();
  std::vector<bool> folded(operations.size());
  for (size_t i = 0; i < operations.size(); ++i) {
    auto* const second = dynamic_cast<Second*>(operations[i].get());
    if (!second) continue;
    const ValueId between = second->*input;
    const int producer = uses.producer(between);
    const bool is_output = std::any_of(graph.outputs.begin(), graph.outputs.end(),
                                       [&](const Output& output) { return output.y_pred == between; });
    if (producer < 0 || uses.reader_count(between) != 1 || is_output) continue;
    auto* const first = dynamic_cast<First*>(operations[static_cast<size_t>(producer)].get());
    folded[i] = first && fold(*first, *second);
  }
  graph.erase(folded);
}

/// Whether a product may step the variable: the optimizer needs nothing but the gradient, and nothing is asked of the
/// variable but an l2 penalty.
bool steps_in_product(const Graph& graph, const OptimizerSpec& optimizer, ValueId variable) {
  if (static_cast<int>(optimizer.kind) >= kFusedOptimizers || optimizer.clip != OptimizerSpec::Clip::kNone ||
      optimizer.accumulate > 1 || optimizer.averages) {
    return false;
  }
  if (variable == kNoValue) return true;
  const Variable& v = graph.variables()[graph.value(variable).variable];
  return !v.shared && v.asked.l1 == 0.0 && v.asked.orthogonal == 0.0 && !v.asked.host_penalty &&
         v.asked.constraint.kind == ConstraintSpec::Kind::kNone;
}

}  // namespace

void fold_rescaling_into_input(Graph& graph) {
  fold_pairs<ReadInput, Affine>(graph, &Affine::x, [](ReadInput& read, Affine& affine) {
    if (read.scale != 1.0f || read.offset != 0.0f) return false;
    read.scale = affine.scale;
    read.offset = affine.offset;
    read.x = affine.y;
    return true;
  });
}

void fold_activation_into_dense(Graph& graph) {
  static_assert(!is_fused(Activation::kSigmoid), "a crossentropy finds the sigmoid as an operation of its own");
  fold_pairs<Dense, ElementwiseActivation>(
      graph, &ElementwiseActivation::x, [](Dense& dense, ElementwiseActivation& elementwise) {
        if (dense.activation != Activation::kLinear || !is_fused(elementwise.activation)) return false;
        dense.activation = elementwise.activation;
        dense.y = elementwise.y;
        return true;
      });
}

void fold_activation_gradient_into_dense(Graph& graph) {
  fold_pairs<DenseInputGradient, ElementwiseActivationGradient>(
      graph, &ElementwiseActivationGradient::dy,
      [](DenseInputGradient& by_input, ElementwiseActivationGradient& through) {
        if (by_input.activation != Activation::kLinear || !is_fused(through.activation)) return false;
        by_input.activation = through.activation;
        by_input.x_saved = through.saved;
        by_input.dx = through.dx;
        return true;
      });
}

void fold_steps_into_dense(Graph& graph, const OptimizerSpec& optimizer) {
  std::vector<bool> stepped(graph.variables().all.size());
  for (const auto& operation : graph.operations()) {
    auto* const dense = dynamic_cast<DenseWeightGradient*>(operation.get());
    if (!dense || !steps_in_product(graph, optimizer, dense->kernel) ||
        !steps_in_product(graph, optimizer, dense->bias)) {
      continue;
    }
    dense->steps = true;
    dense->dkernel = dense->dbias = kNoValue;
    for (const ValueId variable : {dense->kernel, dense->bias}) {
      if (variable != kNoValue) stepped[static_cast<size_t>(graph.value(variable).variable)] = true;
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < graph.learning.size(); ++i) {
    if (stepped[static_cast<size_t>(graph.learning[i])]) continue;
    graph.learning[kept] = graph.learning[i];
    graph.gradients[kept++] = graph.gradients[i];
  }
  graph.learning.resize(kept);
  graph.gradients.resize(kept);
}

}  // namespace engine::graph
