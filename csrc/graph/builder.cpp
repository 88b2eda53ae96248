#include "graph/builder.h"

#include <algorithm>

#include "graph/operations/arrangement.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/pooling.h"
#include "graph/sizes.h"

namespace engine::graph {

ValueId Builder::with_rows(ValueId x, int64_t groups) {
  const Value from = value(x);
  if (from.groups == groups) return x;
  const ValueId y = graph_.add_batch(groups, from.columns * from.groups / groups);
  add_copy_of_rows(graph_, x, y);
  pass_mask(x, y);
  return y;
}

ValueId Builder::batch_of(ValueId value, int64_t groups) {
  const Value from = graph_.value(value);
  if (from.kind == Value::Kind::kBatch) return with_rows(value, groups);
  const int64_t columns = elements_per_sample(from.shape, graph_.batch) / groups;
  const Shape shape = resolved({{0, groups}, {columns, 0}}, graph_.batch);
  const ValueId copied = graph_.add_batch(groups, columns);
  add_copy(graph_, {value, shape}, {copied, shape});
  pass_mask(value, copied);
  return copied;
}

const Variable* Builder::variable_at(ValueId value) const {
  return named_variables_.count(value) ? &graph_.variables()[graph_.value(value).variable] : nullptr;
}

void Builder::change_before_reading(ValueId average, bool again) {
  const auto changes_it = [&](const Change& change) {
    return std::find(change.averages.begin(), change.averages.end(), average) != change.averages.end();
  };
  for (const Change& change : last_) {
    if (!changes_it(change)) continue;
    if (read_again_.count(average)) {
      refuse(
          "a layer with moving averages is called without training, then with training=True, and then without again: "
          "call it without training only before or only after that");
    }
    change.append();
    for (const ValueId changed : change.averages) {
      if (named_variables_.count(changed)) forget_array_of(changed);
    }
  }
  last_.erase(std::remove_if(last_.begin(), last_.end(), changes_it), last_.end());
  // Nodes to come of a function may ask for derivatives.
  const bool may_differentiate = is_training() || graph_.mode() == Mode::kFunction;
  if (again && may_differentiate) read_again_.insert(average);
}

ValueId Builder::array_of(ValueId value) {
  const auto found = named_variables_.find(value);
  if (found == named_variables_.end()) return value;
  change_before_reading(value, false);
  NamedVariable& variable = found->second;
  if (variable.array == kNoValue) {
    variable.array = variable_as_array(graph_, value, variable.shape, variable.trainable).value;
  }
  return variable.array;
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
