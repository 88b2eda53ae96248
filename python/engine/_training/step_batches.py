"""The batches of models whose steps are methods of the user's class: one by one, or in stretches that the core runs.

`StepSamples` is the source of such a training or evaluation. A pass over it is an `ArrayPass`, whose batches have the structure
in which the user gave the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain, repeat
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import tree
from engine._base.checks import Shape
from engine._base.random_state import next_key
from engine._base.tensor_like import Tensor
from engine._core_interface.cpp import Int32
from engine._data.array_conversion import any_array, require_finite
from engine._data.exact_integers import ExactIntegers
from engine._data.frames import feature_names, in_order_of
from engine._data.index_ranges import IndexRange
from engine._data.lazy_rows import LazyRows, lazy_rows, part_of, rows_taken
from engine._data.memory_maps import Files, in_a_file
from engine._data.sources import ArraySource, Chunk, Shuffle, class_weights
from engine._tracing.symbolic import sequence_like

_NAMES = ("x", "y", "sample_weight")
NO_INDICES: Mapping[Any, bool] = MappingProxyType({})


class StepArrays:
    """Arrays of samples in the structure in which a step gets them, such as (x, y).

    Args:
        structure: the arrays, or lazy rows, which are converted when a batch has them.
    """

    def __init__(self, structure: Any) -> None:
        self.structure = structure
        self.flat: list[Any] = tree.flatten(structure)
        self._checked = set[tuple[int, IndexRange | ExactIntegers]]()

    @cached_property
    def readable(self) -> list[Any]:
        """The arrays as the core reads them: contiguous, uint8 or float32. Others, such as strings, stay as they are."""
        return [_readable(each) for each in self.flat]

    @cached_property
    def rows_at_once(self) -> int | None:
        """How many lazy rows are converted at once; None if all rows are in arrays."""
        return min((each.per_block for each in self.flat if isinstance(each, LazyRows)), default=None)

    def require(self, number: int, limits: IndexRange | ExactIntegers) -> None:
        """Raises ValueError unless array `number` of the structure holds what it must; checks it once."""
        if (number, limits) not in self._checked:
            limits.check(np.asarray(self.flat[number]))
            self._checked.add((number, limits))

    def chosen(self, rows: Any) -> Any:
        """Returns some rows of all arrays, in their structure. `rows` is a slice or an array of indices."""

        def rows_of(each: Any) -> Any:
            return None if each is None else _tensor(each[rows])

        return tree.map_structure(rows_of, self.structure)


def _readable(value: Any) -> Any:
    if isinstance(value, LazyRows):
        return value
    if isinstance(value, np.ndarray) and value.dtype.char == "f" and value.ndim and value.flags.c_contiguous:
        return value
    array = np.atleast_1d(np.asarray(value))
    if array.dtype.kind not in "biuf":
        return array
    kept = np.uint8 if array.dtype in (np.bool_, np.uint8) else np.float32
    return np.asarray(array, kept, order="C")


class Stretch(NamedTuple):
    """Consecutive batches of equal size, which the core runs in one call."""

    arrays: StepArrays
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
        return Stretch(StepArrays(batch), None, 0, 0, 1)

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
        arrays: the arrays.
        order: for each sample of the pass its row in the arrays; None if the pass takes the rows in order.
        sizes: samples in each batch; None for one batch that is all of the arrays, which may have different lengths.
    """

    def __init__(
        self, arrays: StepArrays, order: Int32 | None = None, sizes: Sequence[int] | None = None
    ) -> None:
        self._arrays, self._order, self._sizes = arrays, order, sizes
        self._firsts = [0, *accumulate(sizes or ())]  # the position of the first sample of each batch

    def __len__(self) -> int:
        return 1 if self._sizes is None else len(self._sizes)

    def batch(self, number: int) -> Any:
        """Returns the arrays of batch `number`, in their structure."""
        return self._of_batches(number, 1)

    def example(self, number: int) -> Any:
        """Returns arrays of the shapes and dtypes of batch `number`."""
        return (
            self._arrays.structure if self._sizes is None else self._arrays.chosen(slice(self._sizes[number]))
        )

    def stretch(self, number: int, most: int) -> Stretch:
        """Returns the batches of equal size from `number` on, one at least and `most` at most."""
        if self._sizes is None:
            return Stretch(self._arrays, None, 0, 0, 1)
        rows, count = self._sizes[number], 1
        if self._arrays.rows_at_once is not None:
            most = min(most, self._arrays.rows_at_once // rows)
        while count < most and self._sizes[number + count : number + count + 1] == [rows]:
            count += 1
        if self._arrays.rows_at_once is not None:
            return Stretch(StepArrays(self._of_batches(number, count)), None, 0, rows, count)
        return Stretch(self._arrays, self._order, self._firsts[number], rows, count)

    def _of_batches(self, number: int, count: int) -> Any:
        if self._sizes is None:
            return self._arrays.structure
        positions = slice(self._firsts[number], self._firsts[number + count])
        return self._arrays.chosen(positions if self._order is None else self._order[positions])


class StepSamples(ArraySource):
    """The source for arrays that are passed to steps of the user's class, in the structure in which the user gave them.

    Args:
        arrays: the arrays: (x, y, sample_weight), (x, y) or x.
        feature_names: the names of the columns of x; None without names.
        indices: by number and by key of an array of y whether it is class indices in any shape; otherwise its last axis has
            classes.
        is_batch: whether all arrays are one batch, as a source of batches yields it.
    """

    def __init__(
        self,
        arrays: StepArrays,
        feature_names: list[str] | None = None,
        *,
        indices: Mapping[Any, bool] = NO_INDICES,
        is_batch: bool = False,
    ) -> None:
        self._arrays, self._feature_names = arrays, feature_names
        self._indices, self._is_batch = indices, is_batch
        self.x = arrays.flat[0]

    def __len__(self) -> int:
        count: int = next(each for each in self._arrays.flat if each is not None).shape[0]
        return count

    @property
    def sample_shape(self) -> Shape:
        """An empty shape: a step may take samples of different shapes."""
        return ()

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the columns of x; None without names."""
        return self._feature_names

    def chunks(self, batch_size: int, shuffle: Shuffle | None) -> Iterator[Chunk]:
        """Yields all batches as one chunk."""
        seed, stream = (0, 0) if shuffle is None else next_key()
        sizes = None
        if not self._is_batch:
            sizes = [min(batch_size, len(self) - first) for first in range(0, len(self), batch_size)]
        order = self._order(batch_size, shuffle, seed, stream)
        yield Chunk((ArrayPass(self._arrays, order, sizes),), files=_files(self._arrays))

    def part(self, begin: int, end: int) -> StepSamples:
        """Returns samples `begin` to `end` without copying them."""
        return self._mapped(lambda rows: part_of(rows, begin, end))

    def _taken(self, index: NDArray[np.intp]) -> StepSamples:
        return self._mapped(lambda rows: rows_taken(rows, index))

    def _mapped(self, function: Callable[[Any], Any]) -> StepSamples:
        """Returns samples of what `function` returns for each array."""
        return self._with(
            tree.map_structure(lambda each: None if each is None else function(each), self._arrays.structure)
        )

    @property
    def _targets(self) -> Any:
        return unpacked_batch(self._arrays.structure)[1]

    @property
    def _target_keys(self) -> list[Any]:
        y = self._targets
        if isinstance(y, Mapping):
            return list(y)
        return list(range(len(y))) if isinstance(y, (list, tuple)) else []

    def _with_class_weights(self, class_weights: list[Any]) -> StepSamples:
        x, y, weights = unpacked_batch(self._arrays.structure)
        keys = self._target_keys
        if not keys:
            return self._with((x, y, self._weighted(y, weights, class_weights[0])))
        own = weights if isinstance(weights, (list, tuple, Mapping)) else dict.fromkeys(keys, weights)
        found = [
            self._weighted(y[key], own[key], each, key if len(keys) > 1 else 0)
            for key, each in zip(keys, class_weights, strict=True)
        ]
        packed_weights = (
            dict(zip(keys, found, strict=True)) if isinstance(y, Mapping) else sequence_like(y, found)
        )
        return self._with((x, y, packed_weights))

    def _weighted(self, y: Any, weights: Any, class_weight: object, key: Any = 0) -> Any:
        """Returns the weights of samples with the targets y, multiplied by those of their classes."""
        if class_weight is None:
            return weights
        found = class_weights(class_weight, self._classes_of(y, "class_weight", key))
        if weights is not None:
            axes = max(weights.ndim, found.ndim)
            own, found = (each.reshape(*each.shape, *[1] * (axes - each.ndim)) for each in (weights, found))
            found = np.asarray(own * found, np.float32)
        return found.view(Tensor)

    def _classes(self, argument: str) -> NDArray[Any]:
        return self._classes_of(self._targets, argument)

    def _classes_of(self, y: Any, argument: str, key: Any = 0) -> NDArray[Any]:
        """Returns the class of each target of an array: labels, the last axis of one-hot vectors, or numbers, rounded."""
        if y is None or isinstance(y, (list, tuple, Mapping)) or y.dtype.kind not in "biuf":
            what = (
                "there are none"
                if y is None
                else "they are several arrays"
                if not hasattr(y, "dtype")
                else f"they are {y.dtype}"
            )
            msg = f"`{argument}` needs targets that stand for classes, but {what}: leave it out, or pass one array as `y`"
            raise ValueError(msg)
        labels = np.asarray(y)
        if labels.ndim > 1 and (labels.shape[-1] == 1 or not self._indices.get(key)):
            labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(axis=-1)
        return np.rint(labels) if labels.dtype.kind == "f" else labels

    @property
    def _is_in_file(self) -> bool:
        return bool(_files(self._arrays))

    def _with(self, structure: Any) -> StepSamples:
        """Returns samples of these arrays, with the same feature names."""
        return StepSamples(
            StepArrays(structure), self._feature_names, indices=self._indices, is_batch=self._is_batch
        )


def samples_of_steps(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    prefix: str = "",
    names: list[str] | None = None,
    *,
    indices: Mapping[Any, bool] = NO_INDICES,
) -> StepSamples:
    """Returns arrays as steps of the user's class get them.

    Args:
        x: samples, in arrays in any structure.
        y: targets, in the same way, or None.
        sample_weight: weights, in the same way, or None.
        prefix: of the names in messages.
        names: the columns of a data frame in the order of the features; None keeps their order.
        indices: as for `StepSamples`.

    Raises:
        ValueError: if the arrays have different numbers of samples, or none, or if `x` isn't finite.
    """
    x = in_order_of(names, x, f"{prefix}x")
    arrays = StepArrays(
        packed(
            _as_tensors(x, f"{prefix}x"),
            _as_tensors(y, f"{prefix}y"),
            _as_tensors(sample_weight, f"{prefix}sample_weight"),
        )
    )
    given = [each for each in arrays.flat if each is not None]
    if not all(each.shape for each in given):
        msg = f"`{prefix}x`, `y` and `sample_weight` must be arrays with one entry per sample, got a single number"
        raise ValueError(msg)
    lengths = {len(each) for each in given}
    if len(lengths) != 1:
        msg = f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples, got {sorted(lengths)}"
        raise ValueError(msg)
    if not lengths.pop():
        msg = f"`{prefix}x` is empty: pass at least one sample"
        raise ValueError(msg)
    _require_finite_samples(arrays, f"{prefix}x")
    return StepSamples(arrays, feature_names(x), indices=indices)


def batch_of_steps(
    batch: Any, prefix: str, names: list[str] | None = None, *, indices: Mapping[Any, bool] = NO_INDICES
) -> StepSamples:
    """Returns what a source of batches yielded as a step gets it. Its arrays may have different lengths.

    Args:
        batch: arrays in any structure.
        prefix: of the names in messages.
        names: the columns of a data frame in the order of the features; None keeps their order.
        indices: as for `StepSamples`.
    """
    several = isinstance(batch, (list, tuple)) and bool(batch)
    parts = list(batch) if several else [batch]
    parts[0] = in_order_of(names, parts[0], f"{prefix}x")
    found = [
        _as_tensors(each, f"{prefix}{name}")
        for each, name in zip(parts, chain(_NAMES, repeat("y")), strict=False)
    ]
    given = StepArrays(sequence_like(batch, found) if several else found[0])
    arrays = given if given.rows_at_once is None else StepArrays(given.chosen(slice(None)))
    _require_finite_samples(arrays, f"{prefix}x")
    return StepSamples(arrays, feature_names(parts[0]), indices=indices, is_batch=True)


def _files(arrays: StepArrays) -> Files:
    """Returns the arrays that are memory-mapped, with a name."""
    flat = [part for each in arrays.flat for part in (each.arrays if isinstance(each, LazyRows) else [each])]
    return tuple(("x", each) for each in flat if in_a_file(each))


def _require_finite_samples(arrays: StepArrays, name: str) -> None:
    """Raises ValueError that names the first row of x, the first part of a batch, with a NaN or an infinity."""
    batch = arrays.structure
    x = batch[0] if isinstance(batch, (list, tuple)) and batch else batch
    for (path, given), rows in zip(tree.flatten_with_path(x), arrays.readable, strict=False):
        if isinstance(given, np.ndarray) and rows.dtype == np.float32:
            require_finite(rows, np.atleast_1d(given), name + "".join(f"[{key!r}]" for key in path))


def _as_tensors(value: Any, name: str) -> Any:
    """Returns data as a step gets them, in the structure of lists, tuples and dicts: floats as float32 tensors, integers as they are.

    Sparse matrices and floats in files become lazy rows.
    """
    if isinstance(value, dict):
        return {key: _as_tensors(each, f"{name}[{key!r}]") for key, each in value.items()}
    if isinstance(value, (list, tuple)) and value and all(map(_holds_arrays, value)):
        parts = (_as_tensors(each, f"{name}[{place}]") for place, each in enumerate(value))
        return sequence_like(value, parts)
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "tocsr") or (
        isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim > 1
    ):
        lazy = lazy_rows(value, None, name)
        if lazy is not None:
            return lazy
    return _tensor(any_array(value, name))


def _tensor(array: Any) -> Any:
    """Returns an array of floats as a float32 tensor; others as they are."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite
        return np.asarray(array, np.float32).view(Tensor)


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
