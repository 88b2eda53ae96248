#include "graph/rewrites.h"

#include <algorithm>

#include "graph/operations/activation.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/dense.h"
#include "graph/operations/embedding.h"
#include "graph/operations/input_output.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"

namespace engine::graph {
namespace {

/// The operation that computes a value; null for variables.
Operation* producer_of(const Graph& graph, const Uses& uses, ValueId value) {
  const int producer = uses.producer(value);
  return producer < 0 ? nullptr : graph.operations()[static_cast<size_t>(producer)].get();
}

/// For each operation of type `Second` and each of its operands inputs(second, uses) that an operation of type `First`
/// computes: calls fold(first, second, uses), and removes the second one if the answer is true. Pairs are left out if
/// another operation reads the value between them, or if it is an output of the model.
template <class First, class Second, class Inputs, class Fold>
void fold_pairs(Graph& graph, Inputs&& inputs, Fold&& fold) {
  const Uses uses(graph);
  const auto& operations = graph.operations();
  std::vector<bool> folded(operations.size());
  for (size_t i = 0; i < operations.size(); ++i) {
    auto* const second = dynamic_cast<Second*>(operations[i].get());
    if (!second) continue;
    for (const ValueId between : inputs(*second, uses)) {
      if (uses.reader_count(between) != 1 || graph.is_output(between)) continue;
      auto* const first = dynamic_cast<First*>(producer_of(graph, uses, between));
      folded[i] = first && fold(*first, *second, uses);
      if (folded[i]) break;
    }
  }
  graph.erase(folded);
}

/// The same for one operand, which is a member of `Second`.
template <class First, class Second, class Fold>
void fold_pairs(Graph& graph, ValueId Second::* input, Fold&& fold) {
  fold_pairs<First, Second>(
      graph, [&](const Second& second, const Uses&) { return std::vector<ValueId>{second.*input}; },
      [&](First& first, Second& second, const Uses&) { return fold(first, second); });
}

/// The terms of a map that adds two values; nothing for other maps.
std::vector<ValueId> terms_of_sum(const Map& map) {
  const bool adds = map.inputs.size() == 2 && map.code.instructions.size() == 1 &&
                    map.code.instructions[0].op == MapOp::kAdd &&
                    map.code.instructions[0].a != map.code.instructions[0].b;
  return adds ? std::vector<ValueId>{map.inputs[0].value, map.inputs[1].value} : std::vector<ValueId>{};
}

/// Whether a product may step the variable: the optimizer needs nothing but the gradient of each weight, and the
/// variable has no penalty but l2 and no constraint.
bool steps_in_product(const Graph& graph, const OptimizerSpec& optimizer, ValueId variable) {
  if (static_cast<int>(optimizer.kind) >= kFusedOptimizers || optimizer.clip != OptimizerSpec::Clip::kNone ||
      optimizer.accumulate > 1 || optimizer.averages) {
    return false;
  }
  if (variable == kNoValue) return true;
  const Variable& v = graph.variables()[graph.value(variable).variable];
  return v.spec.l1 == 0.0 && !v.spec.host_penalty && v.spec.constraint.kind == ConstraintSpec::Kind::kNone;
}

/// Whether operation number `operation`, which computes `gradient`, may step the variable itself: the optimizer steps
/// the variable by this gradient, nothing else reads the gradient, and no later operation reads the variable.
bool may_step_at_once(const Graph& graph, const Uses& uses, ValueId variable, ValueId gradient, int operation) {
  const bool learns = std::find(graph.gradients.begin(), graph.gradients.end(), gradient) != graph.gradients.end();
  return learns && uses.reader_count(gradient) == 0 && uses.last_reader(variable) <= operation;
}

/// For each variable, how many operations compute parts of its gradient.
std::vector<int> gradient_parts(const Graph& graph) {
  std::vector<int> parts(graph.variables().all.size());
  for (const auto& operation : graph.operations()) {
    for (const Operand& operand : operation->operands()) {
      if (operand.value == kNoValue || operand.use != Use::kWrite) continue;
      const Value& value = graph.value(operand.value);
      if (value.kind == Value::Kind::kGradient) ++parts[static_cast<size_t>(value.variable)];
    }
  }
  return parts;
}

/// Removes the variables that operations of the backward pass step from those that the optimizer steps afterwards.
void forget_stepped(Graph& graph, const std::vector<bool>& stepped) {
  size_t kept = 0;
  for (size_t i = 0; i < graph.learning.size(); ++i) {
    if (stepped[static_cast<size_t>(graph.learning[i])]) continue;
    graph.learning[kept] = graph.learning[i];
    graph.gradients[kept++] = graph.gradients[i];
  }
  graph.learning.resize(kept);
  graph.gradients.resize(kept);
}

}  // namespace

void fold_rescaling_into_input(Graph& graph) {
  const auto scaled = [](const Map& map, const Uses&) {
    return map.inputs.size() == 1 ? std::vector<ValueId>{map.inputs[0].value} : std::vector<ValueId>{};
  };
  fold_pairs<ReadInput, Map>(graph, scaled, [&](ReadInput& read, Map& map, const Uses&) {
    const auto rescaling = rescaling_of(graph, map);
    if (!rescaling || read.scale != 1.0f || read.offset != 0.0f) return false;
    read.scale = rescaling->scale;
    read.offset = rescaling->offset;
    read.x = map.y().value;
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

void fold_bias_into_dense(Graph& graph) {
  const auto terms = [](const Map& map, const Uses&) { return terms_of_sum(map); };
  fold_pairs<Dense, Map>(graph, terms, [&](Dense& dense, Map& map, const Uses& uses) {
    const size_t which = map.inputs[0].value == dense.y ? 0 : 1;
    const Array &z = map.inputs[which], &vector = map.inputs[1 - which];
    auto* const read = dynamic_cast<ReadVariable*>(producer_of(graph, uses, vector.value));
    if (!read || dense.bias != kNoValue || dense.activation != Activation::kLinear) return false;
    const Value &before = graph.value(z.value), &after = graph.value(map.y().value);
    const bool same_layout = after.kind == Value::Kind::kBatch && before.groups == after.groups &&
                             before.columns == after.columns && z.shape == map.y().shape;
    const bool is_bias = vector.shape == Shape{{before.columns, 0}} && read->trainable == dense.trainable;
    if (!same_layout || !is_bias) return false;
    dense.bias = read->variable;
    dense.y = map.y().value;
    return true;
  });
}

void fold_sum_into_dense(Graph& graph) {
  // The term that is computed last can read the other one.
  const auto last_term = [](const Map& map, const Uses& uses) {
    const std::vector<ValueId> terms = terms_of_sum(map);
    if (terms.empty()) return terms;
    return std::vector<ValueId>{terms[uses.producer(terms[0]) > uses.producer(terms[1]) ? 0 : 1]};
  };
  fold_pairs<DenseInputGradient, Map>(graph, last_term, [&](DenseInputGradient& dense, Map& sum, const Uses&) {
    if (dense.addend != kNoValue || dense.activation != Activation::kLinear) return false;
    const Array &first = sum.inputs[0], &second = sum.inputs[1];
    if (!lie_alike(graph, first, sum.y()) || !lie_alike(graph, second, sum.y())) return false;
    dense.addend = first.value == dense.dx ? second.value : first.value;
    dense.dx = sum.y().value;
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

void pass_gradients_to_steps(Graph& graph) {
  const Uses uses(graph);
  const auto& operations = graph.operations();
  std::vector<bool> passed(operations.size());
  for (ValueId& gradient : graph.gradients) {
    const auto* store = dynamic_cast<const StoreGradient*>(producer_of(graph, uses, gradient));
    if (!store) continue;
    const auto* read = dynamic_cast<const ReadGradient*>(producer_of(graph, uses, store->x.value));
    if (!read || graph.value(read->gradient).variable != graph.value(gradient).variable) continue;
    if (uses.reader_count(read->y.value) != 1 || uses.reader_count(read->gradient) != 1) continue;
    for (const ValueId value : {gradient, read->y.value}) passed[static_cast<size_t>(uses.producer(value))] = true;
    gradient = read->gradient;
  }
  graph.erase(passed);
}

void sum_into_gradients(Graph& graph) {
  const auto stored = [](const StoreGradient& store, const Uses&) { return std::vector<ValueId>{store.x.value}; };
  fold_pairs<Reduce, StoreGradient>(graph, stored, [&](Reduce& sum, StoreGradient& store, const Uses&) {
    // The gradient of a matrix lies in panels, which a sum can't write.
    if (graph.variables()[graph.value(store.gradient).variable].rows != 1) return false;
    sum.y.value = store.gradient;
    return true;
  });
}

void fold_steps_into_dense(Graph& graph, const OptimizerSpec& optimizer) {
  std::vector<bool> stepped(graph.variables().all.size());
  const std::vector<int> parts = gradient_parts(graph);
  const Uses uses(graph);
  const auto fits = [&](ValueId variable, ValueId gradient, int operation) {
    if (!steps_in_product(graph, optimizer, variable)) return false;
    if (variable == kNoValue) return true;
    return parts[static_cast<size_t>(graph.value(variable).variable)] == 1 &&
           may_step_at_once(graph, uses, variable, gradient, operation);
  };
  for (size_t i = 0; i < graph.operations().size(); ++i) {
    auto* const dense = dynamic_cast<DenseWeightGradient*>(graph.operations()[i].get());
    const auto number = static_cast<int>(i);
    if (!dense || !fits(dense->kernel, dense->dkernel, number) || !fits(dense->bias, dense->dbias, number)) continue;
    dense->steps = true;
    dense->dkernel = dense->dbias = kNoValue;
    for (const ValueId variable : {dense->kernel, dense->bias}) {
      if (variable != kNoValue) stepped[static_cast<size_t>(graph.value(variable).variable)] = true;
    }
  }
  forget_stepped(graph, stepped);
}

void fold_steps_into_embeddings(Graph& graph, const OptimizerSpec& optimizer) {
  // All other optimizers change a row whose gradient is zero, too.
  const bool keeps_rows = optimizer.kind == Optimizer::kSgd || optimizer.kind == Optimizer::kAdagrad;
  const bool clips = optimizer.clip != OptimizerSpec::Clip::kNone && optimizer.clip != OptimizerSpec::Clip::kValue;
  if (!keeps_rows || clips || optimizer.accumulate > 1 || optimizer.averages) return;
  std::vector<bool> stepped(graph.variables().all.size());
  const std::vector<int> parts = gradient_parts(graph);
  const Uses uses(graph);
  for (size_t i = 0; i < graph.operations().size(); ++i) {
    auto* const embedding = dynamic_cast<EmbedGradient*>(graph.operations()[i].get());
    if (!embedding) continue;
    const int v = graph.value(embedding->table).variable;
    const VariableSpec& spec = graph.variables()[v].spec;
    const bool plain = spec.l1 == 0.0 && spec.l2 == 0.0 && !spec.host_penalty &&
                       spec.constraint.kind == ConstraintSpec::Kind::kNone && optimizer.decay(v) == 0.0;
    if (!plain || parts[static_cast<size_t>(v)] != 1) continue;
    if (!may_step_at_once(graph, uses, embedding->table, embedding->dtable, static_cast<int>(i))) continue;
    embedding->steps = true;
    stepped[static_cast<size_t>(v)] = true;
  }
  forget_stepped(graph, stepped);
}

void remove_unread(Graph& graph) {
  const auto& operations = graph.operations();
  std::vector<bool> read(static_cast<size_t>(graph.value_count())), removed(operations.size());
  for (const Output& output : graph.outputs) read[static_cast<size_t>(output.y_pred)] = true;
  for (size_t i = operations.size(); i-- > 0;) {
    const auto operands = operations[i]->operands();
    const auto* const host = dynamic_cast<const HostOperation*>(operations[i].get());
    bool writes = false, needed = host && host->has_effects();
    for (const Operand& operand : operands) {
      if (operand.value == kNoValue) continue;
      writes = writes || operand.use == Use::kWrite;
      needed = needed || operand.use == Use::kUpdate ||
               (operand.use == Use::kWrite && read[static_cast<size_t>(operand.value)]);
    }
    // An operation that writes no value writes the predictions or results, or adds to the sums of the pass.
    removed[i] = writes && !needed;
    if (removed[i]) continue;
    for (const Operand& operand : operands) {
      if (operand.value != kNoValue && operand.use != Use::kWrite) read[static_cast<size_t>(operand.value)] = true;
    }
  }
  graph.erase(removed);
}

}  // namespace engine::graph
