#include "bindings/totals.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/instances.h"
#include "bindings/register.h"

namespace engine::bindings {
namespace {

/// Output, target and weight.
constexpr int64_t kPerScore = 3;

}  // namespace

Totals no_totals(const TrainingSpec& training, int64_t outputs) {
  Totals totals;
  for (const MetricSpec& metric : training.metrics) {
    totals.metrics.emplace_back(static_cast<size_t>(state_size(metric, outputs)));
  }
  return totals;
}

void reserve_scores(const TrainingSpec& training, int64_t outputs, Totals& totals) {
  for (size_t i = 0; i < training.metrics.size(); ++i) {
    if (training.metrics[i].kind != MetricSpec::Kind::kScores) continue;
    std::vector<double>& scores = totals.metrics[i];
    const size_t needed = scores.size() + static_cast<size_t>(outputs * kPerScore);
    // Twice as much as there was, since data sets that come batch by batch ask for each of them.
    if (needed > scores.capacity()) scores.reserve(std::max(needed, 2 * scores.capacity()));
  }
}

void require_states(const TrainingSpec& training, int64_t outputs, const Totals& totals) {
  bool fits = totals.metrics.size() == training.metrics.size();
  for (size_t i = 0; fits && i < training.metrics.size(); ++i) {
    const bool grows = training.metrics[i].kind == MetricSpec::Kind::kScores;
    const auto size = static_cast<int64_t>(totals.metrics[i].size());
    fits = grows ? size % kPerScore == 0 : size == state_size(training.metrics[i], outputs);
  }
  if (!fits) throw py::value_error("`metrics` must be the states of the compiled metrics");
}

void register_totals(py::module_& m) {
  const auto make = [](double loss_sum, double samples, std::vector<std::vector<double>> metrics) {
    return std::make_unique<Totals>(Totals{loss_sum, samples, std::move(metrics)});
  };
  py::class_<Totals> type(m, "Totals");
  def_init(type, +make, py::arg("loss_sum"), py::arg("samples"), py::arg("metrics"));
  type.def_property_readonly("loss", [](const Totals& t) { return t.samples != 0.0 ? t.loss / t.samples : 0.0; })
      .def_property_readonly("loss_sum", [](const Totals& t) { return t.loss; })
      .def_property_readonly("metrics", [](const Totals& t) { return t.metrics; })
      .def_property_readonly("samples", [](const Totals& t) { return static_cast<int64_t>(t.samples); });
}

}  // namespace engine::bindings
