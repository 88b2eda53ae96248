"""What training and evaluation iterate over: sources, which yield chunks of batches for a runner.

`Samples` is the source for arrays, and `Stream` in `batch_streams` the one for what yields batches, which become samples one by
one. The arrays of samples are `CoreArrays` if the core reads them, or `StepArrays` in the structure in which a step of the user's
class gets them; splits, weights of classes, orders and blocks are the same for both. `batch_iteration` asks a source for its chunks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, real, with_noun
from engine._base.computed_once import computed_once
from engine._base.random_state import next_key
from engine._core_interface.cpp import CompressedMatrix, Dataset, DeviceArray, Float32, Rows, permutation
from engine._data.array_conversion import Array
from engine._data.lazy_rows import LazyRows, for_core, part_of, selected_rows
from engine._data.memory_maps import Files, in_a_file
from engine._data.several_arrays import sample_shape_of
from engine._data.target_forms import TargetForm

Targets = NDArray[np.int32] | Float32 | DeviceArray
Shuffle = Literal["none", "rows", "batches"]


class OutputTargets(NamedTuple):
    """What samples are compared with at one output of a model."""

    y: Any
    """Class indices (n, ...) or targets (n, ..., outputs); for a step of the user's class any array, or None."""
    sample_weight: Any
    """(n,) or (n, ...), or None. Like `y` it may be on the GPU of the model."""
    form: TargetForm = TargetForm()
    """The form in which the user gave the targets."""
    indices: bool = True
    """Whether `y` has class indices in any shape; otherwise its last axis has classes."""

    def mapped(self, function: Callable[[Any], Any]) -> OutputTargets:
        """Returns targets of what `function` returns for each array."""
        y, sample_weight, original, weights = (
            None if array is None else function(array)
            for array in (self.y, self.sample_weight, self.form.original, self.form.weights)
        )
        return self._replace(
            y=y, sample_weight=sample_weight, form=self.form._replace(original=original, weights=weights)
        )

    def classes(self, argument: str) -> Array:
        """Returns the class of each target: labels, the last axis of one-hot vectors, or numbers, rounded.

        Raises:
            ValueError: that names `argument`, if the targets stand for no classes.
        """
        y, refusal = self.y, None
        if self.form.original is not None:
            refusal = f"only the loss can read those of shape {self.form.shape}"
        elif y is None:
            refusal = "there are none"
        elif not hasattr(y, "dtype"):
            refusal = "they are several arrays"
        elif np.dtype(y.dtype).kind not in "biuf":
            refusal = f"they are {y.dtype}"
        if refusal is not None:
            msg = f"`{argument}` needs targets that stand for classes, but {refusal}: leave it out, or pass one array of them as `y`"
            raise ValueError(msg)
        labels = np.asarray(y[:] if isinstance(y, LazyRows) else y)  # those on a GPU are copied to the host
        if labels.ndim > 1 and (labels.shape[-1] == 1 or not self.indices):
            labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(axis=-1)
        return np.rint(labels) if labels.dtype.kind == "f" else labels

    def with_class_weight(self, class_weight: object) -> OutputTargets:
        """Returns the targets with weights that are multiplied by those of their classes; None changes nothing."""
        if class_weight is None:
            return self
        weights = class_weights(class_weight, self.classes("class_weight"))
        if self.form.weights is not None:
            return self._replace(
                form=self.form._replace(weights=self.form.weights * weights[..., np.newaxis])
            )
        if self.sample_weight is not None:
            sample_weight = np.asarray(self.sample_weight)  # the product comes from the host
            axes = max(sample_weight.ndim, weights.ndim)
            sample_weight, weights = (
                array.reshape(*array.shape, *[1] * (axes - array.ndim)) for array in (sample_weight, weights)
            )
            weights = np.asarray(sample_weight * weights, np.float32)
        return self._replace(sample_weight=weights)


class Arrays(ABC):
    """Samples with their targets and weights in arrays, whose first axis is that of the samples.

    What the core or a compiled step has learnt about the arrays, such as copies of them, is kept in this object.
    """

    rows: list[Any]
    """All arrays, and lazy rows; None is left out. The first ones are the samples."""
    sample_shape: Shape
    """The shape of one sample."""

    @property
    @abstractmethod
    def lazy(self) -> Sequence[LazyRows]:
        """The rows that have to be converted block by block."""

    @abstractmethod
    def mapped(self, function: Callable[[Any], Any]) -> Arrays:
        """Returns arrays of what `function` returns for each of the arrays."""

    @property
    @abstractmethod
    def outputs(self) -> dict[Any, OutputTargets]:
        """Targets and weights by the number of the output, or by their key in a dict of targets."""

    @abstractmethod
    def with_outputs(self, outputs: Sequence[OutputTargets]) -> Arrays:
        """Returns the same samples with other targets and weights."""

    @computed_once
    def files(self) -> Files:
        """The arrays that are memory-mapped, with their names."""
        return tuple((name, array) for name, array in self._named if in_a_file(array))

    @property
    @abstractmethod
    def _named(self) -> Sequence[tuple[str, Any]]:
        """All arrays, and those that lazy rows are read from, with the names of the arguments, for messages."""


class CoreArrays(Arrays):
    """Arrays that the core reads: checked rows with their targets and weights.

    Args:
        x: (n, ...).
        targets: the targets and weights, for each output of the model.
        prefix: of the names in messages.
    """

    def __init__(self, x: Rows | LazyRows, targets: Sequence[OutputTargets], prefix: str = "") -> None:
        self.rows, self.targets, self._prefix = [x], tuple(targets), prefix
        self.sample_shape = sample_shape_of(x)

    @property
    def lazy(self) -> Sequence[LazyRows]:
        """The samples, if they have to be converted block by block."""
        x = for_core(self.rows[0])
        return [x] if isinstance(x, LazyRows) else []

    @property
    def forms(self) -> tuple[TargetForm, ...]:
        """The form in which the user gave the targets, for each output."""
        return tuple(output.form for output in self.targets)

    @computed_once
    def dataset(self) -> Dataset:
        """The data set of the core, whose targets are a tuple if there are several outputs."""
        x = cast("Rows | CompressedMatrix", for_core(self.rows[0]))
        # With `records` the core stores something for each row, which might not fit into memory for a large file.
        records = isinstance(x, CompressedMatrix) or not in_a_file(x)
        if len(self.targets) == 1:
            return Dataset(x, self.targets[0].y, self.targets[0].sample_weight, records=records)
        weights = tuple(output.sample_weight for output in self.targets)
        weighted = any(weight is not None for weight in weights)
        return Dataset(
            x, tuple(output.y for output in self.targets), weights if weighted else None, records=records
        )

    def mapped(self, function: Callable[[Any], Any]) -> CoreArrays:
        """Returns arrays of what `function` returns for each of the arrays."""
        targets = [output.mapped(function) for output in self.targets]
        return CoreArrays(function(self.rows[0]), targets, self._prefix)

    @property
    def outputs(self) -> dict[Any, OutputTargets]:
        """Targets and weights by the number of the output."""
        return dict(enumerate(self.targets))

    def with_outputs(self, outputs: Sequence[OutputTargets]) -> CoreArrays:
        """Returns the same samples with other targets and weights."""
        return CoreArrays(self.rows[0], outputs, self._prefix)

    @property
    def _named(self) -> Sequence[tuple[str, Any]]:
        x = self.rows[0]
        named = [("x", array) for array in (x.arrays if isinstance(x, LazyRows) else [x])]
        for y, weights, form, _ in self.targets:
            named += [
                ("y", y),
                ("y", form.original),
                ("sample_weight", weights),
                ("sample_weight", form.weights),
            ]
        return [(f"{self._prefix}{name}", array) for name, array in named]


class Chunk(NamedTuple):
    """Some batches of a pass over a source: all samples of some arrays, in batches.

    What follows the arrays are the arguments of `Program.begin` and `Run.feed`, in their order.
    """

    arrays: Any
    """`CoreArrays` for the core; `StepArrays` for steps of the user's class."""
    batch_size: int
    shuffle: Shuffle = "none"
    seed: int = 0
    stream: int = 0


class Source(ABC):
    """Samples with targets and weights that can be iterated over, pass by pass."""

    @property
    @abstractmethod
    def count(self) -> int | None:
        """The number of samples in a pass; None if it is unknown."""

    @property
    @abstractmethod
    def sample_shape(self) -> Shape:
        """The shape of one sample."""

    @property
    @abstractmethod
    def feature_names(self) -> list[str] | None:
        """The names of the columns in the order in which the core reads them; None for samples without names."""

    @property
    @abstractmethod
    def example(self) -> Samples:
        """Samples that show the form of all: those themselves, or the first batch."""

    @abstractmethod
    def steps(self, batch_size: int) -> int | None:
        """Returns the number of batches in a pass; None if it is unknown."""

    @abstractmethod
    def chunks(self, batch_size: int, shuffle: Shuffle | None) -> Iterator[Chunk]:
        """Yields the batches of one pass, in chunks.

        Args:
            batch_size: samples in a batch.
            shuffle: how the order changes. None is for evaluations, which draw no random numbers.
        """

    @abstractmethod
    def with_class_weight(self, class_weight: object) -> Source:
        """Returns a source whose sample weights are multiplied by the weights of the classes; None changes nothing."""

    def read_anew(self, chunk: Chunk | None) -> Chunk | None:
        """Forgets what the core knows of the samples, since arrays may have been changed in place.

        Args:
            chunk: what the core reads at present; None for nothing.

        Returns:
            The chunk to read in its place: the same batches, as they are now.
        """
        return chunk


class Samples(Source):
    """The source for arrays, whose number of samples is known.

    Args:
        arrays: the arrays.
        feature_names: the names of the columns of the samples; None without names.
    """

    def __init__(self, arrays: Arrays, feature_names: list[str] | None = None) -> None:
        self.arrays, self._feature_names = arrays, feature_names

    def __len__(self) -> int:
        """Returns the number of samples in a pass."""
        count: int = self.arrays.rows[0].shape[0]
        return count

    @property
    def x(self) -> Any:
        """The samples, (n, ...); the first array of them if they are several."""
        return self.arrays.rows[0]

    @property
    def count(self) -> int:
        """The number of samples in a pass."""
        return len(self)

    @property
    def sample_shape(self) -> Shape:
        """The shape of one sample."""
        return self.arrays.sample_shape

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the columns of the samples; None without names."""
        return self._feature_names

    @property
    def example(self) -> Samples:
        """The samples themselves."""
        return self

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches in a pass."""
        return math.ceil(len(self) / batch_size)

    def chunks(self, batch_size: int, shuffle: Shuffle | None) -> Iterator[Chunk]:
        """Yields all batches as one chunk; of rows that have to be converted one chunk for each block."""
        seed, stream = (0, 0) if shuffle is None else next_key()
        whole = Chunk(self.arrays, batch_size, shuffle or "none", seed, stream)
        if not self.arrays.lazy:
            yield whole
            return
        order = order_of(whole, len(self))
        rows = (
            max(1, min(rows_to_convert.per_block for rows_to_convert in self.arrays.lazy) // batch_size)
            * batch_size
        )
        for begin in range(0, len(self), rows):
            index = slice(begin, begin + rows) if order is None else order[begin : begin + rows]
            yield Chunk(self.arrays.mapped(_at(index)), batch_size)

    def read_anew(self, chunk: Chunk | None) -> Chunk | None:
        """Makes new arrays, of which nothing is known. Rows that have to be converted have some for each chunk anyway."""
        self.arrays = self.arrays.mapped(lambda rows: rows)
        return chunk if chunk is None or self.arrays.lazy else chunk._replace(arrays=self.arrays)

    def with_class_weight(self, class_weight: object) -> Samples:
        """Returns samples whose weights are multiplied by the weights of their classes; None changes nothing.

        Args:
            class_weight: the weights of the classes; for several arrays of targets a list with those of each, or a dict by their
                keys or by the names of the outputs, in their order.
        """
        if class_weight is None:
            return self
        outputs = self.arrays.outputs
        keys = list(outputs)
        one_by_one = len(keys) > 1 or _is_by_target(class_weight, keys)
        weights_by_output = _class_weight_by_output(class_weight, keys) if one_by_one else [class_weight]
        weighted = [
            targets.with_class_weight(value)
            for targets, value in zip(outputs.values(), weights_by_output, strict=True)
        ]
        return Samples(self.arrays.with_outputs(weighted), self._feature_names)

    def first(self, batches: int | None, batch_size: int) -> Samples:
        """Returns the samples of the first `batches` batches, or all for None."""
        return self if batches is None else self._part(0, batches * batch_size)

    def split(self, share: float, stratify: bool) -> tuple[Samples, Samples]:
        """Returns samples for training and samples for validation, which are the last ones.

        Args:
            share: the share of the validation samples, in (0, 1).
            stratify: whether to take this share of every class, the last samples of each. This copies the rows.
        """
        if stratify:
            return self._stratified(share)
        cut = math.floor(len(self) * (1.0 - share))
        if cut in (0, len(self)):
            raise ValueError(_empty_part_message(share, len(self), "training" if cut == 0 else "validation"))
        return self._part(0, cut), self._part(cut, len(self))

    def _stratified(self, share: float) -> tuple[Samples, Samples]:
        if any(name == "x" for name, _ in self.arrays.files):
            msg = "`stratify=True` copies all rows, and those of `x` are in a file: split them yourself"
            raise ValueError(msg)
        if len(self.arrays.outputs) > 1:
            msg = "`stratify` is only supported for models with a single output: leave it out"
            raise ValueError(msg)
        (targets,) = self.arrays.outputs.values()
        classes, last = targets.classes("stratify"), np.zeros(len(self), bool)
        if classes.ndim > 1:
            msg = f"`stratify=True` needs one class per sample, but each has {classes[0].size}: leave it out"
            raise ValueError(msg)
        for label in np.unique(classes):
            rows = np.flatnonzero(classes == label)
            last[rows[max(1, math.floor(len(rows) * (1.0 - share))) :]] = True
        if not last.any():
            raise ValueError(_empty_part_message(share, len(self), "validation"))
        return self._selected(np.flatnonzero(~last)), self._selected(np.flatnonzero(last))

    def _part(self, begin: int, end: int) -> Samples:
        """Returns samples `begin` to `end` without copying them."""
        return Samples(self.arrays.mapped(lambda rows: part_of(rows, begin, end)), self._feature_names)

    def _selected(self, index: NDArray[np.intp]) -> Samples:
        """Returns a copy of the samples `index`."""
        return Samples(self.arrays.mapped(lambda rows: selected_rows(rows, index)), self._feature_names)


def _at(index: Any) -> Callable[[Any], Any]:
    """Returns a function that converts the rows `index` of lazy rows, and takes those of an array."""
    return lambda rows: rows[index]


def order_of(chunk: Chunk, count: int) -> NDArray[np.int32] | None:
    """Returns the order of the `count` samples of a chunk, which is that of the core; None for their own order."""
    if chunk.shuffle == "none":
        return None
    order = permutation(chunk.seed, chunk.stream, count)
    return order if chunk.shuffle == "rows" else order[np.argsort(order // chunk.batch_size, kind="stable")]


def _class_weight_by_output(class_weight: object, keys: Sequence[Any]) -> list[Any]:
    """Returns the weights of the classes of each of several arrays of targets, or None, in the order of `keys`."""
    nested = class_weight
    if isinstance(nested, Mapping) and _names_targets(nested):
        if nested.keys() <= set(keys):
            return [nested.get(key) for key in keys]
        nested = list(nested.values())
    if isinstance(nested, (list, tuple)) and len(nested) == len(keys):
        return list(nested)
    msg = (
        "one dict as `class_weight` is only supported for models with a single output: pass a list with one for "
        f"each of the {len(keys)} outputs, or a dict of them by the names of outputs; got {class_weight!r}"
    )
    raise ValueError(msg)


def _is_by_target(class_weight: object, keys: Sequence[Any]) -> bool:
    """Returns whether it is a list or a dict by `keys` of dicts with the weights of classes."""
    values = class_weight
    if isinstance(values, Mapping):
        values = [*values.values()] if values.keys() <= set(keys) else []
    return (
        isinstance(values, (list, tuple))
        and bool(values)
        and all(isinstance(value, Mapping) for value in values)
    )


def _names_targets(class_weight: object) -> bool:
    """Returns whether a dict has the weights of all classes of arrays of targets, and not the weights of classes."""
    return isinstance(class_weight, Mapping) and any(
        isinstance(key, str) or value is None or isinstance(value, (Mapping, str))
        for key, value in class_weight.items()
    )


def _empty_part_message(share: float, count: int, side: str) -> str:
    return f"`validation_split={share}` of {count} samples leaves none for {side}"


def class_weights(value: object, classes: Array) -> Float32:
    """Returns the weight of each class in an array of any shape. Those that are missing in `value` have the weight 1."""
    if isinstance(value, str) and value == "balanced":
        _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
        balanced = (classes.size / (len(counts) * counts)).astype(np.float32)
        return balanced[inverse].reshape(classes.shape)
    if not isinstance(value, Mapping):
        msg = f"`class_weight` must be a dict of class index -> weight, or 'balanced', got {value!r}"
        raise TypeError(msg)
    weights = np.ones(classes.shape, np.float32)
    for key, weight in value.items():
        try:
            index = int(key)
        except (TypeError, ValueError):
            msg = f"`class_weight` must map class indices to weights, got the key {key!r}"
            raise TypeError(msg) from None
        weights[classes == index] = real(weight, f"class_weight[{key!r}]")
    return weights


def _brief(value: object) -> str:
    """Returns the text of a value in a message: of an array its type and shape."""
    shape = getattr(value, "shape", None)
    return f"{value!r:.80}" if shape is None else f"{type(value).__name__} of shape {shape}"


def unpacked(
    data: object, name: str, expected: str = "(x, y) or (x, y, sample_weight)"
) -> tuple[Any, Any, Any]:
    """Returns x, y and sample_weight of a tuple or list (x, y) or (x, y, sample_weight); the last may be None.

    Args:
        data: the tuple or list.
        name: the name of the argument, for messages.
        expected: what messages say that it should be.
    """
    parts = data if isinstance(data, (tuple, list)) else ()
    if len(parts) not in (2, 3):
        received = with_noun(len(parts), "part") if parts else _brief(data)
        msg = f"`{name}` must be {expected}, got {received}"
        raise ValueError(msg)
    x, y, *weights = parts
    return x, y, weights[0] if weights else None
