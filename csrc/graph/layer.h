// A layer of a model: its fields, its variables, and the operations that it stands for.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "graph/value.h"
#include "graph/variables.h"

namespace engine::graph {

class Builder;  // graph/builder.h

/// What a layer is given: numbers per sample of each input, the shapes of the inputs, and whether something before it
/// learns. Layers other than those of arrays only get inputs that have numbers for each sample.
struct LayerInputs {
  std::vector<int64_t> sizes;
  std::vector<Shape> shapes;
  bool after_learning = false;

  int64_t size() const { return sizes.empty() ? 0 : sizes.front(); }
};

/// Adds the variables of a layer, one after the other. Where a layer shares those of an earlier one, they must have the
/// same shapes.
class VariableList {
 public:
  VariableList(Variables& variables, const std::vector<int>* shared) : variables_(variables), shared_(shared) {}
  /// (rows, columns), which the user sees as `shape`. Throws std::invalid_argument where the model becomes larger than
  /// 2**40 weights; `what` names the variable then. One that isn't trainable has neither penalties nor a constraint.
  void add(const char* what, int64_t rows, int64_t columns, std::vector<int64_t> shape, const VariableSpec& spec,
           bool trainable);
  /// One that is no part of training, such as a moving average.
  void add_frozen(const char* what, int64_t rows, int64_t columns, std::vector<int64_t> shape) {
    add(what, rows, columns, std::move(shape), {}, false);
  }
  /// Their numbers, in the order in which they were added.
  std::vector<int> take();

 private:
  Variables& variables_;
  const std::vector<int>* shared_;  // the variables to use in place of new ones; null: new ones
  std::vector<int> added_;
};

/// One kind of layer is one struct, in the file of its operations. Layers are immutable once they have been read.
class Layer {
 public:
  virtual ~Layer() = default;

  /// Numbers per sample of the output. Throws std::invalid_argument where the layer does not fit its inputs.
  virtual int64_t output_size(const LayerInputs& inputs) const = 0;

  /// The shape of the output; by default the numbers of each sample in one row.
  virtual Shape output_shape(const LayerInputs& inputs) const { return {{0, 1}, {output_size(inputs), 0}}; }
  /// Whether it reads arrays of any shape, or variables.
  virtual bool reads_arrays() const { return false; }

  /// Adds its variables, for inputs of `size` numbers per sample.
  virtual void add_variables(VariableList&, int64_t /*size*/) const {}

  /// Appends the operations that compute its output; returns the output.
  virtual ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const = 0;

  /// Whether training changes some of its weights.
  virtual bool learns() const { return false; }
  /// Whether the caller computes a part of it; a prediction needs no penalties.
  virtual bool asks_host(bool /*predicts*/) const { return false; }
  /// Whether, in training, the outputs of a sample depend on the other samples of the batch.
  virtual bool joins_samples_in_training() const { return false; }
  /// The same, in predictions, too: then a batch can't be computed in parts.
  virtual bool joins_samples() const { return false; }
  /// Rows of each sample that the layer's own mask is about; 0 where it makes no mask.
  virtual int64_t mask_rows(int64_t /*size*/) const { return 0; }
  /// The number of the input whose mask the output has.
  virtual size_t masked_input() const { return 0; }
  /// Multiply-adds of the products for one sample.
  virtual double multiply_adds(int64_t /*size*/) const { return 0.0; }
  /// Token indices that the layer accepts as inputs, from 0; 0 where its inputs are no tokens.
  virtual int64_t tokens() const { return 0; }
  /// Whether it only moves numbers, so that tokens stay tokens.
  virtual bool only_moves() const { return false; }

  /// The number of the argument of a function that it stands for; -1 for none.
  virtual int argument() const { return -1; }
  /// Whether it changes variables, beside what training does.
  virtual bool changes_variables() const { return false; }

  /// Whether it is called with training=True or with training=False, whatever the batch is for. In functions, dropout
  /// and its like are in force only with the former.
  bool trains = false, infers = false;
  int64_t groups = 1;  // rows per sample for what works on rows, such as products and softmax
};

/// Whether layers of a kind, such as "map", need nothing but the arrays that they read, so that rules for gradients may
/// have them.
bool is_of_arrays(const std::string& kind);

/// The layer of kind `kind` (such as "dense") with these attributes. Throws std::invalid_argument.
std::shared_ptr<const Layer> read_layer(const std::string& kind, const Attributes& attributes);

}  // namespace engine::graph
