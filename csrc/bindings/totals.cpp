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

Totals no_totals(const TrainingSpec& training, const graph::Model& model) {
  Totals totals;
  totals.output_losses.resize(model.spec().outputs.size());
  for (const MetricSpec& metric : training.metrics) {
    const auto output = static_cast<size_t>(metric.output);
    totals.metrics.emplace_back(static_cast<size_t>(state_size(metric, model.output_width(output))));
  }
  return totals;
}

void reserve_scores(const TrainingSpec& training, const graph::Model& model, int64_t rows, Totals& totals) {
  for (size_t i = 0; i < training.metrics.size(); ++i) {
    const MetricSpec& metric = training.metrics[i];
    if (metric.kind != MetricSpec::Kind::kScores) continue;
    const int64_t numbers = rows * model.output_size(static_cast<size_t>(metric.output));
    std::vector<double>& scores = totals.metrics[i];
    const size_t needed = scores.size() + static_cast<size_t>(numbers * kPerScore);
    // Twice as much as there was, since data sets that come batch by batch ask for each of them.
    if (needed > scores.capacity()) scores.reserve(std::max(needed, 2 * scores.capacity()));
  }
}

void require_states(const TrainingSpec& training, const graph::Model& model, const Totals& totals) {
  bool fits = totals.metrics.size() == training.metrics.size();
  for (size_t i = 0; fits && i < training.metrics.size(); ++i) {
    const MetricSpec& metric = training.metrics[i];
    const auto size = static_cast<int64_t>(totals.metrics[i].size());
    fits = metric.kind == MetricSpec::Kind::kScores
               ? size % kPerScore == 0
               : size == state_size(metric, model.output_width(static_cast<size_t>(metric.output)));
  }
  if (!fits) throw py::value_error("`metrics` must be the states of the compiled metrics");
  if (totals.output_losses.size() != model.spec().outputs.size()) {
    throw py::value_error("`output_losses` must have one number for each output of the model");
  }
}

py::tuple sums_of(const Totals& totals) {
  py::list states;
  for (const std::vector<double>& state : totals.metrics) {
    states.append(py::array_t<double>(static_cast<py::ssize_t>(state.size()), state.data()));
  }
  return py::make_tuple(totals.loss, static_cast<int64_t>(totals.samples), totals.output_losses, states);
}

void register_totals(py::module_& m) {
  const auto make = [](double loss_sum, double samples, std::vector<std::vector<double>> metrics,
                       std::vector<double> output_losses) {
    return std::make_unique<Totals>(Totals{loss_sum, samples, std::move(output_losses), std::move(metrics)});
  };
  py::class_<Totals> type(m, "Totals");
  def_init(type, +make, py::arg("loss_sum"), py::arg("samples"), py::arg("metrics"),
           py::arg("output_losses") = std::vector<double>{0.0});
  type.def_property_readonly("loss", [](const Totals& t) { return t.samples != 0.0 ? t.loss / t.samples : 0.0; })
      .def_property_readonly("sums", &sums_of)
      .def_property_readonly("loss_sum", [](const Totals& t) { return t.loss; })
      .def_property_readonly("output_losses", [](const Totals& t) { return t.output_losses; })
      .def_property_readonly("metrics", [](const Totals& t) { return t.metrics; })
      .def_property_readonly("samples", [](const Totals& t) { return static_cast<int64_t>(t.samples); });
}

}  // namespace engine::bindings
