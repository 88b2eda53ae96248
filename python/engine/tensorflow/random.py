"""`tf.random`: random arrays. A seed reproduces them, but TensorFlow's numbers are others."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import ops, random
from engine._base.random_state import next_seed
from engine._base.random_state import set_seed as set_global_seed
from engine.random import SeedGenerator
from engine.tensorflow._tensor import constant, lengths, returns_tensors

__all__ = [
    "Generator",
    "categorical",
    "gamma",
    "get_global_generator",
    "normal",
    "poisson",
    "set_seed",
    "shuffle",
    "stateless_normal",
    "stateless_truncated_normal",
    "stateless_uniform",
    "truncated_normal",
    "uniform",
]


def set_seed(seed: int) -> None:
    """Seeds the stream that initial weights, dropout, the order of samples and these functions draw from.

    `keras.utils.set_random_seed` seeds those of NumPy and Python, too.
    """
    set_global_seed(int(seed))


def _name(dtype: Any) -> str:
    return str(np.dtype(dtype).name)


@returns_tensors
def normal(  # TensorFlow's signature
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = np.float32,
    seed: Any = None,
    name: str | None = None,
) -> Any:
    """Returns numbers of a normal distribution."""
    return random.normal(lengths(shape), mean, stddev, _name(dtype), seed)


@returns_tensors
def truncated_normal(  # TensorFlow's signature
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = np.float32,
    seed: Any = None,
    name: str | None = None,
) -> Any:
    """Returns numbers of a normal distribution that are at most two standard deviations from its mean."""
    return random.truncated_normal(lengths(shape), mean, stddev, _name(dtype), seed)


@returns_tensors
def uniform(  # TensorFlow's signature
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = np.float32,
    seed: Any = None,
    name: str | None = None,
) -> Any:
    """Returns numbers in [minval, maxval); integers for a dtype of integers, which need a `maxval`."""
    if np.dtype(dtype).kind in "iu":
        if maxval is None:
            msg = f"`maxval` is missing, which numbers of dtype {_name(dtype)} need"
            raise ValueError(msg)
        return random.randint(lengths(shape), int(minval), int(maxval), _name(dtype), seed)
    low, high = float(minval), 1.0 if maxval is None else float(maxval)
    return random.uniform(lengths(shape), low, high, _name(dtype), seed)


@returns_tensors
def gamma(  # TensorFlow's signature
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = np.float32,
    seed: Any = None,
    name: str | None = None,
) -> Any:
    """Returns numbers of gamma distributions of shape `alpha` and rate `beta`: `shape` of them for each of these."""
    alpha = np.asarray(alpha)
    rate = np.asarray(1.0 if beta is None else beta)
    both = np.broadcast_shapes(alpha.shape, rate.shape)
    drawn = random.gamma((*lengths(shape), *both), np.broadcast_to(alpha, both), _name(dtype), seed)
    return (drawn / rate).astype(dtype)


@returns_tensors
def poisson(shape: Any, lam: Any, dtype: Any = np.float32, seed: Any = None, name: str | None = None) -> Any:
    """Returns numbers of Poisson distributions of mean `lam`: `shape` of them for each."""
    lam = np.asarray(lam, np.float64)
    generator = np.random.default_rng(next_seed() if seed is None else seed)
    return generator.poisson(lam, (*lengths(shape), *lam.shape)).astype(dtype)


@returns_tensors
def categorical(
    logits: Any, num_samples: Any, dtype: Any = None, seed: Any = None, name: str | None = None
) -> Any:
    """Returns indices of classes with the probabilities softmax(logits): `num_samples` for each row."""
    drawn = random.categorical(logits, int(num_samples), seed=seed)
    kind = np.dtype(np.int64 if dtype is None else dtype)
    return ops.cast(drawn, kind.name)


@returns_tensors
def shuffle(value: Any, seed: Any = None, name: str | None = None) -> Any:
    """Returns the rows in a random order."""
    return random.shuffle(value if hasattr(value, "shape") else constant(value), 0, seed)


# Numbers that a seed of two integers determines.


def _of(seed: Any) -> int:
    first, second = np.asarray(seed).astype(np.int64).tolist()
    return int(first * 2**32 + second) % 2**63


@returns_tensors
def stateless_normal(
    shape: Any,
    seed: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = np.float32,
    name: str | None = None,
) -> Any:
    """Returns numbers of a normal distribution, the same for the same `seed` of two integers."""
    return random.normal(lengths(shape), mean, stddev, _name(dtype), _of(seed))


@returns_tensors
def stateless_truncated_normal(
    shape: Any,
    seed: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = np.float32,
    name: str | None = None,
) -> Any:
    """Returns what `truncated_normal` does, the same for the same `seed` of two integers."""
    return random.truncated_normal(lengths(shape), mean, stddev, _name(dtype), _of(seed))


def stateless_uniform(
    shape: Any,
    seed: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = np.float32,
    name: str | None = None,
) -> Any:
    """Returns what `uniform` does, the same for the same `seed` of two integers."""
    return uniform(shape, minval, maxval, dtype, _of(seed))


class Generator:
    """Draws random arrays from a stream of its own.

    Args:
        seed: of the stream, an integer.
    """

    def __init__(self, seed: Any = None) -> None:
        self._seed = SeedGenerator(None if seed is None else int(seed))

    @classmethod
    def from_seed(cls, seed: Any, alg: Any = None) -> Generator:
        """Returns a generator with a seed."""
        return cls(seed)

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """Returns a generator with a seed that nobody knows."""
        return cls(int(np.random.SeedSequence().generate_state(1)[0]))

    def normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = np.float32, name: Any = None
    ) -> Any:
        """Returns numbers of a normal distribution."""
        return normal(shape, mean, stddev, dtype, self._seed)

    def truncated_normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = np.float32, name: Any = None
    ) -> Any:
        """Returns numbers of a normal distribution that are at most two standard deviations from its mean."""
        return truncated_normal(shape, mean, stddev, dtype, self._seed)

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = np.float32, name: Any = None
    ) -> Any:
        """Returns numbers in [minval, maxval)."""
        return uniform(shape, minval, maxval, dtype, self._seed)


def get_global_generator() -> Generator:
    """Returns a generator whose seed is drawn from the global stream."""
    return Generator(next_seed() >> 1)
