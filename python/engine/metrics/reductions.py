"""Sums and means of given values, means of NumPy functions, and correlations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import EPSILON, LOWEST, integer, require
from engine._base.tensor_like import Number
from engine._core_interface.cpp import Float32
from engine._data.target_shapes import paired
from engine.metrics.metric import Metric, register


def _added_up(
    values: ArrayLike, sample_weight: ArrayLike | None, reduce: Callable[..., Any]
) -> tuple[float, float]:
    """Returns the weighted sum of `values` and the sum of the weights; `reduce` makes one value of those of a sample."""
    array = np.asarray(values, np.float64)
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if array.ndim == 0 and (weights is None or weights.ndim == 0):  # quick, as for the loss of a batch
        weight = 1.0 if weights is None else float(weights)
        return float(array) * weight, weight
    if weights is not None:
        if weights.ndim == array.ndim + 1 and weights.shape[-1] == 1:
            weights = weights[..., 0]
        if array.ndim > weights.ndim:
            array = reduce(array, axis=tuple(range(weights.ndim, array.ndim)))
        try:
            weights = np.broadcast_to(weights, array.shape)
        except ValueError:
            msg = f"`sample_weight` must have shape {array.shape}, one weight per value, got {weights.shape}"
            raise ValueError(msg) from None
        array = array * weights
        if weights.ndim > 1:
            weights = reduce(weights, axis=tuple(range(1, weights.ndim)))
    if array.ndim > 1:
        array = reduce(array, axis=tuple(range(1, array.ndim)))
    return float(np.sum(array)), float(np.sum(weights)) if weights is not None else float(array.size)


@register()
class Mean(Metric):
    """Weighted mean of values. Its variables are `total` (sum of weighted values) and `count` (sum of weights).

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    def __init__(self, name: str | None = None, dtype: object = None) -> None:
        super().__init__(name, dtype)
        self.total, self.count = self.add_variable(name="total"), self.add_variable(name="count")

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Adds `values` of any shape; `sample_weight` has the same shape, or one number per sample."""
        self._add(values, sample_weight)

    def result(self) -> float:
        """Returns the weighted mean since `reset_state`; 0.0 before the first value."""
        count = float(self.count)
        return Number(float(self.total) / count if count else 0.0)

    def _set_sums(self, total: float, weight: float) -> None:
        """Sets the state to sums that were added up elsewhere.

        Args:
            total: sum of the weighted values.
            weight: sum of the weights.
        """
        self.total._set_number(total)
        self.count._set_number(weight)

    def _add(self, values: ArrayLike, sample_weight: ArrayLike | None) -> None:
        total, weight = _added_up(values, sample_weight, np.mean)
        self._set_sums(float(self.total) + total, float(self.count) + weight)


@register()
class Sum(Metric):
    """Weighted sum of values. Its variable is `total`.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    def __init__(self, name: str | None = None, dtype: object = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable(name="total")

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Adds `values` of any shape; `sample_weight` has the same shape, or one number per sample."""
        self.total.assign_add(_added_up(values, sample_weight, np.sum)[0])

    def result(self) -> float:
        """Returns the weighted sum since `reset_state`."""
        return Number(self.total)


class MeanMetricWrapper(Mean):
    """Mean of a NumPy function of targets and predictions.

    Args:
        fn: function `fn(y_true, y_pred)` that returns a value for each sample or for each output.
        name: name of the metric, which is its key in logs; default the name of the function.
        dtype: None or "float32".
        **kwargs: further arguments for `fn`.
    """

    _takes_any_argument = _respects_mask = True

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: object = None, **kwargs: Any
    ) -> None:
        require(callable, fn, "fn", "a function of targets and predictions")
        super().__init__(name or getattr(fn, "__name__", None), dtype)
        self.fn, self._options = fn, kwargs

    def update_state(  # type: ignore[override] # as in Keras
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Adds the values of `fn(y_true, y_pred)`, weighted by `sample_weight`."""
        values = self.fn(np.asanyarray(y_true), np.asanyarray(y_pred), **self._options)
        self._add(values, self._masked_weights(y_pred, sample_weight))

    def _of_batch(self, y_true: Any, y_pred: Any) -> Any:
        """Returns what the function computes."""
        return self.fn(y_true, y_pred, **self._options)

    @property
    def _may_be_recorded(self) -> bool:
        """Whether the metric is the mean of its function, and no method of a subclass changes that."""
        methods = ("update_state", "reset_state", "result", "__call__")
        return all(getattr(type(self), name) is getattr(MeanMetricWrapper, name) for name in methods)

    def _load_state(self, state: Any, width: int = 1) -> None:
        """Sets the state to [sum, weight], which the core has added up."""
        del width
        self._set_sums(float(state[0]), float(state[1]))

    def get_config(self) -> dict[str, Any]:
        """Name, dtype, function and its options."""
        return {"name": self.name, "dtype": self.dtype, "fn": self.fn, **self._options}


def pearson_correlation(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> Float32:
    """Returns the Pearson correlation of targets and predictions along an axis.

    Args:
        y_true: targets, of the shape of `y_pred`.
        y_pred: predictions (n, outputs).
        axis: axis along which to correlate.

    Returns:
        float32 (n,), NaN if targets or predictions are constant.
    """
    targets, predictions = (values - values.mean(axis, keepdims=True) for values in paired(y_true, y_pred))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((targets * predictions).mean(axis) / (targets.std(axis) * predictions.std(axis)))


def concordance_correlation(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> Float32:
    """Returns the concordance correlation of targets and predictions along an axis (Lin, 1989).

    Args:
        y_true: targets, of the shape of `y_pred`.
        y_pred: predictions (n, outputs).
        axis: axis along which to correlate.

    Returns:
        float32 (n,).
    """
    targets, predictions = paired(y_true, y_pred)
    apart = targets.mean(axis) - predictions.mean(axis)
    centred = predictions - predictions.mean(axis, keepdims=True)
    spread = targets.var(axis) + predictions.var(axis) + apart**2 + np.float32(EPSILON)
    return np.asarray(2 * (targets * centred).mean(axis) / spread)


class _Correlation(MeanMetricWrapper):
    _direction = "up"

    def get_config(self) -> dict[str, Any]:
        """Name, dtype and axis."""
        return {"name": self.name, "dtype": self.dtype, **self._options}


@register()
class PearsonCorrelation(_Correlation):
    """Mean over samples of the Pearson correlation of targets and predictions.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        axis: axis along which to correlate.
    """

    def __init__(
        self, name: str | None = "pearson_correlation", dtype: object = None, axis: int = -1
    ) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=integer(axis, "axis", LOWEST))


@register()
class ConcordanceCorrelation(_Correlation):
    """Mean over samples of the concordance correlation of targets and predictions (Lin, 1989).

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        axis: axis along which to correlate.
    """

    def __init__(
        self, name: str | None = "concordance_correlation", dtype: object = None, axis: int = -1
    ) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=integer(axis, "axis", LOWEST))
