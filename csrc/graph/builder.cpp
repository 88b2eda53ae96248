#include "graph/builder.h"

#include "graph/operations/pooling.h"
#include "graph/operations/shape.h"

namespace engine::graph {

ValueId Builder::with_rows(ValueId x, int64_t groups) {
  const Value from = value(x);
  if (from.groups == groups) return x;
  auto& reshape = add<Reshape>();
  reshape.x = x;
  reshape.y = graph_.add_batch(groups, from.columns * from.groups / groups);
  pass_mask(x, reshape.y);
  return reshape.y;
}

void Builder::pass_mask(ValueId input, ValueId output) {
  const auto mask = masks_.find(input);
  if (mask != masks_.end()) masks_.emplace(output, mask->second);
}

Mask* Builder::mask_of(ValueId value) const {
  const auto mask = masks_.find(value);
  return mask == masks_.end() ? nullptr : mask->second.get();
}

ValueId Builder::row_mask(Mask* mask) {
  if (!mask) return kNoValue;
  if (mask->row_mask == kNoValue) {
    auto& factors = add<RowFactors>();
    factors.x = mask->source;
    factors.value = mask->value;
    factors.factors = mask->row_mask = graph_.add_batch(1, mask->rows);
  }
  return mask->row_mask;
}

ValueId Builder::add_activity_penalty(int64_t groups) {
  if (predicts()) return kNoValue;
  graph_.activity_penalties.push_back(graph_.add_per_row(groups));
  return graph_.activity_penalties.back();
}

}  // namespace engine::graph
