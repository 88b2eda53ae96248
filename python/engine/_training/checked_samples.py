"""Checks samples, targets and weights against a loss and a model, and makes `Samples` of them.

Models and the estimators of `engine.sklearn` call this for the data of `fit`, `evaluate` and each batch of a stream. The
message of an error says which shape or values the loss expects.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, text_of_shape
from engine._core_interface.cpp import DeviceArray, Rows
from engine._data.array_conversion import Array, as_float32, input_rows, real_numbers, require_finite
from engine._data.device_arrays import converted, summary_of
from engine._data.lazy_rows import LazyRows, lazy_rows
from engine._data.sources import CoreArrays, OutputTargets, Samples, Targets
from engine._data.target_forms import TargetForm
from engine.losses import Loss
from engine.losses.custom import HostLoss
from engine.losses.traced import TracedLoss


class Targeting(NamedTuple):
    """What targets have to suit: the loss, and the shape of the model's output for one sample.

    `name` is that of the output, for messages, if the model has several.
    """

    loss: Loss
    output_shape: Shape
    name: str | None = None

    @property
    def outputs(self) -> int:
        """The number of outputs for one sample."""
        return math.prod(self.output_shape)

    @property
    def rows(self) -> Shape:
        """The axes of the output before the last one. The loss has one term for each row of the last axis."""
        return self.output_shape[:-1]

    @property
    def width(self) -> int:
        """The length of the last axis of the output."""
        return self.output_shape[-1] if self.output_shape else 1

    def may_be_indices(self, shape: Shape) -> bool:
        """Returns whether targets can be class indices, if `shape` is that of the targets of one sample."""
        return self.width > 1 and shape in (self.rows, (*self.rows, 1))

    def repeats(self, array: Array) -> bool:
        """Returns whether targets `array` are one number for each row of outputs, which the loss compares with each output."""
        return self.loss._broadcasts and self.width > 1 and array.shape[1:] == (*self.rows, 1)

    def read_by_core(self, array: Array) -> bool:
        """Returns whether the core can read targets `array` (n, ...). Others are left to a loss in Python."""
        loss, shape = self.loss, array.shape[1:]
        if not isinstance(loss, (HostLoss, TracedLoss)):
            return True
        fits = shape in (self.output_shape, (self.outputs,)) or (self.width == 1 and shape == self.rows)
        indices = self.may_be_indices(shape) and not fits
        if not loss.as_given:
            return bool(loss._targets_are_indices) if indices else fits
        if indices and loss._targets_are_indices is not False:
            return bool(((array == np.rint(array)) & (array >= 0) & (array < self.width)).all())
        return fits and not loss._targets_are_indices


def rows_of(x: object, shape: Shape | None, name: str) -> Rows | LazyRows:
    """Returns `x` as rows for the core, converted now or block by block; `shape` and `name` as for `input_rows`."""
    lazy = lazy_rows(x, shape, name)
    return input_rows(x, shape, name) if lazy is None else lazy


def checked_samples(
    x: Rows | LazyRows,
    y: object,
    targeting: Targeting,
    sample_weight: object,
    prefix: str = "",
    *,
    feature_names: list[str] | None = None,
) -> Samples:
    """Checks targets and weights, and returns them together with their rows.

    Args:
        x: the rows, which are checked already.
        y: the targets, as the user gave them.
        targeting: the loss and the output shape, which the targets have to suit.
        sample_weight: the weights, as the user gave them, or None.
        prefix: comes before the names of arguments in messages.
        feature_names: the names of the columns of `x`; None without names.
    """
    targets = checked_targets(x, y, targeting, sample_weight, prefix)
    return Samples(CoreArrays(x, [targets], prefix), feature_names)


def checked_targets(
    x: Rows | LazyRows, y: object, targeting: Targeting, sample_weight: object, prefix: str = ""
) -> OutputTargets:
    """Checks the targets and weights for one output of a model. The arguments are those of `checked_samples`."""
    key = "" if targeting.name is None else f"[{targeting.name!r}]"
    if y is None:
        raise ValueError(missing_targets(targeting.name, prefix))
    array = real_numbers(y, f"{prefix}y{key}")
    if isinstance(array, DeviceArray) and isinstance(targeting.loss, (HostLoss, TracedLoss)):
        array = array.numpy()  # whether such a loss can read targets may depend on their numbers
    if len(array) != len(x):
        msg = (
            f"`{prefix}x` has {len(x)} samples but `{prefix}y{key}` has {len(array)}: there must be one target for each "
            "sample"
        )
        raise ValueError(msg)
    if targeting.loss._wants_classes and targeting.width == 1:
        msg = (
            f"the loss {targeting.loss.name!r} needs one output per class, but the model has 1: give its last "
            "layer as many units as there are classes, or use loss='binary_crossentropy'"
        )
        raise ValueError(msg)
    form = _form(y, array, targeting)
    targets: Targets
    if form.original is not None:
        require_finite(form.original, array, f"{prefix}y{key}")
        shape = (len(x), *targeting.rows)
        indices = targeting.loss._targets_are_indices
        if isinstance(targeting.loss, TracedLoss) and indices:
            msg = (
                f"`{prefix}y{key}` must hold class indices below {targeting.width}, as the first targets of the model did, but "
                "has other numbers: call compile() again for targets of another kind"
            )
            raise ValueError(msg)
        if isinstance(targeting.loss, TracedLoss):
            targets = form.original.reshape(len(x), -1)
            form = form._replace(original=None)
        else:
            targets = (
                np.zeros(shape, np.int32) if indices else np.zeros((*shape, targeting.width), np.float32)
            )
    else:
        find = checked_class_indices if targeting.loss._targets_are_indices else dense_targets
        targets = find(array, targeting, f"{prefix}y{key}")
    weights = None
    if sample_weight is not None:
        weights = _sample_weights(sample_weight, len(x), targeting, f"{prefix}sample_weight{key}")
        if weights.ndim > 1 + len(targeting.rows):
            form, weights = form._replace(weights=weights), None
    return OutputTargets(targets, weights, form, indices=targets.dtype == np.int32)


def missing_targets(output: str | None, prefix: str = "") -> str:
    """Returns the message for data without the targets of an output, which has a name if there are several."""
    key = "" if output is None else f"[{output!r}]"
    return f"`{prefix}y{key}` is missing: training and evaluation need targets, one for each sample"


def _form(y: object, array: Any, targeting: Targeting) -> TargetForm:
    """Returns the form of the targets `y`, which were converted to `array`. As in Keras, a pandas series is a column."""
    shape = array.shape[1:]
    if shape == () and hasattr(y, "to_numpy"):
        shape = (1,)
    elif shape == (targeting.outputs,) and len(targeting.output_shape) > 1:
        shape = targeting.output_shape
    if targeting.read_by_core(array):
        repeated = targeting.repeats(array)
        return TargetForm(shape, array.dtype, None, targeting.output_shape, repeated=repeated)
    targets = as_float32(array.reshape(len(array), -1)).reshape(len(array), *shape)
    return TargetForm(shape, array.dtype, targets, targeting.output_shape)


def checked_class_indices(array: Any, targeting: Targeting, name: str) -> Any:
    """Returns `array`, (n, ...) or (n, ..., 1), as int32 class indices below the number of outputs, one for each row."""
    shape, outputs = (len(array), *targeting.rows), targeting.width
    if array.shape[1:] == targeting.output_shape and outputs != 1:
        msg = (
            f"`{name}` has shape {array.shape}: one-hot labels, but the loss {targeting.loss.name!r} takes "
            f"class indices. Either use loss='categorical_crossentropy', or pass {name}.argmax(axis=-1)"
        )
        raise ValueError(msg)
    if array.shape not in (shape, (*shape, 1)):
        counted = "row of outputs" if targeting.rows else "sample"
        msg = (
            f"`{name}` must have shape {text_of_shape(targeting.rows)}, one class index per {counted}, got {array.shape}"
            + _flatten_for(targeting, array.shape[1:] in ((), (1,)))
        )
        raise ValueError(msg)
    ignored = targeting.loss._ignored_class
    if isinstance(array, DeviceArray):
        numbers = summary_of(array, ignored)
        if numbers.whole and numbers.within(0, outputs - 1):
            return converted(array, np.int32).reshape(shape)
        array = array.numpy()
    labels, per_row = array.reshape(-1), math.prod(targeting.rows)
    indices, labels = labels, labels if ignored is None else np.where(labels == ignored, 0, labels)
    fractional = labels != np.rint(labels) if labels.dtype.kind == "f" else np.zeros(1, bool)
    if fractional.any():
        entry = int(fractional.argmax())
        msg = f"`{name}` must hold class indices, whole numbers, but row {entry // per_row} holds {labels[entry]}"
        raise ValueError(msg)
    if labels.min() < 0 or labels.max() >= outputs:
        entry = int(((labels < 0) | (labels >= outputs)).argmax())
        msg = (
            f"`{name}` must hold class indices in [0, {outputs}), as the model has {outputs} outputs, but row "
            f"{entry // per_row} holds {labels[entry]}"
        )
        raise ValueError(msg)
    return np.require(indices, np.int32, ["C", "A"]).reshape(shape)


def require_readable(array: Any, targeting: Targeting, name: str) -> None:
    """Raises ValueError for targets in an array that `checked_targets` would refuse for their shape, or as class indices."""
    if isinstance(targeting.loss, (HostLoss, TracedLoss)):
        return
    if targeting.loss._targets_are_indices:
        checked_class_indices(array, targeting, name)
    else:
        _in_shape_of_outputs(array, targeting, name)


def dense_targets(array: Any, targeting: Targeting, name: str) -> Any:
    """Returns `array` as float32 in the shape of the outputs, (n, ..., width)."""
    loss, shape, outputs = targeting.loss, targeting.output_shape, targeting.outputs
    array = _in_shape_of_outputs(array, targeting, name)
    if targeting.repeats(array):
        message = (
            f"`{name}` has one number for each {'row of outputs' if targeting.rows else 'sample'}, shape {array.shape}, but "
            f"the model has {targeting.width} outputs: as in Keras, each output is compared with this number"
        )
        if array.dtype.kind in "iu":
            message += (
                f". If it holds class indices, use loss='sparse_categorical_crossentropy', or pass to_categorical(y, "
                f"{targeting.width})"
            )
        warnings.warn(message, stacklevel=2)
        array = np.broadcast_to(np.asarray(array), (len(array), *shape))
    if isinstance(array, DeviceArray):
        if _suits(array, loss):
            return converted(array, np.float32).reshape(len(array), *targeting.rows, targeting.width)
        array = array.numpy()
    targets = as_float32(array.reshape(len(array), outputs))
    require_finite(targets, array, name)
    if loss._wants_fractions and (targets.min() < 0 or targets.max() > 1):
        row = int(((targets < 0) | (targets > 1)).any(axis=1).argmax())
        msg = f"`{name}` must lie in [0, 1] for the loss {loss.name!r}, but row {row} holds {array[row]}"
        raise ValueError(msg)
    if loss._wants_signs:
        _require_signs(targets, loss, name)
    return targets.reshape(len(array), *targeting.rows, targeting.width)


def _in_shape_of_outputs(array: Any, targeting: Targeting, name: str) -> Any:
    """Returns `array` (n, ...) in the shape of the outputs, or with one number for each row of outputs if the loss repeats that."""
    loss, shape = targeting.loss, targeting.output_shape
    if targeting.width == 1 and array.shape[1:] == targeting.rows:
        array = array.reshape(*array.shape, 1)
    if loss._wants_classes and targeting.may_be_indices(array.shape[1:]):
        msg = (
            f"`{name}` has shape {array.shape}: class indices, but the loss {loss.name!r} takes one-hot labels. "
            f"Either use loss='sparse_categorical_crossentropy', or pass to_categorical(y, {targeting.width})"
        )
        raise ValueError(msg)
    if targeting.repeats(array):
        return array
    if array.shape[1:] == (*shape, 1):
        array = array.reshape(array.shape[:-1])
    if array.shape[1:] not in (shape, (targeting.outputs,)):
        msg = f"`{name}` must have shape {text_of_shape(shape)}, like the model's output, got {array.shape}"
        if targeting.may_be_indices(array.shape[1:]) and array.dtype.kind in "iu":
            msg += (
                f": if it holds class indices, use loss='sparse_categorical_crossentropy', or pass to_categorical(y, "
                f"{targeting.width})"
            )
        else:
            msg += _flatten_for(targeting, array.shape[1:] in ((), (1,), shape[-1:]))
        raise ValueError(msg)
    return array


def _flatten_for(targeting: Targeting, by_sample: bool) -> str:
    """Returns the end of a message for targets `by_sample`, of which there is one for each sample, if the model has rows of outputs."""
    if not (targeting.rows and by_sample):
        return ""
    return (
        f": the model's output is {text_of_shape(targeting.output_shape)}; for one answer per sample put a Flatten() layer before the "
        "Dense layers"
    )


def _suits(array: DeviceArray, loss: Loss) -> bool:
    """Returns whether targets in memory of a GPU are finite, and such as the loss wants them."""
    numbers = summary_of(array)
    suits = numbers.within(0, 1) if loss._wants_fractions else numbers.finite
    if not loss._wants_signs:
        return suits
    zeros_and_ones = numbers.within(0, 1)
    signs = numbers.within(-1, 1) and numbers.smallest == 1
    return suits and numbers.whole and (zeros_and_ones or signs)


def _require_signs(targets: NDArray[np.float32], loss: Loss, name: str) -> None:
    """Raises ValueError unless all targets are 0 or 1, or all are -1 or 1. Beside -1 a 0 would have no meaning."""
    lowest = targets.min()
    wrong = (targets != 1) & (targets != (lowest if lowest in (-1, 0) else 0))
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        msg = (
            f"`{name}` must hold -1 and 1, or 0 and 1, for the loss {loss.name!r}, but row {row} holds "
            f"{targets[row][wrong[row]][0]:g}" + (" beside -1" if lowest == -1 else "")
        )
        raise ValueError(msg)


def _sample_weights(value: object, count: int, targeting: Targeting, name: str) -> Any:
    """Returns `value` as float32: (n,), (n, ...) with one weight for each row of outputs, or (n, ..., outputs)."""
    array, shape = real_numbers(value, name), (count, *targeting.rows)
    if isinstance(array, DeviceArray) and isinstance(targeting.loss, HostLoss):
        array = array.numpy()
    outputs = (count, *targeting.output_shape)
    if array.ndim in (len(shape), len(shape) + 1) and array.shape == (count, *[1] * (array.ndim - 1)):
        array = array.reshape(count)  # one for each sample, as Keras broadcasts it
    by_row = len(shape) > 1 and array.shape in (shape, (*shape, 1))
    by_output = isinstance(targeting.loss, HostLoss) and targeting.width > 1 and array.shape == outputs
    if not (by_row or by_output) and array.shape not in ((count,), (count, 1)):
        rows = f", or {shape}, one per row of outputs" if len(shape) > 1 else ""
        msg = f"`{name}` must have shape ({count},), one weight per sample{rows}, got {array.shape}"
        if array.shape == outputs:
            msg += (
                f": one weight per output is for losses with one value for each output or for the batch, but "
                f"{targeting.loss.name!r} has one for each row of outputs"
            )
        raise ValueError(msg)
    array = array.reshape(outputs if by_output else shape if by_row else (count,))
    weights = converted(array, np.float32) if isinstance(array, DeviceArray) else as_float32(array)
    require_finite(weights, array, name)
    return weights
