"""Data sets that are asked for their batches by number, and tuples of what a batch has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import count
from typing import Any

from engine._checks import flag, integer


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
