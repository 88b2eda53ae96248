"""Metrics for `compile`. Each can also be used directly, batch by batch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine._base.lazy_imports import on_first_use
from engine._base.spec import deserialize_any, registered_or_same, serialize_any, snake_case
from engine.losses import (
    KLD,
    MAE,
    MAPE,
    MSE,
    MSLE,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    kld,
    kullback_leibler_divergence,
    log_cosh,
    logcosh,
    mae,
    mape,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    mse,
    msle,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from engine.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    SuitableAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from engine.metrics.auc import AUC
from engine.metrics.by_loss import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    R2Score,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from engine.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from engine.metrics.f_score import ConfusionMatrix, F1Score, FBetaScore
from engine.metrics.iou import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from engine.metrics.metric import Metric, registry
from engine.metrics.reductions import (
    ConcordanceCorrelation,
    Mean,
    MeanMetricWrapper,
    PearsonCorrelation,
    Sum,
    concordance_correlation,
    pearson_correlation,
)
from engine.metrics.trade_offs import (
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)

__all__ = [
    "AUC",
    "KLD",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "ConfusionMatrix",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "kld",
    "kullback_leibler_divergence",
    "log_cosh",
    "logcosh",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "pearson_correlation",
    "poisson",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]


def get(identifier: object) -> Any:
    """Returns the metric for an identifier: an instance for a name, class or config; a function unchanged.

    Args:
        identifier: a name such as "auc", a class, an instance, a config dict, a function or None.

    Raises:
        ValueError: if the name is unknown. The message suggests similar names.
        TypeError: if `identifier` is of another type.
    """
    identifier = registered_or_same(identifier, registry.knows)
    if identifier is None or (callable(identifier) and not isinstance(identifier, (type, Metric))):
        return identifier
    return registry.get(identifier)


def metric_for_training(identifier: object) -> Metric:
    """The metric that `compile` is given; a name stays the name in logs, "accuracy" suits labels and outputs.

    Raises:
        ValueError: if the name is unknown. The message suggests similar names.
        TypeError: if `identifier` is of another type.
    """
    identifier = registered_or_same(identifier, registry.knows)
    if isinstance(identifier, str):
        metric = SuitableAccuracy() if identifier.lower() in ("accuracy", "acc") else registry.get(identifier)
        metric.name = identifier
        return metric
    if not callable(identifier) or isinstance(identifier, (type, Metric)):
        return registry.get(identifier)
    name = snake_case(re.sub(r"\W", "", getattr(identifier, "__name__", type(identifier).__name__)))
    try:
        metric = registry.get(identifier)
    except TypeError:
        return MeanMetricWrapper(identifier, name)
    metric.name = name
    return metric


def serialize(metric: Any) -> dict[str, Any] | str:
    """Returns a description of `metric` for `deserialize`: a dict for an instance, a name for a function."""
    return serialize_any(metric)


def deserialize(config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Returns the metric that `serialize` described.

    Args:
        config: what `serialize` returned.
        custom_objects: dict from names to custom classes and functions.
    """
    return deserialize_any(get, config, custom_objects)


if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
