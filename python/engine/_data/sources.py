"""What training and evaluation iterate over: sources, which yield chunks of batches for the core.

`Samples` is the source for arrays. It also splits off validation samples and applies class weights. The other sources are
`Stream` in `batch_streams`, and `StepSamples` for models whose steps are methods of the user's class. `checked_samples` makes
samples, and `batch_iteration` asks a source for its chunks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, real, with_noun
from engine._base.random_state import next_key
from engine._core_interface.cpp import CompressedMatrix, Dataset, DeviceArray, Float32, Rows, permutation
from engine._data.array_conversion import Array
from engine._data.given_targets import TargetForm
from engine._data.lazy_rows import LazyRows, MappedRows, for_core, part_of, rows_taken
from engine._data.memory_maps import Files, in_a_file
from engine._data.several_arrays import sample_shape_of

Targets = NDArray[np.int32] | Float32 | DeviceArray
Shuffle = Literal["none", "rows", "batches"]


class Batches(NamedTuple):
    """A data set of the core with the size and the order of its batches: the arguments of `Program.begin` and `Run.feed`."""

    dataset: Dataset
    batch_size: int
    shuffle: Shuffle = "none"
    seed: int = 0
    stream: int = 0


class Chunk(NamedTuple):
    """Some batches of a pass over a source.

    Attributes:
        batches: what the core reads; for a step of the user's class the batches that are passed to it.
        forms: the form in which the user gave the targets, for each output.
        files: the memory-mapped arrays that the batches are read from.
        sample_shape: the shape of one sample.
    """

    batches: tuple[Any, ...]
    forms: tuple[TargetForm, ...] = ()
    files: Files = ()
    sample_shape: Shape = ()


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


class OutputTargets(NamedTuple):
    """What samples are compared with at one output of a model.

    Attributes:
        y: class indices (n, ...) or targets (n, ..., outputs).
        sample_weight: (n,) or (n, ...), or None. Like `y` it may be on the GPU of the model.
        form: the form in which the user gave the targets.
    """

    y: Targets
    sample_weight: Float32 | DeviceArray | None
    form: TargetForm

    def part(self, index: slice | NDArray[np.integer]) -> OutputTargets:
        """Returns the targets of some of the samples."""
        weights = None if self.sample_weight is None else self.sample_weight[index]
        return OutputTargets(self.y[index], weights, self.form.part(index))

    def require_classes(self, argument: str) -> None:
        """Raises ValueError if the targets stand for no classes, which `argument` needs."""
        if self.form.kept is not None:
            msg = (
                f"`{argument}` needs targets that stand for classes, but only the loss can read those of shape "
                f"{self.form.shape}"
            )
            raise ValueError(msg)

    def with_class_weight(self, class_weight: object) -> OutputTargets:
        """Returns the targets with weights that are multiplied by those of their classes; None changes nothing."""
        if class_weight is None:
            return self
        self.require_classes("class_weight")
        y, own, form = self
        weights = class_weights(class_weight, classes_of(y))
        if form.weights is not None:
            return OutputTargets(y, None, form._replace(weights=form.weights * weights[..., np.newaxis]))
        if own is not None:
            own = np.asarray(own)  # the product comes from the host, where the weights of classes are found
            weights = own.reshape(*own.shape, *[1] * (weights.ndim - own.ndim)) * weights
        return OutputTargets(y, weights, form)


class ArraySource(Source):
    """A source of arrays, whose number of samples is known."""

    x: Any
    """The samples, (n, ...); the first array of them if they are several."""

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of samples in a pass."""

    @abstractmethod
    def part(self, begin: int, end: int) -> ArraySource:
        """Returns samples `begin` to `end` without copying them."""

    @property
    @abstractmethod
    def _target_keys(self) -> list[Any]:
        """The numbers of several arrays of targets, or their keys in a dict; empty for one array."""

    @abstractmethod
    def _with_class_weights(self, class_weights: list[Any]) -> ArraySource:
        """Returns samples weighted by the weights of the classes of each array of targets, or None."""

    @abstractmethod
    def _taken(self, index: NDArray[np.intp]) -> ArraySource:
        """Returns a copy of the samples `index`."""

    @property
    @abstractmethod
    def _is_in_file(self) -> bool:
        """Whether the samples are in a file, so that they may be too many to copy."""

    @abstractmethod
    def _classes(self, argument: str) -> Array:
        """Returns the class of each target; ValueError that names `argument` if the targets say none."""

    def with_class_weight(self, class_weight: object) -> ArraySource:
        """Returns samples whose weights are multiplied by the weights of their classes; None changes nothing.

        Args:
            class_weight: the weights of the classes; for several arrays of targets a list with those of each, or a dict by their
                keys or by the names of the outputs, in their order.
        """
        if class_weight is None:
            return self
        keys = self._target_keys
        return self._with_class_weights(_for_each(class_weight, keys) if keys else [class_weight])

    @property
    def count(self) -> int:
        """The number of samples in a pass."""
        return len(self)

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches in a pass."""
        return math.ceil(len(self) / batch_size)

    def first(self, batches: int | None, batch_size: int) -> ArraySource:
        """Returns the samples of the first `batches` batches, or all for None."""
        return self if batches is None else self.part(0, batches * batch_size)

    def split(self, share: float, stratify: bool) -> tuple[ArraySource, ArraySource]:
        """Returns samples for training and samples for validation, which are the last ones.

        Args:
            share: the share of the validation samples, in (0, 1).
            stratify: whether to take this share of every class, the last samples of each. This copies the rows.
        """
        if stratify:
            return self._stratified(share)
        cut = math.floor(len(self) * (1.0 - share))
        if cut in (0, len(self)):
            raise ValueError(_one_sided(share, len(self), "training" if cut == 0 else "validation"))
        return self.part(0, cut), self.part(cut, len(self))

    def _stratified(self, share: float) -> tuple[ArraySource, ArraySource]:
        if self._is_in_file:
            msg = "`stratify=True` copies all rows, and those of `x` are in a file: split them yourself"
            raise ValueError(msg)
        classes, last = self._classes("stratify"), np.zeros(len(self), bool)
        if classes.ndim > 1:
            msg = f"`stratify=True` needs one class per sample, but each has {classes[0].size}: leave it out"
            raise ValueError(msg)
        for label in np.unique(classes):
            rows = np.flatnonzero(classes == label)
            last[rows[max(1, math.floor(len(rows) * (1.0 - share))) :]] = True
        if not last.any():
            raise ValueError(_one_sided(share, len(self), "validation"))
        return self._taken(np.flatnonzero(~last)), self._taken(np.flatnonzero(last))

    def _order(
        self, batch_size: int, shuffle: Shuffle | None, seed: int, stream: int
    ) -> NDArray[np.int32] | None:
        """Returns the order of the samples in a pass, which is that of the core for the same key; None for their own order."""
        if shuffle in (None, "none"):
            return None
        order = permutation(seed, stream, len(self))
        return order if shuffle == "rows" else order[np.argsort(order // batch_size, kind="stable")]


class Samples(ArraySource):
    """The source for arrays that the core reads: checked rows with their targets and weights.

    Args:
        x: (n, ...).
        outputs: the targets and weights, for each output of the model.
        files: the memory-mapped arrays that the other arrays are views of.
        feature_names: the names of the columns of `x`; None without names.
    """

    def __init__(
        self,
        x: Rows | LazyRows,
        outputs: Sequence[OutputTargets],
        *,
        files: Files = (),
        feature_names: list[str] | None = None,
    ) -> None:
        self.x, self.outputs = x, tuple(outputs)
        self.files, self._feature_names = files, feature_names
        self._core_dataset: Dataset | None = None  # made on first use

    @property
    def forms(self) -> tuple[TargetForm, ...]:
        """The form in which the user gave the targets, for each output."""
        return tuple(output.form for output in self.outputs)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def sample_shape(self) -> Shape:
        """The shape of one sample."""
        return sample_shape_of(self.x)

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the columns of `x`; None without names."""
        return self._feature_names

    def chunks(self, batch_size: int, shuffle: Shuffle | None) -> Iterator[Chunk]:
        """Yields all batches as one chunk; of rows that have to be converted one chunk for each block."""
        seed, stream = (0, 0) if shuffle is None else next_key()
        x = for_core(self.x)
        if isinstance(x, LazyRows):
            yield from self._blocks(x, batch_size, self._order(batch_size, shuffle, seed, stream))
        else:
            batches = Batches(self._dataset(x), batch_size, shuffle or "none", seed, stream)
            yield Chunk(batches, self.forms, self.files, self.sample_shape)

    def read_anew(self, chunk: Chunk | None) -> Chunk | None:
        """Makes a new data set of the core at the next use. Rows that have to be converted have one for each chunk anyway."""
        x = for_core(self.x)
        if self._core_dataset is None or isinstance(x, LazyRows):
            return chunk
        self._core_dataset = None
        return None if chunk is None else chunk._replace(batches=(self._dataset(x), *chunk.batches[1:]))

    def part(self, begin: int, end: int) -> Samples:
        """Returns samples `begin` to `end` without copying them."""
        index = slice(begin, end)
        return self._with(part_of(self.x, begin, end), [output.part(index) for output in self.outputs])

    @property
    def _target_keys(self) -> list[int]:
        return list(range(len(self.outputs))) if len(self.outputs) > 1 else []

    def _with_class_weights(self, class_weights: list[Any]) -> Samples:
        pairs = zip(self.outputs, class_weights, strict=True)
        return self._with(self.x, [output.with_class_weight(each) for output, each in pairs])

    def _with(self, x: Rows | LazyRows, outputs: Sequence[OutputTargets]) -> Samples:
        """Returns samples of these arrays, with the same feature names and files."""
        return Samples(x, outputs, files=self.files, feature_names=self._feature_names)

    def _dataset(self, x: Rows | CompressedMatrix) -> Dataset:
        """Returns the core's data set. It is made once, since the core keeps in it what it learns about the rows."""
        if self._core_dataset is None:
            # With `records` the core stores something for each row, which might not fit into memory for a large file.
            in_memory = isinstance(x, CompressedMatrix) or not in_a_file(x)
            self._core_dataset = _dataset_of(x, self.outputs, records=in_memory)
        return self._core_dataset

    def _blocks(self, x: LazyRows, batch_size: int, order: NDArray[np.int32] | None) -> Iterator[Chunk]:
        rows = max(1, x.per_block // batch_size) * batch_size
        for begin in range(0, len(self), rows):
            index = slice(begin, begin + rows) if order is None else order[begin : begin + rows]
            outputs = [output.part(index) for output in self.outputs]
            batches = Batches(_dataset_of(x[index], outputs), batch_size)
            yield Chunk(batches, tuple(each.form for each in outputs), self.files, self.sample_shape)

    @property
    def _is_in_file(self) -> bool:
        return isinstance(self.x, MappedRows) or (isinstance(self.x, np.ndarray) and in_a_file(self.x))

    def _classes(self, argument: str) -> Array:
        if len(self.outputs) > 1:
            msg = f"`{argument}` is only supported for models with a single output: leave it out"
            raise ValueError(msg)
        self.outputs[0].require_classes(argument)
        return classes_of(self.outputs[0].y)

    def _taken(self, index: NDArray[np.intp]) -> Samples:
        return self._with(rows_taken(self.x, index), [output.part(index) for output in self.outputs])


def _dataset_of(
    x: Rows | CompressedMatrix, outputs: Sequence[OutputTargets], records: bool = True
) -> Dataset:
    """Returns a data set of the core, whose targets are a tuple if there are several outputs."""
    if len(outputs) == 1:
        return Dataset(x, outputs[0].y, outputs[0].sample_weight, records=records)
    weights = tuple(output.sample_weight for output in outputs)
    weighted = any(each is not None for each in weights)
    return Dataset(x, tuple(output.y for output in outputs), weights if weighted else None, records=records)


def _for_each(class_weight: object, keys: Sequence[Any]) -> list[Any]:
    """Returns the weights of the classes of each of several arrays of targets, or None, in the order of `keys`."""
    found = class_weight
    if isinstance(found, Mapping) and any(map(_stands_for_targets, found.items())):
        if found.keys() <= set(keys):
            return [found.get(key) for key in keys]
        found = list(found.values())
    if isinstance(found, (list, tuple)) and len(found) == len(keys):
        return list(found)
    msg = (
        "one dict as `class_weight` is only supported for models with a single output: pass a list with one for "
        f"each of the {len(keys)} outputs, or a dict of them by the names of outputs; got {class_weight!r}"
    )
    raise ValueError(msg)


def _stands_for_targets(entry: tuple[Any, Any]) -> bool:
    """Whether an entry of a dict has the weights of all classes of an array of targets, and not the weight of a class."""
    key, value = entry
    return isinstance(key, str) or value is None or isinstance(value, (Mapping, str))


def _one_sided(share: float, count: int, side: str) -> str:
    return f"`validation_split={share}` of {count} samples leaves none for {side}"


def classes_of(targets: Targets) -> Array:
    """Returns the class of each target, (n, ...): the class index, the largest output, or a single output, rounded."""
    targets = np.asarray(targets)  # those on a GPU are copied to the host
    if targets.dtype == np.int32:
        return targets
    return targets.argmax(axis=-1) if targets.shape[-1] > 1 else np.rint(targets[..., 0])


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
        given = f"{with_noun(len(parts), 'part')}" if parts else f"{data!r:.80}"
        msg = f"`{name}` must be {expected}, got {given}"
        raise ValueError(msg)
    x, y, *weights = parts
    return x, y, weights[0] if weights else None
