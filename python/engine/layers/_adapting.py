"""The data that `adapt` computes statistics from: arrays, nested lists, and batches with or without targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, integer, text_of_shape
from engine._data.array_conversion import readable, real_array, require_finite
from engine._data.batch_streams import is_indexed, raw_batches, samples_of_batch
from engine._data.frames import feature_names


def batches_to_adapt_to(data: Any, steps: int | None = None) -> Iterator[NDArray[Any]]:
    """Yields the samples in `data` in batches (n, ...) of finite real numbers, all of one sample shape.

    Args:
        data: samples (n, ...) as an array, a frame or nested lists; or batches of them, or tuples (x, y) or
            (x, y, sample_weight) of which only x is taken, in a list or whatever yields some. An array with one axis
            that comes as a batch is one sample.
        steps: number of batches; None takes all.

    Raises:
        TypeError: for anything else.
        ValueError: if there are no samples, or their shapes differ.
    """
    limit = None if steps is None else integer(steps, "steps", 1)
    shape: Shape | None = None
    for number, batch in enumerate(islice(_parts(data), limit)):
        array = real_array(batch, "data")
        if 0 in array.shape:
            msg = f"`data` is empty, of shape {array.shape}: adapt() needs at least one sample"
            raise ValueError(msg)
        shape = array.shape[1:] if shape is None else shape
        if array.shape[1:] != shape:
            msg = (
                f"`data` must hold samples of one shape, but batch {number} is {array.shape} and those before are "
                f"{text_of_shape(shape)}: to leave out targets, pass x alone or batches that are tuples (x, y)"
            )
            raise ValueError(msg)
        require_finite(readable(array), array, "data", columns=feature_names(batch))
        yield array
    if shape is None:
        msg = "`data` is empty: adapt() needs at least one sample"
        raise ValueError(msg)


def _parts(data: Any) -> Iterator[Any]:
    """Returns the batches."""
    if hasattr(data, "shape") or hasattr(data, "to_numpy") or hasattr(data, "__array__"):
        return iter([data])
    if isinstance(data, (list, tuple)):
        return iter([_inputs_of(part) for part in data] if _is_batches(data) else [data] if data else [])
    if not isinstance(data, (str, bytes, Mapping)):
        if isinstance(data, Iterable):
            return map(_inputs_of, data)
        if is_indexed(data):
            return map(_inputs_of, raw_batches(data))
    msg = f"`data` must be an array of samples or an iterable of batches, got {data!r:.60}"
    raise TypeError(msg)


def _is_batches(parts: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list holds batches, not samples."""
    return any(
        _rank(part) > 1 or (isinstance(part, tuple) and part != () and _rank(part[0]) > 0) for part in parts
    )


def _rank(value: Any) -> int:
    """The number of axes of an array; 0 for anything else."""
    return len(getattr(value, "shape", ()))


def _inputs_of(batch: Any) -> Any:
    """Returns the samples of a batch, which may be a tuple with targets or, from PyTorch's loaders, a list with them."""
    samples = samples_of_batch(batch)
    return samples[np.newaxis] if _rank(samples) == 1 else samples
