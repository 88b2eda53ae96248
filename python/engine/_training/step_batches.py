"""The batches of models whose steps are methods of the user's class: one by one, or in stretches that the core runs.

`StepArrays` are the arrays of such a training or evaluation, in the structure in which the user gave them. A pass over them is an
`ArrayPass`, whose batches have the same structure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, repeat
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from engine import tree
from engine._base.computed_once import computed_once
from engine._base.tensor_like import Tensor
from engine._core_interface.cpp import Int32
from engine._data.array_conversion import any_array, require_finite
from engine._data.exact_integers import ExactIntegers
from engine._data.frames import feature_names, in_order_of
from engine._data.index_ranges import IndexRange
from engine._data.lazy_rows import LazyRows, lazy_rows
from engine._data.sources import Arrays, Chunk, OutputTargets, Samples, Source, order_of
from engine._tracing.symbolic import sequence_like

_NAMES = ("x", "y", "sample_weight")
NO_INDICES: Mapping[Any, bool] = MappingProxyType({})


class StepArrays(Arrays):
    """Arrays of samples in the structure in which a step gets them, such as (x, y).

    Args:
        structure: the arrays, or lazy rows, which are converted when a batch has them.
        indices: by number and by key of an array of y whether it is class indices in any shape; otherwise its last axis has
            classes.
        is_batch: whether all arrays are one batch, as a source of batches yields it. They may have different lengths.
    """

    sample_shape = ()  # a step may take samples of different shapes

    def __init__(
        self, structure: Any, *, indices: Mapping[Any, bool] = NO_INDICES, is_batch: bool = False
    ) -> None:
        self.structure, self._indices, self.is_batch = structure, indices, is_batch
        self._checked = set[tuple[int, IndexRange | ExactIntegers]]()
        self._ranges = dict[int, tuple[int, int]]()

    @computed_once
    def flat(self) -> list[Any]:
        """The arrays, and None where one is left out, in the order of the structure."""
        return tree.flatten(self.structure)

    @computed_once
    def rows(self) -> list[Any]:
        """The arrays."""
        return [array for array in self.flat if array is not None]

    @property
    def lazy(self) -> Sequence[LazyRows]:
        """The rows that have to be converted block by block."""
        return [rows for rows in self.rows if isinstance(rows, LazyRows)]

    @computed_once
    def readable(self) -> list[Any]:
        """The arrays as the core reads them: contiguous, uint8 or float32. Others, such as strings, stay as they are."""
        return [readable_by_core(array) for array in self.flat]

    def require(self, number: int, limits: IndexRange | ExactIntegers) -> None:
        """Raises ValueError unless array `number` of the structure holds what it must; checks it once."""
        if (number, limits) not in self._checked:
            limits.check(np.asarray(self.flat[number]))
            self._checked.add((number, limits))

    def range_of(self, number: int) -> tuple[int, int]:
        """Returns the least and the largest number of array `number` of the structure, if it holds integers; else (0, 0)."""
        if number not in self._ranges:
            array = np.asarray(self.flat[number])
            holds_integers = array.dtype.kind in "iu" and array.size > 0
            self._ranges[number] = (int(array.min()), int(array.max())) if holds_integers else (0, 0)
        return self._ranges[number]

    def mapped(self, function: Callable[[Any], Any]) -> StepArrays:
        """Returns arrays of what `function` returns for each of the arrays."""
        return self._with(self.structure_of(function))

    def structure_of(self, function: Callable[[Any], Any]) -> Any:
        """Returns what `function` returns for each of the arrays, in their structure."""
        return tree.map_structure(
            lambda array: None if array is None else tensor_from(function(array)), self.structure
        )

    @property
    def outputs(self) -> dict[Any, OutputTargets]:
        """Targets and weights by their key in a dict or their number in a list of targets."""
        _, y, weights = unpacked_batch(self.structure)
        if isinstance(y, Mapping):
            targets = dict(y)
        elif isinstance(y, (list, tuple)):
            targets = dict(enumerate(y))
        else:
            targets = {0: y}
        several = isinstance(weights, (list, tuple, Mapping))
        return {
            key: OutputTargets(
                output,
                weights[key] if several else weights,
                indices=self._indices.get(key if len(targets) > 1 else 0, False),
            )
            for key, output in targets.items()
        }

    def with_outputs(self, outputs: Sequence[OutputTargets]) -> StepArrays:
        """Returns the same samples with other weights."""
        x, y, _ = unpacked_batch(self.structure)
        weights: Any = [
            None if output.sample_weight is None else tensor_from(output.sample_weight) for output in outputs
        ]
        if isinstance(y, Mapping):
            weights = dict(zip(y, weights, strict=True))
        else:
            weights = sequence_like(y, weights) if isinstance(y, (list, tuple)) else weights[0]
        return self._with((x, y, weights))

    @property
    def _named(self) -> Sequence[tuple[str, Any]]:
        return [
            (name, array)
            for name, part in _parts_of(self.structure)
            for rows in tree.flatten(part)
            if rows is not None
            for array in (rows.arrays if isinstance(rows, LazyRows) else [rows])
        ]

    def _with(self, structure: Any) -> StepArrays:
        return StepArrays(structure, indices=self._indices, is_batch=self.is_batch)


def readable_by_core(value: Any) -> Any:
    """Returns an array as the core reads it: contiguous, uint8 or float32. Strings and lazy rows stay as they are."""
    if isinstance(value, LazyRows):
        return value
    if isinstance(value, np.ndarray) and value.dtype.char == "f" and value.ndim and value.flags.c_contiguous:
        return value
    array = np.atleast_1d(np.asarray(value))
    if array.dtype.kind not in "biuf":
        return array
    dtype = np.uint8 if array.dtype in (np.bool_, np.uint8) else np.float32
    return np.asarray(array, dtype, order="C")


class Stretch(NamedTuple):
    """Consecutive batches of equal size, which the core runs in one call."""

    arrays: StepArrays
    order: Int32 | None
    """For each sample of the pass its row in the arrays; None if the pass takes the rows in order."""
    first: int
    """The position in the pass of the first sample of the stretch."""
    rows: int
    """Samples in a batch; 0 for a single batch that is all of the arrays, as from `of_batch`."""
    batches: int

    def rows_of(self, number: int, batch: int, count: int) -> Any:
        """Returns the rows of `count` batches, from `batch` on, of array `number` of the structure."""
        array = self.arrays.flat[number]
        if not self.rows:
            return array
        begin = self.first + batch * self.rows
        positions = slice(begin, begin + count * self.rows)
        return array[positions if self.order is None else self.order[positions]]


class ArrayPass:
    """A pass over arrays, in batches.

    Args:
        chunk: the arrays, and the size and the order of the batches.
    """

    def __init__(self, chunk: Chunk) -> None:
        self._arrays: StepArrays = chunk.arrays
        self._order: Int32 | None = None
        self._sizes = [0]  # samples in each batch; 0 for one batch that is all of the arrays
        if not self._arrays.is_batch:
            count = len(self._arrays.rows[0])
            self._order = order_of(chunk, count)
            self._sizes = [
                min(chunk.batch_size, count - first) for first in range(0, count, chunk.batch_size)
            ]
        self._firsts = [0, *accumulate(self._sizes)]  # the position of the first sample of each batch

    def __len__(self) -> int:
        return len(self._sizes)

    def batch(self, number: int) -> Any:
        """Returns the arrays of batch `number`, in their structure."""
        positions = slice(self._firsts[number], self._firsts[number + 1])
        return self._at(number, positions if self._order is None else self._order[positions])

    def example(self, number: int) -> Any:
        """Returns arrays of the shapes and dtypes of batch `number`."""
        return self._at(number, slice(self._sizes[number]))

    def _at(self, number: int, index: Any) -> Any:
        if not self._sizes[number]:
            return self._arrays.structure
        return self._arrays.structure_of(lambda array: array[index])

    def stretch(self, number: int, limit: int) -> Stretch:
        """Returns the batches of equal size from `number` on, one at least and `limit` at most."""
        rows, count = self._sizes[number], 1
        while count < limit and self._sizes[number + count : number + count + 1] == [rows]:
            count += 1
        return Stretch(self._arrays, self._order, self._firsts[number], rows, count)


def batches_of(source: Source, batch_size: int) -> Iterator[Any]:
    """Yields the batches of one pass over a source of `StepArrays`, in their order."""
    for chunk in source.chunks(batch_size, None):
        batches = ArrayPass(chunk)
        yield from map(batches.batch, range(len(batches)))


def samples_of_steps(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    prefix: str = "",
    names: list[str] | None = None,
    *,
    indices: Mapping[Any, bool] = NO_INDICES,
) -> Samples:
    """Returns arrays as steps of the user's class get them.

    Args:
        x: samples, in arrays in any structure.
        y: targets, in the same way, or None.
        sample_weight: weights, in the same way, or None.
        prefix: of the names in messages.
        names: the columns of a data frame in the order of the features; None keeps their order.
        indices: as for `StepArrays`.

    Raises:
        ValueError: if the arrays have different numbers of samples, or none, or if `x` or `sample_weight` isn't finite.
    """
    x = in_order_of(names, x, f"{prefix}x")
    arrays = StepArrays(
        packed(
            _as_tensors(x, f"{prefix}x"),
            _as_tensors(y, f"{prefix}y"),
            _as_tensors(sample_weight, f"{prefix}sample_weight"),
        ),
        indices=indices,
    )
    if not all(rows.shape for rows in arrays.rows):
        msg = f"`{prefix}x`, `y` and `sample_weight` must be arrays with one entry per sample, got a single number"
        raise ValueError(msg)
    lengths = {len(rows) for rows in arrays.rows}
    if len(lengths) != 1:
        msg = f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples, got {sorted(lengths)}"
        raise ValueError(msg)
    if not lengths.pop():
        msg = f"`{prefix}x` is empty: pass at least one sample"
        raise ValueError(msg)
    _require_finite(arrays, prefix)
    return Samples(arrays, feature_names(x))


def batch_of_steps(
    batch: Any, prefix: str, names: list[str] | None = None, *, indices: Mapping[Any, bool] = NO_INDICES
) -> Samples:
    """Returns what a source of batches yielded as a step gets it. Its arrays may have different lengths.

    Args:
        batch: arrays in any structure.
        prefix: of the names in messages.
        names: the columns of a data frame in the order of the features; None keeps their order.
        indices: as for `StepArrays`.
    """
    several = isinstance(batch, (list, tuple)) and bool(batch)
    parts = list(batch) if several else [batch]
    parts[0] = in_order_of(names, parts[0], f"{prefix}x")
    tensors = [
        _as_tensors(part, f"{prefix}{name}")
        for part, name in zip(parts, chain(_NAMES, repeat("y")), strict=False)
    ]
    structure = sequence_like(batch, tensors) if several else tensors[0]
    arrays = StepArrays(structure, indices=indices, is_batch=True)
    if arrays.lazy:
        arrays = arrays.mapped(lambda rows: rows[:])
    _require_finite(arrays, prefix)
    return Samples(arrays, feature_names(parts[0]))


def _require_finite(arrays: StepArrays, prefix: str) -> None:
    """Raises ValueError that names the first row of x or of the sample weights with a NaN or an infinity.

    Targets may hold them: a step of the user's may give them a meaning.
    """
    rows = iter(arrays.readable)
    for name, part in _parts_of(arrays.structure):
        for (path, array), read in zip(tree.flatten_with_path(part), rows, strict=False):
            if name != "y" and isinstance(array, np.ndarray) and read.dtype == np.float32:
                path_text = "".join(f"[{key!r}]" for key in path)
                require_finite(read, np.atleast_1d(array), f"{prefix}{name}{path_text}")


def _parts_of(batch: Any) -> list[tuple[str, Any]]:
    """Returns the parts of a batch, such as (x, y), with their names in messages."""
    parts = list(batch) if isinstance(batch, (list, tuple)) and batch else [batch]
    return list(zip(chain(_NAMES, repeat("y")), parts, strict=False))


def _as_tensors(value: Any, name: str) -> Any:
    """Returns data as a step gets them, in the structure of lists, tuples and dicts: floats as float32 tensors, integers as they are.

    Sparse matrices and floats in files become lazy rows.
    """
    if isinstance(value, dict):
        return {key: _as_tensors(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)) and value and all(map(_holds_arrays, value)):
        parts = (_as_tensors(item, f"{name}[{index}]") for index, item in enumerate(value))
        return sequence_like(value, parts)
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "tocsr") or (
        isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim > 1
    ):
        lazy = lazy_rows(value, None, name)
        if lazy is not None:
            return lazy
    return tensor_from(any_array(value, name))


def tensor_from(array: Any) -> Any:
    """Returns an array of floats as a float32 tensor; others, and lazy rows, as they are."""
    if isinstance(array, LazyRows) or array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite
        return np.asarray(array, np.float32).view(Tensor)


def _holds_arrays(value: Any) -> bool:
    """Returns whether a value is an array, or a list, tuple or dict that holds arrays, at any depth, and nothing else."""
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
