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
    """Rectified linear unit, `max(x, 0)`, with the options of `engine.activations.relu`.

    Args:
        max_value: largest output, at least 0; None for no limit.
        negative_slope: slope below the threshold, where the output is `negative_slope * (x - threshold)`; at least 0.
        threshold: inputs up to this value use `negative_slope`; at least 0.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
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
    """Leaky rectified linear unit: `x` if `x >= 0`, else `negative_slope * x` (Maas, Hannun and Ng, 2013).

    Args:
        negative_slope: slope for negative inputs, at least 0.
        alpha: deprecated name of `negative_slope`.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
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
    """Exponential linear unit: `x` if `x > 0`, else `alpha * (exp(x) - 1)` (Clevert et al., 2016).

    Args:
        alpha: the output approaches `-alpha` for large negative inputs.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
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
    """Softmax, `exp(x) / sum(exp(x))`, over one or several axes.

    Args:
        axis: axis or list of axes of the sum. 0 is the batch axis, -1 the last axis.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
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
