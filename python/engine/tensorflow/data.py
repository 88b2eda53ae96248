"""`tf.data`: data sets, which are iterated over element by element, or in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import tree
from engine._base.random_state import next_seed
from engine._tracing.errors import needs_values
from engine._tracing.symbolic import current, is_symbolic
from engine.tensorflow._tensor import TensorSpec, constant, lengths
from engine.tensorflow._tensor import tensors as _tensor

__all__ = [
    "AUTOTUNE",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "Dataset",
    "Options",
    "TextLineDataset",
    "experimental",
]

AUTOTUNE = -1
INFINITE_CARDINALITY = -1
UNKNOWN_CARDINALITY = -2

Pass = Callable[[], Iterator[Any]]
"""Begins a pass over the elements."""


class Options:
    """Takes settings of `Dataset.with_options`, which are without effect."""


class Dataset:
    """A data set. Each pass over it yields its elements: tensors, or tuples and dicts of them.

    `fit`, `evaluate` and `predict` take one whose elements are batches (x, y). A method such as `map` returns another data
    set, and computes nothing before that one is iterated over.

    Args:
        begin: begins a pass over the elements.
        cardinality: how many there are, or one of the constants for endless and unknown.
    """

    def __init__(self, begin: Pass, cardinality: int = UNKNOWN_CARDINALITY) -> None:
        self._begin, self._cardinality = begin, cardinality
        self._spec: Any = None

    # Where elements come from.

    @staticmethod
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """Returns the parts of arrays along their first axes, which have the same length.

        Args:
            tensors: an array, or a tuple or dict of them.
            name: without effect, here and in all other methods.

        Raises:
            ValueError: if the lengths differ.
        """
        arrays = _arrays_of(tensors)
        counts = {len(leaf) for leaf in tree.flatten(arrays) if np.ndim(leaf)}
        if len(counts) != 1 or any(not np.ndim(leaf) for leaf in tree.flatten(arrays)):
            shapes = ", ".join(str(np.shape(leaf)) for leaf in tree.flatten(arrays))
            msg = f"the first axes of arrays must have the same length, got the shapes {shapes}"
            raise ValueError(msg)
        (size,) = counts
        return _Rows(arrays, lambda: iter((np.arange(size),)), size)

    @staticmethod
    def from_tensors(tensors: Any, name: str | None = None) -> Dataset:
        """Returns a data set of one element."""
        element = _map(_tensor, _arrays_of(tensors))
        return Dataset(lambda: iter((element,)), 1)

    @staticmethod
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        output_types: Any = None,
        output_shapes: Any = None,
        args: Any = None,
        output_signature: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """Returns what a function yields, which is called anew for each pass.

        Args:
            generator: called with `args`, returns an iterable.
            output_types: the dtypes of the elements; by default those of `output_signature`.
            output_shapes: without effect.
            args: arguments of `generator`.
            output_signature: a `TensorSpec`, or a structure of them, for the elements.
            name: without effect.

        Raises:
            TypeError: without types of the elements.
        """
        if output_types is None and output_signature is None:
            msg = "the types of the elements are missing: pass `output_signature`, a tf.TensorSpec or a tuple of them"
            raise TypeError(msg)
        kinds = output_types if output_signature is None else _map(lambda spec: spec.dtype, output_signature)

        def begin() -> Iterator[Any]:
            for element in generator(*(() if args is None else args)):
                yield _typed(kinds, element)

        return Dataset(begin)

    @staticmethod
    def range(*args: Any, output_type: Any = np.int64, name: str | None = None) -> Dataset:
        """Returns integers, with the arguments of Python's `range`."""
        return Dataset.from_tensor_slices(np.arange(*(int(each) for each in args), dtype=output_type))

    @staticmethod
    def zip(*args: Any, datasets: Any = None, name: str | None = None) -> Dataset:
        """Returns tuples of the elements of several data sets, or dicts if they are in a dict."""
        structure = datasets if datasets is not None else args[0] if len(args) == 1 else args
        sets = tree.flatten(structure)

        def begin() -> Iterator[Any]:
            for elements in zip(*map(iter, sets), strict=False):
                yield tree.pack_sequence_as(structure, list(elements))

        sizes = [each._cardinality for each in sets]
        finite = [size for size in sizes if size != INFINITE_CARDINALITY]
        unknown = UNKNOWN_CARDINALITY in sizes
        return Dataset(begin, UNKNOWN_CARDINALITY if unknown else min(finite, default=INFINITE_CARDINALITY))

    @staticmethod
    def list_files(
        file_pattern: Any, shuffle: bool | None = None, seed: int | None = None, name: str | None = None
    ) -> Dataset:
        """Returns the paths of files that match a pattern, in a random order unless `shuffle` is false.

        Raises:
            FileNotFoundError: if there are none.
        """
        from glob import glob

        patterns = np.atleast_1d(np.asarray(file_pattern)).tolist()
        paths = sorted(path for pattern in patterns for path in glob(str(pattern)))  # noqa: PTH207 # patterns begin anywhere
        if not paths:
            msg = f"no file matches {', '.join(map(str, patterns))}"
            raise FileNotFoundError(msg)
        found = Dataset.from_tensor_slices(np.array(paths))
        return found if shuffle is False else found.shuffle(len(paths), seed)

    # What is done with each element.

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Returns what a function makes of each element. A tuple is passed as several arguments.

        Map batches rather than single rows: the function is called for each element.
        """
        return Dataset(lambda: (_result(map_func, element) for element in self), self._cardinality)

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """Returns the elements for which a function is true."""
        return Dataset(lambda: (element for element in self if bool(_called(predicate, element))))

    def enumerate(self, start: int = 0, name: str | None = None) -> Dataset:
        """Returns pairs of a number and an element."""
        return Dataset(
            lambda: (
                (constant(number, np.int64), element)
                for number, element in zip(count(start), self, strict=False)
            ),
            self._cardinality,
        )

    def flat_map(self, map_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """Returns the elements of the data sets that a function makes of the elements, one data set after the other."""
        return Dataset(lambda: chain.from_iterable(_called(map_func, element) for element in self))

    def interleave(
        self,
        map_func: Callable[..., Any],
        cycle_length: int | None = None,
        block_length: int | None = None,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Returns the elements of the data sets that a function makes of the elements, by turns.

        Args:
            map_func: makes a data set of an element.
            cycle_length: how many data sets take turns; by default 16.
            block_length: how many elements each gives in its turn; by default 1.
            num_parallel_calls: without effect.
            deterministic: without effect.
            name: without effect.
        """
        width = 16 if cycle_length in (None, AUTOTUNE) else int(cycle_length or 0)
        block = 1 if block_length is None else int(block_length)

        def begin() -> Iterator[Any]:
            waiting = (iter(_called(map_func, element)) for element in self)
            places: list[Iterator[Any] | None] = list(islice(waiting, width))
            while any(place is not None for place in places):
                for number, place in enumerate(places):
                    if place is None:
                        continue
                    elements = list(islice(place, block))
                    yield from elements
                    if len(elements) < block:
                        places[number] = next(waiting, None)

        return Dataset(begin)

    def apply(self, transformation_func: Callable[[Dataset], Dataset], name: str | None = None) -> Dataset:
        """Returns what a function makes of the data set."""
        return transformation_func(self)

    # Which elements there are, and in which order.

    def shuffle(
        self,
        buffer_size: Any,
        seed: int | None = None,
        reshuffle_each_iteration: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Returns the elements in a random order: each is drawn from the next `buffer_size` ones.

        Args:
            buffer_size: how many elements wait. If it is at least the number of elements, all orders are equally likely.
            seed: of the order; by default it is drawn from the global stream.
            reshuffle_each_iteration: whether each pass has another order; by default it does.
            name: without effect.
        """
        orders = _orders(seed, reshuffle_each_iteration is not False)
        size = _at_least_one(buffer_size, "buffer_size")
        return Dataset(lambda: _shuffled(iter(self), size, orders()), self._cardinality)

    def repeat(self, count: Any = None, name: str | None = None) -> Dataset:
        """Returns the elements `count` times, or without an end."""
        times = -1 if count is None else int(count)

        def begin() -> Iterator[Any]:
            left = times
            while left:
                element: Any = _NONE
                for element in self:
                    yield element
                if element is _NONE:
                    return
                left -= 1

        return Dataset(begin, _times(self._cardinality, times))

    def take(self, count: Any, name: str | None = None) -> Dataset:
        """Returns the first `count` elements; all if that is -1."""
        most = None if int(count) < 0 else int(count)
        size = self._cardinality
        if most is not None and size != UNKNOWN_CARDINALITY:
            size = most if size == INFINITE_CARDINALITY else min(size, most)
        return Dataset(lambda: islice(iter(self), most), size)

    def skip(self, count: Any, name: str | None = None) -> Dataset:
        """Returns the elements after the first `count`."""
        first = int(count)
        size = self._cardinality if self._cardinality < 0 else max(self._cardinality - first, 0)
        return Dataset(lambda: islice(iter(self), first, None), size)

    def shard(self, num_shards: Any, index: Any, name: str | None = None) -> Dataset:
        """Returns every element whose number, divided by `num_shards`, leaves the remainder `index`."""
        step, first = int(num_shards), int(index)
        size = self._cardinality if self._cardinality < 0 else len(range(first, self._cardinality, step))
        return Dataset(lambda: islice(iter(self), first, None, step), size)

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """Returns the elements, and then those of another data set."""
        sizes = {self._cardinality, dataset._cardinality}
        unknown = next((size for size in (INFINITE_CARDINALITY, UNKNOWN_CARDINALITY) if size in sizes), None)
        size = self._cardinality + dataset._cardinality if unknown is None else unknown
        return Dataset(lambda: chain(iter(self), iter(dataset)), size)

    # Batches.

    def batch(
        self,
        batch_size: Any,
        drop_remainder: bool = False,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Returns batches: arrays of `batch_size` elements along a new first axis. The last one may be shorter.

        Args:
            batch_size: how many elements there are in a batch.
            drop_remainder: whether a shorter last batch is left out.
            num_parallel_calls: without effect.
            deterministic: without effect.
            name: without effect.
        """
        size = _at_least_one(batch_size, "batch_size")

        def begin() -> Iterator[Any]:
            for elements in _groups(iter(self), size, drop_remainder):
                yield tree.map_structure(lambda *leaves: _tensor(np.stack(leaves)), *elements)

        return Dataset(begin, _batches(self._cardinality, size, drop_remainder))

    def padded_batch(
        self,
        batch_size: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Returns batches of elements of different lengths, with zeros or `padding_values` behind the shorter ones.

        Args:
            batch_size: how many elements there are in a batch.
            padded_shapes: the shape of each element in a batch, with None for the longest of it; by default all None.
            padding_values: what is put behind; by default 0, or an empty text.
            drop_remainder: whether a shorter last batch is left out.
            name: without effect.
        """
        size = _at_least_one(batch_size, "batch_size")

        def begin() -> Iterator[Any]:
            for elements in _groups(iter(self), size, drop_remainder):
                leaves = [tree.flatten(element) for element in elements]
                shapes = _for_leaves(
                    padded_shapes, elements[0], lambda shape: shape is None or _is_shape(shape)
                )
                fills = _for_leaves(padding_values, elements[0], lambda value: not tree.is_nested(value))
                padded = [
                    _tensor(_padded(list(column), shape, fill))
                    for column, shape, fill in zip(zip(*leaves, strict=True), shapes, fills, strict=True)
                ]
                yield tree.pack_sequence_as(elements[0], padded)

        return Dataset(begin, _batches(self._cardinality, size, drop_remainder))

    def unbatch(self, name: str | None = None) -> Dataset:
        """Returns the parts of each element along its first axis."""

        def begin() -> Iterator[Any]:
            for element in self:
                for place in range(len(tree.flatten(element)[0])):
                    yield tree.map_structure(lambda leaf, place=place: leaf[place], element)

        return Dataset(begin)

    def window(
        self,
        size: Any,
        shift: Any = None,
        stride: Any = 1,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Returns data sets of `size` elements each, with `stride` between elements and `shift` between data sets."""
        length, step = _at_least_one(size, "size"), _at_least_one(stride, "stride")
        ahead = length if shift is None else _at_least_one(shift, "shift")

        def begin() -> Iterator[Any]:
            waiting: list[Any] = []
            elements = iter(self)
            while True:
                waiting += islice(elements, max((length - 1) * step + 1 - len(waiting), 0))
                window = waiting[::step][:length]
                if not window or (drop_remainder and len(window) < length):
                    return
                yield _window_of(window)
                waiting += islice(elements, max(ahead - len(waiting), 0))
                waiting = waiting[ahead:]

        return Dataset(begin)

    # Without effect on the elements.

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """Keeps the elements of the first whole pass in memory; `filename` is without effect."""
        kept: list[Any] = []

        def begin() -> Iterator[Any]:
            if kept:
                return iter(kept[0])
            return collecting()

        def collecting() -> Iterator[Any]:
            elements = []
            for element in self:
                elements.append(element)
                yield element
            kept[:] = [elements]

        return Dataset(begin, self._cardinality)

    def prefetch(self, buffer_size: Any, name: str | None = None) -> Dataset:
        """Returns the data set as it is."""
        return self

    def with_options(self, options: Options, name: str | None = None) -> Dataset:
        """Returns the data set as it is."""
        return self

    # Reading.

    def __iter__(self) -> Iterator[Any]:
        if current.get() is not None:  # a loop over it would become part of what is compiled
            raise needs_values("the elements of a tf.data.Dataset", "a loop over them")
        return self._begin()

    def __len__(self) -> int:
        if self._cardinality < 0:
            kind = "endless" if self._cardinality == INFINITE_CARDINALITY else "of unknown length"
            msg = f"the data set is {kind}"
            raise TypeError(msg)
        return self._cardinality

    def __bool__(self) -> bool:
        return True

    @property
    def num_batches(self) -> int | None:
        """How many elements there are; None if there is no end, or it is unknown."""
        return self._cardinality if self._cardinality >= 0 else None

    def cardinality(self, name: str | None = None) -> Any:
        """Returns how many elements there are, or -1 if there is no end and -2 if it is unknown."""
        return constant(self._cardinality, np.int64)

    def as_numpy_iterator(self) -> Iterator[Any]:
        """Returns an iterator over the elements as arrays and scalars of NumPy."""
        return (_map(lambda leaf: leaf.numpy(), element) for element in self)

    def get_single_element(self, name: str | None = None) -> Any:
        """Returns the only element.

        Raises:
            ValueError: if there is none, or more.
        """
        elements = list(islice(iter(self), 2))
        if len(elements) != 1:
            msg = f"the data set has {'no' if not elements else 'more than one'} element"
            raise ValueError(msg)
        return elements[0]

    def reduce(
        self, initial_state: Any, reduce_func: Callable[[Any, Any], Any], name: str | None = None
    ) -> Any:
        """Returns a state after `reduce_func(state, element)` has made the next one of it for each element."""
        state = tree.map_structure(constant, initial_state)
        for element in self:
            state = reduce_func(state, element)
        return _tensor(state)

    @property
    def element_spec(self) -> Any:
        """A `TensorSpec` for each tensor of an element. The first one is computed to find that out."""
        if self._spec is None:
            self._spec = tree.map_structure(TensorSpec.from_tensor, next(iter(self)))
        return self._spec

    def __repr__(self) -> str:
        size = {INFINITE_CARDINALITY: "endless", UNKNOWN_CARDINALITY: "of unknown length"}
        return f"<Dataset, {size.get(self._cardinality, f'{self._cardinality} elements')}>"


class _Rows(Dataset):
    """The rows of arrays in some order. Batches of them are read at once.

    Args:
        arrays: structure of arrays.
        order: begins a pass over arrays of row numbers.
        cardinality: how many rows there are.
    """

    def __init__(
        self, arrays: Any, order: Callable[[], Iterator[NDArray[np.intp]]], cardinality: int
    ) -> None:
        super().__init__(self._rows, cardinality)
        self._arrays, self._order = arrays, order

    def _rows(self) -> Iterator[Any]:
        for numbers in self._order():
            for number in numbers.tolist():
                yield _map(lambda leaf, number=number: _tensor(leaf[number]), self._arrays)

    def shuffle(
        self,
        buffer_size: Any,
        seed: int | None = None,
        reshuffle_each_iteration: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Returns the rows in a random order."""
        orders = _orders(seed, reshuffle_each_iteration is not False)
        size = _at_least_one(buffer_size, "buffer_size")
        shorter = self._cardinality == INFINITE_CARDINALITY or size < self._cardinality

        def order() -> Iterator[NDArray[np.intp]]:
            generator = orders()
            if not shorter:
                numbers = np.concatenate([*self._order(), np.empty(0, np.intp)])
                return iter((generator.permutation(numbers),))
            one_by_one = (number for numbers in self._order() for number in numbers.tolist())
            return _in_chunks(_shuffled(one_by_one, size, generator))

        return _Rows(self._arrays, order, self._cardinality)

    def take(self, count: Any, name: str | None = None) -> Dataset:
        """Returns the first rows."""
        most = int(count)
        if most < 0 or self._cardinality == INFINITE_CARDINALITY:
            return super().take(count)
        return self._selected(np.s_[:most])

    def skip(self, count: Any, name: str | None = None) -> Dataset:
        """Returns the rows after the first ones."""
        if self._cardinality == INFINITE_CARDINALITY:
            return super().skip(count)
        return self._selected(np.s_[int(count) :])

    def _selected(self, part: slice) -> Dataset:
        size = len(range(self._cardinality)[part])
        return _Rows(
            self._arrays, lambda: iter((np.concatenate([*self._order(), np.empty(0, np.intp)])[part],)), size
        )

    def repeat(self, count: Any = None, name: str | None = None) -> Dataset:
        """Returns the rows several times, or without an end."""
        times = -1 if count is None else int(count)

        def order() -> Iterator[NDArray[np.intp]]:
            left = times if self._cardinality else 0
            while left:
                yield from self._order()
                left -= 1

        return _Rows(self._arrays, order, _times(self._cardinality, times))

    def batch(
        self,
        batch_size: Any,
        drop_remainder: bool = False,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Returns batches of rows."""
        size = _at_least_one(batch_size, "batch_size")

        def begin() -> Iterator[Any]:
            waiting = np.empty(0, np.intp)
            for numbers in self._order():
                waiting = np.concatenate([waiting, numbers]) if len(waiting) else numbers
                full = len(waiting) // size * size
                for first in range(0, full, size):
                    yield self._at(waiting[first : first + size])
                waiting = waiting[full:]
            if len(waiting) and not drop_remainder:
                yield self._at(waiting)

        return Dataset(begin, _batches(self._cardinality, size, drop_remainder))

    def _at(self, numbers: NDArray[np.intp]) -> Any:
        return _map(lambda leaf: _tensor(np.take(leaf, numbers, axis=0)), self._arrays)


class TextLineDataset(Dataset):
    """The lines of text files, without the ends of lines.

    Args:
        filenames: path, or a list of them.
        others: without effect.
    """

    def __init__(self, filenames: Any, **others: Any) -> None:
        paths = [str(path) for path in np.atleast_1d(np.asarray(filenames)).tolist()]

        def begin() -> Iterator[Any]:
            for path in paths:
                with Path(path).open(encoding="utf-8", newline="") as file:
                    for line in file:
                        yield constant(line.removesuffix("\n").removesuffix("\r"))

        super().__init__(begin)


class experimental:  # noqa: N801 # a module in TensorFlow
    """The older names of constants."""

    AUTOTUNE = AUTOTUNE
    INFINITE_CARDINALITY = INFINITE_CARDINALITY
    UNKNOWN_CARDINALITY = UNKNOWN_CARDINALITY

    @staticmethod
    def cardinality(dataset: Dataset) -> Any:
        """Returns how many elements a data set has."""
        return dataset.cardinality()


_NONE = object()


def _map(function: Callable[..., Any], structure: Any) -> Any:
    return tree.map_structure(function, structure)


def _arrays_of(structure: Any) -> Any:
    """Returns arrays in the structure of tuples and dicts. Lists, frames and what else is no tuple or dict are arrays."""
    if isinstance(structure, tuple):
        return tuple(map(_arrays_of, structure))
    if type(structure) is dict or (hasattr(structure, "items") and not hasattr(structure, "__array__")):
        return {name: _arrays_of(value) for name, value in structure.items()}
    if hasattr(structure, "tocsr"):
        structure = structure.toarray()
    array = np.asarray(structure)
    return (
        np.asarray(constant(structure))
        if not hasattr(structure, "dtype") and array.dtype.kind in "if"
        else array
    )


def _typed(kinds: Any, element: Any) -> Any:
    if isinstance(kinds, (tuple, list)):
        return tuple(_typed(kind, part) for kind, part in zip(kinds, element, strict=True))
    if isinstance(kinds, dict):
        return {name: _typed(kind, element[name]) for name, kind in kinds.items()}
    return constant(element, kinds)


def _called(function: Callable[..., Any], element: Any) -> Any:
    return function(*element) if isinstance(element, tuple) else function(element)


def _result(function: Callable[..., Any], element: Any) -> Any:
    """Returns what a function makes of an element: tensors, in a tuple where the function returns a list or a tuple."""
    result = _called(function, element)
    if isinstance(result, Dataset) or is_symbolic(result):
        return result
    if isinstance(result, list):
        result = constant(result) if not any(hasattr(each, "shape") for each in result) else tuple(result)
    return _map(
        lambda leaf: (
            leaf if isinstance(leaf, Dataset) else constant(leaf) if not hasattr(leaf, "numpy") else leaf
        ),
        result,
    )


def _at_least_one(value: Any, name: str) -> int:
    number = int(value)
    if number < 1:
        msg = f"`{name}` must be at least 1, got {value!r}"
        raise ValueError(msg)
    return number


def _orders(seed: int | None, anew: bool) -> Callable[[], np.random.Generator]:
    """Returns a function that begins a pass: it returns what draws the order of this pass."""
    state: list[int] = [0]
    chosen: list[Any] = [seed]

    def begin() -> np.random.Generator:
        if chosen[0] is None:
            chosen[0] = next_seed() >> 1
        state[0] += int(anew)
        return np.random.default_rng([int(chosen[0]), state[0]])

    return begin


def _shuffled(elements: Iterator[Any], size: int, generator: np.random.Generator) -> Iterator[Any]:
    waiting = list(islice(elements, size))
    for element in elements:
        place = int(generator.integers(len(waiting)))
        yield waiting[place]
        waiting[place] = element
    for place in generator.permutation(len(waiting)).tolist():
        yield waiting[place]


def _in_chunks(numbers: Iterator[int]) -> Iterator[NDArray[np.intp]]:
    while True:
        chunk = np.fromiter(islice(numbers, 4096), np.intp)
        if not len(chunk):
            return
        yield chunk


def _groups(elements: Iterator[Any], size: int, drop_remainder: bool) -> Iterator[list[Any]]:
    while group := list(islice(elements, size)):
        if len(group) == size or not drop_remainder:
            yield group


def _batches(cardinality: int, size: int, drop_remainder: bool) -> int:
    if cardinality < 0:
        return cardinality
    return cardinality // size if drop_remainder else -(-cardinality // size)


def _times(cardinality: int, times: int) -> int:
    if times < 0 or cardinality == INFINITE_CARDINALITY:
        return INFINITE_CARDINALITY if cardinality and times else 0
    return cardinality if cardinality == UNKNOWN_CARDINALITY else cardinality * times


def _window_of(elements: list[Any]) -> Any:
    """Returns a data set of elements; of a tuple or a dict it is one of data sets."""
    first = elements[0]
    if isinstance(first, tuple):
        return tuple(_window_of([element[place] for element in elements]) for place in range(len(first)))
    if isinstance(first, dict):
        return {name: _window_of([element[name] for element in elements]) for name in first}
    return Dataset(lambda: iter(elements), len(elements))


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(
        each is None or isinstance(each, (int, np.integer)) for each in value
    )


def _for_leaves(given: Any, element: Any, is_leaf: Callable[[Any], bool]) -> list[Any]:
    """Returns a value for each tensor of an element, from one value or a structure like the element."""
    leaves = tree.flatten(element)
    if is_leaf(given) and (given is None or len(leaves) == 1 or not tree.is_nested(given)):
        return [given] * len(leaves)
    if isinstance(given, dict):
        return [part for name in sorted(given) for part in _for_leaves(given[name], element[name], is_leaf)]
    return [part for one, own in zip(given, element, strict=True) for part in _for_leaves(one, own, is_leaf)]


def _padded(arrays: list[NDArray[Any]], shape: Any, fill: Any) -> NDArray[Any]:
    longest = [max(array.shape[axis] for array in arrays) for axis in range(arrays[0].ndim)]
    sizes = (
        longest
        if shape is None
        else [
            most if length is None or length == -1 else length
            for length, most in zip(lengths(shape), longest, strict=True)
        ]
    )
    empty: Any = "" if arrays[0].dtype.kind in "US" else 0
    kind = np.result_type(*(array.dtype for array in arrays))
    batch = np.full((len(arrays), *sizes), empty if fill is None else fill, kind)
    for row, array in zip(batch, arrays, strict=True):
        row[tuple(np.s_[:length] for length in array.shape)] = array
    return batch
