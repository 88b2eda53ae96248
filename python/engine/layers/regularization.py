"""Regularization layers: dropout and noise, which change their inputs at random in training only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from engine._base.checks import Shape, WrongTypeError, below_one, integer, real, text_of_shape
from engine._core_interface.operations import LayerOperation, NoiseOperation, extended
from engine.layers.layer import Layer, Seeded, register
from engine.layers.reshaping import DATA_FORMATS, data_format_or_last

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]

# The limit of selu for large negative numbers (Klambauer et al., "Self-normalizing neural networks", 2017).
_SELU_FLOOR = -1.6732632423543772 * 1.0507009873554805


class _Masked(Seeded):
    """Base class of layers that drop some of their inputs.

    Args:
        rate: fraction of the inputs to drop, in [0, 1].
        noise_shape: shape of the dropout mask, including the batch axis. An axis of length 1 drops all entries
            along it at the same time; None stands for the length in the input, and so does any other number for the batch axis.
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        self.rate = real(rate, "rate", 0.0, 1.0)
        self.noise_shape = None if noise_shape is None else _noise_shape(noise_shape)
        super().__init__(seed, **options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The outputs have the shape of the inputs."""
        self._mask_fields(input_shape)
        return input_shape

    def _noise_shape_for(self, input_shape: Shape) -> Sequence[int | None] | None:
        del input_shape
        return self.noise_shape

    def _mask_fields(self, input_shape: Shape) -> dict[str, Any]:
        """Returns the fields of the operation that say which numbers have the same noise."""
        noise_shape = self._noise_shape_for(input_shape)
        if noise_shape is None:
            return {}
        batch, *given = noise_shape
        sizes = zip(input_shape, given, strict=False)
        mask = tuple(size if axis is None else axis for size, axis in sizes)
        fits = all(axis in (1, size) or size is None for size, axis in zip(input_shape, mask, strict=False))
        if len(given) != len(input_shape) or not fits:
            msg = (
                f"layer {self.name!r} has `noise_shape={tuple(noise_shape)}`, but gets {text_of_shape(input_shape)}: "
                "give None, 1 or the length for each of its axes"
            )
            raise ValueError(msg)
        fields: dict[str, Any] = {"shared": batch == 1}
        if mask != input_shape and None not in input_shape:
            lengths = [pair for pair in zip(input_shape, mask, strict=True) if pair[0] != 1]
            fields["shape"], fields["noise_shape"] = map(list, zip(*lengths, strict=True))
        return fields


@register()
class Dropout(_Masked):
    """In training, sets a random fraction of its inputs to 0 and scales the others by `1 / (1 - rate)`.

    Srivastava et al., 2014. In evaluation and prediction the inputs are unchanged.

    Args:
        rate: fraction of the inputs to drop, in [0, 1].
        noise_shape: shape of the dropout mask, including the batch axis. An axis of length 1 drops all entries
            along it at the same time; None stands for the length in the input, and so does any other number for the batch axis.
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to a dropout, or to noise if numbers share it."""
        fields = self._mask_fields(input_shape)
        if not fields:
            return [{"kind": "dropout", "rate": self.rate, "seed": self._seed_in_use}]
        scale = 1.0 / (1.0 - self.rate) if self.rate < 1.0 else 0.0
        operation = NoiseOperation(kind="noise", rate=self.rate, seed=self._seed_in_use, scale=scale)
        return [extended(operation, fields)]


class _SpatialDropout(Dropout):
    """Base class of dropout layers that drop whole channels.

    Args:
        rate: fraction of the inputs to drop, in [0, 1].
        data_format: "channels_last", or "channels_first" where a sample's first axis holds the channels.
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    # Keras' layer has no such argument.
    _unsaved_arguments = (
        *Layer._unsaved_arguments,
        "noise_shape",
        "trainable",
    )
    _spatial_axes = 2

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **options: Any
    ) -> None:
        self.data_format = data_format_or_last(data_format)
        super().__init__(rate, None, seed, **options)

    def _noise_shape_for(self, input_shape: Shape) -> Sequence[int | None] | None:
        if len(input_shape) != self._spatial_axes:
            msg = (
                f"layer {self.name!r} takes samples with {self._spatial_axes} axes, but gets {text_of_shape(input_shape)}: put a "
                "Reshape() before it"
            )
            raise ValueError(msg)
        ones: list[int | None] = [1] * (self._spatial_axes - 1)
        return [None, None, *ones] if self.data_format == DATA_FORMATS[1] else [None, *ones, None]


@register()
class SpatialDropout1D(_SpatialDropout):
    """In training, drops whole channels of samples (steps, channels).

    Args:
        rate: fraction of the inputs to drop, in [0, 1].
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _unsaved_arguments = (*_SpatialDropout._unsaved_arguments, "data_format")

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, None, seed, **options)


@register()
class SpatialDropout2D(_SpatialDropout):
    """In training, drops whole channels of samples (rows, columns, channels)."""

    _spatial_axes = 3


@register()
class SpatialDropout3D(_SpatialDropout):
    """In training, drops whole channels of samples (planes, rows, columns, channels)."""

    _spatial_axes = 4


@register()
class AlphaDropout(_Masked):
    """Dropout that keeps mean and variance, for networks with selu (Klambauer et al., 2017).

    Dropped inputs become `floor`, the limit of selu for large negative inputs. Then all are scaled and shifted by
    `a = ((1 - rate) * (1 + rate * floor**2))**-0.5` and `b = -a * floor * rate`.

    Args:
        rate: fraction of the inputs to drop, in [0, 1).
        noise_shape: shape of the dropout mask, including the batch axis, as for `Dropout`.
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(below_one(rate, "rate"), noise_shape, seed, **options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to noise that keeps mean and variance."""
        if self.rate == 0.0:
            return []
        a = 1.0 / math.sqrt((1.0 - self.rate) * (1.0 + self.rate * _SELU_FLOOR**2))
        b = -a * _SELU_FLOOR * self.rate
        operation: NoiseOperation = {
            "kind": "noise",
            "combination": "alpha",
            "rate": self.rate,
            "seed": self._seed_in_use,
            "scale": a,
            "kept": b,
            "dropped": a * _SELU_FLOOR + b,
        }
        return [extended(operation, self._mask_fields(input_shape))]


@register()
class GaussianDropout(Seeded):
    """In training, multiplies inputs by Gaussian noise with mean 1.

    Its standard deviation is `sqrt(rate / (1 - rate))`.

    Srivastava et al., 2014.

    Args:
        rate: rate of the dropout that has the same variance, in [0, 1).
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        self.rate = below_one(rate, "rate")
        super().__init__(seed, **options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one random factor per number."""
        del input_shape
        deviation = math.sqrt(self.rate / (1.0 - self.rate))
        return _normal_noise("multiply", 1.0, deviation, self._seed_in_use)


@register()
class GaussianNoise(Seeded):
    """In training, adds Gaussian noise with mean 0 to the inputs.

    Args:
        stddev: standard deviation of the noise, in [0, 1].
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        self.stddev = real(stddev, "stddev", 0.0, 1.0)
        super().__init__(seed, **options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one random addend per number."""
        del input_shape
        return _normal_noise("add", 0.0, self.stddev, self._seed_in_use)


def _normal_noise(
    combination: Literal["multiply", "add"], mean: float, deviation: float, seed: int
) -> list[LayerOperation]:
    if deviation == 0.0:
        return []
    return [
        {
            "kind": "noise",
            "distribution": "normal",
            "combination": combination,
            "rate": 0.0,
            "mean": mean,
            "scale": deviation,
            "seed": seed,
        }
    ]


def _noise_shape(value: object) -> tuple[int | None, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        msg = f"`noise_shape` must be a tuple such as (None, 1, 8), with the batch axis; got {value!r}"
        raise WrongTypeError(msg)
    return tuple(None if axis is None else integer(axis, "noise_shape", 1) for axis in value)
