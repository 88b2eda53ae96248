"""What every loss is: a formula per sample, and how a batch of them becomes one number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import LOWEST, float32_only, integer, require
from engine._base.cpp import Float32
from engine._base.spec import Registry, Spec, snake_case
from engine._base.tensor_like import Number, Tensor
from engine._data.target_shapes import weights_like

# Keras' names, and the core's for what a batch is divided by. Without a reduction there is nothing to train on, but an
# evaluation takes the mean.
REDUCTIONS: dict[str | None, str] = {
    "sum_over_batch_size": "mean",
    "mean": "mean",
    "mean_with_sample_weight": "weighted_mean",
    "sum": "sum",
    "none": "mean",
    None: "mean",
}


def last_axis(axis: object) -> int:
    """`axis` as an int; that it names the last axis is checked where outputs are known."""
    return integer(axis, "axis", LOWEST)


class Loss(Spec):
    """Base class of all losses. Custom losses override `call` and, for training, `gradient`.

    Args:
        name: name of the loss; default the name of the class.
        reduction: how the losses of samples are combined. "sum_over_batch_size" and "mean" divide the sum of
            `weight * loss` by the number of samples, "mean_with_sample_weight" divides it by the sum of the
            weights, "sum" returns the sum, and "none" or None returns one loss per sample.
        dtype: None or "float32".

    Example:
        >>> import numpy as np
        >>> from engine import losses
        >>> class Quartic(losses.Loss):
        ...     def call(self, y_true, y_pred):
        ...         return np.mean((y_pred - y_true) ** 4, axis=-1)
        ...     def gradient(self, y_true, y_pred):
        ...         return 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]
        >>> Quartic()(np.zeros((2, 1)), np.ones((2, 1)))
        1.0
    """

    _unsaved_arguments: ClassVar[tuple[str, ...]] = ("dtype",)
    _wants_indices: bool | None = None
    """Whether targets are class indices (n,) rather than one number per output; None: what `y` holds tells."""
    _wants_classes: ClassVar[bool] = False
    """Whether the outputs stand for classes that exclude each other."""
    _wants_fractions: ClassVar[bool] = False
    """Whether targets must lie in [0, 1]."""
    _wants_signs: ClassVar[bool] = False
    """Whether targets must be -1 and 1, or 0 and 1."""
    _ignored_class: int | None = None
    """Class index of samples that count for nothing."""

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: object = None,
    ) -> None:
        require(str, name, "name", "a string")
        self.name = name or snake_case(type(self).__name__)
        if reduction not in REDUCTIONS:
            msg = f"`reduction` must be one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}"
            raise ValueError(msg)
        self.reduction = reduction
        self.dtype = float32_only(dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, (n,). `y_true` and `y_pred` are float32 (n, outputs)."""
        msg = (
            f"{type(self).__name__} has no `call`: give it `def call(self, y_true, y_pred)`, which returns the "
            "loss of each sample"
        )
        raise NotImplementedError(msg)

    def _in_training(self, y_true: Any, y_pred: Any) -> Any:
        """What `call` gives, in a shape that training can weigh, of a loss that NumPy computes."""
        return self.call(y_true, y_pred)

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Returns the loss of a batch, reduced as `reduction` says.

        Args:
            y_true: targets (n, outputs), or class indices (n,) for sparse losses.
            y_pred: predictions (n, outputs).
            sample_weight: weights (n,), or (n, ...) if there is a loss for each timestep; default 1. A loss with one
                value for the batch takes any shape.

        Returns:
            A Python float; without reduction a float32 array (n, ...), or (n, 1) if the weights are (n, 1).
        """
        losses = np.asarray(self.call(y_true, y_pred), np.float32)
        weights = weights_like(sample_weight, losses)
        counted = self._counted(y_true, losses)
        weighted = losses.astype(np.float64) * weights
        if REDUCTIONS[self.reduction] == "sum":
            return Number(np.sum(weighted))
        if self.reduction in ("none", None):
            # Keras keeps the last axis of weights (n, 1).
            column = np.asarray(sample_weight).shape == (*losses.shape, 1) and losses.ndim == 1
            return weighted.astype(np.float32).reshape((*weighted.shape, *[1] * column)).view(Tensor)
        counted = np.broadcast_to(counted, weighted.shape)
        divisor = np.sum(counted * weights if self.reduction == "mean_with_sample_weight" else counted)
        return Number(np.sum(weighted) / divisor if divisor else 0.0)

    def _counted(self, y_true: ArrayLike, losses: Float32) -> NDArray[np.float64]:
        """1 for each sample that counts, (n,), else 0."""
        if self._ignored_class is None:
            return np.ones(losses.shape)
        return np.asarray(np.reshape(y_true, losses.shape) != self._ignored_class, np.float64)

    @property
    def _needs_host(self) -> bool:
        """Whether NumPy must compute it, batch by batch, as the core doesn't know it."""
        return True

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        """The loss to compute, given whether targets are class indices and the width of the predictions."""
        return self

    @abstractmethod
    def _lower(self) -> dict[str, Any]:
        """The loss as the core reads it."""


class FunctionLoss(Loss):
    """A loss that the core knows: a named formula, and its options as arguments.

    Args:
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _function: ClassVar[Callable[..., Float32]]
    """Losses (n,) from targets, predictions and the options of the class."""
    _wants_indices = False

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    @property
    def _needs_host(self) -> bool:
        """Whether a subclass of the user's has a formula of its own."""
        return type(self).call is not FunctionLoss.call

    def call(self, y_true: Any, y_pred: Any) -> Float32:
        """Returns the loss of each sample."""
        return type(self)._function(y_true, y_pred, **self._options())

    def _lower(self) -> dict[str, Any]:
        """The loss as the core reads it."""
        ignored = {} if self._ignored_class is None else {"ignored": self._ignored_class}
        return {
            "kind": snake_case(type(self)._function.__name__),
            "from_logits": getattr(self, "from_logits", False),
            "label_smoothing": getattr(self, "label_smoothing", 0.0),
            "parameters": self._parameters(),
            "reduction": REDUCTIONS[self.reduction],
            **ignored,
        }

    def _parameters(self) -> list[float]:
        """Numbers that the formula takes in the core."""
        return []

    def _options(self) -> dict[str, Any]:
        return {
            option: value
            for option, value in self.get_config().items()
            if option not in ("name", "reduction")
        }


class BatchLoss(Loss):
    """A loss that NumPy computes for a whole batch at once, as the losses of its samples depend on each other.

    Args:
        name: name of the loss, as in `Loss`.
        reduction: how to combine the losses of samples, as in `Loss`.
        dtype: None or "float32".
    """

    @abstractmethod
    def _gradient_of_sum(self, y_true: Any, y_pred: Any, factors: NDArray[Any]) -> NDArray[Any]:
        """The derivative of `sum(factors * losses)` by the predictions, in the shape of `y_pred`; `factors` is (n,)."""

    def gradient(self, y_true: Any, y_pred: Any) -> NDArray[Any]:
        """The derivative of the sum of all losses by the predictions, in the shape of `y_pred`."""
        return self._gradient_of_sum(y_true, y_pred, np.ones(len(y_pred)))

    def _lower(self) -> dict[str, Any]:
        """The core has no formula for it."""
        raise NotImplementedError


registry: Registry[Loss] = Registry("loss", Loss)
register = registry.register
