"""Batches from anything that yields them: generators, loaders of other libraries, and data sets that are indexed.

`Stream` is the source of training and evaluation for such data; it checks each batch when it comes. `raw_batches`
yields the batches as they are, for predictions. An indexed data set, such as `keras.utils.PyDataset`, returns batch i as
`data[i]`, and may be loaded by several threads or processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count, islice
from typing import Any

import numpy as np

from engine._base.checks import Shape
from engine._base.random_state import next_key
from engine._core_interface.cpp import permutation
from engine._data.sources import Chunk, Samples, Shuffle, Source

# Keras takes so many batches from a generator to learn their shapes, and then uses them again.
_REPLAYED = 2

Check = Callable[[object, int], Samples]

# Classes that can be iterated over but stand for one array, and attributes by which other such classes are recognized.
_ARRAYS = (np.ndarray, list, tuple, str, bytes, Mapping, range)
_ATTRIBUTES_OF_ARRAYS = (
    "__array__",
    "__array_interface__",
    "__cuda_array_interface__",
    "__dlpack__",
    "to_numpy",
    "tocsr",
)


def yields_batches(x: object) -> bool:
    """Returns whether `x` yields batches, and is not an array itself."""
    if isinstance(x, _ARRAYS) or any(hasattr(x, name) for name in _ATTRIBUTES_OF_ARRAYS):
        return False
    try:
        memoryview(x)  # type: ignore[arg-type] # the TypeError is the check
    except TypeError:
        return is_indexed(x) or isinstance(x, Iterable)
    return False


def raw_batches(x: Any, shuffle: bool = False) -> Iterator[Any]:
    """Returns an iterator over the batches of one pass over `x`, unchecked.

    Args:
        x: an iterable, or an indexed data set: an object with `__getitem__`, and `__len__` or `num_batches`.
        shuffle: whether the batches of an indexed data set come in a new random order.
    """
    if not is_indexed(x):
        return iter(x)
    numbers: Iterable[int] = count()
    batches = number_of_batches(x)
    if batches is not None:
        numbers = permutation(*next_key(), batches).tolist() if shuffle else range(batches)
    workers = getattr(x, "workers", 0)
    if workers > 1 or (workers > 0 and x.use_multiprocessing):
        return _prefetched(x, numbers, workers)
    return (x[number] for number in numbers)


def samples_of_batch(batch: Any) -> Any:
    """Returns the samples of a batch: x of a tuple or a list of arrays (x, y) or (x, y, sample_weight), or the batch itself."""
    if isinstance(batch, tuple) and batch:
        return batch[0]
    if isinstance(batch, list) and len(batch) in (2, 3):
        arrays = ("__array__", "__cuda_array_interface__", "__dlpack__")
        return batch[0] if any(hasattr(batch[0], name) for name in arrays) else batch
    return batch


def number_of_batches(x: Any) -> int | None:
    """Returns the number of batches in a pass; None if it is infinite or unknown."""
    if hasattr(x, "num_batches"):
        return None if x.num_batches is None else int(x.num_batches)
    try:
        return len(x)
    except TypeError:
        return None


def call_hook(x: Any, hook: str) -> None:
    """Calls the method `hook` of `x`, such as `on_epoch_end`, if `x` has it."""
    method = getattr(x, hook, None)
    if method is not None:
        method()


class Stream(Source):
    """The source for data that yields batches (x, y) or (x, y, sample_weight). It checks each batch when it comes.

    Args:
        data: yields the batches.
        check: makes samples of a batch and its number.
        name: the name of the argument `data`, for messages.
        replays: whether each pass over an iterator begins with its first two batches again. Validations do so in Keras,
            which has taken these to learn their shapes.
    """

    def __init__(self, data: Any, check: Check, name: str, replays: bool = False) -> None:
        self._data, self._check, self._name = data, check, name
        self._replays = replays and not is_indexed(data) and iter(data) is data
        self._replayed: list[Any] = []  # the batches that each pass begins with
        self._started: Iterator[Any] | None = (
            None  # the pass from which `example` took the first batch, put back
        )
        self._example: Samples | None = None  # until the first pass begins, which reads it again
        self._known: tuple[Shape, list[str] | None] | None = None  # what the first batch has told
        self._class_weight: object = None

    @property
    def count(self) -> None:
        """None: the number of samples is unknown."""

    @property
    def sample_shape(self) -> Shape:
        """The shape of one sample, which the first batch tells."""
        return self._told_by_example[0]

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the columns, which the first batch tells; None if it has no names."""
        return self._told_by_example[1]

    @property
    def _told_by_example(self) -> tuple[Shape, list[str] | None]:
        if self._known is None:
            self._known = self.example.sample_shape, self.example.feature_names
        return self._known

    @property
    def example(self) -> Samples:
        """The first batch, before the first pass."""
        if self._example is None:
            batches = raw_batches(self._data)
            if is_indexed(self._data):  # whose workers need not begin for one batch
                batches = (self._data[0] for _ in range(number_of_batches(self._data) != 0))
            first_batches = list(islice(batches, _REPLAYED if self._replays else 1))
            if not first_batches:
                msg = f"`{self._name}`, of type {type(self._data).__name__}, yields no batches: it must begin anew each time, and yield one at least"
                raise ValueError(msg)
            first = first_batches[0]
            if self._replays:
                self._replayed = first_batches
            elif not is_indexed(self._data):
                self._started = chain(_emptied(first_batches), batches)
            self._example = self._samples(first, 0)
        return self._example

    def steps(self, batch_size: int) -> int | None:
        """Returns the number of batches in a pass, if the data knows it."""
        return number_of_batches(self._data)

    def chunks(self, batch_size: int, shuffle: Shuffle | None) -> Iterator[Chunk]:
        """Yields the batches of one pass. A generator continues where the pass before ended."""
        if self._replays and not self._replayed:
            _ = self.example  # reads the batches that are replayed
        if self._example is not None:
            _ = self._told_by_example
            self._example = None
        batches = self._started or raw_batches(self._data, shuffle not in (None, "none"))
        self._started = None
        for number, batch in enumerate(chain(self._replayed, batches)):
            samples = self._samples(batch, number)
            yield from samples.chunks(len(samples), None)

    def with_class_weight(self, class_weight: object) -> Stream:
        """Returns this stream, which from now on multiplies sample weights by the weights of the classes."""
        if isinstance(class_weight, str):
            msg = "`class_weight='balanced'` needs all labels at once, but `x` yields batches: pass a dict"
            raise ValueError(msg)
        self._class_weight = class_weight
        return self

    def on_epoch_begin(self) -> None:
        """Calls the hook of the data."""
        call_hook(self._data, "on_epoch_begin")

    def on_epoch_end(self) -> None:
        """Calls the hook of the data."""
        call_hook(self._data, "on_epoch_end")

    def _samples(self, batch: object, number: int) -> Samples:
        return self._check(batch, number).with_class_weight(self._class_weight)


def _emptied(batches: list[Any]) -> Iterator[Any]:
    """Yields the batches of a list, which it removes from there so that they don't stay alive."""
    while batches:
        yield batches.pop(0)


def is_indexed(x: Any) -> bool:
    """Returns whether `x` is a data set of which `x[i]` is batch i."""
    return hasattr(x, "__getitem__") and (hasattr(x, "num_batches") or hasattr(x, "__len__"))


def _prefetched(data: Any, numbers: Iterable[int], workers: int) -> Iterator[Any]:
    """Yields the batches `numbers` in this order, which several workers load ahead."""
    with _pool(data, workers) as fetch:
        rest = iter(numbers)
        waiting = deque(fetch(number) for number in islice(rest, max(1, data.max_queue_size)))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(fetch(number) for number in islice(rest, 1))


@contextmanager
def _pool(data: Any, workers: int) -> Iterator[Callable[[int], Any]]:
    """Yields a function that has a worker, a thread or a process, load a batch, and returns the future of it."""
    from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

    pool: Executor
    if data.use_multiprocessing:
        pool = ProcessPoolExecutor(workers, initializer=_keep_in_worker, initargs=(data,))
        fetch: Callable[[int], Any] = _fetch_in_worker
    else:
        pool, fetch = ThreadPoolExecutor(workers), data.__getitem__
    try:
        yield lambda number: pool.submit(fetch, number)
    finally:
        pool.shutdown(cancel_futures=True)


_data_of_worker: list[Any] = []


def _keep_in_worker(data: Any) -> None:
    """Keeps the copy of the data that a worker process received when it started."""
    _data_of_worker[:] = [data]


def _fetch_in_worker(number: int) -> Any:
    return _data_of_worker[0][number]
