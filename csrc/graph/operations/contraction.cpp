#include "graph/operations/contraction.h"

#include <algorithm>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/dense.h"
#include "graph/operations/reduction.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

bool has(const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; }

/// The shape of an array with `letters`, each of which is the letter of an axis of a or b.
Shape shape_by_letters(const std::string& letters, const std::string& a_letters, const Shape& a,
                       const std::string& b_letters, const Shape& b) {
  Shape shape;
  for (const char letter : letters) {
    const size_t in_a = a_letters.find(letter);
    shape.push_back(in_a != std::string::npos ? a[in_a] : b[b_letters.find(letter)]);
  }
  return shape;
}

}  // namespace

Array add_product(Graph& graph, const Array& a, const std::string& a_letters, const Array& b,
                  const std::string& b_letters, const std::string& y_letters) {
  const Array a_read = with_strides(graph, a), b_read = with_strides(graph, b);
  const Array y = add_array(graph, shape_by_letters(y_letters, a_letters, a.shape, b_letters, b.shape));
  auto& product = graph.add<Contraction>();
  product.a = a_read;
  product.b = b_read;
  product.y = y;
  product.a_letters = a_letters;
  product.b_letters = b_letters;
  product.y_letters = y_letters;
  product.find_loops(graph);
  return y;
}

void Contraction::find_loops(const Graph& graph) {
  rows = a_rows = b_rows = kWhole;
  if (y_letters.empty()) return;
  const char first = y_letters[0];
  const Loop loop = row_loop(graph, y);
  const auto may_share = [&](const Array& array, const std::string& letters) {
    return !has(letters, first) || (letters[0] == first && row_loop(graph, array) == loop);
  };
  if (!may_share(a, a_letters) || !may_share(b, b_letters)) return;
  rows = loop;
  if (has(a_letters, first)) a_rows = loop;
  if (has(b_letters, first)) b_rows = loop;
}

std::vector<Operand> Contraction::operands() const {
  return {writes(y.value, rows, kWhole), reads(a.value, a_rows, kWhole), reads(b.value, b_rows, kWhole)};
}

/// da = dy * b and db = a * dy. Both are contractions, as each letter of an operand is one of y or of the other
/// operand.
void Contraction::differentiate(Differentiation& gradients) const {
  const ValueId dy_value = gradients.gradient_of(y.value);
  if (dy_value == kNoValue) return;
  const Array dy{dy_value, y.shape};
  Graph& graph = gradients.graph();
  if (gradients.wants(a.value)) {
    gradients.contribute(a, add_product(graph, dy, y_letters, b, b_letters, a_letters));
  }
  if (gradients.wants(b.value)) {
    gradients.contribute(b, add_product(graph, a, a_letters, dy, y_letters, b_letters));
  }
}

namespace {

struct ContractionLayer final : ArrayLayer {
  std::string a_letters, b_letters, y_letters;
  Precision precision = Precision::kFloat32;  // of a product of a dense layer; other contractions are float32

  void check() const override {
    constexpr const char* kOfOneOperand = "a letter of a single operand must be one of the output";
    require_inputs(2);
    const Shape &a = input_shapes[0], &b = input_shapes[1];
    require(a.size() == a_letters.size() && b.size() == b_letters.size(),
            "each axis of a contraction must have a letter");
    for (const std::string* letters : {&a_letters, &b_letters, &y_letters}) {
      for (const char letter : *letters) {
        const bool known = has(a_letters, letter) || has(b_letters, letter);
        const bool once = std::count(letters->begin(), letters->end(), letter) == 1;
        require(known && once, "an operand of a contraction must have each letter once");
      }
    }
    for (size_t i = 0; i < a.size(); ++i) {
      const size_t in_b = b_letters.find(a_letters[i]);
      require(in_b == std::string::npos || a[i] == b[in_b], "equal letters of a contraction must have equal lengths");
      require(in_b != std::string::npos || has(y_letters, a_letters[i]), kOfOneOperand);
    }
    for (const char letter : b_letters) {
      require(has(a_letters, letter) || has(y_letters, letter), kOfOneOperand);
    }
    require(shape == shape_by_letters(y_letters, a_letters, a, b_letters, b),
            "the output of a contraction must have the lengths of its letters");
  }

  /// Whether it is y[..., n] = sum over k of x[..., k] kernel[k, n], the kernel is a variable that is stored as a
  /// matrix, and the rows of x belong to samples. Then it is the product of a dense layer.
  bool is_dense(const Builder& builder, ValueId kernel) const {
    const Variable* variable = builder.variable_at(kernel);
    return variable && variable->is_matrix() && b_letters.size() == 2 && a_letters.size() >= 2 &&
           has_sample_axis(input_shapes[0], builder.batch()) && a_letters.back() == b_letters[0] &&
           y_letters == a_letters.substr(0, a_letters.size() - 1) + b_letters[1] &&
           input_shapes[1] == Shape{{variable->rows, 0}, {variable->columns, 0}};
  }

  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (!is_dense(builder, inputs[1])) return ArrayLayer::build(builder, inputs);
    const int64_t rows = elements_per_sample(input_shapes[0], builder.batch()) / input_shapes[1][0].fixed;
    const ValueId x = builder.batch_of(inputs[0], rows);
    auto& dense = builder.add<Dense>();
    dense.x = x;
    dense.kernel = inputs[1];
    dense.y = builder.graph().add_batch(rows, input_shapes[1][1].fixed);
    dense.precision = precision;
    dense.trainable = builder.is_trainable(inputs[1]);
    return dense.y;
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_product(builder.graph(), inputs[0], a_letters, inputs[1], b_letters, y_letters);
  }
  bool keeps_rows(size_t input) const override { return (input == 0 ? a_letters : b_letters)[0] == y_letters[0]; }
};

}  // namespace

std::shared_ptr<Layer> read_contraction(const Attributes& attributes) {
  auto layer = std::make_shared<ContractionLayer>();
  layer->read_shapes(attributes);
  layer->a_letters = attributes.text("a_letters");
  layer->b_letters = attributes.text("b_letters");
  layer->y_letters = attributes.text("y_letters");
  layer->precision = read_precision(attributes);
  return layer;
}

}  // namespace engine::graph
