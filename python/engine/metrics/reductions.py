"""Sums and means of values that are computed elsewhere, and of functions in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._values import Number
from engine.metrics.base import Metric, register

Array = NDArray[Any]


class _Reduction(Metric):
    """Keeps the weighted sum of the values, and the sum of the weights."""

    def __init__(self, name: str | None = None, dtype: object = None) -> None:
        super().__init__(name, dtype)
        self._sum, self._weight = 0.0, 0.0

    def save_own_variables(self, store: MutableMapping[str, Array]) -> None:
        """Write the sums into `store`, a mapping."""
        super().save_own_variables(store)
        store["sums"] = np.array([self._sum, self._weight])

    def load_own_variables(self, store: Mapping[str, Array]) -> None:
        """Take what `save_own_variables` wrote into `store`."""
        *_, sums = store.values()
        super().load_own_variables(store)
        self._sum, self._weight = sums.tolist()

    def reset_state(self) -> None:
        """Forget all values."""
        super().reset_state()
        self._sum, self._weight = 0.0, 0.0

    def hold(self, total: float, weight: float) -> None:
        """Stand where these sums have come, which somebody else has added up."""
        self._sum, self._weight = total, weight

    def _add(self, values: ArrayLike, sample_weight: ArrayLike | None, reduce: Callable[..., Any]) -> None:
        array = np.asarray(values, np.float64)
        weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
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
        self._sum += float(np.sum(array))
        self._weight += float(np.sum(weights)) if weights is not None else float(array.size)


@register()
class Mean(_Reduction):
    """The mean of values.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
    """

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Add `values` of any shape, samples first; `sample_weight` has as many numbers, or one per sample."""
        self._add(values, sample_weight, np.mean)

    def result(self) -> float:
        """The weighted mean since `reset_state`; 0.0 before the first value."""
        return Number(self._sum / self._weight if self._weight else 0.0)


@register()
class Sum(_Reduction):
    """The sum of values.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
    """

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Add `values` of any shape, samples first; `sample_weight` has as many numbers, or one per sample."""
        self._add(values, sample_weight, np.sum)

    def result(self) -> float:
        """The weighted sum since `reset_state`."""
        return Number(self._sum)


class MeanMetricWrapper(Mean):
    """The mean of a function of targets and predictions, in NumPy.

    Args:
        fn: gives the value of each sample, or of each output, from (y_true, y_pred).
        name: the key in logs and histories; default the function's name.
        dtype: None or "float32".
        **kwargs: for `fn`.
    """

    takes_any_name = heeds_mask = True

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: object = None, **kwargs: Any
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), dtype)
        self.fn, self._options = fn, kwargs

    def update_state(  # type: ignore[override] # as in Keras
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add what `fn` makes of `y_true` and `y_pred`, weighted by `sample_weight`."""
        values = self.fn(np.asanyarray(y_true), np.asanyarray(y_pred), **self._options)
        self._add(values, sample_weight, np.mean)

    def get_config(self) -> dict[str, Any]:
        """Name, function and its options."""
        return {"name": self.name, "fn": self.fn, **self._options}
