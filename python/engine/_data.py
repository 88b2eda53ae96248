"""From what users pass as `x`, `y` and weights to arrays that the core reads, or to a message that helps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._checks import Shape, below_one, real, text_of_shape
from engine._program import Dataset, Float32, Rows, first_nonfinite_row
from engine.losses import Loss

Array = NDArray[Any]
Targets = NDArray[np.int32] | Float32

# What the core reads where it lies; floats of the other byte order differ from these.
_BYTES = frozenset({np.dtype(np.bool_), np.dtype(np.uint8)})
_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


@dataclass(frozen=True)
class Samples:
    """Checked rows with their targets and weights."""

    x: Rows
    y: Targets
    sample_weight: Float32 | None

    def __len__(self) -> int:
        return len(self.x)

    def part(self, begin: int, end: int) -> Samples:
        """Samples `begin` to `end`, without copying."""
        weights = None if self.sample_weight is None else self.sample_weight[begin:end]
        return Samples(self.x[begin:end], self.y[begin:end], weights)

    def first(self, batches: int | None, batch_size: int) -> Samples:
        """The samples of the first `batches` batches; None takes all."""
        return self if batches is None else self.part(0, batches * batch_size)

    def split(self, validation_split: float) -> tuple[Samples, Samples]:
        """The first samples for training and the last for validation.

        Args:
            validation_split: share of the last ones, in [0, 1).
        """
        share = below_one(validation_split, "validation_split")
        cut = math.floor(len(self) * (1.0 - share))
        if cut in (0, len(self)):
            side = "training" if cut == 0 else "validation"
            msg = f"`validation_split={share}` of {len(self)} samples leaves none for {side}"
            raise ValueError(msg)
        return self.part(0, cut), self.part(cut, len(self))

    def with_class_weight(self, class_weight: object) -> Samples:
        """The same samples, each weighing as much more as its class does; None changes nothing."""
        if class_weight is None:
            return self
        weights = _class_weights(class_weight, self.y)
        return replace(
            self, sample_weight=weights if self.sample_weight is None else self.sample_weight * weights
        )

    def dataset(self) -> Dataset:
        """The samples as the core takes them."""
        return Dataset(self.x, self.y, self.sample_weight)


class Targeting(NamedTuple):
    """What decides how targets must look: the loss, and the shape of one output."""

    loss: Loss
    output_shape: Shape

    @property
    def outputs(self) -> int:
        """Numbers per output."""
        return math.prod(self.output_shape)


def input_rows(x: object, shape: Shape | None, name: str = "x") -> Rows:
    """`x` as a C-contiguous uint8, float32 or float64 array of finite numbers, copied only where it must be.

    Args:
        x: array or nested lists of real numbers, (n, ...).
        shape: of one sample; None takes any.
        name: what messages call it.
    """
    array = _shaped(x, shape, name)
    rows = _readable(array)
    if rows.dtype != np.uint8:
        require_finite(rows, array, name)
    return rows


def unchecked_rows(x: object, shape: Shape | None) -> Rows:
    """`input_rows` for a reader who looks for numbers that aren't finite by himself; see `complaint`."""
    return _readable(_shaped(x, shape, "x"))


def complaint(x: object, shape: Shape | None, otherwise: ValueError) -> ValueError:
    """The error of `input_rows`; `otherwise` if it finds none, because `x` has changed meanwhile."""
    try:
        input_rows(x, shape)
    except ValueError as error:
        return error
    return otherwise


def _shaped(x: object, shape: Shape | None, name: str) -> Array:
    """`x` as an array of real numbers (n, *shape), n >= 1."""
    array = real_array(x, name)
    if array.ndim == 1 and shape in (None, (1,)):
        array = array[:, np.newaxis]
    if shape is not None and array.shape[1:] != shape:
        msg = f"`{name}` must have shape {text_of_shape(shape)}, got {array.shape}{_shape_hint(array, shape)}"
        raise ValueError(msg)
    if array.size == 0:
        msg = f"`{name}` is empty: its shape is {array.shape}"
        raise ValueError(msg)
    return array


def checked_samples(
    x: Rows, y: object, targeting: Targeting, sample_weight: object, prefix: str = ""
) -> Samples:
    """Rows together with their checked targets and weights; `prefix` comes before their names in messages."""
    if y is None:
        msg = f"`{prefix}y` is missing: training and evaluation need targets"
        raise ValueError(msg)
    array = real_array(y, f"{prefix}y")
    if len(array) != len(x):
        msg = f"`{prefix}x` has {len(x)} samples but `{prefix}y` has {len(array)}"
        raise ValueError(msg)
    if targeting.loss.wants_classes and len(targeting.output_shape) > 1:
        msg = (
            f"the loss {targeting.loss.name!r} needs one row per sample, (n, classes), but the model's output is "
            f"{text_of_shape(targeting.output_shape)}: put a Flatten() before the last layer"
        )
        raise ValueError(msg)
    if targeting.loss.wants_classes and targeting.outputs == 1:
        msg = (
            f"the loss {targeting.loss.name!r} needs one output per class, but the model has 1: give its last "
            "layer as many units as there are classes, or use loss='binary_crossentropy'"
        )
        raise ValueError(msg)
    find = class_indices if targeting.loss.wants_indices else dense_targets
    targets = find(array, targeting, f"{prefix}y")
    weights = (
        None if sample_weight is None else _sample_weights(sample_weight, len(x), f"{prefix}sample_weight")
    )
    return Samples(x, targets, weights)


def real_array(value: object, name: str) -> Array:
    """`value` as an array of real numbers with at least one axis."""
    try:
        array: Array = np.asarray(value)
    except ValueError as error:
        msg = f"`{name}` must be an array, or lists that are equally long at every level: {error}"
        raise ValueError(msg) from None
    if np.ma.is_masked(value):
        msg = f"`{name}` has masked entries: give them a value, such as with .filled(0), or leave their rows out"
        raise ValueError(msg)
    if array.dtype.kind not in "biuf":
        given = type(value).__name__ if array.ndim == 0 else f"dtype {array.dtype}"
        msg = f"`{name}` must hold real numbers, got {given}: convert it, such as with np.asarray(..., 'float32')"
        raise TypeError(msg)
    if array.ndim == 0:
        msg = f"`{name}` must be an array with one entry per sample, got the single number {array}"
        raise ValueError(msg)
    return array


def require_finite(rows: Rows, given: Array, name: str) -> None:
    """Raise ValueError that names the first row with a NaN, an infinity or a number beyond float32.

    Args:
        rows: what the core is to read.
        given: the array that they were made from, for the message.
        name: what messages call it.
    """
    row = first_nonfinite_row(rows)
    if row >= 0:
        found = np.asarray(given[row]).reshape(-1)
        value = found[~np.isfinite(_as_float32(found))][0]
        msg = f"`{name}` must be finite and within float32's range, but row {row} holds {value}"
        raise ValueError(msg)


def class_indices(array: Array, targeting: Targeting, name: str) -> NDArray[np.int32]:
    """`array` (n,) or (n, 1) as int32 class indices below the number of outputs."""
    outputs = targeting.outputs
    if array.shape[1:] == (outputs,) != (1,):
        msg = (
            f"`{name}` has shape {array.shape}: one-hot labels, but the loss {targeting.loss.name!r} takes "
            f"class indices. Either use loss='categorical_crossentropy', or pass {name}.argmax(axis=1)"
        )
        raise ValueError(msg)
    if array.shape[1:] not in ((), (1,)):
        msg = f"`{name}` must have shape (n,), one class index per sample, got {array.shape}"
        raise ValueError(msg)
    labels = array.reshape(-1)
    ignored = targeting.loss.ignored
    given, labels = labels, labels if ignored is None else np.where(labels == ignored, 0, labels)
    fractional = labels != np.rint(labels) if labels.dtype.kind == "f" else np.zeros(1, bool)
    if fractional.any():
        row = int(fractional.argmax())
        msg = f"`{name}` must hold class indices, whole numbers, but row {row} holds {labels[row]}"
        raise ValueError(msg)
    if labels.min() < 0 or labels.max() >= outputs:
        row = int(((labels < 0) | (labels >= outputs)).argmax())
        msg = (
            f"`{name}` must hold class indices in [0, {outputs}), as the model has {outputs} outputs, but row "
            f"{row} holds {labels[row]}"
        )
        raise ValueError(msg)
    return np.require(given, np.int32, ["C", "A"])


def dense_targets(array: Array, targeting: Targeting, name: str) -> Float32:
    """`array` as float32 (n, outputs)."""
    loss, shape, outputs = targeting.loss, targeting.output_shape, targeting.outputs
    if array.ndim == 1 and outputs == 1:
        array = array[:, np.newaxis]
    if loss.wants_classes and outputs > 1 and array.shape[1:] in ((), (1,)):
        msg = (
            f"`{name}` has shape {array.shape}: class indices, but the loss {loss.name!r} takes one-hot labels. "
            f"Either use loss='sparse_categorical_crossentropy', or pass to_categorical({name}, {outputs})"
        )
        raise ValueError(msg)
    if array.shape[1:] not in (shape, (outputs,)):
        msg = f"`{name}` must have shape {text_of_shape(shape)}, like the model's output, got {array.shape}"
        raise ValueError(msg)
    targets = _as_float32(array.reshape(len(array), outputs))
    require_finite(targets, array, name)
    if loss.wants_fractions and (targets.min() < 0 or targets.max() > 1):
        row = int(((targets < 0) | (targets > 1)).any(axis=1).argmax())
        msg = f"`{name}` must lie in [0, 1] for the loss {loss.name!r}, but row {row} holds {array[row]}"
        raise ValueError(msg)
    if loss.wants_signs:
        _require_signs(targets, loss, name)
    return targets


def _require_signs(targets: Float32, loss: Loss, name: str) -> None:
    """Raise ValueError unless all are 0 or 1, or all -1 or 1: in a mix of them 0 has no meaning."""
    lowest = targets.min()
    wrong = (targets != 1) & (targets != (lowest if lowest in (-1, 0) else 0))
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        msg = (
            f"`{name}` must hold -1 and 1, or 0 and 1, for the loss {loss.name!r}, but row {row} holds "
            f"{targets[row][wrong[row]][0]:g}" + (" beside -1" if lowest == -1 else "")
        )
        raise ValueError(msg)


def _readable(array: Array) -> Rows:
    """`array` itself where the core can read it, else the cheapest copy that it can."""
    if array.dtype in _BYTES:
        return np.ascontiguousarray(array).view(np.uint8)
    if array.dtype in _FLOATS and array.flags.c_contiguous and array.flags.aligned:
        return array
    return _as_float32(array)


def _as_float32(array: Array) -> Float32:
    """`array`, C-contiguous; what float32 can't hold becomes infinite, for `require_finite` to find."""
    with np.errstate(over="ignore"):
        return np.require(array, np.float32, ["C", "A"])


def _shape_hint(array: Array, shape: Shape) -> str:
    """What to do about a wrong shape, where that can be told."""
    if array.shape == shape:
        return ": for one sample pass x[np.newaxis]"
    if math.prod(array.shape[1:]) == math.prod(shape):
        text = f"(len(x), {', '.join(map(str, shape))})"
        return f": reshape it with x.reshape{text}, or start the model with another input_shape"
    return ""


def _sample_weights(value: object, count: int, name: str) -> Float32:
    array = real_array(value, name)
    if array.shape not in ((count,), (count, 1)):
        msg = f"`{name}` must have shape ({count},), one weight per sample, got {array.shape}"
        raise ValueError(msg)
    weights = _as_float32(array.reshape(count))
    require_finite(weights, array, name)
    return weights


def _class_weights(value: object, targets: Targets) -> Float32:
    """The weight of each sample's class; classes that `value` leaves out weigh 1."""
    if not isinstance(value, Mapping):
        msg = f"`class_weight` must be a dict of class index -> weight, got {value!r}"
        raise TypeError(msg)
    if targets.ndim == 1:
        classes: Array = targets
    else:
        classes = targets.argmax(axis=1) if targets.shape[1] > 1 else np.rint(targets[:, 0])
    weights = np.ones(len(targets), np.float32)
    for key, weight in value.items():
        try:
            index = int(key)
        except (TypeError, ValueError):
            msg = f"`class_weight` must map class indices to weights, got the key {key!r}"
            raise TypeError(msg) from None
        weights[classes == index] = real(weight, f"class_weight[{key!r}]")
    return weights
