#include "bindings/convert.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "bindings/mapping.h"

namespace engine::bindings {
int to_index(const std::string& name, const char* const* names, int count, const char* what) {
  std::string known;
  for (int i = 0; i < count; ++i) {
    if (name == names[i]) return i;
    known += (i ? ", " : "") + std::string(names[i]);
  }
  fail(std::string("unknown ") + what + " '" + name + "'; known are " + known);
}

Activation to_activation(const py::dict& layer, float (&parameters)[kMostParameters]) {
  const auto name = get<std::string>(layer, "activation", "linear");
  const auto activation = static_cast<Activation>(
      to_index(name, kActivationNames, static_cast<int>(std::size(kActivationNames)), "activation"));
  const auto given = get<std::vector<float>>(layer, "parameters", {});
  const int wanted = parameter_count(activation);
  if (given.size() != static_cast<size_t>(wanted))
    fail("activation '" + name + "' has " + std::to_string(wanted) + " parameters, got " +
         std::to_string(given.size()));
  std::copy(given.begin(), given.end(), parameters);
  return activation;
}

LossSpec to_loss(const py::dict& loss) {
  static constexpr const char* kNames[] = {"categorical_crossentropy",
                                           "binary_crossentropy",
                                           "binary_focal_crossentropy",
                                           "categorical_focal_crossentropy",
                                           "tversky",
                                           "mean_squared_error",
                                           "mean_absolute_error",
                                           "mean_absolute_percentage_error",
                                           "mean_squared_logarithmic_error",
                                           "huber",
                                           "log_cosh",
                                           "cosine_similarity",
                                           "kl_divergence",
                                           "poisson",
                                           "hinge",
                                           "squared_hinge",
                                           "categorical_hinge",
                                           "sparse_categorical_crossentropy",
                                           "host"};
  static constexpr Loss kEntries[] = {Loss::kCrossentropy,
                                      Loss::kBinaryCrossentropy,
                                      Loss::kBinaryFocalCrossentropy,
                                      Loss::kCategoricalFocalCrossentropy,
                                      Loss::kTversky,
                                      Loss::kMeanSquaredError,
                                      Loss::kMeanAbsoluteError,
                                      Loss::kMeanAbsolutePercentageError,
                                      Loss::kMeanSquaredLogarithmicError,
                                      Loss::kHuber,
                                      Loss::kLogCosh,
                                      Loss::kCosineSimilarity,
                                      Loss::kKLDivergence,
                                      Loss::kPoisson,
                                      Loss::kHinge,
                                      Loss::kSquaredHinge,
                                      Loss::kCategoricalHinge,
                                      Loss::kCrossentropy,
                                      Loss::kMeanSquaredError};
  constexpr int kCount = static_cast<int>(std::size(kNames)), kHost = kCount - 1, kSparse = kCount - 2;
  static constexpr const char* kTargetNames[] = {"sparse", "dense"};
  static constexpr const char* kReductions[] = {"mean", "sum", "weighted_mean"};
  const int kind = to_index(get<std::string>(loss, "kind"), kNames, kCount, "loss");
  LossSpec spec;
  spec.kind = kEntries[kind];
  spec.host = kind == kHost;
  const std::string target = get<std::string>(loss, "target", kind == kSparse ? "sparse" : "dense");
  spec.target = static_cast<Target>(to_index(target, kTargetNames, 2, "target"));
  spec.from_logits = get<bool>(loss, "from_logits", false);
  spec.label_smoothing = get<float>(loss, "label_smoothing", 0.0f);
  if (!(spec.label_smoothing >= 0.0f && spec.label_smoothing <= 1.0f)) fail("'label_smoothing' must lie in [0, 1]");
  const auto parameters = get<std::vector<float>>(loss, "parameters", {});
  if (parameters.size() > kLossParameters)
    fail("a loss has at most " + std::to_string(kLossParameters) + " parameters");
  std::copy(parameters.begin(), parameters.end(), spec.parameters);
  spec.reduction =
      static_cast<Reduction>(to_index(get<std::string>(loss, "reduction", "mean"), kReductions, 3, "reduction"));
  spec.weight = get<float>(loss, "weight", 1.0f);
  spec.ignores = loss.contains("ignored");
  spec.ignored = get<int32_t>(loss, "ignored", -1);
  return spec;
}

MetricSpec to_metric(const py::dict& metric) {
  static constexpr const char* kNames[] = {"sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy",
                                           "mean_squared_error"};
  static constexpr Metric kEntries[] = {Metric::kCategoricalAccuracy, Metric::kCategoricalAccuracy,
                                        Metric::kBinaryAccuracy, Metric::kMeanSquaredError};
  MetricSpec spec;
  spec.kind = kEntries[to_index(get<std::string>(metric, "kind"), kNames, 4, "metric")];
  spec.weighted = get<bool>(metric, "weighted", false);
  spec.threshold = get<float>(metric, "threshold", 0.5f);
  return spec;
}

void require_readable(const py::array& array, const char* name) {
  if ((array.flags() & kReadable) != kReadable) {
    fail(std::string("`") + name + "` must be C-contiguous and aligned: pass np.require(" + name +
         ", None, ['C', 'A'])");
  }
}

DatasetView view_rows(const py::array& x) {
  if (x.ndim() < 1 || x.shape(0) < 1) fail("`x` must have at least one row");
  require_readable(x, "x");
  DatasetView rows;
  if (py::isinstance<py::array_t<uint8_t>>(x)) {
    rows.type = RowType::kUint8;
  } else if (py::isinstance<py::array_t<float>>(x)) {
    rows.type = RowType::kFloat32;
  } else if (py::isinstance<py::array_t<double>>(x)) {
    rows.type = RowType::kFloat64;
  } else {
    fail("`x` must be uint8, float32 or float64, got " + py::str(x.dtype()).cast<std::string>());
  }
  rows.x = x.data();
  rows.rows = x.shape(0);
  rows.stride = x.size() / x.shape(0);
  if (rows.rows >= (int64_t{1} << 31)) fail("`x` has 2**31 rows or more; train on parts of it");
  return rows;
}

py::array_t<float> view(float* data, int64_t rows, int64_t columns, int64_t ld, const py::object& owner) {
  constexpr auto kFloat = static_cast<py::ssize_t>(sizeof(float));
  return {{rows, columns}, {ld * kFloat, kFloat}, data, owner};
}

}  // namespace engine::bindings
