"""Groups of channels brought to a common scale."""

from __future__ import annotations

from typing import Any

from engine._base.checks import LOWEST, Shape, integer, real
from engine._base.operations import LayerOperation, RowNormalization, extended
from engine.layers._axes import axes_of, transposed
from engine.layers.layer import register
from engine.layers.normalization import Scaled
from engine.layers.weights import Weight


@register()
class GroupNormalization(Scaled):
    """Normalizes each sample over groups of channels (Wu and He, 2018).

    The output is `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.

    Args:
        groups: number of groups, a divisor of the number of channels; -1 for one group per channel.
        axis: axis of the channels.
        epsilon: small number that avoids division by 0.
        center: whether to add the offset beta.
        scale: whether to multiply by the factor gamma.
        beta_initializer: initializer of beta.
        gamma_initializer: initializer of gamma.
        beta_regularizer: penalty on beta.
        gamma_regularizer: penalty on gamma.
        beta_constraint: constraint on beta, applied after every step, such as `"max_norm"`.
        gamma_constraint: constraint on gamma, applied after every step.
        options: arguments of every `Layer`, such as `name`, `trainable` and `input_shape`.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: object = "zeros",
        gamma_initializer: object = "ones",
        beta_regularizer: object = None,
        gamma_regularizer: object = None,
        beta_constraint: object = None,
        gamma_constraint: object = None,
        **options: Any,
    ) -> None:
        self.groups = integer(groups, "groups", -1)
        if self.groups == 0:
            msg = "`groups` must be a positive integer, or -1 for a group per channel, got 0"
            raise ValueError(msg)
        self.axis = integer(axis, "axis", LOWEST)
        self.epsilon = real(epsilon, "epsilon", 0.0)
        super().__init__(
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **options,
        )

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape that comes in."""
        (channels,) = axes_of(self.name, self.axis, input_shape).inner_shape
        if channels is not None and channels % self.groups:
            msg = (
                f"layer {self.name!r} can't cut {channels} channels into `groups={self.groups}`: "
                "give a number that divides them, or -1"
            )
            raise ValueError(msg)
        return input_shape

    def _weights_for(self, input_shape: Shape) -> list[Weight]:
        """Gamma and beta, one per channel."""
        return self._weights_of(axes_of(self.name, self.axis, input_shape).inner_shape)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """One normalization, and what is learned."""
        axes = axes_of(self.name, self.axis, input_shape)
        (channels,) = axes.inner_shape
        count = channels if self.groups == -1 else self.groups
        cut = (axes.rows, count, channels // count)
        normalization: RowNormalization = {
            "kind": "row_normalization",
            "epsilon": self.epsilon,
            "centred": True,
            "groups": count,
        }
        grouped: list[LayerOperation] = [
            *transposed(cut, (1, 0, 2)),
            normalization,
            *transposed((count, axes.rows, channels // count), (1, 0, 2)),
        ]
        affine = [extended(operation, {"groups": axes.rows}) for operation in self._affine((channels,))]
        around = axes.around([])
        half = len(around) // 2
        return [*around[:half], *grouped, *affine, *around[half:]]
