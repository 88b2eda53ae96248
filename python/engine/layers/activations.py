"""Activations with constants of their own, as layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from engine._checks import Shape, real
from engine._program import Operation
from engine.activations.piecewise import leaky_relu_operation, relu_operation
from engine.activations.smooth import elu_operation
from engine.layers._axes import axes_of, axis_argument
from engine.layers.base import Layer, register


@register()
class ReLU(Layer):
    """`max(x, 0)`, or `engine.activations.relu` with these constants.

    Args:
        max_value: the highest result, at least 0; None for no limit.
        negative_slope: below the threshold the result is `negative_slope * (x - threshold)`; at least 0.
        threshold: up to which x counts as small; at least 0.
        options: `name`, `input_shape`, as for every layer.
    """

    supports_masking = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **options: Any,
    ) -> None:
        self.max_value = None if max_value is None else real(max_value, "max_value", 0.0)
        self.negative_slope = real(negative_slope, "negative_slope", 0.0)
        self.threshold = real(threshold, "threshold", 0.0)
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[Operation]:
        """One activation."""
        del input_shape
        lowered = relu_operation(self.negative_slope, self.max_value, self.threshold)
        return [{"kind": "activation", **lowered}]


@register()
class LeakyReLU(Layer):
    """`x` where it is at least 0, else `negative_slope * x` (Maas, Hannun and Ng, 2013).

    Args:
        negative_slope: at least 0.
        alpha: what older scripts call `negative_slope`; deprecated.
        options: `name`, `input_shape`, as for every layer.
    """

    supports_masking = True

    _unsaved_arguments = (*Layer._unsaved_arguments, "alpha")

    def __init__(self, negative_slope: float = 0.3, *, alpha: float | None = None, **options: Any) -> None:
        if alpha is not None:
            warnings.warn(
                "`alpha` of LeakyReLU is deprecated: call it `negative_slope`",
                DeprecationWarning,
                stacklevel=2,
            )
            negative_slope = alpha
        self.negative_slope = real(negative_slope, "negative_slope", 0.0)
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[Operation]:
        """One activation."""
        del input_shape
        return [{"kind": "activation", **leaky_relu_operation(self.negative_slope)}]


@register()
class ELU(Layer):
    """`x` where it is positive, else `alpha * (exp(x) - 1)` (Clevert, Unterthiner and Hochreiter, 2016).

    Args:
        alpha: what large negative numbers tend to, with the other sign.
        options: `name`, `input_shape`, as for every layer.
    """

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        self.alpha = real(alpha, "alpha")
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[Operation]:
        """One activation."""
        del input_shape
        return [{"kind": "activation", **elu_operation(self.alpha)}]


@register()
class Softmax(Layer):
    """`exp(x) / sum(exp(x))` along an axis, or along several together.

    Args:
        axis: number of the axis, or several, with the batch axis as number 0; -1 is the last.
        options: `name`, `input_shape`, as for every layer.
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any) -> None:
        self.axis = axis_argument(axis)
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape that comes in."""
        axes_of(self.name, self.axis, input_shape)
        return input_shape

    def _lower(self, input_shape: Shape) -> list[Operation]:
        """One activation of rows, between two transpositions unless the axis is the last."""
        softmax = {"kind": "activation", "activation": "softmax"}
        return axes_of(self.name, self.axis, input_shape).around([softmax])
