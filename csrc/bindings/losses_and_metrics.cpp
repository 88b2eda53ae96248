// Losses and metrics: reads them from dicts, and evaluates them, and gradients of activations, on arrays of Python.
#include "bindings/losses_and_metrics.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "bindings/convert.h"
#include "bindings/dict_entries.h"
#include "bindings/gil.h"
#include "bindings/register.h"
#include "cpu/denormals.h"
#include "cpu/dispatch.h"
#include "cpu/metrics.h"
#include "graph/operations/activation_code.h"
#include "graph/operations/loss_code.h"
#include "runtime/arena.h"

namespace engine::bindings {
namespace {

/// What the caller computes, for targets that it names.
constexpr const char* kHost = "host";

/// The crossentropy of class indices.
constexpr const char* kSparseCrossentropy = "sparse_categorical_crossentropy";

constexpr const char* kTargetNames[] = {"sparse", "dense"};

struct NamedValue {
  const char* name;
  Metric value;
};
constexpr NamedValue kValues[] = {
    {"sparse_categorical_accuracy", Metric::kCategoricalAccuracy},
    {"categorical_accuracy", Metric::kCategoricalAccuracy},
    {"binary_accuracy", Metric::kBinaryAccuracy},
    {"top_k_categorical_accuracy", Metric::kTopKCategoricalAccuracy},
    {"sparse_top_k_categorical_accuracy", Metric::kTopKCategoricalAccuracy},
    {"accuracy", Metric::kAccuracy},
};

struct NamedMetricSum {
  const char* name;
  MetricSum sums;
};
constexpr NamedMetricSum kMetricSumNames[] = {
    {"thresholds", MetricSum::kThresholds},
    {"f_score", MetricSum::kFScore},
    {"confusion", MetricSum::kConfusion},
    {"moments", MetricSum::kMoments},
};

template <class Named, size_t N>
const Named* find(const Named (&table)[N], const std::string& name) {
  const auto* found = std::find_if(table, table + N, [&](const Named& entry) { return name == entry.name; });
  return found == table + N ? nullptr : found;
}

/// ValueError where one of the classes is ignored, but targets are none.
void require_classes(const LossSpec& loss, Target target) {
  if (loss.ignores && target == Target::kDense) fail("'ignored' is a class index, and such targets have none");
}

}  // namespace

void require_formula(const LossSpec& loss, Target target) {
  require_classes(loss, target);
  if (exists(loss.kind, target)) return;
  fail(std::string("'") + kLossNames.of[static_cast<size_t>(loss.kind)] +
       "' takes float32 (n, outputs) as targets, not class indices");
}

LossSpec to_loss(const py::dict& loss) {
  static constexpr const char* kReductions[] = {"mean", "sum", "weighted_mean"};
  const std::string kind = is_traced(loss) ? kHost : get<std::string>(loss, "kind");
  LossSpec spec;
  spec.host = kind == kHost && !is_traced(loss);
  if (kind == kHost) {
    const auto target = get<std::string>(loss, "target", "dense");
    spec.target = static_cast<Target>(to_index(target, kTargetNames, 2, "target"));
  } else if (kind == kSparseCrossentropy) {
    spec.kind = Loss::kCrossentropy;
    spec.target = Target::kSparse;
  } else {
    const LossRow& row = kLossRows[to_index(kind, kLossNames.of, kLossNames.kCount, "loss")];
    spec.kind = row.kind;
    spec.target = row.target;
  }
  spec.from_logits = get<bool>(loss, "from_logits", false);
  spec.label_smoothing = get<float>(loss, "label_smoothing", 0.0f);
  if (!(spec.label_smoothing >= 0.0f && spec.label_smoothing <= 1.0f)) fail("'label_smoothing' must lie in [0, 1]");
  const auto parameters = get<std::vector<float>>(loss, "parameters", {});
  if (parameters.size() > kLossParameters)
    fail("a loss has at most " + std::to_string(kLossParameters) + " parameters");
  std::copy(parameters.begin(), parameters.end(), spec.parameters);
  spec.reduction =
      static_cast<LossReduction>(to_index(get<std::string>(loss, "reduction", "mean"), kReductions, 3, "reduction"));
  spec.weight = get<float>(loss, "weight", 1.0f);
  spec.divides_penalties = get<bool>(loss, "divides_penalties", false);
  spec.ignores = loss.contains("ignored");
  spec.ignored = get<int32_t>(loss, "ignored", -1);
  spec.masked = get<bool>(loss, "masked", false);
  require_classes(spec, spec.target);
  return spec;
}

MetricSpec to_metric(const py::dict& metric) {
  MetricSpec spec;
  spec.output = get<int>(metric, "output", 0);
  spec.weighted = get<bool>(metric, "weighted", false);
  spec.masked = get<bool>(metric, "masked", false);
  spec.threshold = get<float>(metric, "threshold", 0.5f);
  spec.thresholds = get<std::vector<float>>(metric, "thresholds", {});
  spec.even = get<bool>(metric, "even", false);
  spec.below_zero = get<bool>(metric, "below_zero", false);
  spec.by_column = get<bool>(metric, "by_column", false);
  spec.logits = get<bool>(metric, "logits", false);
  spec.column = get<int64_t>(metric, "column", -1);
  spec.top_k = get<int64_t>(metric, "top_k", 0);
  if (!std::is_sorted(spec.thresholds.begin(), spec.thresholds.end())) fail("'thresholds' must ascend");
  if (spec.even && spec.thresholds.size() < 2) {
    fail("'even' thresholds are 2 at least, got " + std::to_string(spec.thresholds.size()));
  }
  const auto kind = get<std::string>(metric, "kind");
  if (const NamedValue* value = find(kValues, kind)) {
    spec.value = value->value;
  } else if (const NamedMetricSum* named = find(kMetricSumNames, kind)) {
    spec.kind = MetricSpec::Kind::kSums;
    spec.sums = named->sums;
    if (spec.sums == MetricSum::kConfusion && spec.thresholds.empty()) spec.thresholds = {0.5f};
  } else if (kind == "scores") {
    spec.kind = MetricSpec::Kind::kScores;
  } else if (is_traced(metric)) {
    spec.kind = MetricSpec::Kind::kTraced;
    spec.by_batch = get<bool>(metric, "by_batch", false);
  } else {
    spec.kind = MetricSpec::Kind::kLoss;
    spec.loss = to_loss(metric);
    if (spec.loss.host) fail("a metric is no host step");
  }
  return spec;
}

void require_suitable(const MetricSpec& metric, int64_t outputs, Target target) {
  if (metric.kind == MetricSpec::Kind::kTraced && !metric.traced) fail("a traced metric belongs to a model");
  if (metric.kind == MetricSpec::Kind::kLoss) require_formula(metric.loss, target);
  if (metric.column < outputs) return;
  fail("'column' must be less than " + std::to_string(outputs) + ", the number of outputs, got " +
       std::to_string(metric.column));
}

namespace {

/// Rows that `row_values` copies to padded buffers at a time, so that these stay small.
constexpr int64_t kChunk = 256;

/// The targets of `rows` rows of n predictions: y is int32 (rows,) or float32 (rows, n). The predictions are set later.
cpu::MetricInputs to_metric_inputs(const py::array& y, int64_t rows, int64_t n, bool binary) {
  require_readable(y, "y");
  cpu::MetricInputs batch{nullptr, leading_dimension(n), n, {}, Target::kDense, nullptr, binary};
  if (py::isinstance<py::array_t<int32_t>>(y) && y.ndim() == 1 && y.shape(0) == rows) {
    batch.form = Target::kSparse;
    batch.targets.labels = static_cast<const int32_t*>(y.data());
  } else if (py::isinstance<py::array_t<float>>(y) && y.ndim() == 2 && y.shape(0) == rows && y.shape(1) == n) {
    batch.targets.dense = static_cast<const float*>(y.data());
  } else {
    fail("`y` must be int32 (n,) or float32 (n, outputs)");
  }
  return batch;
}

bool are_binary(const float* numbers, int64_t count) {
  return std::all_of(numbers, numbers + count, [](float each) { return each == 0.0f || each == 1.0f; });
}

/// Copies x (rows, n), contiguous, to padded (rows, ld).
void copy_rows(const float* x, int64_t rows, int64_t n, float* padded, int64_t ld) {
  for (int64_t b = 0; b < rows; ++b) std::memcpy(padded + b * ld, x + b * n, static_cast<size_t>(n) * sizeof(float));
}

}  // namespace

py::array_t<double> accumulate(const py::dict& metric, const py::array_t<float, kReadable>& y_pred, const py::array& y,
                               const py::object& sample_weight, const py::object& state, std::optional<bool> binary,
                               const KernelTable& table) {
  MetricSpec spec = to_metric(metric);
  spec.weighted = !sample_weight.is_none();
  if (y_pred.ndim() != 2) fail("`y_pred` must have shape (n, outputs)");
  const int64_t rows = y_pred.shape(0), n = y_pred.shape(1);
  cpu::MetricInputs batch = to_metric_inputs(y, rows, n, binary.value_or(false));
  if (!binary && batch.form == Target::kDense) batch.binary = are_binary(batch.targets.dense, rows * n);
  require_suitable(spec, n, batch.form);
  py::array_t<float, kReadable> weights;
  if (spec.weighted) {
    weights = sample_weight;
    if (weights.ndim() != 1 || weights.shape(0) != rows) fail("`sample_weight` must have shape (n,)");
    batch.sample_weight = weights.data();
  }
  std::vector<double> sums(static_cast<size_t>(state_size(spec, n)));
  if (!state.is_none()) {
    auto given = state.cast<std::vector<double>>();
    if (given.size() != sums.size() && spec.kind != MetricSpec::Kind::kScores) {
      fail("the number of outputs differs from that of earlier batches, got " + std::to_string(n));
    }
    sums = std::move(given);
  }
  if (rows > 0) {
    Arena x(rows * batch.ld), scratch(rows * batch.ld), values(rows + kLineFloats);
    copy_rows(y_pred.data(), rows, n, x.data(), batch.ld);
    batch.y_pred = x.data();
    const cpu::DenormalsAreZero guard;
    if (by_sample(spec)) {
      cpu::metric_values(table, spec, batch, {0, rows}, scratch.data(), values.data());
      cpu::add_values(spec, batch, values.data(), rows, sums);
    } else {
      cpu::add_metric_sums(table, spec, batch, rows, sums);
    }
  }
  py::array_t<double> result(static_cast<py::ssize_t>(sums.size()));
  std::copy(sums.begin(), sums.end(), result.mutable_data());
  return result;
}

namespace {

/// The loss of each row, or its value of a metric that is a mean over rows: float32 (n,).
py::array_t<float> row_values(const py::dict& metric, const py::array_t<float, kReadable>& y_pred, const py::array& y,
                              bool binary) {
  const MetricSpec spec = to_metric(metric);
  if (!by_sample(spec)) fail("this metric has no values by row");
  if (y_pred.ndim() != 2) fail("`y_pred` must have shape (n, outputs)");
  const int64_t rows = y_pred.shape(0), n = y_pred.shape(1);
  const cpu::MetricInputs all = to_metric_inputs(y, rows, n, binary);
  require_suitable(spec, n, all.form);
  py::array_t<float> result(rows);
  const int64_t chunk = std::min(rows, kChunk);
  const Arena x(chunk * all.ld), scratch(chunk * all.ld), values(chunk + kLineFloats);
  const float* given = y_pred.data();
  float* losses = result.mutable_data();
  const Unlocked unlocked;
  const cpu::DenormalsAreZero guard;
  for (int64_t begin = 0; begin < rows; begin += kChunk) {
    const int64_t count = std::min(rows - begin, kChunk);
    copy_rows(given + begin * n, count, n, x.data(), all.ld);
    cpu::MetricInputs batch = all;
    batch.y_pred = x.data();
    batch.targets.first = begin;
    cpu::metric_values(cpu::kernels(), spec, batch, {0, count}, scratch.data(), values.data());
    std::copy(values.data(), values.data() + count, losses + begin);
  }
  return result;
}

/// dLoss/dx of an activation y = f(x) along the rows of contiguous arrays (rows, n), given dLoss/dy as `upstream` and
/// what a training saves: the outputs of row activations and of those from linear to exponential, else the inputs.
py::array_t<float> activation_gradient(const py::dict& operation, const py::array_t<float, kReadable>& saved,
                                       const py::array_t<float, kReadable>& upstream) {
  float parameters[kMaxActivationParameters];
  const Activation activation = to_activation(operation, parameters);
  if (saved.ndim() != 2 || upstream.ndim() != 2 || saved.shape(0) != upstream.shape(0) ||
      saved.shape(1) != upstream.shape(1)) {
    fail("`saved` and `upstream` must be of one shape (n, columns)");
  }
  const int64_t rows = saved.shape(0), n = saved.shape(1), ld = leading_dimension(n);
  py::array_t<float> result({rows, n});
  const int64_t chunk = std::min(rows, kChunk);
  const Arena from(chunk * ld), dy(chunk * ld), dx(chunk * ld);
  const float *values = saved.data(), *slopes = upstream.data();
  float* gradient = result.mutable_data();
  const Unlocked unlocked;
  const cpu::DenormalsAreZero guard;
  for (int64_t begin = 0; begin < rows; begin += kChunk) {
    const int64_t count = std::min(rows - begin, kChunk);
    copy_rows(values + begin * n, count, n, from.data(), ld);
    copy_rows(slopes + begin * n, count, n, dy.data(), ld);
    if (is_elementwise(activation)) {
      cpu::kernels().activation_backward[static_cast<size_t>(activation)](
          {dy.data(), dx.data(), from.data(), ld, {0, count}, {0, round_up(n, kLineFloats)}, parameters});
    } else {
      cpu::kernels().row_activation_backward[static_cast<int>(activation) - kElementwiseActivations](
          {dy.data(), from.data(), dx.data(), ld, n, {0, count}});
    }
    for (int64_t b = 0; b < count; ++b) {
      std::memcpy(gradient + (begin + b) * n, dx.data() + b * ld, static_cast<size_t>(n) * sizeof(float));
    }
  }
  return result;
}

/// Instructions as the fields of a map, as traced functions write them.
class CodeFields {
 public:
  void add(const char* operation, const MapInstruction& at) {
    operations_.append(operation);
    for (const int operand : {at.a, at.b, at.c}) operands_.append(operand);
    numbers_.append(at.number);
  }
  py::dict fields() const {
    py::dict code;
    code["operations"] = operations_;
    code["operands"] = operands_;
    code["numbers"] = numbers_;
    return code;
  }

 private:
  py::list operations_, operands_, numbers_;
};

/// The formula of an elementwise activation.
py::dict activation_code(const py::dict& operation) {
  graph::ActivationParameters parameters{};
  float given[kMaxActivationParameters] = {};
  const Activation activation = to_activation(operation, given);
  if (!is_elementwise(activation)) fail("an activation of rows has no formula for single elements");
  std::copy(std::begin(given), std::end(given), parameters.begin());
  CodeFields code;
  for (const MapInstruction& each : graph::activation_code(activation, parameters).instructions) {
    code.add(kMapOpNames[static_cast<size_t>(each.op)], each);
  }
  return code.fields();
}

/// The formula of a loss of rows of so many columns, with reductions over these among the instructions.
py::dict loss_code(const py::dict& loss, int64_t columns) {
  CodeFields code;
  for (const graph::RowInstruction& each : graph::loss_code(to_loss(loss), columns)) {
    const bool reduces = each.reduction != graph::RowReduction::kNone;
    code.add(reduces ? graph::kRowReductionNames[static_cast<size_t>(each.reduction)]
                     : kMapOpNames[static_cast<size_t>(each.map.op)],
             each.map);
  }
  return code.fields();
}

}  // namespace

void register_results(py::module_& m) {
  const auto accumulate_here = [](const py::dict& metric, const py::array_t<float, kReadable>& y_pred,
                                  const py::array& y, const py::object& sample_weight, const py::object& state,
                                  std::optional<bool> binary) {
    return accumulate(metric, y_pred, y, sample_weight, state, binary, cpu::kernels());
  };
  m.def("accumulate", accumulate_here, py::arg("metric"), py::arg("y_pred"), py::arg("y"), py::arg("sample_weight"),
        py::arg("state"), py::arg("binary") = py::none());
  m.def("row_values", &row_values, py::arg("metric"), py::arg("y_pred"), py::arg("y"), py::arg("binary") = false);
  m.def("activation_code", &activation_code, py::arg("operation"));
  m.def("loss_code", &loss_code, py::arg("loss"), py::arg("columns"));
  m.def("activation_gradient", &activation_gradient, py::arg("operation"), py::arg("saved"), py::arg("upstream"));
}

}  // namespace engine::bindings
