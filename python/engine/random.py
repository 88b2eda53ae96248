"""Random arrays with the functions of Keras. A seed reproduces them, but Keras' numbers are others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from engine._base.checks import REAL, checked_config, dtype_of, integer, integers, label, real
from engine._base.lazy_imports import on_first_use
from engine._base.random_state import Position, next_key, next_seed, present
from engine._base.spec import auto_name
from engine._core_interface import cpp
from engine._tracing.traceable import make_traceable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]

Array = NDArray[Any]

# The core's uniform numbers are multiples of the inverse of this number.
_STEPS = 2**24


class SeedGenerator:
    """Seed with a state, for the argument `seed`: each call draws other numbers.

    Args:
        seed: initial seed, an int. None draws one from the global stream, which `utils.set_random_seed` resets.
        name: name of the generator; default `seed_generator` with a number.
        unknown: arguments that there are not, which raise ValueError.
    """

    def __init__(self, seed: Any = None, name: str | None = None, **unknown: Any) -> None:
        if unknown:
            msg = (
                f"Unrecognized keyword arguments: {', '.join(unknown)}. SeedGenerator takes `seed` and `name`"
            )
            raise ValueError(msg)
        self._seed_argument, self.name = seed, auto_name("seed_generator") if name is None else label(name)
        if seed is not None and not isinstance(seed, (int, np.integer)):
            msg = f"`seed` must be an integer, got {seed!r}"
            raise ValueError(msg)
        self._state = cpp.RandomState(next_seed() if seed is None else int(seed))

    @property
    def state(self) -> Array:
        """The seed and the number of draws so far."""
        return _as_array(present(self._state).position)

    def next(self, ordered: bool = True) -> Array:
        """Returns the state, and advances it by one draw. `ordered` is ignored."""
        del ordered
        return _as_array(present(self._state).draw())

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {"seed": self._seed_argument, "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Creates a generator from `config`, as returned by `get_config`."""
        return cls(**checked_config(config))


def normal(
    shape: Sequence[int],
    mean: ArrayLike = 0.0,
    stddev: ArrayLike = 1.0,
    dtype: DTypeLike | None = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Returns numbers from a normal distribution.

    Args:
        shape: shape of the result.
        mean: mean of the distribution.
        stddev: standard deviation of the distribution.
        dtype: floating-point dtype of the result, default float32.
        seed: an int gives the same numbers at each call, and others than these where code is recorded with a shape that depends on
            the number of samples; a `SeedGenerator` gives others at each call; None uses the global stream.
    """
    return _scaled(cpp.normal(*_key(seed), _size(shape), 0.0, 1.0), shape, mean, stddev, dtype)


def truncated_normal(
    shape: Sequence[int],
    mean: ArrayLike = 0.0,
    stddev: ArrayLike = 1.0,
    dtype: DTypeLike | None = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Returns numbers from a normal distribution truncated at two standard deviations from the mean.

    Args:
        shape: shape of the result.
        mean: mean of the distribution before truncation.
        stddev: standard deviation of the distribution.
        dtype: floating-point dtype of the result, default float32.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    drawn = cpp.truncated_normal(*_key(seed), _size(shape), 0.0, 1.0)
    return _scaled(drawn, shape, mean, stddev, dtype)


def uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: DTypeLike | None = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Returns numbers from the uniform distribution in [minval, maxval).

    Args:
        shape: shape of the result.
        minval: smallest number.
        maxval: upper bound, at least `minval`.
        dtype: floating-point dtype of the result, default float32.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    low = real(minval, "minval")
    high = real(maxval, "maxval", low)
    return cpp.uniform(*_key(seed), _size(shape), low, high).reshape(shape).astype(_floats(dtype))


def randint(
    shape: Sequence[int],
    minval: int,
    maxval: int,
    dtype: DTypeLike = "int32",
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Returns uniformly distributed integers from `minval` to `maxval - 1`.

    Args:
        shape: shape of the result.
        minval: smallest number.
        maxval: upper bound, which is not included.
        dtype: integer dtype of the result.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    result_dtype = dtype_of(dtype, "dtype", "iu")
    low, high = (
        integer(value, name, -(2**63), 2**63 - 1) for value, name in ((minval, "minval"), (maxval, "maxval"))
    )
    if not low < high <= low + 2**48:
        msg = f"`maxval` must be above `minval={low}`, by 2**48 at most, got {high}"
        raise ValueError(msg)
    coarse, fine = cpp.uniform(*_key(seed), 2 * _size(shape), 0.0, 1.0).astype(float).reshape(2, -1)
    drawn = np.floor((coarse + fine / _STEPS) * (high - low)).astype(np.int64) + low
    return drawn.reshape(shape).astype(result_dtype)


def categorical(
    logits: ArrayLike,
    num_samples: int,
    dtype: DTypeLike = "int32",
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Returns random class indices (n, num_samples), with probabilities given by logits.

    Args:
        logits: unnormalized log probabilities (n, classes).
        num_samples: number of indices for each row.
        dtype: integer dtype of the result.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    rows = _numbers(logits, "logits").astype(float)
    if rows.ndim != 2:  # noqa: PLR2004 # rows of classes
        msg = f"`logits` should be a 2-D tensor with shape [batch_size, num_classes]. Received: logits of {rows.shape}"
        raise ValueError(msg)
    samples, result_dtype = integer(num_samples, "num_samples", 1), dtype_of(dtype, "dtype", "iu")
    cumulative = np.cumsum(np.exp(rows - rows.max(axis=1, keepdims=True)), axis=1)
    points = cpp.uniform(*_key(seed), len(rows) * samples, 0.0, 1.0).reshape(len(rows), samples, 1)
    drawn: Array = (points * cumulative[:, -1:, np.newaxis] >= cumulative[:, np.newaxis]).sum(axis=-1)
    return drawn.astype(result_dtype)


def dropout(
    inputs: ArrayLike,
    rate: float,
    noise_shape: Sequence[int | None] | None = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Returns `inputs` with a random fraction set to 0 and the rest divided by `1 - rate`.

    Args:
        inputs: array of any shape.
        rate: fraction to set to 0, in [0, 1].
        noise_shape: shape of the mask, which is broadcast to `inputs`. None as an entry stands for the length in
            `inputs`. Default is the shape of `inputs`.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    values = _numbers(inputs, "inputs")
    values = values if values.dtype.kind == "f" else values.astype(np.float32)
    drop_rate = real(rate, "rate", 0.0, 1.0)
    if drop_rate == 1.0:
        return np.zeros_like(values)
    sizes = values.shape if noise_shape is None else noise_shape
    if len(sizes) != values.ndim:
        msg = f"`noise_shape` must have an entry for each of the {values.ndim} axes of `inputs`, got {noise_shape}"
        raise ValueError(msg)
    shape = tuple(length if size is None else size for size, length in zip(sizes, values.shape, strict=True))
    keep = uniform(shape, seed=seed) >= drop_rate
    dropped: Array = np.where(keep, values / values.dtype.type(1.0 - drop_rate), values.dtype.type(0))
    return dropped


def shuffle(x: ArrayLike, axis: int = 0, seed: int | SeedGenerator | None = None) -> Array:
    """Returns `x` shuffled along an axis, each line along it in its own order.

    Args:
        x: array with at least one axis.
        axis: axis to shuffle along.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    values: Array = np.asarray(x)
    lines = np.moveaxis(values, axis, -1)
    length = lines.shape[-1]
    order = np.argsort(cpp.permutation(*_key(seed), lines.size).reshape(lines.shape), axis=-1)
    return np.moveaxis(np.take_along_axis(lines, order, -1) if length else lines, -1, axis)


def gamma(
    shape: Sequence[int],
    alpha: ArrayLike,
    dtype: DTypeLike | None = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Numbers of the gamma distribution with scale 1; they are NumPy's, and the same with each of its releases alone.

    Args:
        shape: shape of the result.
        alpha: of the distribution, above 0; a number, or an array that is broadcast to `shape`.
        dtype: floating-point dtype of the result, default float32.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    result_dtype, size = _floats(dtype), _shape(shape)
    factor = _parameter(alpha, "alpha", size)
    return _generator(seed).standard_gamma(factor, size).astype(result_dtype)


def beta(
    shape: Sequence[int],
    alpha: ArrayLike,
    beta: ArrayLike,
    dtype: DTypeLike | None = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """Numbers in [0, 1] of the beta distribution; they are NumPy's, and the same with each of its releases alone.

    Args:
        shape: shape of the result.
        alpha: the first parameter, above 0; a number, or an array that is broadcast to `shape`.
        beta: the second parameter, as `alpha`.
        dtype: floating-point dtype of the result, default float32.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    result_dtype, size = _floats(dtype), _shape(shape)
    first, second = _parameter(alpha, "alpha", size), _parameter(beta, "beta", size)
    return _generator(seed).beta(first, second, size).astype(result_dtype)


def binomial(
    shape: Sequence[int],
    counts: ArrayLike,
    probabilities: ArrayLike,
    dtype: DTypeLike | None = None,
    seed: int | SeedGenerator | None = None,
) -> Array:
    """How many of `counts` draws succeed; the numbers are NumPy's, and the same with each of its releases alone.

    Args:
        shape: shape of the result.
        counts: whole numbers of at least 0; one, or an array that is broadcast to `shape`.
        probabilities: of success, in [0, 1]; one, or an array that is broadcast to `shape`.
        dtype: floating-point dtype of the result, default float32.
        seed: an int, a `SeedGenerator` or None, as for `normal`.
    """
    result_dtype, size = _floats(dtype), _shape(shape)
    draws, success_rates = (
        _fitting(array, name, size) for array, name in ((counts, "counts"), (probabilities, "probabilities"))
    )
    if not (np.all(draws >= 0) and np.all(draws == np.floor(draws)) and np.all(draws < 2**63)):
        msg = f"`counts` must be whole numbers of at least 0, got {counts!r}"
        raise ValueError(msg)
    if not np.all((success_rates >= 0) & (success_rates <= 1)):
        msg = f"`probabilities` must be in [0, 1], got {probabilities!r}"
        raise ValueError(msg)
    return _generator(seed).binomial(draws.astype(np.int64), success_rates, size).astype(result_dtype)


def _as_array(position: Position) -> Array:
    """Returns a position as an array (2,) of uint64."""
    seed, draws = position
    return np.array([seed % 2**64, draws], np.uint64)


def _key(seed: Any) -> Position:
    """Returns the seed and stream from which the core computes the numbers."""
    if seed is None:
        return next_key()
    if isinstance(seed, SeedGenerator):
        begin, draws = seed.next().tolist()
        return begin, draws
    if isinstance(seed, (int, np.integer)):
        return int(seed) % 2**64, 0
    msg = f"`seed` must be either an integer or an instance of SeedGenerator, got {seed!r} (of type {type(seed)})"
    raise ValueError(msg)


def _size(shape: Sequence[int]) -> int:
    """Returns how many numbers an array of `shape` has."""
    return math.prod(integers(shape, "shape", 0))


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    return integers(shape, "shape", 0)


def _generator(seed: Any) -> np.random.Generator:
    """Returns a generator of NumPy that is seeded by `seed`."""
    return np.random.Generator(np.random.Philox(key=np.array(_key(seed), np.uint64)))


def _fitting(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """Returns `value` as float64, if it can be broadcast to `shape`."""
    numbers = _numbers(value, name).astype(np.float64)
    try:
        np.broadcast_to(numbers, shape)
    except ValueError:
        msg = f"`{name}` must be a number, or an array that fits {shape}, got shape {numbers.shape}"
        raise ValueError(msg) from None
    return numbers


def _parameter(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """Returns `value`, if all its numbers are positive."""
    numbers = _fitting(value, name, shape)
    if not np.all((numbers > 0) & np.isfinite(numbers)):
        msg = f"`{name}` must be above 0, got {value!r}"
        raise ValueError(msg)
    return numbers


def _floats(dtype: DTypeLike | None) -> np.dtype[Any]:
    return dtype_of(np.float32 if dtype is None else dtype, "dtype", "f")


def _numbers(value: ArrayLike, name: str) -> Array:
    numbers: Array = np.asarray(value)
    if numbers.dtype.kind not in REAL:
        msg = f"`{name}` must be of real numbers, got {value!r}"
        raise TypeError(msg)
    return numbers


def _scaled(
    drawn: Array, shape: Sequence[int], mean: ArrayLike, stddev: ArrayLike, dtype: DTypeLike | None
) -> Array:
    scaled: Array = drawn.reshape(shape).astype(_floats(dtype))
    for value, name, change in ((stddev, "stddev", np.multiply), (mean, "mean", np.add)):
        numbers = _numbers(value, name).astype(scaled.dtype)
        try:
            change(scaled, numbers, out=scaled)
        except ValueError:
            msg = (
                f"`{name}` must be a number, or an array that fits {tuple(shape)}, got shape {numbers.shape}"
            )
            raise ValueError(msg) from None
    return scaled


make_traceable(globals(), [name for name in __all__ if name != "shuffle"], always=True)

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
