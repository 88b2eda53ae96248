#include "graph/operations/embedding.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/arrangement.h"
#include "graph/sizes.h"

namespace engine::graph {

void Embed::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !trainable) return;
  auto& gradient = gradients.graph().add<EmbedGradient>();
  gradient.x = x;
  gradient.dy = dy;
  gradient.table = table;
  gradient.dtable = gradients.new_gradient(table);
}

/// It is linear in dy, whose gradient has the row of each token.
void EmbedGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddtable = gradients.gradient_of(dtable);
  if (ddtable == kNoValue || !gradients.wants(dy)) return;
  Graph& graph = gradients.graph();
  const Array tokens{x, shape_of(graph, x)};
  const Variable& variable = graph.variables()[graph.value(table).variable];
  const Extent units{variable.columns, 0};
  Shape shape = tokens.shape;
  shape.push_back(units);
  const Array rows{ddtable, {{variable.rows, 0}, units}};
  gradients.contribute({dy, shape}, add_gather(graph, rows, tokens, 0, shape));
}

namespace {

/// Tokens come as float32, which holds every integer up to here.
constexpr int64_t kMaxTokens = int64_t{1} << 24;

int64_t read_tokens(const Attributes& attributes) {
  const int64_t count = attributes.count("tokens");
  if (count > kMaxTokens) {
    refuse("'tokens' must be at most " + std::to_string(kMaxTokens) + ", got " + std::to_string(count));
  }
  return count;
}

void require_data(const LayerInputs& inputs) {
  if (inputs.after_learning) refuse("a layer that learns can't come before one that takes tokens");
}

struct EmbeddingLayer final : Layer {
  int64_t token_count = 0, units = 0;
  bool masks = false;  // whether token 0 is padding
  bool trainable = true;
  VariableSpec table;

  int64_t output_size(const LayerInputs& inputs) const override {
    require_data(inputs);
    row_of(inputs.size(), groups);
    return times(inputs.size(), units);
  }
  void add_variables(VariableList& variables, int64_t) const override {
    variables.add("table", token_count, units, {token_count, units}, table, trainable);
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], 1);
    const int64_t count = builder.value(x).columns;
    auto& embed = builder.add<Embed>();
    embed.x = x;
    embed.table = builder.variable(0);
    embed.y = builder.graph().add_batch(count, units);
    embed.trainable = trainable;
    if (masks) builder.set_mask(embed.y, {x, 0.0f, count});
    return embed.y;
  }
  bool learns() const override { return trainable; }
  int64_t mask_rows(int64_t size) const override { return masks ? size : 0; }
  int64_t tokens() const override { return token_count; }
};

struct EncodingLayer final : Layer {
  int64_t token_count = 0;
  bool counts = false;

  int64_t output_size(const LayerInputs& inputs) const override {
    require_data(inputs);
    row_of(inputs.size(), groups);
    return times(groups, token_count);
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], groups);
    auto& encode = builder.add<EncodeTokens>();
    encode.x = x;
    encode.y = builder.graph().add_batch(groups, token_count);
    encode.tokens = token_count;
    encode.counts = counts;
    return encode.y;
  }
  int64_t tokens() const override { return token_count; }
};

}  // namespace

std::shared_ptr<Layer> read_embedding(const Attributes& attributes) {
  auto layer = std::make_shared<EmbeddingLayer>();
  layer->token_count = read_tokens(attributes);
  layer->units = attributes.count("units");
  layer->masks = attributes.flag("masks", false);
  layer->trainable = attributes.flag("trainable", true);
  layer->table = attributes.variable("kernel");
  return layer;
}

std::shared_ptr<Layer> read_encoding(const Attributes& attributes) {
  auto layer = std::make_shared<EncodingLayer>();
  layer->token_count = read_tokens(attributes);
  layer->counts = attributes.flag("counts");
  return layer;
}

}  // namespace engine::graph
