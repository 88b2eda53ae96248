"""Means and largest numbers over all places of a sample, and rows that count for nothing, such as padding."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import Shape, flag, real, text_of_shape
from engine._program import Operation
from engine.layers._axes import transposed
from engine.layers._custom import accepts
from engine.layers.base import Layer, register
from engine.layers.reshaping import DATA_FORMATS, data_format_or_last


@register()
class Masking(Layer):
    """Rows that hold `mask_value` alone become 0, and count for nothing later.

    A later GlobalAveragePooling1D leaves them out. Without one they reach the outputs: then the loss leaves their rows
    out, whose mean is over the others, and so do evaluations (not training, as in Keras on JAX) with metrics that are
    means over rows, such as accuracies.

    Args:
        mask_value: what the rows to leave out are filled with.
        options: `name`, `input_shape`, as for every layer.
    """

    supports_masking = masks = True

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        self.mask_value = real(mask_value, "mask_value")
        super().__init__(**options)

    def lower(self, input_shape: Shape) -> list[Operation]:
        """One mask."""
        del input_shape
        return [{"kind": "mask", "value": self.mask_value}]

    def compute_mask(self, inputs: ArrayLike, previous_mask: object = None) -> NDArray[np.bool_]:
        """Which rows count, (n, ...) for `inputs` (n, ..., features); `previous_mask` is of no account."""
        del previous_mask
        return np.asarray(np.any(np.not_equal(inputs, self.mask_value), axis=-1))


class _Global(Layer):
    """One number for each feature, of all places.

    Args:
        data_format: "channels_last", or "channels_first" for samples whose first axis has the features.
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes: ClassVar[int]
    kind = "mean"

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        self.data_format = data_format_or_last(data_format)
        self.keepdims = flag(keepdims, "keepdims")
        super().__init__(**options)

    def output_shape_for(self, input_shape: Shape) -> Shape:
        """The features alone."""
        if len(input_shape) != self.axes + 1:
            msg = (
                f"layer {self.name!r} takes samples with {self.axes + 1} axes, their features among them, but gets "
                f"{text_of_shape(input_shape)}: put a Reshape() before it"
            )
            raise ValueError(msg)
        ones = (1,) * self.axes if self.keepdims else ()
        last = self.data_format == DATA_FORMATS[0]
        return (*ones, input_shape[-1]) if last else (input_shape[0], *ones)

    def lower(self, input_shape: Shape) -> list[Operation]:
        """One mean, or maximum, of channels that are last."""
        order = tuple(range(len(input_shape)))
        if self.data_format != DATA_FORMATS[0]:
            order = (*order[1:], 0)
        places = math.prod(input_shape[axis] for axis in order[:-1])
        return [*transposed(input_shape, order), {"kind": self.kind, "groups": places}]


@register()
class GlobalAveragePooling1D(_Global):
    """The mean over the steps of sequences: (steps, features) becomes (features,).

    Steps that `Embedding(mask_zero=True)` or Masking leave out don't count; where none is left the mean is 0.

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, steps).
        keepdims: whether the axis of the steps stays, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes = 1
    supports_masking = takes_mask = True


@register()
class GlobalAveragePooling2D(_Global):
    """The mean over the places of images: (height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, height, width).
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes = 2


@register()
class GlobalAveragePooling3D(_Global):
    """The mean over the places of volumes: (depth, height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples whose first axis has the features.
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes = 3


@register()
class GlobalMaxPooling1D(_Global):
    """The largest number of each feature over the steps of sequences: (steps, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, steps).
        keepdims: whether the axis of the steps stays, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes, kind = 1, "max"


@register()
class GlobalMaxPooling2D(_Global):
    """The largest number of each feature over the places of images: (height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, height, width).
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes, kind = 2, "max"


@register()
class GlobalMaxPooling3D(_Global):
    """The largest number of each feature over the places of volumes: (depth, height, width, features) to (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples whose first axis has the features.
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes, kind = 3, "max"


def reads_mask(layer: Layer) -> bool:
    """Whether `layer` does something else where a mask leaves out rows of its inputs."""
    by_call = layer.is_custom and accepts(layer.call, "mask")
    return layer.takes_mask or layer.heeds_mask or by_call


def _masked_after(layer: Layer, masked: bool) -> bool:
    """Whether a mask goes on after a layer with a `compute_mask` of its own, which is tried on zeros.

    Raises:
        ValueError: if it makes another mask of the one before.
    """
    sample = layer._sample_shape or (1,)
    before = np.arange(2 * math.prod(sample[:-1])).reshape(2, *sample[:-1]) % 3 != 0
    after = layer.compute_mask(np.zeros((2, *sample), np.float32), before if masked else None)
    if after is None:
        return False
    if masked and np.array_equal(after, before):
        return True
    msg = (
        f"`compute_mask` of layer {layer.name!r} must return the mask that it is given, or None: here masks begin with "
        "Masking() or Embedding(mask_zero=True), and no layer changes them"
    )
    raise ValueError(msg)


def masks_before(stack: Sequence[Layer]) -> list[bool]:
    """Whether there are rows that count for nothing before each layer, and after the last; custom ones are built."""
    masked, found = False, []
    for layer in stack:
        found.append(masked)
        if layer.is_custom and type(layer).compute_mask is not Layer.compute_mask:
            masked = _masked_after(layer, masked)
            continue
        if masked and not layer.supports_masking:
            msg = (
                f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask attached to it. "
                "However, this layer does not support masking and will therefore destroy the mask information. "
                "Downstream layers will not see the mask."
            )
            warnings.warn(msg, stacklevel=2)
        masked = layer.masks or (masked and layer.supports_masking and not layer.takes_mask)
    return [*found, masked]
