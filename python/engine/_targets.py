"""Targets of losses and metrics that are called by hand: brought into the shape of the predictions, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import _checks
from engine._checks import Shape

# As losses compute with it.
EPSILON = np.float32(_checks.EPSILON)


def like_predictions(y_true: ArrayLike, predictions: NDArray[Any]) -> NDArray[np.float32]:
    """`y_true` as float32 in the shape of `predictions`; an axis of length 1 at the end may be missing.

    Raises:
        ValueError: if the shapes differ otherwise.
    """
    targets = np.asarray(y_true, np.float32)
    longer, shorter = sorted((targets.shape, predictions.shape), key=len, reverse=True)
    if longer not in (shorter, (*shorter, 1)):
        msg = f"`y_true` must have the shape of `y_pred`, {predictions.shape}, got {targets.shape}"
        raise ValueError(msg)
    return targets.reshape(predictions.shape)


def paired(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Targets and predictions as float32 of one shape, the longer of the two.

    Raises:
        ValueError: if they differ by more than an axis of length 1 at the end.
    """
    predictions, targets = np.asarray(y_pred, np.float32), np.asarray(y_true, np.float32)
    if targets.ndim > predictions.ndim:
        predictions = predictions[..., np.newaxis]
    return like_predictions(targets, predictions), predictions


def class_indices_like(y_true: ArrayLike, predictions: NDArray[Any]) -> NDArray[np.intp]:
    """`y_true` (n, ...) or (n, ..., 1) as class indices for `predictions` (n, ..., classes).

    Raises:
        ValueError: if the shape is another, or an entry is no index of a class.
    """
    labels = np.asarray(y_true)
    samples, classes = predictions.shape[:-1], predictions.shape[-1]
    if labels.shape not in (samples, (*samples, 1)):
        msg = f"`y_true` must have shape {samples}, one class index per sample, got {labels.shape}"
        raise ValueError(msg)
    labels = labels.reshape(samples)
    wrong = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if wrong.any():
        msg = f"`y_true` must hold class indices in [0, {classes}), got {labels[wrong].flat[0]}"
        raise ValueError(msg)
    return labels.astype(np.intp)


def weights_like(sample_weight: ArrayLike | None, values: NDArray[Any]) -> NDArray[np.float64]:
    """`sample_weight` (n,), (n, 1) or (n, ...) in the shape of `values` (n, ...); ones for None.

    One value for a whole batch takes weights of any shape, as they are.

    Raises:
        ValueError: if there is not one weight per sample, or per value.
    """
    if sample_weight is None:
        return np.ones(values.shape)
    weights = np.asarray(sample_weight, np.float64)
    if values.ndim == 0:
        return weights
    if weights.shape in (values.shape, (*values.shape, 1)):
        return weights.reshape(values.shape)
    if weights.size == 1 or (values.ndim > 1 and weights.shape in (values.shape[:1], (len(values), 1))):
        return np.broadcast_to(weights.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
    msg = f"`sample_weight` must have shape {values.shape}, got {weights.shape}"
    raise ValueError(msg)


class GivenTargets(np.ndarray[Any, np.dtype[Any]]):
    """Targets as they were given, which don't meet predictions in an outer product by mistake.

    NumPy makes (n, n) of numbers (n,) and (n, 1), the shapes that targets and predictions of one number often have.
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        targets = [given.shape for given in inputs if isinstance(given, GivenTargets)]
        others = [np.shape(given) for given in inputs if not isinstance(given, GivenTargets)]
        crosses = method == "__call__" and ufunc.signature is None
        if crosses and any(_crossed(ours, theirs) for ours in targets for theirs in others):
            msg = (
                f"`y_true` has shape {targets[0]} and meets {others[0]}, of which NumPy would make every pair: pass y "
                "in the shape of the outputs, or bring one of them into the shape of the other, such as by "
                "`y_pred[:, 0]` or `y_true.reshape(-1, 1)`"
            )
            raise ValueError(msg)
        inputs = tuple(_plain(given) for given in inputs)
        if "out" in options:
            options["out"] = tuple(_plain(given) for given in options["out"])
        result = getattr(ufunc, method)(*inputs, **options)
        same = isinstance(result, np.ndarray) and result.shape in targets
        return result.view(GivenTargets) if same else result


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, GivenTargets) else value


def _crossed(ours: Shape, theirs: Shape) -> bool:
    """Whether the shapes are (n,) and (n, 1), n being more than 1."""
    shorter, longer = sorted((ours, theirs), key=len)
    return len(shorter) == 1 and shorter[0] > 1 and longer == (*shorter, 1)


class Form(NamedTuple):
    """How targets were given."""

    shape: Shape = ()
    """Of one sample's."""
    dtype: np.dtype[Any] = np.dtype(np.float32)
    kept: NDArray[np.float32] | None = None
    """The targets (n, ...), where their shape is one that only a loss of the user's can read; the core has zeros then."""
    outputs: Shape = ()
    """The shape of one of the model's outputs for them."""

    weights: NDArray[np.float32] | None = None
    """Sample weights (n, ..., outputs), where there is one for each output, which only a loss in NumPy can use; the core
    has none then."""

    def part(self, index: slice | NDArray[np.integer]) -> Form:
        """The same of some samples."""
        kept, weights = (None if array is None else array[index] for array in (self.kept, self.weights))
        return self._replace(kept=kept, weights=weights)

    def shaped(self, batch: Mapping[str, Any]) -> NDArray[Any]:
        """The targets of a batch of the core's in the shape in which they were given."""
        targets: NDArray[Any] = batch["y_true"]
        if self.kept is not None:
            targets = self.kept[batch["indices"]]
        return targets.reshape(-1, *self.shape).view(GivenTargets)

    def restored(self, batch: Mapping[str, Any]) -> NDArray[Any]:
        """The same with whole numbers as such; what has 64 bits gets 32, as in Keras."""
        dtype = {"i8": np.int32, "u8": np.uint32}.get(self.dtype.str[1:], self.dtype)
        return self.shaped(batch).astype(np.float32 if self.dtype.kind == "f" else dtype)


def aligned(y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets and predictions (n, ..., 1) with as many axes, as Keras brings them there for functions.

    Targets (n,) become (n, 1); to those with more axes the predictions are fitted, which lose their last.
    """
    if y_true.ndim != y_pred.ndim - 1 or y_pred.shape[-1] != 1:
        return y_true, y_pred
    return (y_true[:, np.newaxis], y_pred) if y_true.ndim == 1 else (y_true, y_pred[..., 0])


def counted_of(batch: Mapping[str, Any], predictions: NDArray[Any]) -> NDArray[np.float32] | None:
    """What the rows of `predictions` (n, ..., outputs) count for as far as masks go, (n, ...) of 0 and 1; None: all."""
    mask: NDArray[np.float32] | None = batch["mask"]
    return None if mask is None else mask.reshape(predictions.shape[:-1])


def weighed(counted: NDArray[np.float32], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """`counted` (n, ...) times `weights` (n,), (n, ...) or (n, ..., outputs), where there are some."""
    if weights is None:
        return counted
    if weights.ndim > counted.ndim:
        return counted[..., np.newaxis] * weights
    return counted * weights.reshape(*weights.shape, *[1] * (counted.ndim - weights.ndim))


def weights_of(batch: Mapping[str, Any], form: Form, predictions: NDArray[Any]) -> NDArray[np.float32]:
    """The weights of a batch of the core's: (n,), or (n, ...) for each row of `predictions` or for each output."""
    if form.weights is not None:
        by_output: NDArray[np.float32] = form.weights[batch["indices"]]
        return by_output
    weights: NDArray[np.float32] = batch["sample_weight"]
    return weights if len(weights) == len(predictions) else weights.reshape(predictions.shape[:-1])
