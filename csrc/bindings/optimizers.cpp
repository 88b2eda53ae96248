// Optimizers as Python describes them.
#include <pybind11/stl.h>

#include <iterator>
#include <vector>

#include "bindings/convert.h"
#include "bindings/dict_entries.h"

namespace engine::bindings {
namespace {

/// Of Muon's iteration. Each adds five operations to the graph for every matrix, so larger numbers are mistakes.
constexpr int64_t kMaxRounds = 1000;

/// The first rule of this name. Variants of a rule, which share its name, follow it.
const OptimizerRow& to_rule(const std::string& name) {
  std::vector<const OptimizerRow*> rules;
  std::vector<const char*> names;
  for (const OptimizerRow& row : kOptimizerRows) {
    if (!names.empty() && names.back() == std::string(row.name)) continue;
    rules.push_back(&row);
    names.push_back(row.name);
  }
  return *rules[static_cast<size_t>(to_index(name, names.data(), static_cast<int>(names.size()), "optimizer"))];
}

/// The rule that the options of the one by this name make of it.
Optimizer variant(const OptimizerRow& rule, const py::dict& optimizer) {
  const auto has = [&](const char* key) { return get<bool>(optimizer, key, false); };
  const bool heavy = get<double>(optimizer, "momentum", 0.0) > 0.0;
  if (rule.kind == Optimizer::kSgd && heavy) return has("nesterov") ? Optimizer::kNesterov : Optimizer::kMomentum;
  if (rule.kind == Optimizer::kAdam && has("amsgrad")) return Optimizer::kAmsgrad;
  if (rule.kind == Optimizer::kRmsprop && has("centered")) {
    return heavy ? Optimizer::kRmspropCenteredMomentum : Optimizer::kRmspropCentered;
  }
  if (rule.kind == Optimizer::kRmsprop && heavy) return Optimizer::kRmspropMomentum;
  return rule.kind;
}

void set_clipping(OptimizerSpec& spec, const py::dict& optimizer) {
  const auto set = [&](const char* key, OptimizerSpec::Clip clip) {
    const double limit = to_nonnegative(optimizer, key, 0.0);
    if (limit == 0.0) return;
    spec.clip = clip;
    spec.limit = limit;
  };
  set("clipvalue", OptimizerSpec::Clip::kValue);
  set("global_clipnorm", OptimizerSpec::Clip::kGlobalNorm);
  set("clipnorm", OptimizerSpec::Clip::kNorm);
}

}  // namespace

OptimizerSpec to_optimizer(const py::dict& optimizer) {
  OptimizerSpec spec;
  const OptimizerRow& rule = to_rule(get<std::string>(optimizer, "kind"));
  spec.kind = variant(rule, optimizer);
  for (int i = 0; i < kMaxOptimizerParameters && rule.parameters[i]; ++i) {
    spec.parameters[i] = to_nonnegative(optimizer, rule.parameters[i]);
  }
  spec.initial_slot = to_nonnegative(optimizer, "initial_accumulator_value", 0.0);
  spec.decays = get<std::vector<double>>(optimizer, "decays", {});
  set_clipping(spec, optimizer);
  spec.accumulate = get<int64_t>(optimizer, "accumulate", 1);
  if (spec.accumulate < 1) fail("'accumulate' must be at least 1, got " + std::to_string(spec.accumulate));
  spec.averages = get<bool>(optimizer, "averages", false);
  spec.average_momentum = to_nonnegative(optimizer, "average_momentum", 0.0);
  spec.overwrite = get<int64_t>(optimizer, "overwrite", 0);
  spec.orthogonalised = get<std::vector<bool>>(optimizer, "orthogonalised", {});
  const char* const factors[] = {"muon_a", "muon_b", "muon_c"};
  for (size_t i = 0; i < std::size(factors); ++i) spec.quintic[i] = get<double>(optimizer, factors[i], 0.0);
  spec.rounds = get<int64_t>(optimizer, "ns_steps", 0);
  if (spec.rounds < 0 || spec.rounds > kMaxRounds) {
    fail("'ns_steps' must lie in 0 ... " + std::to_string(kMaxRounds) + ", got " + std::to_string(spec.rounds));
  }
  spec.rms_rate = to_nonnegative(optimizer, "rms_rate", 0.0);
  return spec;
}

void require_variables(const OptimizerSpec& optimizer, size_t variables) {
  const size_t decays = optimizer.decays.size(), orthogonalised = optimizer.orthogonalised.size();
  if (decays != 0 && decays != variables) {
    fail("'decays' must hold " + std::to_string(variables) + " numbers, got " + std::to_string(decays));
  }
  if (optimizer.kind == Optimizer::kMuon && orthogonalised != variables) {
    fail("'orthogonalised' must hold " + std::to_string(variables) + " flags, got " + std::to_string(orthogonalised));
  }
}

}  // namespace engine::bindings
