"""Random initializers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from engine._base.checks import LOWEST, Shape, above_zero, choice, integers, real, seed_or_none, text_of_axes
from engine._base.random_state import next_key
from engine._base.spec import described
from engine._core_interface.cpp import Float32, normal, orthogonal, truncated_normal, uniform
from engine.initializers.base import BuiltIn, register
from engine.random import SeedGenerator

Seed = int | SeedGenerator | Mapping[str, Any] | None

# The standard deviation of a normal distribution that is cut off at two standard deviations.
TRUNCATED_STDDEV = 0.87962566103423978


class Random(BuiltIn):
    """The base of initializers that draw random numbers. As in Keras, an object draws the same numbers in every call.

    Args:
        seed: None draws from the stream that `utils.set_random_seed` starts, so that every object gets numbers of its
            own; an int gives the same numbers in every object; a `random.SeedGenerator` gives others at every call.
    """

    def __init__(self, seed: Seed = None) -> None:
        if isinstance(seed, Mapping) and seed.get("class_name") == "SeedGenerator":  # a generator in a config
            seed = SeedGenerator.from_config(seed["config"])
        self.seed = seed if isinstance(seed, SeedGenerator) else seed_or_none(seed)
        self._drawn: tuple[int, int] | None = None

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this object again. A seed generator is described by its own arguments."""
        config = super().get_config()
        if isinstance(self.seed, SeedGenerator):
            config["seed"] = described(SeedGenerator, "SeedGenerator", self.seed.get_config())
        return config

    @property
    def _key(self) -> tuple[int, int]:
        if isinstance(self.seed, SeedGenerator):
            begin, draws = self.seed.next().tolist()
            return begin, draws
        if self._drawn is None:
            self._drawn = next_key() if self.seed is None else (self.seed, 0)
        return self._drawn


@register("normal")
class RandomNormal(Random):
    """Initial values from a normal distribution.

    Args:
        mean: mean of the distribution.
        stddev: standard deviation, at least 0.
        seed: an int gives the same numbers in every instance. None draws a seed from the global stream, which
            `utils.set_random_seed` resets.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean, self.stddev = real(mean, "mean"), real(stddev, "stddev", 0.0)
        super().__init__(seed)

    def _fill(self, shape: Shape) -> Float32:
        return normal(*self._key, math.prod(shape), self.mean, self.stddev).reshape(shape)


@register()
class TruncatedNormal(RandomNormal):
    """Initial values from a normal distribution, truncated at two standard deviations from the mean.

    Args:
        mean: mean of the distribution.
        stddev: standard deviation before truncation, at least 0.
        seed: an int or None, as for `RandomNormal`.
    """

    def _fill(self, shape: Shape) -> Float32:
        return truncated_normal(*self._key, math.prod(shape), self.mean, self.stddev).reshape(shape)


@register("uniform")
class RandomUniform(Random):
    """Initial values from a uniform distribution in [minval, maxval).

    Args:
        minval: lower bound.
        maxval: upper bound, at least `minval`.
        seed: an int or None, as for `RandomNormal`.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = real(minval, "minval")
        self.maxval = real(maxval, "maxval", self.minval)
        super().__init__(seed)

    def _fill(self, shape: Shape) -> Float32:
        return uniform(*self._key, math.prod(shape), self.minval, self.maxval).reshape(shape)


@register()
class VarianceScaling(Random):
    """Distribution with variance `scale / fan`, which keeps the variance of activations from layer to layer.

    Args:
        scale: a positive number.
        mode: what `fan` is: "fan_in" (number of inputs), "fan_out" (number of outputs) or "fan_avg" (their mean).
        distribution: "truncated_normal" (also called "normal"), "untruncated_normal" or "uniform".
        seed: an int or None, as for `RandomNormal`.
        input_axes: axes whose lengths multiply to the number of inputs; None means all but the last.
        output_axes: axes whose lengths multiply to the number of outputs; None means the last and, as in Keras,
            those before the last two.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        self.scale = above_zero(scale, "scale")
        self.mode = str(choice(mode, "mode", ("fan_in", "fan_out", "fan_avg")))
        options = ("truncated_normal", "normal", "untruncated_normal", "uniform")
        chosen = str(choice(str(distribution).lower(), "distribution", options))
        self.distribution = "truncated_normal" if chosen == "normal" else chosen
        self.input_axes = _axes(input_axes, "input_axes")
        self.output_axes = _axes(output_axes, "output_axes")
        super().__init__(seed)

    def _fill(self, shape: Shape) -> Float32:
        fan_in, fan_out = fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance, size = self.scale / max(1.0, fan), math.prod(shape)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * self.scale / max(1.0, fan))
            return uniform(*self._key, size, -limit, limit).reshape(shape)
        if self.distribution == "untruncated_normal":
            return normal(*self._key, size, 0.0, math.sqrt(variance)).reshape(shape)
        return truncated_normal(*self._key, size, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV).reshape(shape)


class _Scaled(VarianceScaling):
    """The base of special cases of `VarianceScaling` with their own names."""

    _rule: ClassVar[tuple[float, str, str]]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self._rule, seed, input_axes, output_axes)


@register()
class GlorotUniform(_Scaled):
    """Uniform in [-limit, limit) with `limit = sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio, 2010)."""

    _rule = (1.0, "fan_avg", "uniform")


@register()
class GlorotNormal(_Scaled):
    """Truncated normal distribution with `stddev = sqrt(2 / (fan_in + fan_out))` (Glorot and Bengio, 2010)."""

    _rule = (1.0, "fan_avg", "truncated_normal")


@register()
class LecunUniform(_Scaled):
    """Uniform distribution in [-limit, limit) with `limit = sqrt(3 / fan_in)` (Klambauer et al., 2017)."""

    _rule = (1.0, "fan_in", "uniform")


@register()
class LecunNormal(_Scaled):
    """Truncated normal distribution with `stddev = sqrt(1 / fan_in)` (Klambauer et al., 2017)."""

    _rule = (1.0, "fan_in", "truncated_normal")


@register()
class HeUniform(_Scaled):
    """Uniform distribution in [-limit, limit) with `limit = sqrt(6 / fan_in)` (He et al., 2015)."""

    _rule = (2.0, "fan_in", "uniform")


@register()
class HeNormal(_Scaled):
    """Truncated normal distribution with `stddev = sqrt(2 / fan_in)` (He et al., 2015)."""

    _rule = (2.0, "fan_in", "truncated_normal")


@register("orthogonalinitializer")
class Orthogonal(Random):
    """Random matrix with orthogonal rows or columns, whichever are fewer (Saxe et al., 2014).

    For arrays with more axes, all axes before the last form the rows.

    Args:
        gain: norm of the rows or columns.
        seed: an int or None, as for `RandomNormal`.
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = real(gain, "gain")
        super().__init__(seed)

    def _fill(self, shape: Shape) -> Float32:
        if len(shape) < 2:  # noqa: PLR2004 # no matrix
            msg = f"`shape` must have at least two axes for Orthogonal, got {shape}"
            raise ValueError(msg)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        long, short = max(rows, columns), min(rows, columns)
        matrix = orthogonal(*self._key, long, short, self.gain)
        return np.ascontiguousarray(matrix if rows >= columns else matrix.T).reshape(shape)


def fans(
    shape: Shape, input_axes: Sequence[int] | None, output_axes: Sequence[int] | None
) -> tuple[int, int]:
    """Returns the numbers of inputs and outputs of a unit. Leading axes of `shape` are a receptive field, as in Keras."""
    if input_axes is not None and output_axes is not None:
        return _product(shape, input_axes, "input_axes"), _product(shape, output_axes, "output_axes")
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _axes(axes: object, name: str) -> list[int] | None:
    return None if axes is None else list(integers(axes, name, LOWEST))


def _product(shape: Shape, axes: Sequence[int], name: str) -> int:
    """Returns the product of the sizes of `axes`, which the argument of this name gives."""
    if any(not -len(shape) <= axis < len(shape) for axis in axes):
        rank_text = f"which are {text_of_axes(len(shape))}" if shape else "which has none"
        msg = f"`{name}` must hold axes of the shape {shape}, {rank_text}; got {list(axes)}"
        raise ValueError(msg)
    return math.prod(shape[axis] for axis in axes)
