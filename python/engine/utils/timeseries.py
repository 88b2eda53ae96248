"""Sliding windows of a time series as samples: `timeseries_dataset_from_array`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import choice, flag, integer, seed_or_none
from engine._base.random_state import next_seed
from engine._core_interface.cpp import permutation
from engine._data.array_conversion import real_array


class Windows:
    """Batches of windows of a series, as returned by `timeseries_dataset_from_array`.

    Args:
        data: the series, (steps, ...).
        targets: the target of the window that begins at each step; None without targets.
        starts: where the windows begin.
        offsets: the steps of a window, from there.
        batch_size: number of windows in a batch; None yields single windows without the batch axis.
        seed: the seed of the random order, which is another one in each pass; None keeps the order.
    """

    def __init__(  # noqa: PLR0917 # all of a window
        self,
        data: NDArray[Any],
        targets: NDArray[Any] | None,
        starts: NDArray[np.intp],
        offsets: NDArray[np.intp],
        batch_size: int | None,
        seed: int | None,
    ) -> None:
        self._data, self._targets, self._first_steps, self._offsets = data, targets, starts, offsets
        self._batch_size, self._seed, self._passes = batch_size, seed, 0

    def __len__(self) -> int:
        return math.ceil(len(self._first_steps) / (self._batch_size or 1))

    def __iter__(self) -> Iterator[Any]:
        starts = self._first_steps
        if self._seed is not None:
            starts = starts[permutation(self._seed, self._passes, len(starts))]
            self._passes += 1
        size = self._batch_size or 1
        for begin in range(0, len(starts), size):
            index = starts[begin : begin + size]
            parts = [self._data[index[:, np.newaxis] + self._offsets]]
            parts += [] if self._targets is None else [self._targets[index]]
            parts = parts if self._batch_size else [part[0] for part in parts]
            yield parts[0] if self._targets is None else tuple(parts)


def timeseries_dataset_from_array(  # noqa: PLR0917 # Keras' signature
    data: ArrayLike,
    targets: ArrayLike | None,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Windows:
    """Returns batches of sliding windows of a time series, for `fit` or iteration.

    Args:
        data: series (steps, ...).
        targets: array (steps, ...), or shorter, with the target of the window that starts at each step; None yields
            only windows.
        sequence_length: number of timesteps in a window.
        sequence_stride: number of steps between the starts of consecutive windows.
        sampling_rate: number of steps between consecutive timesteps of a window.
        batch_size: number of windows in a batch; None yields single windows without the batch axis.
        shuffle: whether to shuffle the windows, anew in each pass.
        seed: seed of the order; None uses the global random state.
        start_index: index of the first step to use; default 0.
        end_index: index after the last step to use; default all.
        format: Ignored. The result is an iterable of NumPy arrays.

    Returns:
        An iterable of (windows, targets), or of windows, (batch, sequence_length, ...). Its `len` is the number of
        batches.

    Raises:
        ValueError: if a number is out of range for the series.
    """
    choice(format, "format", ("tf", "grain"))
    series = real_array(data, "data")
    target_array = None if targets is None else real_array(targets, "targets")
    first = integer(start_index or 0, "start_index", 0, len(series) - 1)
    last = (
        integer(end_index, "end_index", first + 1, len(series) - 1) if end_index is not None else len(series)
    )
    rate = integer(sampling_rate, "sampling_rate", 1, len(series) - 1)
    stride = integer(sequence_stride, "sequence_stride", 1, len(series) - 1)
    offsets = np.arange(integer(sequence_length, "sequence_length", 1)) * rate
    count = last - first - offsets[-1]
    if target_array is not None:
        count = min(count, len(target_array), max(len(target_array) - first, 0))
    starts = np.arange(first, first + max(count, 0), stride)
    order = None
    if flag(shuffle, "shuffle"):
        order = next_seed() if seed is None else seed_or_none(seed)
    size = None if batch_size is None else integer(batch_size, "batch_size", 1)
    return Windows(series, target_array, starts, offsets, size, order)
