// Layers whose inputs are tokens: embeddings, one-hot and multi-hot codes, counts.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y[b,i,:] = table[x[b,i],:], one row for each token of a sample
struct Embed final : Operation {
  ValueId x = kNoValue, table = kNoValue, y = kNoValue;
  bool trainable = true;

  const char* name() const override { return "embed"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole), reads(table, kWhole, kWhole)};
  }
  bool learns() const override { return trainable; }
  void differentiate(Differentiation& gradients) const override;
};

/// dtable[t,n] = sum of dy[b,i,n] over the places (b,i) that hold token t. Where `steps` is set, the optimizer steps
/// the rows of the tokens in the batch, and neither reads nor writes the others. Only their rows of dtable hold
/// numbers.
struct EmbedGradient final : Operation {
  ValueId x = kNoValue, dy = kNoValue, table = kNoValue, dtable = kNoValue;
  bool steps = false;

  const char* name() const override { return steps ? "embed_step" : "embed_gradient"; }
  std::vector<Operand> operands() const override {
    std::vector<Operand> all{writes(dtable, kWhole, 'n'), reads(dy, kSamples, 'n'), reads(x, kSamples, kWhole)};
    if (steps) all.push_back(updates(table, kWhole, 'n'));
    return all;
  }
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,t] = how often x[b,:] holds token t, or only whether it does
struct EncodeTokens final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  int64_t tokens = 0;
  bool counts = false;

  const char* name() const override { return "encode_tokens"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
  void differentiate(Differentiation&) const override {}
};

std::shared_ptr<Layer> read_embedding(const Attributes& attributes);
std::shared_ptr<Layer> read_encoding(const Attributes& attributes);

}  // namespace engine::graph
