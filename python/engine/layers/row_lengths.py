"""Layers that bring the lengths of their inputs to a common scale, and leave their means alone."""

from __future__ import annotations

from typing import Any

from engine import initializers
from engine._base.checks import Shape, real
from engine._base.operations import LayerOperation
from engine.layers._axes import axes_of, axis_argument, weight_shape
from engine.layers.layer import Layer, register
from engine.layers.weights import NamedWeight, Weight


@register()
class RMSNormalization(Layer):
    """Divides each sample by its root mean square (Zhang and Sennrich, 2019).

    The output is `scale * x / sqrt(mean(x**2) + epsilon)` with a learned `scale`.

    Args:
        axis: axis or list of axes over which the mean is computed.
        epsilon: small number that avoids division by 0.
        options: arguments of every `Layer`, such as `name`, `trainable` and `input_shape`.
    """

    scale = NamedWeight()

    def __init__(self, axis: int | list[int] = -1, epsilon: float = 1e-6, **options: Any) -> None:
        self.axis = axis_argument(axis)
        self.epsilon = real(epsilon, "epsilon", 0.0)
        super().__init__(**options)

    def _weights_for(self, input_shape: Shape) -> list[Weight]:
        """The scale, with the axes that are normalized."""
        return [Weight("scale", weight_shape(self.name, self.axis, input_shape), initializers.Ones())]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """One normalization, and what is learned."""
        axes = axes_of(self.name, self.axis, input_shape)
        return axes.around(
            [
                {"kind": "row_normalization", "epsilon": self.epsilon, "centred": False},
                {
                    "kind": "learned",
                    "use_shift": False,
                    "shape": list(weight_shape(self.name, self.axis, input_shape)),
                    "trainable": self.trainable,
                },
            ]
        )


@register()
class UnitNormalization(Layer):
    """Scales each sample to Euclidean norm 1: `x / sqrt(sum(x**2))`.

    Args:
        axis: axis or list of axes over which the sum is computed.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = True

    def __init__(self, axis: int | list[int] = -1, **options: Any) -> None:
        self.axis = axis_argument(axis)
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """One normalization. No root counts as less than 1e-12, as in Keras."""
        operation: LayerOperation = {
            "kind": "row_normalization",
            "epsilon": 1e-12,
            "centred": False,
            "unit": True,
        }
        return axes_of(self.name, self.axis, input_shape).around([operation])
