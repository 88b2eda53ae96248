// Networks and training settings for tests.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "graph/model.h"
#include "graph/training_spec.h"

namespace engine::test {

/// Attributes of a layer from maps of numbers and strings.
class Described final : public graph::Attributes {
 public:
  Described(std::map<std::string, double> numbers, std::map<std::string, std::string> texts = {})
      : numbers_(std::move(numbers)), texts_(std::move(texts)) {}

  using graph::Attributes::flag;
  using graph::Attributes::integer;
  using graph::Attributes::number;

  bool has(const char* key) const override { return numbers_.count(key) > 0 || texts_.count(key) > 0; }
  bool flag(const char* key) const override { return number(key) != 0.0; }
  int64_t integer(const char* key) const override { return static_cast<int64_t>(number(key)); }
  uint64_t seed(const char* key) const override { return static_cast<uint64_t>(number(key)); }
  double number(const char* key) const override { return numbers_.at(key); }
  std::string text(const char* key) const override { return texts_.at(key); }
  std::vector<int64_t> integers(const char* key) const override { refuse("no list is given for", key); }
  std::vector<float> numbers(const char* key) const override { refuse("no list is given for", key); }
  std::vector<std::string> texts(const char* key) const override { refuse("no list is given for", key); }
  graph::Shape shape(const char* key) const override { refuse("no shape is given for", key); }
  std::vector<graph::Shape> shapes(const char* key) const override { refuse("no shapes are given for", key); }
  std::unique_ptr<Attributes> nested(const char* key) const override { refuse("no mapping is given for", key); }
  std::vector<std::unique_ptr<Attributes>> list(const char* key) const override { refuse("no list is given for", key); }
  [[noreturn]] void refuse(const char* message, const char* key) const override {
    throw std::invalid_argument(std::string(message) + " " + key);
  }

 private:
  std::map<std::string, double> numbers_;
  std::map<std::string, std::string> texts_;
};

struct LayerCase {
  std::string kind;
  Described attributes;
};

inline LayerCase dense(int64_t units, const char* activation, double l2 = 0.0) {
  return {"dense", Described({{"units", static_cast<double>(units)}, {"kernel_l2", l2}}, {{"activation", activation}})};
}

/// Returns a model that is a chain of layers.
inline graph::ModelSpec chain(int64_t inputs, const std::vector<LayerCase>& layers) {
  graph::ModelSpec model;
  model.input_sizes = {inputs};
  for (const LayerCase& layer : layers) {
    const int before = static_cast<int>(model.nodes.size()) - 1;
    model.nodes.push_back({graph::read_layer(layer.kind, layer.attributes), {before}});
  }
  model.outputs.push_back({static_cast<int>(model.nodes.size()) - 1, 1});
  return model;
}

/// Returns the settings of a training with Adam and the crossentropy of class indices.
inline TrainingSpec classification() {
  TrainingSpec training;
  training.losses[0].kind = Loss::kCrossentropy;
  training.losses[0].target = Target::kSparse;
  training.optimizer.kind = Optimizer::kAdam;
  std::copy_n(std::begin({0.9, 0.999, 1e-7}), 3, training.optimizer.parameters);
  return training;
}

}  // namespace engine::test
