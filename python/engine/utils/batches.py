"""The base class of indexed data sets, functions for the tuples of batches, and `split_dataset`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import abc
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from engine._base.checks import flag, integer, real
from engine._base.random_state import next_key
from engine._core_interface.cpp import permutation


class PyDataset(ABC):
    """Base class of data sets that return batches by index.

    Override `__getitem__`, and `__len__` or `num_batches`. `fit` shuffles the order of batches in each epoch,
    unless `shuffle=False`.

    Args:
        workers: number of threads or processes that fetch batches in advance. With one thread batches are fetched
            when needed.
        use_multiprocessing: whether to use processes, each with a copy of the data set, instead of threads.
        max_queue_size: largest number of batches fetched in advance; 0 is one.
    """

    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = integer(workers, "workers", 0)
        self.use_multiprocessing = flag(use_multiprocessing, "use_multiprocessing")
        self.max_queue_size = integer(max_queue_size, "max_queue_size", 0)

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Batch `index`: (x, y) or (x, y, sample_weight)."""

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None for an infinite data set."""
        if not hasattr(self, "__len__"):
            msg = f"{type(self).__name__} must have `__len__`, the number of its batches, or the property `num_batches`"
            raise NotImplementedError(msg)
        return len(self)

    def __iter__(self) -> Iterator[Any]:
        has_length = hasattr(self, "__len__") or type(self).num_batches is not PyDataset.num_batches
        batches = self.num_batches if has_length else None  # one of unknown length never ends, as in Keras
        return (self[index] for index in (count() if batches is None else range(batches)))

    def on_epoch_begin(self) -> None:  # noqa: B027 # overriding it is optional
        """Called before the first batch of an epoch."""

    def on_epoch_end(self) -> None:  # noqa: B027 # overriding it is optional
        """Called after the last batch of an epoch."""


Sequence = PyDataset


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Returns a batch for `fit`: `(x, y, sample_weight)`, `(x, y)`, or only `x`.

    Args:
        x: samples. A tuple or list without targets becomes `(x,)`.
        y: targets, or None.
        sample_weight: weights of the samples, or None.
    """
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Returns `(x, y, sample_weight)` of a batch, with None for missing parts.

    Args:
        data: a tuple or list of one to three parts, or only samples.

    Raises:
        ValueError: if `data` has another number of parts.
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if len(data) not in (1, 2, 3):
        msg = f"`data` must be x, (x,), (x, y) or (x, y, sample_weight), got {len(data)} parts"
        raise ValueError(msg)
    parts = [*data, None, None]
    return parts[0], parts[1], parts[2]


def split_dataset(  # noqa: PLR0917 # Keras' signature
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Any, Any]:
    """Splits arrays, or a data set of samples, into a left and a right part.

    Args:
        dataset: an array, a tuple or list of arrays of equal length, or an object with the methods `__len__` and `__getitem__`,
            such as a data set of PyTorch, which returns sample by sample.
        left_size: size of the left part: a number of rows, or a fraction between 0 and 1.
        right_size: size of the right part. If one size is None, that part gets the remaining rows.
        shuffle: whether to shuffle the rows first.
        seed: seed of the order; None uses the global random state.
        preferred_backend: the library whose data sets Keras returns. With "torch" the parts of several arrays are data sets of
            samples, which a `DataLoader` of PyTorch takes.

    Returns:
        Two arrays, tuples or lists, like `dataset`; or two data sets, which read a sample when it is asked for.

    Raises:
        ValueError: if the sizes exceed the data, or a part is empty.
    """
    by_sample = _returns_samples(dataset)
    arrays = [] if by_sample else _arrays_of(dataset)
    if len(arrays) > 1 and preferred_backend == "torch":
        dataset, by_sample = list(zip(*arrays, strict=True)), True
    count = len(dataset) if by_sample else len(arrays[0])
    left, right = _rows(left_size, count, "left_size"), _rows(right_size, count, "right_size")
    if left is None and right is None:
        msg = "give `left_size`, `right_size` or both, got None for each"
        raise ValueError(msg)
    left = count - (right or 0) if left is None else left
    right = count - left if right is None else right
    if left < 1 or right < 1 or left + right > count:
        msg = f"`left_size={left_size}` and `right_size={right_size}` make {left} and {right} of {count} rows"
        raise ValueError(msg)
    order: Any = np.arange(count) if by_sample else slice(None)
    if flag(shuffle, "shuffle"):
        order = permutation(*(next_key() if seed is None else (integer(seed, "seed", 0), 0)), count)
    if by_sample:
        return SomeSamples(dataset, order[:left]), SomeSamples(dataset, order[left : left + right])
    shuffled = [array[order] for array in arrays]
    parts = [array[:left] for array in shuffled], [array[left : left + right] for array in shuffled]
    if isinstance(dataset, (tuple, list)):
        return type(dataset)(parts[0]), type(dataset)(parts[1])
    return parts[0][0], parts[1][0]


class SomeSamples(abc.Sequence[Any]):
    """Some of the samples of a data set, which are read when they are asked for.

    Args:
        dataset: returns sample by sample.
        numbers: of the samples, in their order.
    """

    def __init__(self, dataset: Any, numbers: Any) -> None:
        self._dataset, self._numbers = dataset, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return SomeSamples(self._dataset, self._numbers[index])
        return self._dataset[int(self._numbers[index])]


def _returns_samples(dataset: Any) -> bool:
    """Returns whether it is a data set that returns sample by sample, and no array."""
    if isinstance(dataset, (tuple, list, range)) or hasattr(dataset, "__array__"):
        return False
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def _arrays_of(dataset: Any) -> list[Any]:
    """Returns the arrays of a data set, which are equally long."""
    arrays = [np.asarray(item) for item in (dataset if isinstance(dataset, (tuple, list)) else [dataset])]
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) != 1:
        msg = f"`dataset` must have arrays that are equally long, got {lengths}"
        raise ValueError(msg)
    return arrays


def _rows(size: float | None, count: int, name: str) -> int | None:
    """Returns a share of the rows, or a number of rows, as a number of rows."""
    if size is None:
        return None
    if isinstance(size, (int, np.integer)):
        return integer(size, name, 1)
    return round(real(size, name, 0.0, 1.0) * count)
