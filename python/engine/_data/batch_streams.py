"""Batches as something yields them: generators, loaders of other libraries, data sets that are asked by number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count, islice
from typing import Any

import numpy as np

from engine._base.checks import Shape
from engine._base.cpp import permutation
from engine._base.random_state import next_key
from engine._data.sources import Chunk, Samples, Shuffle, Source, unpacked

# Batches that Keras takes from a generator to learn their shapes.
_REPLAYED = 2

Check = Callable[[object, object, object, str], Samples]

# What NumPy makes an array of; all of it can be iterated over as well.
_ARRAYS = (np.ndarray, list, tuple, str, bytes, Mapping, range)
_OF_ARRAYS = ("__array__", "__array_interface__", "__dlpack__", "to_numpy", "tocsr")


def yields_batches(x: object) -> bool:
    """Whether `x` is no array but something that batches can be taken from."""
    if isinstance(x, _ARRAYS) or any(hasattr(x, name) for name in _OF_ARRAYS):
        return False
    try:
        memoryview(x)  # type: ignore[arg-type] # the TypeError is the check
    except TypeError:
        return _by_number(x) or isinstance(x, Iterable)
    return False


def raw_batches(x: Any, shuffle: bool = False) -> Iterator[Any]:
    """The batches of one pass over `x`, as it yields them.

    Args:
        x: an iterable; or with `__getitem__`, and `__len__` or `num_batches`, a data set asked by number.
        shuffle: whether to ask in a new order.
    """
    if not _by_number(x):
        return iter(x)
    numbers: Iterable[int] = count()
    batches = batches_of(x)
    if batches is not None:
        numbers = permutation(*next_key(), batches).tolist() if shuffle else range(batches)
    workers = getattr(x, "workers", 0)
    if workers > 1 or (workers > 0 and x.use_multiprocessing):
        return _ahead(x, numbers, workers)
    return (x[number] for number in numbers)


def batches_of(x: Any) -> int | None:
    """Batches in a pass; None where there is no end, or nobody knows it."""
    if hasattr(x, "num_batches"):
        return None if x.num_batches is None else int(x.num_batches)
    try:
        return len(x)
    except TypeError:
        return None


def tell(x: Any, hook: str) -> None:
    """Call a hook of data that has it."""
    method = getattr(x, hook, None)
    if method is not None:
        method()


class Stream(Source):
    """Batches (x, y) or (x, y, sample_weight), checked one by one as they come.

    Args:
        data: what they are taken from.
        check: makes samples of x, y, weights and a prefix for their names in messages.
        name: what messages call `data`.
        replays: whether each pass over an iterator begins with its first two batches, as validations do in Keras, which
            has looked at these to learn their shapes.
    """

    def __init__(self, data: Any, check: Check, name: str, replays: bool = False) -> None:
        self._data, self._check, self._name = data, check, name
        self._replays = replays and not _by_number(data) and iter(data) is data
        self._first: list[Any] = []  # batches that each pass begins with
        self._started: Iterator[Any] | None = None  # a pass whose first batch has only been looked at
        self._shape: Shape | None = None
        self._names: list[str] | None = None
        self._class_weight: object = None

    @property
    def count(self) -> None:
        """Nobody knows."""

    @property
    def sample_shape(self) -> Shape:
        """The shape of one sample, from the first batch."""
        if self._shape is None:
            if _by_number(self._data):
                first = self._data[0]
            else:
                batches = raw_batches(self._data)
                found = list(islice(batches, _REPLAYED if self._replays else 1))
                if not found:
                    msg = f"`{self._name}`, of type {type(self._data).__name__}, yields no batches: it must begin anew each time, and yield one at least"
                    raise ValueError(msg)
                first = found[0]
                if self._replays:
                    self._first = found
                else:
                    self._started = chain(found, batches)
            samples = self._samples(first, 0)
            self._shape, self._names = samples.sample_shape, samples.feature_names
        return self._shape

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the columns, from the first batch; None if it has no names."""
        _ = self.sample_shape  # looks at the first batch
        return self._names

    def steps(self, batch_size: int) -> int | None:
        """Batches in a pass, if the data knows."""
        return batches_of(self._data)

    def chunks(self, batch_size: int, shuffle: Shuffle | None) -> Iterator[Chunk]:
        """One pass; a generator goes on where it was, after the batches that each pass begins with."""
        if self._replays:
            _ = self.sample_shape  # takes these batches
        batches = self._started or raw_batches(self._data, shuffle not in (None, "none"))
        self._started = None
        for number, batch in enumerate(chain(self._first, batches)):
            samples = self._samples(batch, number)
            yield from samples.chunks(len(samples), None)

    def with_class_weight(self, class_weight: object) -> Stream:
        """This stream, whose samples weigh from now on as much more as their classes do."""
        if isinstance(class_weight, str):
            msg = "`class_weight='balanced'` needs all labels at once, but `x` yields batches: pass a dict"
            raise ValueError(msg)
        self._class_weight = class_weight
        return self

    def on_epoch_begin(self) -> None:
        """Tell the data, if it wants to know."""
        tell(self._data, "on_epoch_begin")

    def on_epoch_end(self) -> None:
        """Tell the data, if it wants to know."""
        tell(self._data, "on_epoch_end")

    def _samples(self, batch: object, number: int) -> Samples:
        x, y, weights = unpacked(batch, f"batch {number} of {self._name}")
        samples = self._check(x, y, weights, f"batch {number} ")
        return samples.with_class_weight(self._class_weight)


def _by_number(x: Any) -> bool:
    return hasattr(x, "__getitem__") and (hasattr(x, "num_batches") or hasattr(x, "__len__"))


def _ahead(data: Any, numbers: Iterable[int], workers: int) -> Iterator[Any]:
    """The batches `numbers` in this order, fetched ahead by several workers."""
    with _pool(data, workers) as fetch:
        rest = iter(numbers)
        waiting = deque(fetch(number) for number in islice(rest, data.max_queue_size))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(fetch(number) for number in islice(rest, 1))


@contextmanager
def _pool(data: Any, workers: int) -> Iterator[Callable[[int], Any]]:
    """A function that asks workers, threads or processes, for a batch: it returns a future."""
    from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

    pool: Executor
    if data.use_multiprocessing:
        pool = ProcessPoolExecutor(workers, initializer=_adopt, initargs=(data,))
        fetch: Callable[[int], Any] = _fetch
    else:
        pool, fetch = ThreadPoolExecutor(workers), data.__getitem__
    try:
        yield lambda number: pool.submit(fetch, number)
    finally:
        pool.shutdown(cancel_futures=True)


_adopted: list[Any] = []


def _adopt(data: Any) -> None:
    """Keep a worker process' own copy of the data."""
    _adopted[:] = [data]


def _fetch(number: int) -> Any:
    return _adopted[0][number]
