// Builds graphs by hand and checks where each rewrite of graph/rewrites.h applies, and where something forbids it.
#include "graph/rewrites.h"

#include <cstdio>
#include <string>

#include "check.h"
#include "graph/build.h"
#include "graph/operations/activation.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/contraction.h"
#include "graph/operations/dense.h"
#include "graph/operations/embedding.h"
#include "graph/operations/function.h"
#include "graph/operations/input_output.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
#include "models.h"

namespace engine::test {
namespace {

using namespace graph;

constexpr int64_t kWidth = 32;  // of all rows

/// The variables of each graph of this test.
constexpr ValueId kKernel = 0, kBias = 1, kSecondKernel = 2, kTable = 3;

Variables variables(const VariableSpec& of_kernel = {}, bool trainable_bias = true) {
  Variables all;
  all.add({kWidth, kWidth, {kWidth, kWidth}, of_kernel, true});
  all.add({1, kWidth, {kWidth}, {}, trainable_bias});
  all.add({kWidth, kWidth, {kWidth, kWidth}, {}, true});
  all.add({100, kWidth, {100, kWidth}, {}, true});
  return all;
}

Graph new_graph(Mode mode = Mode::kTrain) { return Graph(mode, variables()); }

// ---- Operations ----------------------------------------------------------------------------------------------------

ValueId add_input(Graph& graph) { return graph.add<ReadInput>().x = graph.add_batch(1, kWidth); }

ValueId add_dense(Graph& graph, ValueId x, ValueId kernel = kKernel, Activation activation = Activation::kLinear) {
  auto& dense = graph.add<Dense>();
  dense.x = x;
  dense.kernel = kernel;
  dense.activation = activation;
  return dense.y = graph.add_batch(1, kWidth);
}

ValueId add_dense_input_gradient(Graph& graph, ValueId dz, ValueId kernel = kKernel) {
  auto& dense = graph.add<DenseInputGradient>();
  dense.dz = dz;
  dense.kernel = kernel;
  return dense.dx = graph.add_batch(1, kWidth);
}

/// Also says that the optimizer steps the kernel by the gradient.
ValueId add_dense_weight_gradient(Graph& graph, ValueId x, ValueId dz, ValueId kernel = kKernel) {
  auto& dense = graph.add<DenseWeightGradient>();
  dense.x = x;
  dense.dz = dz;
  dense.kernel = kernel;
  dense.dkernel = graph.add_gradient(graph.value(kernel).variable);
  graph.learning.push_back(graph.value(kernel).variable);
  graph.gradients.push_back(dense.dkernel);
  return dense.dkernel;
}

ValueId add_elementwise(Graph& graph, ValueId x, Activation activation) {
  auto& elementwise = graph.add<ElementwiseActivation>();
  elementwise.x = x;
  elementwise.activation = activation;
  return elementwise.y = graph.add_like(x);
}

/// op(a), or op(a, b), as the values lie in memory.
ValueId add_map(Graph& graph, MapOp op, ValueId a, ValueId b = kNoValue) {
  MapCode code;
  code.inputs = b == kNoValue ? 1 : 2;
  code.add(op, 0, b == kNoValue ? -1 : 1);
  std::vector<Array> inputs{as_array(graph, a)};
  if (b != kNoValue) inputs.push_back(as_array(graph, b));
  return add_map(graph, inputs, inputs[0].shape, code, a).value;
}

ValueId add_rescaling(Graph& graph, ValueId x) {
  return add_map(graph, {as_array(graph, x)}, shape_of(graph, x), code_of({0.5f, 0.0f}), x).value;
}

/// The weights of a vector, as an array.
Array read_vector(Graph& graph, ValueId vector, bool trainable = true) {
  auto& read = graph.add<ReadVariable>();
  read.variable = vector;
  read.trainable = trainable;
  return read.y = add_array(graph, {{kWidth, 0}});
}

ValueId add_vector(Graph& graph, ValueId x, const Array& vector) {
  return add_map(graph, MapOp::kAdd, as_array(graph, x), vector, shape_of(graph, x), x).value;
}

void set_output(Graph& graph, ValueId y_pred) { graph.outputs.emplace_back().y_pred = y_pred; }

// ---- What is expected ----------------------------------------------------------------------------------------------

template <class Op>
const Op& find(const Graph& graph) {
  for (const auto& operation : graph.operations()) {
    if (const auto* found = dynamic_cast<const Op*>(operation.get())) return *found;
  }
  throw std::logic_error("the graph has no such operation");
}

/// Whether these are the operations of the graph, such as "read_input dense".
bool expect(const Graph& graph, const std::string& names, const char* what) {
  std::string found;
  for (const auto& operation : graph.operations()) {
    found += (found.empty() ? "" : " ") + std::string(operation->name());
  }
  if (found != names) std::printf("expected: %s\nfound:    %s\n", names.c_str(), found.c_str());
  return check(found == names, what);
}

// ---- Inputs and products
// ---------------------------------------------------------------------------------------------

bool rescaled_inputs() {
  bool right = true;
  Graph folded = new_graph();
  const ValueId scaled = add_rescaling(folded, add_input(folded));
  fold_rescaling_into_input(folded);
  right &= expect(folded, "read_input", "a factor joins the input") &&
           check(find<ReadInput>(folded).x == scaled && find<ReadInput>(folded).scale == 0.5f, "with its value");

  Graph twice = new_graph();
  add_rescaling(twice, add_rescaling(twice, add_input(twice)));
  fold_rescaling_into_input(twice);
  fold_rescaling_into_input(twice);
  right &= expect(twice, "read_input map", "a second factor stays");

  Graph shared = new_graph();
  const ValueId x = add_input(shared);
  add_rescaling(shared, x);
  add_dense(shared, x);
  fold_rescaling_into_input(shared);
  right &= expect(shared, "read_input map dense", "not if a product reads the numbers as they are");

  Graph output = new_graph();
  const ValueId shown = add_input(output);
  add_rescaling(output, shown);
  set_output(output, shown);
  fold_rescaling_into_input(output);
  return right & expect(output, "read_input map", "not if they are an output");
}

bool biases() {
  bool right = true;
  Graph folded = new_graph();
  const ValueId z = add_dense(folded, add_input(folded));
  const ValueId y = add_vector(folded, z, read_vector(folded, kBias));
  fold_bias_into_dense(folded);
  set_output(folded, y);
  remove_unread(folded);
  const auto& dense = find<Dense>(folded);
  right &= expect(folded, "read_input dense", "a bias joins its product") &&
           check(dense.bias == kBias && dense.y == y, "and the product has the value of the sum");

  Graph shared = new_graph();
  const ValueId product = add_dense(shared, add_input(shared));
  add_vector(shared, product, read_vector(shared, kBias));
  add_elementwise(shared, product, Activation::kRelu);
  fold_bias_into_dense(shared);
  right &= expect(shared, "read_input dense read_variable map activation", "not if something else reads the product");

  Graph frozen(Mode::kTrain, variables({}, false));
  const ValueId unbiased = add_dense(frozen, add_input(frozen));
  add_vector(frozen, unbiased, read_vector(frozen, kBias, false));
  fold_bias_into_dense(frozen);
  right &= expect(frozen, "read_input dense read_variable map", "not a frozen bias of a kernel that learns");

  Graph active = new_graph();
  const ValueId activated = add_dense(active, add_input(active), kKernel, Activation::kRelu);
  add_vector(active, activated, read_vector(active, kBias));
  fold_bias_into_dense(active);
  right &= expect(active, "read_input dense read_variable map", "not behind an activation");

  // The sum has no gaps between its rows, and a product would write whole cache lines of padding.
  Graph compact = new_graph();
  const ValueId padded = add_dense(compact, add_input(compact));
  const Array vector = read_vector(compact, kBias);
  Value array;
  array.kind = Value::Kind::kArray;
  array.shape = shape_of(compact, padded);
  MapCode sum;
  sum.inputs = 2;
  sum.add(MapOp::kAdd, 0, 1);
  add_map_to(compact, {compact.add_value(array), array.shape}, {as_array(compact, padded), vector}, sum);
  fold_bias_into_dense(compact);
  return right & expect(compact, "read_input dense read_variable map", "not if the rows of the sum aren't padded");
}

bool activations() {
  bool right = true;
  Graph folded = new_graph();
  const ValueId y = add_elementwise(folded, add_dense(folded, add_input(folded)), Activation::kRelu);
  fold_activation_into_dense(folded);
  right &=
      expect(folded, "read_input dense", "relu joins its product") &&
      check(find<Dense>(folded).activation == Activation::kRelu && find<Dense>(folded).y == y, "as its activation");

  Graph unfused = new_graph();
  add_elementwise(unfused, add_dense(unfused, add_input(unfused)), Activation::kSigmoid);
  fold_activation_into_dense(unfused);
  right &= expect(unfused, "read_input dense activation", "not sigmoid, which no product computes");

  Graph twice = new_graph();
  const ValueId once = add_dense(twice, add_input(twice), kKernel, Activation::kRelu);
  add_elementwise(twice, once, Activation::kRelu);
  fold_activation_into_dense(twice);
  right &= expect(twice, "read_input dense activation", "not a second one");

  Graph shared = new_graph();
  const ValueId z = add_dense(shared, add_input(shared));
  add_elementwise(shared, z, Activation::kRelu);
  add_elementwise(shared, z, Activation::kRelu);
  fold_activation_into_dense(shared);
  right &= expect(shared, "read_input dense activation activation", "not one of two readers of a product");

  Graph output = new_graph();
  const ValueId logits = add_dense(output, add_input(output));
  add_elementwise(output, logits, Activation::kRelu);
  set_output(output, logits);
  fold_activation_into_dense(output);
  return right & expect(output, "read_input dense activation", "not if the product is an output");
}

// ---- Gradients
// -------------------------------------------------------------------------------------------------------

bool sums_of_gradients() {
  bool right = true;
  Graph folded = new_graph();
  const ValueId dz = add_input(folded);
  const ValueId first = add_dense_input_gradient(folded, dz),
                last = add_dense_input_gradient(folded, dz, kSecondKernel);
  const ValueId sum = add_map(folded, MapOp::kAdd, last, first);
  add_elementwise(folded, sum, Activation::kRelu);
  fold_sum_into_dense(folded);
  const auto* dense = dynamic_cast<const DenseInputGradient*>(folded.operations()[2].get());
  right &= expect(folded, "read_input dense_input_gradient dense_input_gradient activation", "a sum joins a product") &&
           check(dense && dense->addend == first && dense->dx == sum, "the one that is computed last");

  Graph shared = new_graph();
  const ValueId d = add_input(shared);
  const ValueId a = add_dense_input_gradient(shared, d), b = add_dense_input_gradient(shared, d, kSecondKernel);
  add_map(shared, MapOp::kAdd, a, b);
  add_elementwise(shared, b, Activation::kRelu);
  fold_sum_into_dense(shared);
  right &= expect(shared, "read_input dense_input_gradient dense_input_gradient map activation",
                  "not if something else reads its term");

  Graph difference = new_graph();
  const ValueId e = add_input(difference);
  add_map(difference, MapOp::kSubtract, e, add_dense_input_gradient(difference, e));
  fold_sum_into_dense(difference);
  right &= expect(difference, "read_input dense_input_gradient map", "not a difference");

  Graph narrow = new_graph();
  const Array vector = read_vector(narrow, kBias);
  add_vector(narrow, add_dense_input_gradient(narrow, add_input(narrow)), vector);
  fold_sum_into_dense(narrow);
  return right & expect(narrow, "read_variable read_input dense_input_gradient map", "not a term that is broadcast");
}

bool gradients_of_activations() {
  bool right = true;
  const auto build = [](Activation activation, bool shared) {
    Graph graph = new_graph();
    const ValueId saved = add_input(graph), dx = add_dense_input_gradient(graph, saved);
    auto& gradient = graph.add<ElementwiseActivationGradient>();
    gradient.dy = dx;
    gradient.saved = saved;
    gradient.activation = activation;
    gradient.dx = graph.add_like(dx);
    if (shared) add_elementwise(graph, dx, Activation::kRelu);
    fold_activation_gradient_into_dense(graph);
    return graph;
  };
  right &=
      expect(build(Activation::kRelu, false), "read_input dense_input_gradient", "relu's gradient joins a product");
  right &= expect(build(Activation::kSigmoid, false), "read_input dense_input_gradient activation_gradient",
                  "not that of sigmoid");
  return right & expect(build(Activation::kRelu, true),
                        "read_input dense_input_gradient activation_gradient activation",
                        "not if something else reads the product");
}

bool stored_gradients() {
  bool right = true;
  // sum over the batch -> gradient of the variable
  const auto build = [](ValueId variable, bool shared) {
    Graph graph = new_graph();
    const ValueId x = add_input(graph);
    const Array sum = add_sum(graph, as_array(graph, x), {0});
    auto& store = graph.add<StoreGradient>();
    store.x = sum;
    store.gradient = graph.add_gradient(graph.value(variable).variable);
    if (shared) add_elementwise(graph, sum.value, Activation::kRelu);
    sum_into_gradients(graph);
    return graph;
  };
  right &= expect(build(kBias, false), "read_input reduce", "a sum goes into the gradient of a vector");
  right &= expect(build(kKernel, false), "read_input reduce store_gradient", "not of a matrix, which lies in panels");
  right &= expect(build(kBias, true), "read_input reduce store_gradient activation", "not if something else reads it");

  // gradient -> array -> gradient of a step
  const auto pass = [](ValueId to, bool shared) {
    Graph graph = new_graph(Mode::kFunction);
    const ValueId x = add_input(graph);
    const ValueId gradient = add_dense_weight_gradient(graph, x, x);
    auto& read = graph.add<ReadGradient>();
    read.gradient = gradient;
    const Array array = read.y = add_array(graph, {{kWidth, 0}, {kWidth, 0}});
    auto& store = graph.add<StoreGradient>();
    store.x = array;
    store.gradient = graph.add_gradient(graph.value(to).variable);
    graph.learning = {graph.value(to).variable};
    graph.gradients = {store.gradient};
    if (shared) add_sum(graph, array, {0});
    pass_gradients_to_steps(graph);
    return graph;
  };
  right &= expect(pass(kKernel, false), "read_input dense_weight_gradient", "a step reads a gradient where it lies");
  right &= expect(pass(kSecondKernel, false), "read_input dense_weight_gradient read_gradient store_gradient",
                  "not the gradient by another variable");
  return right & expect(pass(kKernel, true), "read_input dense_weight_gradient read_gradient store_gradient reduce",
                        "not if a function reads the gradient, too");
}

// ---- Steps
// -----------------------------------------------------------------------------------------------------------

OptimizerSpec optimizer_of(Optimizer kind, OptimizerSpec::Clip clip = OptimizerSpec::Clip::kNone) {
  OptimizerSpec optimizer;
  optimizer.kind = kind;
  optimizer.clip = clip;
  return optimizer;
}

bool steps_in_products() {
  bool right = true;
  const auto build = [](const OptimizerSpec& optimizer, const VariableSpec& of_kernel, int further_gradients,
                        bool reads_later) {
    Graph graph(Mode::kTrain, variables(of_kernel));
    const ValueId x = add_input(graph);
    for (int i = 0; i <= further_gradients; ++i) add_dense_weight_gradient(graph, x, x);
    if (reads_later) add_dense_input_gradient(graph, x);
    fold_steps_into_dense(graph, optimizer);
    return graph;
  };
  const OptimizerSpec adam = optimizer_of(Optimizer::kAdam);
  const Graph folded = build(adam, {}, 0, false);
  right &= expect(folded, "read_input dense_weight_step", "Adam's step joins the product") &&
           check(folded.learning.empty() && folded.gradients.empty(), "and no other operation steps the kernel");
  const Graph later = build(adam, {}, 0, true);
  right &=
      expect(later, "read_input dense_weight_gradient dense_input_gradient", "not before the kernel is read again") &&
      check(later.learning == std::vector<int>{0}, "and the optimizer steps it afterwards");
  right &= expect(build(adam, {}, 1, false), "read_input dense_weight_gradient dense_weight_gradient",
                  "not of a kernel that two products share");
  right &= expect(build(optimizer_of(Optimizer::kAdam, OptimizerSpec::Clip::kGlobalNorm), {}, 0, false),
                  "read_input dense_weight_gradient", "not if gradients are clipped");
  OptimizerSpec accumulates = adam;
  accumulates.accumulate = 2;
  right &= expect(build(accumulates, {}, 0, false), "read_input dense_weight_gradient", "not if they are accumulated");
  VariableSpec l2, l1, constrained;
  l2.l2 = 0.1;
  l1.l1 = 0.1;
  constrained.constraint.kind = ConstraintSpec::Kind::kNonNegative;
  right &= expect(build(adam, l2, 0, false), "read_input dense_weight_step", "with an l2 penalty");
  right &= expect(build(adam, l1, 0, false), "read_input dense_weight_gradient", "not with an l1 penalty");
  return right &
         expect(build(adam, constrained, 0, false), "read_input dense_weight_gradient", "nor with a constraint");
}

bool steps_in_embeddings() {
  bool right = true;
  const auto build = [](const OptimizerSpec& optimizer, bool reads_later) {
    Graph graph = new_graph();
    const ValueId tokens = add_input(graph), dy = graph.add_batch(kWidth, kWidth);
    auto& gradient = graph.add<EmbedGradient>();
    gradient.x = tokens;
    gradient.dy = dy;
    gradient.table = kTable;
    gradient.dtable = graph.add_gradient(kTable);
    graph.learning.push_back(kTable);
    graph.gradients.push_back(gradient.dtable);
    if (reads_later) {
      auto& embed = graph.add<Embed>();
      embed.x = tokens;
      embed.table = kTable;
      embed.y = graph.add_batch(kWidth, kWidth);
    }
    fold_steps_into_embeddings(graph, optimizer);
    return graph;
  };
  right &=
      expect(build(optimizer_of(Optimizer::kSgd), false), "read_input embed_step", "SGD steps the rows of a batch");
  right &= expect(build(optimizer_of(Optimizer::kAdam), false), "read_input embed_gradient", "Adam steps all rows");
  OptimizerSpec decays = optimizer_of(Optimizer::kSgd);
  decays.decays.assign(4, 0.1);
  right &= expect(build(decays, false), "read_input embed_gradient", "and so does decay");
  return right & expect(build(optimizer_of(Optimizer::kSgd), true), "read_input embed_gradient embed",
                        "not before the table is read again");
}

// ---- Maps
// --------------------------------------------------------------------------------------------------------------

bool fused_maps() {
  bool right = true;
  Graph sequence = new_graph();
  const ValueId x = add_input(sequence);
  const ValueId y =
      add_map(sequence, MapOp::kMultiply, add_map(sequence, MapOp::kSin, add_map(sequence, MapOp::kAbs, x)), x);
  fuse_maps(sequence);
  right &= expect(sequence, "read_input map", "a chain of maps is one map") &&
           check(find<Map>(sequence).y().value == y && find<Map>(sequence).code.instructions.size() == 3,
                 "of all instructions");

  Graph square = new_graph();
  const ValueId root = add_map(square, MapOp::kSin, add_input(square));
  add_map(square, MapOp::kMultiply, root, root);
  fuse_maps(square);
  right &= expect(square, "read_input map", "also if one map reads it twice");

  Graph shared = new_graph();
  const ValueId between = add_map(shared, MapOp::kSin, add_input(shared));
  add_map(shared, MapOp::kAbs, between);
  add_dense(shared, between);
  fuse_maps(shared);
  right &= expect(shared, "read_input map map dense", "not if a product reads what is between");

  Graph output = new_graph();
  const ValueId shown = add_map(output, MapOp::kSin, add_input(output));
  add_map(output, MapOp::kAbs, shown);
  set_output(output, shown);
  fuse_maps(output);
  right &= expect(output, "read_input map map", "nor if it is an output");

  Graph kept = new_graph();
  const ValueId needed = add_map(kept, MapOp::kSin, add_input(kept));
  add_map(kept, MapOp::kAbs, needed);
  fuse_maps(kept, {needed});
  right &= expect(kept, "read_input map map", "nor if operations to come read it");

  Graph broadcast = new_graph();
  const Array vector = read_vector(broadcast, kBias);
  const ValueId sine = add_map(broadcast, MapOp::kSin, vector.value);
  add_vector(broadcast, add_input(broadcast), {sine, vector.shape});
  fuse_maps(broadcast);
  return right &
         expect(broadcast, "read_variable map read_input map", "nor a vector that is computed once for all rows");
}

bool merged_maps() {
  bool right = true;
  // y = sin(x) + x and z = sin(x) x share the sine.
  const auto add = [](Graph& graph, MapOp op, ValueId x) {
    MapCode code;
    code.inputs = 1;
    code.add(op, code.add(MapOp::kSin, 0), 0);
    return add_map(graph, {as_array(graph, x)}, shape_of(graph, x), code, x).value;
  };
  Graph merged = new_graph();
  const ValueId x = add_input(merged);
  add(merged, MapOp::kAdd, x);
  add(merged, MapOp::kMultiply, x);
  merge_maps(merged);
  right &= expect(merged, "read_input map", "maps that share a sine are one") &&
           check(find<Map>(merged).outputs.size() == 2, "with two outputs");

  Graph different = new_graph();
  const ValueId of_both = add_input(different);
  add_map(different, MapOp::kSin, of_both);
  add_map(different, MapOp::kCos, of_both);
  merge_maps(different);
  right &= expect(different, "read_input map map", "not if they share nothing");

  Graph apart = new_graph();
  const ValueId input = add_input(apart);
  add(apart, MapOp::kAdd, input);
  MapCode code;
  code.inputs = 1;
  code.add(MapOp::kMultiply, code.add(MapOp::kSin, 0), 0);
  Value array;
  array.kind = Value::Kind::kArray;
  array.shape = shape_of(apart, input);
  add_map_to(apart, {apart.add_value(array), array.shape}, {as_array(apart, input)}, code);
  merge_maps(apart);
  right &= expect(apart, "read_input map map", "nor if one has padded rows and the other has not");

  Graph changed = new_graph(Mode::kFunction);
  const Array vector = read_vector(changed, kBias);
  add(changed, MapOp::kAdd, vector.value);
  auto& update = changed.add<AssignVariable>();
  update.variable = vector.value;
  update.x = vector;
  add(changed, MapOp::kMultiply, vector.value);
  merge_maps(changed);
  return right & expect(changed, "read_variable map assign map", "nor if what they read changes in between");
}

bool equal_rows() {
  bool right = true;
  const Shape matrix{{4, 0}, {kWidth, 0}};
  const auto map_of = [](MapOp op, bool of_rows = false) {
    MapCode code;
    code.inputs = 1;
    const int result = code.add(op, 0);
    if (!of_rows) return code;
    code.add(MapOp::kAdd, result, code.add(MapOp::kCoordinate));
    return code;
  };
  /// The sine of a vector that is repeated as the rows of a matrix.
  const auto add_rows = [&](Graph& graph, bool of_rows) {
    MapCode copy;
    copy.inputs = 1;
    copy.add_copy(0);
    const Array rows = add_map(graph, {read_vector(graph, kBias)}, matrix, copy);
    return add_map(graph, {rows}, matrix, map_of(MapOp::kSin, of_rows));
  };
  const auto add_product_with_rows = [&](Graph& graph, const Array& rows) -> const Contraction& {
    MapCode number;
    number.add(MapOp::kCoordinate);
    add_product(graph, rows, "ak", add_map(graph, {}, matrix, number), "ak", "a");
    compute_equal_rows_once(graph);
    return find<Contraction>(graph);
  };

  Graph once = new_graph(Mode::kFunction);
  const Contraction& product = add_product_with_rows(once, add_rows(once, false));
  right &= check(product.a_letters == "k" && product.b_letters == "ak" && product.y_letters == "a",
                 "a product reads equal rows without their letter");
  right &= check(product.a.shape == Shape{{kWidth, 0}} && shape_of(once, product.a.value) == product.a.shape,
                 "which are computed once");

  Graph coordinates = new_graph(Mode::kFunction);
  right &= check(add_product_with_rows(coordinates, add_rows(coordinates, true)).a_letters == "ak",
                 "not if the number of the row is read");

  Graph read = new_graph(Mode::kFunction);
  const Array rows = add_rows(read, false);
  auto& update = read.add<AssignVariable>();
  update.variable = kKernel;
  update.x = rows;
  right &= check(add_product_with_rows(read, rows).a_letters == "ak", "nor if another operation reads all rows");

  Graph summed = new_graph(Mode::kFunction);
  add_sum(summed, add_rows(summed, false), {1});
  compute_equal_rows_once(summed);
  const auto& sum = find<Reduce>(summed);
  right &= check(sum.axes == std::vector<int>{0} && sum.y.shape.empty(), "sums of equal rows are one sum");

  Graph over_rows = new_graph(Mode::kFunction);
  add_sum(over_rows, add_rows(over_rows, false), {0});
  compute_equal_rows_once(over_rows);
  return right & check(find<Reduce>(over_rows).x.shape == matrix, "but a sum over equal rows adds each of them");
}

// ---- Whole models
// ----------------------------------------------------------------------------------------------------

bool unread_operations() {
  bool right = true;
  Graph graph = new_graph();
  const ValueId x = add_input(graph), y = add_dense(graph, x);
  add_map(graph, MapOp::kAbs, add_map(graph, MapOp::kSin, x));
  set_output(graph, y);
  remove_unread(graph);
  right &= expect(graph, "read_input dense", "what leads to no output goes, from the end to the beginning");

  Graph updates = new_graph(Mode::kFunction);
  auto& assign = updates.add<AssignVariable>();
  assign.variable = kBias;
  assign.x = {kBias, {{kWidth, 0}}};
  auto& step = updates.add<EmbedGradient>();
  step.steps = true;
  step.table = kTable;
  step.dtable = updates.add_gradient(kTable);
  remove_unread(updates);
  return right & expect(updates, "assign embed_step", "what changes a variable stays");
}

/// The number of operations with this name.
int count(const Graph& graph, const std::string& name) {
  int all = 0;
  for (const auto& operation : graph.operations()) all += operation->name() == name ? 1 : 0;
  return all;
}

bool losses_of_logits() {
  bool right = true;
  const auto build = [](ModelSpec spec, const TrainingSpec& training) {
    return build_graph(Model(std::move(spec)), training, Mode::kTrain);
  };
  const std::vector<LayerCase> layers{dense(16, "relu"), dense(10, "softmax")};
  right &= check(count(*build(chain(kWidth, layers), classification()), "row_activation") == 0,
                 "softmax joins its crossentropy");
  TrainingSpec squares;
  right &= check(count(*build(chain(kWidth, layers), squares), "row_activation") == 1, "not another loss");
  ModelSpec twice = chain(kWidth, layers);
  twice.outputs.push_back(twice.outputs.front());
  TrainingSpec two = classification();
  two.losses.push_back(two.losses.front());
  right &= check(count(*build(twice, two), "row_activation") == 1, "nor one of two losses of an output");
  ModelSpec read = chain(kWidth, layers);
  read.nodes.push_back({read_layer("dense", dense(10, "softmax").attributes), {1}});
  read.outputs.push_back({2, 1});
  return right & check(count(*build(read, two), "row_activation") == 1, "nor where a layer reads the probabilities");
}

bool run() {
  bool right = rescaled_inputs();
  right &= biases();
  right &= activations();
  right &= sums_of_gradients();
  right &= gradients_of_activations();
  right &= stored_gradients();
  right &= steps_in_products();
  right &= steps_in_embeddings();
  right &= fused_maps();
  right &= merged_maps();
  right &= equal_rows();
  right &= unread_operations();
  right &= losses_of_logits();
  return right;
}

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run() ? 0 : 1; }
