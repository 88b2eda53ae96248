"""Indices of categories as vectors with one entry per category: the output modes of the layers that look up and hash."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, choice

MODES = ("int", "one_hot", "multi_hot", "count")
# The names of older versions of Keras.
_OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}


def output_mode_of(value: object, modes: tuple[str, ...] = MODES) -> str:
    """Returns the output mode that a user gave, checked; of older names the new ones."""
    return str(
        choice(_OLD_MODES.get(value, value) if isinstance(value, str) else value, "output_mode", modes)
    )


def encoded(indices: NDArray[Any], mode: str, depth: int) -> NDArray[np.float32]:
    """Returns indices as vectors with `depth` entries.

    Args:
        indices: integers (..., k). Those outside [0, depth) count for no category.
        mode: "one_hot" returns a vector for each index, along the last axis if k is 1, else along a new one. "multi_hot"
            returns for the k indices 1 for each category among them, and "count" how often each of them occurs.
        depth: the number of categories.
    """
    indices = np.atleast_1d(indices)
    if mode == "one_hot":
        shape = indices.shape[:-1] if indices.ndim > 1 and indices.shape[-1] == 1 else indices.shape
        rows = indices.reshape(-1, 1)
    else:
        shape = indices.shape[:-1]
        rows = indices.reshape(math.prod(shape), indices.shape[-1])  # there may be none
    known = (rows >= 0) & (rows < depth)
    places, found = np.nonzero(known)[0], rows[known]
    vectors = np.zeros((len(rows), depth), np.float32)
    if mode == "count":
        np.add.at(vectors, (places, found), 1.0)
    else:
        vectors[places, found] = 1.0
    return vectors.reshape(*shape, depth)


def require_samples(layer: str, mode: str, sample: Shape) -> None:
    """Raises ValueError if a layer would make one vector of all samples.

    Args:
        layer: its name.
        mode: its output mode.
        sample: the shape of one sample of its inputs.
    """
    if not sample and mode not in ("int", "one_hot"):
        msg = (
            f'layer {layer!r} with output_mode="{mode}" puts all indices of a vector into one row, so that (n,) would leave '
            'no samples: use Input((1,)), or output_mode="one_hot". Models without samples are left out'
        )
        raise ValueError(msg)


def encoded_shape(shape: tuple[int | None, ...], mode: str, depth: int | None) -> tuple[int | None, ...]:
    """Returns the shape of `encoded` for indices of `shape`, which may have None for unknown lengths."""
    if mode == "int":
        return shape
    if mode == "one_hot" and not (len(shape) > 1 and shape[-1] == 1):
        return (*shape, depth)
    return (*shape[:-1], depth)
