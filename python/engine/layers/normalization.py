"""Normalization layers, which scale their inputs by the statistics of a batch, of each sample or of groups of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np

from engine import constraints, initializers, regularizers
from engine._base.checks import LOWEST, Shape, flag, integer, only_default, real
from engine._core_interface.cpp import Float32
from engine._core_interface.operations import (
    BatchNormalizationOperation,
    ColumnScaleOperation,
    LayerOperation,
    RowNormalizationOperation,
    extended,
)
from engine.constraints import Constraint
from engine.initializers import Initializer
from engine.layers._axes import axes_of, axis_argument, transposed, weight_shape
from engine.layers.layer import Layer, register
from engine.layers.variable import NamedWeight
from engine.layers.weights import WeightSpec, penalty_and_constraint_fields
from engine.regularizers import Regularizer

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "UnitNormalization",
]


class Scaled(Layer):
    """Base class of normalization layers that end with a learned `gamma * x + beta`.

    Args:
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

    supports_masking = True
    gamma, beta = NamedWeight(), NamedWeight()

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
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
        self.center = flag(center, "center")
        self.scale = flag(scale, "scale")
        self.beta_initializer: Initializer = initializers.get(beta_initializer)
        self.gamma_initializer: Initializer = initializers.get(gamma_initializer)
        self.beta_regularizer: Regularizer | None = regularizers.get(beta_regularizer)
        self.gamma_regularizer: Regularizer | None = regularizers.get(gamma_regularizer)
        self.beta_constraint: Constraint | None = constraints.get(beta_constraint)
        self.gamma_constraint: Constraint | None = constraints.get(gamma_constraint)
        super().__init__(**options)

    def _weight_specs_of(self, shape: Shape) -> list[WeightSpec]:
        given = (
            ("gamma", self.scale, self.gamma_initializer, self.gamma_regularizer, self.gamma_constraint),
            ("beta", self.center, self.beta_initializer, self.beta_regularizer, self.beta_constraint),
        )
        return [
            WeightSpec(name, shape, initializer, True, regularizer, constraints.of_a_row(constraint, shape))
            for name, used, initializer, regularizer, constraint in given
            if used
        ]

    def _fields(self, shape: Shape) -> dict[str, Any]:
        in_core = {"gamma": "kernel", "beta": "bias"}
        return {
            "use_gain": self.scale,
            "use_shift": self.center,
            "shape": list(shape),
            "trainable": self.trainable,
            **penalty_and_constraint_fields(
                **{in_core[weight.name]: weight for weight in self._weight_specs_of(shape)}
            ),
        }

    def _affine(self, shape: Shape) -> list[LayerOperation]:
        if not (self.scale or self.center):
            return []
        return [extended(ColumnScaleOperation(kind="column_scale"), self._fields(shape))]


@register()
class BatchNormalization(Scaled):
    """Normalizes each feature over the batch (Ioffe and Szegedy, 2015).

    The output is `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.

    In training the mean and variance are those of the batch, and moving averages are updated:
    `moving = momentum * moving + (1 - momentum) * batch`. In evaluation and prediction, and if `trainable` is
    False, the moving averages are used instead. Timesteps masked by `Embedding(mask_zero=True)` or `Masking` don't
    contribute to mean and variance.

    Args:
        axis: axis of the features. It must be the last one if there is a mask.
        momentum: momentum of the moving averages.
        epsilon: small number that avoids division by 0.
        center: whether to add the offset beta.
        scale: whether to multiply by the factor gamma.
        beta_initializer: initializer of beta.
        gamma_initializer: initializer of gamma.
        moving_mean_initializer: initializer of the moving mean.
        moving_variance_initializer: initializer of the moving variance.
        beta_regularizer: penalty on beta.
        gamma_regularizer: penalty on gamma.
        beta_constraint: constraint on beta, applied after every step, such as `"max_norm"`.
        gamma_constraint: constraint on gamma, applied after every step.
        renorm: whether to use batch renormalization (Ioffe, 2017), which corrects the batch statistics towards the
            moving averages and helps with small batches. No gradient flows through the correction.
        renorm_clipping: dict of bounds for the correction: "rmin" and "rmax" for its factor, "dmax" for its shift.
        renorm_momentum: momentum of the moving averages that renormalization uses.
        synchronized: must be False.
        options: arguments of every `Layer`, such as `name`, `trainable` and `input_shape`.
    """

    _masks_statistics = True
    _moves_averages = True
    moving_mean, moving_variance, moving_stddev = NamedWeight(), NamedWeight(), NamedWeight()
    renorm_mean, renorm_stddev = NamedWeight(), NamedWeight()

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: object = "zeros",
        gamma_initializer: object = "ones",
        moving_mean_initializer: object = "zeros",
        moving_variance_initializer: object = "ones",
        beta_regularizer: object = None,
        gamma_regularizer: object = None,
        beta_constraint: object = None,
        gamma_constraint: object = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **options: Any,
    ) -> None:
        self.renorm = flag(renorm, "renorm")
        self.renorm_clipping = _clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = real(renorm_momentum, "renorm_momentum", 0.0, 1.0)
        self.synchronized = only_default(synchronized, "synchronized", False, "averaging over machines")
        self.axis = integer(axis, "axis", LOWEST)
        self.momentum = real(momentum, "momentum", 0.0, 1.0)
        self.epsilon = real(epsilon, "epsilon", 0.0)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
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

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """Gamma, beta, moving mean and moving variance, and the statistics of renormalization."""
        shape = axes_of(self.name, self.axis, input_shape).inner_shape
        mean, deviation = self.moving_mean_initializer, self._deviation
        starts = {"moving_mean": mean, "moving_variance": self.moving_variance_initializer}
        if self.renorm:
            starts |= {"moving_stddev": deviation, "renorm_mean": mean, "renorm_stddev": deviation}
        averages = [WeightSpec(name, shape, start, trainable=False) for name, start in starts.items()]
        return [*self._weight_specs_of(shape), *averages]

    def _has_features_last(self, axes: int) -> bool:
        """Whether `axis` says so."""
        return self.axis in (-1, axes - 1)

    def _deviation(self, shape: Shape) -> Float32:
        """The initial value of a moving standard deviation."""
        start = self.moving_variance_initializer or initializers.GlorotUniform()
        return np.asarray(np.sqrt(start(shape)), np.float32)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one batch normalization."""
        axes = axes_of(self.name, self.axis, input_shape)
        fields = self._fields(axes.inner_shape)
        if self.renorm:
            fields |= {"renorm_momentum": self.renorm_momentum, **(self.renorm_clipping or {})}
        operation = BatchNormalizationOperation(
            kind="batch_normalization", momentum=self.momentum, epsilon=self.epsilon
        )
        return axes.around([extended(operation, fields)])


@register()
class LayerNormalization(Scaled):
    """Normalizes each sample over its features (Ba, Kiros and Hinton, 2016).

    The output is `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.

    Args:
        axis: axis or list of axes over which mean and variance are computed.
        epsilon: small number that avoids division by 0.
        center: whether to add the offset beta.
        scale: whether to multiply by the factor gamma.
        beta_initializer: initializer of beta.
        gamma_initializer: initializer of gamma.
        beta_regularizer: penalty on beta.
        gamma_regularizer: penalty on gamma.
        beta_constraint: constraint on beta, applied after every step, such as `"max_norm"`.
        gamma_constraint: constraint on gamma, applied after every step.
        rms_scaling: must be False; use RMSNormalization instead.
        options: arguments of every `Layer`, such as `name`, `trainable` and `input_shape`.
    """

    # Older versions of Keras had this argument. RMSNormalization does what it did.
    _fixed_arguments: ClassVar[Mapping[str, Any]] = {"rms_scaling": False}

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        axis: int | list[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: object = "zeros",
        gamma_initializer: object = "ones",
        beta_regularizer: object = None,
        gamma_regularizer: object = None,
        beta_constraint: object = None,
        gamma_constraint: object = None,
        *,
        rms_scaling: bool = False,
        **options: Any,
    ) -> None:
        self.rms_scaling = only_default(rms_scaling, "rms_scaling", False, "scaling by the root mean square")
        self.axis = axis_argument(axis)
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

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """Gamma and beta, in the shape of the normalized axes."""
        return self._weight_specs_of(weight_shape(self.name, self.axis, input_shape))

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to a normalization of rows, then gain and shift."""
        normalization = RowNormalizationOperation(
            kind="row_normalization", epsilon=self.epsilon, centred=True
        )
        affine = self._affine(weight_shape(self.name, self.axis, input_shape))
        return axes_of(self.name, self.axis, input_shape).around([normalization, *affine])


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
        """The outputs have the shape of the inputs."""
        (channels,) = axes_of(self.name, self.axis, input_shape).inner_shape
        if channels is not None and channels % self.groups:
            msg = (
                f"layer {self.name!r} can't cut {channels} channels into `groups={self.groups}`: "
                "give a number that divides them, or -1"
            )
            raise ValueError(msg)
        return input_shape

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """Gamma and beta, one of each per channel."""
        return self._weight_specs_of(axes_of(self.name, self.axis, input_shape).inner_shape)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to a normalization of rows, then gain and shift."""
        axes = axes_of(self.name, self.axis, input_shape)
        (channels,) = axes.inner_shape
        count = channels if self.groups == -1 else self.groups
        cut = (axes.rows, count, channels // count)
        normalization: RowNormalizationOperation = {
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
        return [*axes.before(), *grouped, *affine, *axes.after()]


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

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """The scale, in the shape of the normalized axes."""
        return [WeightSpec("scale", weight_shape(self.name, self.axis, input_shape), initializers.Ones())]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to a normalization of rows, then gain and shift."""
        axes = axes_of(self.name, self.axis, input_shape)
        return axes.around(
            [
                {"kind": "row_normalization", "epsilon": self.epsilon, "centred": False},
                {
                    "kind": "column_scale",
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

    supports_masking = _built_at_once = True

    def __init__(self, axis: int | list[int] = -1, **options: Any) -> None:
        self.axis = axis_argument(axis)
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one normalization. A norm below 1e-12 is replaced by it, as in Keras."""
        operation: LayerOperation = {
            "kind": "row_normalization",
            "epsilon": 1e-12,
            "centred": False,
            "unit": True,
        }
        return axes_of(self.name, self.axis, input_shape).around([operation])


def _clipping(bounds: object) -> dict[str, float]:
    """Returns the bounds of a renormalization, checked."""
    known = ("rmax", "rmin", "dmax")
    if not isinstance(bounds or {}, Mapping) or set(cast(Any, bounds or {})) - set(known):
        msg = f"`renorm_clipping` must be a dict with keys among {', '.join(known)}, got {bounds!r}"
        raise ValueError(msg)
    items = cast(Any, bounds or {}).items()
    given = {
        name: real(bound, f"renorm_clipping[{name!r}]", 0.0) for name, bound in items if bound is not None
    }
    if given.get("rmin", 0.0) > given.get("rmax", np.inf):
        msg = f"`renorm_clipping` must have an rmax of at least rmin, got {bounds!r}"
        raise ValueError(msg)
    return given
