"""Recording of the functions of `engine.random`: numbers that are drawn anew in each batch, unless the seed is an int."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine._base.promotion import standard
from engine._base.random_state import next_seed, related_seed
from engine._tracing.dispatch import records
from engine._tracing.extents import Extent
from engine._tracing.primitives import elementwise, number_in
from engine._tracing.primitives import random as drawn
from engine._tracing.reductions import argmax, array_of
from engine._tracing.symbolic import lengths
from engine._tracing.trace import TracedArray, as_traced, trace_of


def _seed(seed: Any) -> dict[str, int]:
    """Returns the seed of a node as its field: a SeedGenerator gives its next one, None means the next one of the global stream.

    An int is a fixed seed, which gives the same numbers at each call, as in Keras.
    """
    if seed is None:
        return {"seed": next_seed()}
    if hasattr(seed, "next"):
        first, draws = (int(number) for number in seed.next())
        return {"seed": related_seed(first, draws)}
    return {"fixed_seed": int(np.asarray(seed).reshape(-1)[0]) % 2**64}


def _scaled(shape: Any, distribution: str, mean: Any, stddev: Any, seed: Any) -> TracedArray:
    trace = trace_of(mean, stddev)
    location, other = number_in(mean), number_in(stddev)
    if location is not None and other is not None:
        return drawn(trace, lengths(shape), distribution, location, other, _seed(seed))
    plain = drawn(trace, lengths(shape), distribution, 0.0, 1.0, _seed(seed))
    return elementwise(lambda z, m, s: z * s + m, plain, mean, stddev, dtype="float32")


@records("normal")
def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> TracedArray:
    """Numbers of a normal distribution."""
    del dtype
    return _scaled(shape, "normal", mean, stddev, seed)


@records("truncated_normal")
def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> TracedArray:
    """Numbers of a normal distribution, none of which is more than two standard deviations from the mean."""
    del dtype
    return _scaled(shape, "truncated_normal", mean, stddev, seed)


@records("uniform")
def uniform(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> TracedArray:
    """Numbers of equal probability from `minval` to `maxval`."""
    if dtype is not None and standard(dtype).kind in "iu":
        return randint(shape, minval, maxval, dtype, seed)
    trace = trace_of(minval, maxval)
    low, high = number_in(minval), number_in(maxval)
    if low is not None and high is not None:
        return drawn(trace, lengths(shape), "uniform", low, high, _seed(seed))
    plain = drawn(trace, lengths(shape), "uniform", 0.0, 1.0, _seed(seed))
    return elementwise(lambda u, a, b: a + u * (b - a), plain, minval, maxval, dtype="float32")


@records("randint")
def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> TracedArray:
    """Integers of equal probability from `minval` to `maxval - 1`."""
    plain = drawn(trace_of(minval, maxval), lengths(shape), "uniform", 0.0, 1.0, _seed(seed))
    return elementwise(
        lambda u, a, b: (u * (b - a)).of("floor") + a, plain, minval, maxval, dtype=standard(dtype).name
    )


@records("dropout")
def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> TracedArray:
    """The numbers, of which a random fraction is 0 and the others are divided by what is kept."""
    array = array_of(inputs)
    fraction = float(rate)
    if fraction == 1.0:
        return elementwise(lambda a: a * 0.0, array)
    shape = array.extents
    if noise_shape is not None:
        shape = tuple(
            length if requested is None else lengths(requested)[0]
            for requested, length in zip(noise_shape, shape, strict=True)
        )
    noise = drawn(array.trace, shape, "uniform", 0.0, 1.0, _seed(seed))
    return elementwise(
        lambda a, u: (u >= fraction).choose(a / (1.0 - fraction), 0.0), array, noise, dtype=array.dtype
    )


@records("categorical")
def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> TracedArray:
    """Class indices with the probabilities of logits: the largest sum of a logit and Gumbel noise."""
    array = as_traced(logits, trace_of(logits))
    shape = (*array.extents[:-1], Extent(int(num_samples)), array.extents[-1])
    noise = drawn(array.trace, shape, "uniform", 0.0, 1.0, _seed(seed))
    rows = array.reshaped((*array.extents[:-1], Extent(1), array.extents[-1]))
    smallest = math.ldexp(1.0, -26)  # the core's uniform numbers may be 0
    sums = elementwise(
        lambda a, u: a - (-(u.of("maximum", smallest).of("log"))).of("log"), rows, noise, dtype="float32"
    )
    return argmax(sums, -1).as_dtype(standard(dtype).name)
