// A model as a graph of layers, and the variables of all of them.
#pragma once
#include <memory>
#include <vector>

#include "graph/array.h"
#include "graph/layer.h"

namespace engine::graph {

/// One call of a layer. The same weights may be used by several calls.
struct Node {
  std::shared_ptr<const Layer> layer;
  /// Whose outputs it reads: numbers of earlier nodes, or kInput - i for input number i of the model.
  std::vector<int> inputs;
  /// An earlier node of the same kind whose variables it uses; -1: it has variables of its own.
  int shares = -1;

  static constexpr int kInput = -1;
};

struct ModelSpec {
  struct Output {
    int node = Node::kInput;  // as in Node::inputs
    int64_t groups = 1;       // rows of the output, which losses and metrics look at one by one
  };
  std::vector<int64_t> input_sizes;  // numbers per sample; the inputs lie side by side in the rows of a data set
  std::vector<Node> nodes;
  std::vector<Output> outputs;
  std::vector<int> results;  // of a function: the nodes whose outputs it returns
  int64_t batch = 0;         // samples of every batch; 0: any number
};

/// A model that has been checked, with what follows from its layers.
class Model {
 public:
  /// Throws std::invalid_argument where a layer does not fit.
  explicit Model(ModelSpec spec);

  const ModelSpec& spec() const { return spec_; }
  const Variables& variables() const { return variables_; }
  /// Numbers of the variables of a node, in the order in which its layer added them.
  const std::vector<int>& variables_of(size_t node) const { return node_variables_[node]; }

  /// Numbers in a row of the data set: those of all inputs.
  int64_t input_size() const { return input_size_; }
  /// Numbers per sample of each output, and of all of them together.
  int64_t output_size(size_t output) const { return size_of(spec_.outputs[output].node); }
  int64_t output_size() const;
  /// Numbers in a row of an output.
  int64_t output_width(size_t output) const { return output_size(output) / spec_.outputs[output].groups; }
  /// Rows of an output that its mask is about; 0 without a mask.
  int64_t masked_rows(size_t output) const;
  /// Token indices that samples may hold; 0 where they are no tokens.
  int64_t tokens() const;

  /// The shape of the output of a node, or of an input.
  Shape shape_of(int node) const;

  bool asks_host(bool predicts) const;
  /// Whether the model is a function: it has arguments and results in place of a data set and predictions.
  bool is_function() const { return spec_.input_sizes.empty(); }
  /// The shape of each argument of a function.
  const std::vector<Shape>& arguments() const { return arguments_; }
  /// Whether a function changes variables.
  bool changes_variables() const;
  /// Whether a function computes with arrays alone, and has neither layers that read samples nor variables.
  bool is_of_arrays() const;
  bool joins_samples_in_training() const;
  /// Whether that is so in predictions, too. What leads to losses alone, such as a penalty on the outputs of a layer,
  /// has no say in it.
  bool joins_samples() const;
  /// Multiply-adds of all products, for one sample.
  double multiply_adds() const;

 private:
  /// Its numbers per sample; 0 where it has none for each sample.
  int64_t size_of(int node) const;
  int64_t masked_rows_of(int node) const;
  /// What the layer of node `number` is given.
  LayerInputs inputs_of(const Node& node, size_t number, const std::vector<bool>& learning) const;
  /// Whether a node is a variable of a traced function.
  bool is_variable(int node) const;
  void find_arguments();
  /// For each node whether an output is computed from it; all of a function.
  std::vector<bool> nodes_before_outputs() const;

  ModelSpec spec_;
  Variables variables_;
  std::vector<std::vector<int>> node_variables_;
  std::vector<Shape> shapes_;     // of the output of each node
  std::vector<int64_t> sizes_;    // its numbers per sample; 0 where it has none for each sample
  std::vector<Shape> arguments_;  // of a function
  int64_t input_size_ = 0;
};

/// A function of the targets and the predictions of an output, which a user wrote: its two inputs are both.
struct TracedFunction {
  /// Throws std::invalid_argument where a node does not fit, the function has weights, or its value is neither a single
  /// number nor an array of numbers for each row of the output.
  TracedFunction(ModelSpec spec, int value, int64_t rows);

  Model model;
  int value;  // the node whose output is the result
  Shape shape;
};

}  // namespace engine::graph
