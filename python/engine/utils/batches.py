"""Data sets that are asked for their batches by number, and tuples of what a batch has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from engine._checks import flag, integer, real
from engine._program import permutation
from engine._random import next_key


class PyDataset(ABC):
    """Base class of a data set: override `__getitem__`, and `__len__` or `num_batches`.

    `fit`, `evaluate` and `predict` ask for the batches of a pass; `fit` in a new order each time, unless told not to
    shuffle.

    Args:
        workers: threads or processes that fetch batches ahead; with one thread they are fetched when needed.
        use_multiprocessing: whether they are processes, each with its copy of the data set.
        max_queue_size: batches fetched ahead at most.
    """

    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = integer(workers, "workers", 0)
        self.use_multiprocessing = flag(use_multiprocessing, "use_multiprocessing")
        self.max_queue_size = integer(max_queue_size, "max_queue_size", 1)

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Batch `index`: (x, y) or (x, y, sample_weight)."""

    @property
    def num_batches(self) -> int | None:
        """Batches in a pass; None for a data set without end."""
        if not hasattr(self, "__len__"):
            msg = f"{type(self).__name__} must have `__len__`, the number of its batches, or the property `num_batches`"
            raise NotImplementedError(msg)
        return len(self)

    def __iter__(self) -> Iterator[Any]:
        batches = self.num_batches
        return (self[index] for index in (count() if batches is None else range(batches)))

    def on_epoch_begin(self) -> None:  # noqa: B027 # overriding it is optional
        """Called before the first batch of an epoch."""

    def on_epoch_end(self) -> None:  # noqa: B027 # overriding it is optional
        """Called after the last batch of an epoch."""


Sequence = PyDataset


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """What `fit` takes as a batch: `(x, y, sample_weight)`, `(x, y)`, or `x` alone.

    Args:
        x: samples; a tuple or list alone becomes `(x,)`.
        y: targets.
        sample_weight: weights of the samples.
    """
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """`(x, y, sample_weight)`, with None for what `data` lacks.

    Args:
        data: a tuple or list of one to three, or samples alone.

    Raises:
        ValueError: if it has another number of parts.
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if len(data) not in (1, 2, 3):
        msg = f"`data` must be x, (x,), (x, y) or (x, y, sample_weight), got {len(data)} parts"
        raise ValueError(msg)
    parts = [*data, None, None]
    return parts[0], parts[1], parts[2]


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Any, Any]:
    """Arrays cut in two: the first rows, and the last.

    Args:
        dataset: an array, or a tuple or list of arrays that are equally long.
        left_size: rows of the left part: a number of them, or a share between 0 and 1.
        right_size: the same for the right part; what one side leaves out the other gets.
        shuffle: whether the rows are taken in a random order.
        seed: of that order; default the global random state.

    Returns:
        Two arrays, tuples or lists, as `dataset` is.

    Raises:
        ValueError: if the sizes don't fit, or leave a side empty.
    """
    arrays = [np.asarray(each) for each in (dataset if isinstance(dataset, (tuple, list)) else [dataset])]
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) != 1:
        msg = f"`dataset` must have arrays that are equally long, got {lengths}"
        raise ValueError(msg)
    (count,) = lengths
    left, right = _rows(left_size, count, "left_size"), _rows(right_size, count, "right_size")
    if left is None and right is None:
        msg = "give `left_size`, `right_size` or both, got None for each"
        raise ValueError(msg)
    left = count - (right or 0) if left is None else left
    right = count - left if right is None else right
    if left < 1 or right < 1 or left + right > count:
        msg = f"`left_size={left_size}` and `right_size={right_size}` make {left} and {right} of {count} rows"
        raise ValueError(msg)
    order: Any = slice(None)
    if flag(shuffle, "shuffle"):
        order = permutation(*(next_key() if seed is None else (integer(seed, "seed", 0), 0)), count)
    shuffled = [array[order] for array in arrays]
    parts = [array[:left] for array in shuffled], [array[left : left + right] for array in shuffled]
    if isinstance(dataset, (tuple, list)):
        return type(dataset)(parts[0]), type(dataset)(parts[1])
    return parts[0][0], parts[1][0]


def _rows(size: float | None, count: int, name: str) -> int | None:
    """A share or a number of rows as a number."""
    if size is None:
        return None
    if isinstance(size, (int, np.integer)):
        return integer(size, name, 1)
    return round(real(size, name, 0.0, 1.0) * count)
