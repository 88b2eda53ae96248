"""Means over all places of a sample."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from engine._checks import Shape, choice, flag, text_of_shape
from engine._program import Operation
from engine.layers._axes import transposed
from engine.layers.base import Layer, register
from engine.layers.reshaping import DATA_FORMATS


class _GlobalAverage(Layer):
    """The mean of each feature over all places.

    Args:
        data_format: "channels_last", or "channels_first" for samples whose first axis has the features.
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes: ClassVar[int]

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        self.data_format = (
            DATA_FORMATS[0] if data_format is None else choice(data_format, "data_format", DATA_FORMATS)
        )
        self.keepdims = flag(keepdims, "keepdims")
        super().__init__(**options)

    def output_shape_for(self, input_shape: Shape) -> Shape:
        """The features alone."""
        if len(input_shape) != self.axes + 1:
            msg = (
                f"layer {self.name!r} takes samples with {self.axes + 1} axes, their features among them, but gets "
                f"{text_of_shape(input_shape)}"
            )
            raise ValueError(msg)
        ones = (1,) * self.axes if self.keepdims else ()
        last = self.data_format == DATA_FORMATS[0]
        return (*ones, input_shape[-1]) if last else (input_shape[0], *ones)

    def lower(self, input_shape: Shape) -> list[Operation]:
        """One mean, of channels that are last."""
        order = tuple(range(len(input_shape)))
        if self.data_format != DATA_FORMATS[0]:
            order = (*order[1:], 0)
        places = math.prod(input_shape[axis] for axis in order[:-1])
        return [*transposed(input_shape, order), {"kind": "mean", "groups": places}]


@register()
class GlobalAveragePooling1D(_GlobalAverage):
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
class GlobalAveragePooling2D(_GlobalAverage):
    """The mean over the places of images: (height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, height, width).
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes = 2


@register()
class GlobalAveragePooling3D(_GlobalAverage):
    """The mean over the places of volumes: (depth, height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples whose first axis has the features.
        keepdims: whether the axes of the places stay, with length 1.
        options: `name`, `input_shape`, as for every layer.
    """

    axes = 3
