"""Losses for classes of very different sizes: focal crossentropies, Dice and Tversky."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import ops
from engine._base.checks import LOWEST, flag, integers, real
from engine._core_interface.cpp import Float32
from engine._data.target_shapes import EPSILON, paired
from engine._tracing.core_formulas import recorded_loss
from engine._tracing.symbolic import contains_symbolic
from engine.losses import reductions
from engine.losses.crossentropy import Smoothed, warn_of_one_class
from engine.losses.loss import FunctionLoss, evaluate_rows, formula, last_axis, mean_by_rows, register

__all__ = [
    "BinaryFocalCrossentropy",
    "CategoricalFocalCrossentropy",
    "Dice",
    "Tversky",
    "binary_focal_crossentropy",
    "categorical_focal_crossentropy",
    "dice",
    "tversky",
]

Array = NDArray[Any]


@reductions.returns_tensors
def binary_focal_crossentropy(  # noqa: PLR0917 # Keras' signature
    y_true: ArrayLike,
    y_pred: ArrayLike,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Float32:
    """Returns the binary focal crossentropy per sample.

    The loss is the mean of `(1 - p_t)**gamma * crossentropy`, where p_t is the probability of the target.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2018.

    Args:
        y_true: targets in [0, 1], (n, outputs).
        y_pred: probabilities (n, outputs), or logits if `from_logits`.
        apply_class_balancing: whether targets 1 are weighted by `alpha` and targets 0 by `1 - alpha`.
        alpha: weight of targets that are 1.
        gamma: focusing exponent: larger values reduce the loss of well-classified outputs more.
        from_logits: whether `y_pred` are logits, to which sigmoid is applied.
        label_smoothing: how far labels move towards 0.5, in [0, 1].
        axis: axis of the mean.

    Returns:
        float32 (n,).
    """
    fields = formula(
        "binary_focal_crossentropy",
        alpha,
        gamma,
        from_logits,
        apply_class_balancing,
        label_smoothing=label_smoothing,
    )
    return mean_by_rows(fields, *reductions.paired(y_true, y_pred), axis=axis)


@reductions.returns_tensors
def categorical_focal_crossentropy(  # noqa: PLR0917 # Keras' signature
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Float32:
    """Returns the categorical focal crossentropy per sample.

    The loss is `alpha * sum((1 - p)**gamma * t * -log(p))`, with p scaled to sum 1 and clipped.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2018.

    Args:
        y_true: probabilities of the classes, usually one-hot, (n, classes).
        y_pred: probabilities (n, classes), or logits if `from_logits`.
        alpha: factor of the loss.
        gamma: focusing exponent: larger values reduce the loss of well-classified samples more.
        from_logits: whether `y_pred` are logits, to which softmax is applied.
        label_smoothing: fraction of each label, in [0, 1], that is spread evenly over the classes.
        axis: axis of the classes.

    Returns:
        float32 (n,).
    """
    fields = formula(
        "categorical_focal_crossentropy", alpha, gamma, from_logits, label_smoothing=label_smoothing
    )
    warn_of_one_class("categorical_focal_crossentropy", y_pred, axis)
    return evaluate_rows(fields, *reductions.paired(y_true, y_pred), axis=axis)


@reductions.returns_tensors
def tversky(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: int | Sequence[int] | None = None,
) -> Float32:
    """Tversky loss for classes of very different sizes.

    `1 - both / (both + alpha * sum(y * (1 - p)) + beta * sum(p * (1 - y)))`, with `both = sum(y * p)`.

    Source: Salehi et al., Tversky loss function for image segmentation, 2017.

    Args:
        y_true: targets in [0, 1], (n, outputs).
        y_pred: probabilities (n, outputs).
        alpha: weight of false negatives.
        beta: weight of false positives.
        axis: axis of the sums, or several; axis 0 is the batch axis. -1 gives one loss per sample, None one for the
            batch.

    Returns:
        float32, (n,) or a single number.
    """
    return _overlap_losses(y_true, y_pred, axis, (alpha, beta, float(EPSILON)))


@reductions.returns_tensors
def dice(y_true: ArrayLike, y_pred: ArrayLike, axis: int | Sequence[int] | None = None) -> Float32:
    """Dice loss: `1 - 2 * sum(y * p) / (sum(y) + sum(p))`.

    Args:
        y_true: targets in [0, 1], (n, outputs).
        y_pred: probabilities (n, outputs).
        axis: axis of the sums, or several; axis 0 is the batch axis. -1 gives one loss per sample, None one for the
            batch.

    Returns:
        float32, (n,) or a single number.
    """
    return _overlap_losses(y_true, y_pred, axis, _DICE)


_DICE = (0.5, 0.5, float(EPSILON) / 2)
"""The constants that make Tversky's formula Dice's: alpha, beta and epsilon."""


def _overlap_losses(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    axis: int | Sequence[int] | None,
    constants: tuple[float, float, float],
) -> Float32:
    """Returns Tversky's formula over `axis`; `constants` are alpha, beta and epsilon."""
    target, prediction = reductions.paired(y_true, y_pred)
    axes = _axes(axis, reductions.rank_of(prediction))
    if axes == (reductions.rank_of(prediction) - 1,):
        return evaluate_rows(formula("tversky", *constants), target, prediction)
    if contains_symbolic((target, prediction)):
        losses: Float32 = recorded_loss(formula("tversky", *constants), target, prediction, axes)
        return losses
    overlap, total = _overlap(target, prediction, axes, constants)
    return np.asarray(1 - overlap / total, np.float32).squeeze(axes)[()]


def _overlap(
    target: Array, prediction: Array, axes: tuple[int, ...], constants: tuple[float, float, float]
) -> tuple[Array, Array]:
    """Returns numerator and denominator of Tversky's formula, with sums over several axes or over the batch axis.

    The core knows sums over the last axis only. These sums are of float64 and in one order, so that all machines
    compute the same bits. The summed axes stay, with length 1.
    """
    y, p = target.astype(float), prediction.astype(float)
    alpha, beta, epsilon = constants
    overlap, missed, wrong = (_sum_in_order(a, axes) for a in (y * p, y * (1 - p), p * (1 - y)))
    return overlap, overlap + alpha * missed + beta * wrong + epsilon


class _Focal(Smoothed):
    """The arguments of both focal losses.

    Args:
        alpha: factor of the loss, or weight of targets that are 1.
        gamma: focusing exponent.
        from_logits: whether the model outputs logits.
        label_smoothing: fraction of each label, in [0, 1], that is spread evenly.
        axis: axis of the outputs. Training supports only the last.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.alpha = real(alpha, "alpha")
        self.gamma = real(gamma, "gamma", 0.0)

    def _formula(self) -> dict[str, Any]:
        return super()._formula() | {"parameters": [self.alpha, self.gamma, float(self.from_logits)]}


@register(function=binary_focal_crossentropy)
class BinaryFocalCrossentropy(_Focal):
    """Binary crossentropy multiplied by `(1 - p_t)**gamma` (Lin et al., 2018).

    Args:
        apply_class_balancing: whether targets 1 are weighted by `alpha` and targets 0 by `1 - alpha`.
        alpha: weight of targets that are 1.
        gamma: focusing exponent: larger values reduce the loss of well-classified outputs more.
        from_logits: whether the model outputs logits, to which sigmoid is applied.
        label_smoothing: s in [0, 1]: labels become `y * (1 - s) + s / 2`.
        axis: axis of the mean. Training supports only the last.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _kind = "binary_focal_crossentropy"

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(alpha, gamma, from_logits, label_smoothing, axis, reduction, name, dtype)
        self.apply_class_balancing = flag(apply_class_balancing, "apply_class_balancing")

    def _formula(self) -> dict[str, Any]:
        fields = super()._formula()
        return fields | {"parameters": [*fields["parameters"], float(self.apply_class_balancing)]}


@register(function=categorical_focal_crossentropy)
class CategoricalFocalCrossentropy(_Focal):
    """Categorical crossentropy multiplied by `alpha * (1 - p)**gamma` (Lin et al., 2018).

    Args:
        alpha: factor of the loss.
        gamma: focusing exponent: larger values reduce the loss of well-classified samples more.
        from_logits: whether the model outputs logits, to which softmax is applied.
        label_smoothing: s in [0, 1]: labels become `y * (1 - s) + s / classes`.
        axis: axis of the classes. Training supports only the last.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _kind = "categorical_focal_crossentropy"
    _wants_classes = True


class _Overlap(FunctionLoss, ABC):
    """The base class of Dice and Tversky, whose sums may run over the samples of a batch."""

    _kind = "tversky"
    _wants_fractions = True
    axis: int | Sequence[int] | None

    @abstractmethod
    def _factors(self) -> tuple[float, float, float]:
        """Returns alpha, beta and epsilon of Tversky's formula."""

    def _formula(self) -> dict[str, Any]:
        return formula(self._kind, *self._factors())

    @property
    def _must_be_wrapped(self) -> bool:
        """Whether the sums run over other axes than the last, of which the core knows nothing."""
        return self.axis != -1 or super()._must_be_wrapped

    def _in_training(self, y_true: Any, y_pred: Any) -> Array:
        """Returns one loss for each row of outputs or for each sample, or one for the batch if sums run over samples."""
        losses = self.call(y_true, y_pred)
        axes = _axes(self.axis, np.ndim(y_pred))
        if losses.ndim == 0 or axes == (np.ndim(y_pred) - 1,):  # one for the batch, or one for each row
            return losses
        if contains_symbolic(losses):
            combine = ops.sum if self.reduction == "sum" else ops.mean
            combined: Array = combine(losses, axis=tuple(range(0 if 0 in axes else 1, losses.ndim)))
            return combined
        several = losses.reshape(*(() if 0 in axes else losses.shape[:1]), -1)
        return np.asarray(several.sum(axis=-1) if self.reduction == "sum" else several.mean(axis=-1))

    def gradient(self, y_true: ArrayLike, y_pred: ArrayLike) -> Array:
        """Returns the gradient of the losses for training with respect to the predictions, in the shape of `y_pred`."""
        y, p = (array.astype(float) for array in paired(y_true, y_pred))
        alpha, beta, _ = self._factors()
        axes = _axes(self.axis, p.ndim)
        overlap, total = _overlap(y, p, axes, self._factors())
        gradient: Array = (y * (1 - alpha) + (1 - y) * beta) * (overlap / (total * total)) - y / total
        if self.reduction == "sum" or axes == (p.ndim - 1,):
            return gradient
        return gradient / (total.size if 0 in axes else total.size // len(p))


def _axis_argument(value: object) -> int | Sequence[int]:
    """Returns the axes as Keras keeps them: an int, or a list or tuple as given."""
    if isinstance(value, (tuple, list)):
        return type(value)(integers(value, "axis", LOWEST))
    return last_axis(value)


def _axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Returns `axis` as axis numbers from 0 on, for arrays of `rank` axes; None stands for all."""
    if axis is None:
        return tuple(range(rank))
    axes = tuple(axis) if isinstance(axis, Sequence) else axis
    return np.lib.array_utils.normalize_axis_tuple(axes, rank, "axis")


def _sum_in_order(array: Array, axes: tuple[int, ...]) -> Array:
    """Returns the sums of `array` over `axes`, added up in order. The axes stay, with length 1."""
    kept_shape = tuple(1 if axis in axes else size for axis, size in enumerate(array.shape))
    last = np.moveaxis(array, axes, range(-len(axes), 0))
    flat = last.reshape(*last.shape[: last.ndim - len(axes)], -1)
    return np.cumsum(flat, axis=-1)[..., -1].reshape(kept_shape)


@register(function=dice)
class Dice(_Overlap):
    """Dice loss: `1 - 2 * sum(y * p) / (sum(y) + sum(p))`.

    Args:
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        axis: axis of the sums, or several; axis 0 is the batch axis. -1 gives one loss per sample, None one for the
            batch.
        dtype: None or "float32".
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = None if axis is None else _axis_argument(axis)

    def _factors(self) -> tuple[float, float, float]:
        return _DICE


@register(function=tversky)
class Tversky(_Overlap):
    """Tversky loss for classes of very different sizes.

    `1 - both / (both + alpha * sum(y * (1 - p)) + beta * sum(p * (1 - y)))`, with `both = sum(y * p)`.

    Args:
        alpha: weight of false negatives.
        beta: weight of false positives.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        axis: axis of the sums, or several; axis 0 is the batch axis. -1 gives one loss per sample, None one for the
            batch.
        dtype: None or "float32".
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.alpha, self.beta = real(alpha, "alpha"), real(beta, "beta")
        self.axis = None if axis is None else _axis_argument(axis)

    def _factors(self) -> tuple[float, float, float]:
        return self.alpha, self.beta, float(EPSILON)
