"""The rectifier with learned slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine import constraints, initializers, regularizers
from engine._base.checks import Shape, integer, integers
from engine._base.operations import LayerOperation, Learned, extended
from engine.layers._axes import Axes, axes_of
from engine.layers.layer import Layer, register
from engine.layers.weights import NamedWeight, Weight, asked


@register()
class PReLU(Layer):
    """Parametric ReLU: `x` if `x > 0`, else `alpha * x`, with a learned alpha per feature (He et al., 2015).

    Args:
        alpha_initializer: initializer of alpha.
        alpha_regularizer: penalty on alpha.
        alpha_constraint: constraint on alpha, applied after every step, such as `"non_neg"`.
        shared_axes: axes, counted from 1, along which alpha is shared.
        options: arguments of every `Layer`, such as `name`, `trainable` and `input_shape`.
    """

    supports_masking = True
    alpha = NamedWeight()

    def __init__(
        self,
        alpha_initializer: object = "Zeros",
        alpha_regularizer: object = None,
        alpha_constraint: object = None,
        shared_axes: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes: list[int] | None = None
        if isinstance(shared_axes, (tuple, list)):
            self.shared_axes = list(integers(shared_axes, "shared_axes", 1))
        elif shared_axes is not None:
            self.shared_axes = [integer(shared_axes, "shared_axes", 1)]
        super().__init__(**options)

    def _weights_for(self, input_shape: Shape) -> list[Weight]:
        """The slopes."""
        shape = self._alpha_shape(input_shape)
        constraint = constraints.of_a_row(self.alpha_constraint, shape)
        return [Weight("alpha", shape, self.alpha_initializer, True, self.alpha_regularizer, constraint)]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """One slope per number, or per number of an unshared axis."""
        (alpha,) = self._weights_for(input_shape)
        operation: Learned = {
            "kind": "learned",
            "rule": "leaky",
            "use_shift": False,
            "shape": list(alpha.shape),
            "trainable": self.trainable,
        }
        return self._axes(input_shape).around([extended(operation, asked(kernel=alpha))])

    def _axes(self, input_shape: Shape) -> Axes:
        shared = axes_of(self.name, self.shared_axes or [], input_shape)
        return Axes(input_shape, shared.outer, shared.inner)

    def _alpha_shape(self, input_shape: Shape) -> Shape:
        shared = self._axes(input_shape).outer
        return tuple(1 if axis in shared else size for axis, size in enumerate(input_shape))
