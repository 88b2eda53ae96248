"""The batches of models whose steps are methods of the user's class: one by one, or in stretches that the core runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from engine import tree
from engine._base.random_state import next_key
from engine._base.tensor_like import Tensor
from engine._core_interface.cpp import Int32, Rows, permutation
from engine._data.array_conversion import require_finite
from engine._data.batch_streams import number_of_batches, raw_batches, yields_batches
from engine._data.device_arrays import to_host
from engine._data.exact_integers import ExactIntegers
from engine._data.index_ranges import IndexRange
from engine._tracing.symbolic import sequence_like
from engine._training.fit_arguments import BATCH_SIZE, Validation, positive_or_none
from engine.config import _capped_steps


class Samples:
    """Arrays of samples in the structure in which a step gets them, such as (x, y).

    Args:
        structure: the arrays.
    """

    def __init__(self, structure: Any) -> None:
        self.structure = structure
        self.flat: list[Any] = tree.flatten(structure)
        self._checked = set[tuple[int, IndexRange | ExactIntegers]]()

    @cached_property
    def readable(self) -> list[Rows]:
        """The arrays as the core reads them: contiguous, uint8 or float32. Others, such as strings, stay as they are."""
        return [_readable(each) for each in self.flat]

    def require(self, number: int, limits: IndexRange | ExactIntegers) -> None:
        """Raises ValueError unless array `number` of the structure holds what it must; checks it once."""
        if (number, limits) not in self._checked:
            limits.check(np.asarray(self.flat[number]))
            self._checked.add((number, limits))

    def chosen(self, rows: Any) -> Any:
        """Returns some rows of all arrays, in their structure. `rows` is a slice or an array of indices."""
        return tree.map_structure(lambda each: None if each is None else each[rows], self.structure)


def _readable(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.char == "f" and value.ndim and value.flags.c_contiguous:
        return value
    array = np.atleast_1d(np.asarray(value))
    if array.dtype.kind not in "biuf":
        return array
    kept = np.uint8 if array.dtype in (np.bool_, np.uint8) else np.float32
    return np.asarray(array, kept, order="C")


class Stretch(NamedTuple):
    """Consecutive batches of equal size, which the core runs in one call."""

    samples: Samples
    order: Int32 | None
    """For each sample of the pass its row in the arrays; None if the pass takes the rows in order."""
    first: int
    """The position in the pass of the first sample of the stretch."""
    rows: int
    """Samples in a batch; 0 for a single batch that is all of the arrays, as from `of_one`."""
    batches: int

    @staticmethod
    def of_one(batch: Any) -> Stretch:
        """Returns a single batch of arrays, which may have different lengths."""
        return Stretch(Samples(batch), None, 0, 0, 1)

    def rows_of(self, number: int, batch: int, count: int) -> Any:
        """Returns the rows of `count` batches, from `batch` on, of array `number` of the structure."""
        array = self.samples.flat[number]
        if not self.rows:
            return array
        begin = self.first + batch * self.rows
        positions = slice(begin, begin + count * self.rows)
        return array[positions if self.order is None else self.order[positions]]


class ArrayPass:
    """A pass over arrays: yields batches, or stretches of them.

    Args:
        samples: the arrays.
        order: for each sample of the pass its row in the arrays; None if the pass takes the rows in order.
        sizes: samples in each batch.
    """

    def __init__(self, samples: Samples, order: Int32 | None, sizes: list[int]) -> None:
        self._samples, self._order, self._sizes = samples, order, sizes
        self._batch = self._first = 0  # the next batch, and the position of its first sample

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._batch == len(self._sizes):
            raise StopIteration
        taken = self.stretch(1)
        positions: Any = slice(taken.first, taken.first + taken.rows)
        return self._samples.chosen(positions if taken.order is None else taken.order[positions])

    def example(self) -> Any:
        """Returns arrays of the shapes and dtypes of the next batch; None if there is none."""
        if self._batch == len(self._sizes):
            return None
        return self._samples.chosen(slice(self._sizes[self._batch]))

    def stretch(self, most: int) -> Stretch:
        """Takes the next batches of equal size, one at least and `most` at most."""
        rows, count = self._sizes[self._batch], 1
        while count < most and self._sizes[self._batch + count : self._batch + count + 1] == [rows]:
            count += 1
        taken = Stretch(self._samples, self._order, self._first, rows, count)
        self._batch, self._first = self._batch + count, self._first + count * rows
        return taken


class Batches(NamedTuple):
    """The batches of a model with steps of its own."""

    total: int | None
    """Batches in a pass; None if it is unknown."""
    begin: Callable[[], Iterator[Any]]
    """Begins a pass."""
    source: Any = None
    """What yields the batches, for its hooks."""
    endless: Iterator[Any] | None = None
    """The batches of a generator: each epoch goes on where the epoch before ended. None if each pass begins anew."""


def as_tensors(batch: Any) -> Any:
    """Returns a batch with its arrays as steps get them: floats as float32 tensors, and integers as they are."""

    def converted(value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        array = np.asarray(to_host(value, "x"))
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite
                return np.asarray(array, np.float32).view(Tensor)
        return array

    return tree.map_structure(converted, batch)


def batches_of(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    shuffle: Any = False,
    class_weight: Mapping[int, float] | None = None,
) -> Batches:
    """Returns the batches of data.

    Args:
        x: samples, in arrays in any structure; or a source of batches.
        y: targets, in the same way, or None.
        sample_weight: weights, in the same way, or None.
        batch_size: samples in a batch, default 32.
        shuffle: whether each pass has another order.
        class_weight: the weight of each class.

    Raises:
        ValueError: if the arrays have different numbers of samples, or none, if `x` isn't finite, or if `batch_size` is less
            than 1.
    """
    size = positive_or_none(batch_size, "batch_size") or BATCH_SIZE
    if yields_batches(x):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                msg = f"`{name}` must not be given beside an `x` that yields batches: it must yield (x, y) or (x, y, sample_weight)"
                raise ValueError(msg)

        def stream() -> Iterator[Any]:
            for number, batch in enumerate(raw_batches(x, bool(shuffle))):
                tensors = as_tensors(batch)
                _require_finite_samples(Samples(tensors), f"batch {number} x")
                yield _weighted(tensors, class_weight)

        endless = stream() if iter(x) is x else None
        return Batches(number_of_batches(x), stream, x, endless)
    given = as_tensors(packed(_as_arrays(x), _as_arrays(y), _as_arrays(sample_weight)))
    lengths = {len(each) for each in tree.flatten(given) if each is not None}
    if len(lengths) != 1:
        msg = f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples, got {sorted(lengths)}"
        raise ValueError(msg)
    (rows,) = lengths
    if not rows:
        msg = "`x` is empty: pass at least one sample"
        raise ValueError(msg)
    samples = Samples(_weighted(given, class_weight))
    _require_finite_samples(samples, "x")
    sizes = [min(size, rows - first) for first in range(0, rows, size)]

    def arrays() -> ArrayPass:
        if shuffle is True:
            return ArrayPass(samples, permutation(*next_key(), rows), sizes)
        if shuffle != "batch":
            return ArrayPass(samples, None, sizes)
        turns = permutation(*next_key(), len(sizes)).tolist()
        parts = [np.arange(turn * size, turn * size + sizes[turn], dtype=np.int32) for turn in turns]
        return ArrayPass(samples, np.concatenate(parts), [sizes[turn] for turn in turns])

    return Batches(len(sizes), arrays)


def _require_finite_samples(samples: Samples, name: str) -> None:
    """Raises ValueError that names the first row of x, the first part of a batch, with a NaN or an infinity."""
    batch = samples.structure
    x = batch[0] if isinstance(batch, (list, tuple)) and batch else batch
    for (path, given), rows in zip(tree.flatten_with_path(x), samples.readable, strict=False):
        if rows.dtype == np.float32:
            require_finite(rows, np.atleast_1d(given), name + "".join(f"[{key!r}]" for key in path))


def _as_arrays(value: Any) -> Any:
    """Returns data with tables and other sequences of rows as arrays, in the structure of lists, tuples and dicts."""
    if isinstance(value, dict):
        return {name: _as_arrays(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)) and value and all(map(_holds_arrays, value)):
        return sequence_like(value, map(_as_arrays, value))
    return value if value is None else np.asarray(to_host(value, "x"))


def _holds_arrays(value: Any) -> bool:
    """Whether a value is an array, or a list, tuple or dict that holds arrays, at any depth, and nothing else."""
    if isinstance(value, dict):
        return bool(value)
    return hasattr(value, "shape") or (
        isinstance(value, (list, tuple)) and bool(value) and all(map(_holds_arrays, value))
    )


def packed(x: Any, y: Any, sample_weight: Any) -> Any:
    """Returns data as a step gets them: (x, y, sample_weight), (x, y) or x."""
    if sample_weight is not None:
        return (x, y, sample_weight)
    if y is not None:
        return (x, y)
    return (x,) if isinstance(x, (list, tuple)) else x


def unpacked_batch(data: Any) -> tuple[Any, Any, Any]:
    """Returns x, y and sample_weight of the data of a step; None for what is missing."""
    parts = tuple(data) if isinstance(data, (list, tuple)) else (data,)
    if len(parts) > 3:  # noqa: PLR2004 # x, y, sample_weight
        msg = f"Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`, found: {data}"
        raise ValueError(msg)
    return (*parts, None, None)[:3]


def _weighted(batch: Any, class_weight: Mapping[int, float] | None) -> Any:
    """Returns a batch with the weights of classes."""
    if class_weight is None:
        return batch
    x, y, weight = unpacked_batch(batch)
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = np.argmax(labels, axis=-1)
    found = np.array([class_weight.get(int(label), 1.0) for label in labels.reshape(-1)], np.float32)
    return (x, y, found if weight is None else found * np.asarray(weight).reshape(-1))


def split(
    x: Any, y: Any, sample_weight: Any, share: float
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Returns the first samples and the last ones, which are `share` of all."""
    if yields_batches(x):
        msg = "`validation_split` needs samples whose number is known, but `x` yields batches: pass `validation_data`"
        raise ValueError(msg)
    parts = tuple(_as_arrays(each) for each in (x, y, sample_weight))
    rows = len(next(each for each in tree.flatten(parts) if each is not None))
    at = math.floor(rows * (1.0 - share))

    def cut(begin: int, end: int) -> tuple[Any, Any, Any]:
        return tree.map_structure(lambda each: None if each is None else each[begin:end], parts)  # type: ignore[no-any-return] # a tuple, as `parts`

    return cut(0, at), cut(at, rows)


def validation_of(
    validation_data: Any, batch_size: int | None, steps: Any, frequency: Any
) -> tuple[Batches, int | None, Validation] | None:
    """Returns the batches of a validation, their number, and after which epochs it comes; None if there is none."""
    if validation_data is None:
        return None
    parts = (
        (validation_data, None, None) if yields_batches(validation_data) else unpacked_batch(validation_data)
    )
    batches = batches_of(*parts, batch_size=batch_size)
    kept: Any = frequency if isinstance(frequency, int) else frozenset(frequency)
    limit = _capped_steps(positive_or_none(steps, "validation_steps"), batches.total)
    return batches, limit, Validation(None, limit, batch_size or BATCH_SIZE, kept)  # type: ignore[arg-type] # no source
