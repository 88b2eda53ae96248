#include "graph/attributes.h"

#include <stdexcept>

namespace engine::graph {
namespace {

[[noreturn]] void fail(const std::string& message) { throw std::invalid_argument(message); }

ConstraintSpec read_constraint(const Attributes& constraint) {
  static constexpr const char* kKinds[] = {"none", "non_negative", "norm", "host"};
  static constexpr const char* kOver[] = {"column", "row", "all"};
  ConstraintSpec spec;
  spec.kind = constraint.choice<ConstraintSpec::Kind>("kind", kKinds);
  if (spec.kind != ConstraintSpec::Kind::kNorm) return spec;
  spec.over = constraint.choice<ConstraintSpec::Over>("over", kOver);
  spec.limits = {constraint.number("low"), constraint.number("high"), constraint.number("rate")};
  return spec;
}

}  // namespace

double Attributes::nonnegative(const char* key) const {
  const double value = number(key);
  if (!(value >= 0.0)) fail(std::string("'") + key + "' must not be negative, got " + std::to_string(value));
  return value;
}

int64_t Attributes::count(const char* key) const {
  const int64_t count = integer(key);
  if (count < 1) fail(std::string("'") + key + "' must be at least 1, got " + std::to_string(count));
  return count;
}

VariableSpec Attributes::variable(const std::string& name) const {
  VariableSpec spec;
  spec.l1 = nonnegative((name + "_l1").c_str(), 0.0);
  spec.l2 = nonnegative((name + "_l2").c_str(), 0.0);
  spec.host_penalty = flag((name + "_host_penalty").c_str(), false);
  const std::string constraint = name + "_constraint";
  if (has(constraint.c_str())) spec.constraint = read_constraint(*nested(constraint.c_str()));
  return spec;
}

int Attributes::place_of(const std::string& text, const char* const* names, int count, const char* what) {
  for (int i = 0; i < count; ++i) {
    if (text == names[i]) return i;
  }
  std::string known;
  for (int i = 0; i < count; ++i) known += (i ? ", " : "") + std::string(names[i]);
  fail(std::string("unknown ") + what + " '" + text + "'; known are " + known);
}

}  // namespace engine::graph
