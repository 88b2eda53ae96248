"""Global pooling layers, which take the mean or the maximum over all timesteps or pixels of a sample."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from engine._base.checks import Shape, flag, text_of_shape
from engine._core_interface.operations import LayerOperation, PoolingOperation
from engine.layers._axes import transposed
from engine.layers.layer import Layer, register
from engine.layers.reshaping import DATA_FORMATS, data_format_or_last

__all__ = [
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
]


class _Global(Layer):
    """Base class of global pooling layers: one number for each feature.

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, depth, height, width).
        keepdims: whether to keep the reduced axes with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _built_at_once = True
    _spatial_axes: ClassVar[int]
    _kind: ClassVar[Literal["mean", "max"]] = "mean"

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        self.data_format = data_format_or_last(data_format)
        self.keepdims = flag(keepdims, "keepdims")
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The axis of the features alone, or beside axes of length 1."""
        if len(input_shape) != self._spatial_axes + 1:
            msg = (
                f"layer {self.name!r} takes samples with {self._spatial_axes + 1} axes, their features among them, but gets "
                f"{text_of_shape(input_shape)}: put a Reshape() before it"
            )
            raise ValueError(msg)
        ones = (1,) * self._spatial_axes if self.keepdims else ()
        last = self.data_format == DATA_FORMATS[0]
        return (*ones, input_shape[-1]) if last else (input_shape[0], *ones)

    def _has_features_last(self, axes: int) -> bool:
        """Whether `data_format` says so."""
        del axes
        return self.data_format == DATA_FORMATS[0]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one mean or maximum, after a transposition that puts the features last."""
        order = tuple(range(len(input_shape)))
        if self.data_format != DATA_FORMATS[0]:
            order = (*order[1:], 0)
        positions = math.prod(input_shape[axis] for axis in order[:-1])
        return [*transposed(input_shape, order), PoolingOperation(kind=self._kind, groups=positions)]


@register()
class GlobalAveragePooling1D(_Global):
    """Averages over the timesteps of sequences: (steps, features) becomes (features,).

    Timesteps masked by `Embedding(mask_zero=True)` or `Masking` are ignored. If all are masked, the result is 0.

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, steps).
        keepdims: whether to keep the axis of the timesteps with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _spatial_axes = 1
    supports_masking = _consumes_mask = True
    _further_call_arguments = ("mask", "training")


@register()
class GlobalAveragePooling2D(_Global):
    """Averages over the pixels of images: (height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, height, width).
        keepdims: whether to keep the reduced axes with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _spatial_axes = 2


@register()
class GlobalAveragePooling3D(_Global):
    """Averages over the voxels of volumes: (depth, height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, depth, height, width).
        keepdims: whether to keep the reduced axes with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _spatial_axes = 3


@register()
class GlobalMaxPooling1D(_Global):
    """Takes the maximum over the timesteps of sequences: (steps, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, steps).
        keepdims: whether to keep the axis of the timesteps with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _spatial_axes, _kind = 1, "max"


@register()
class GlobalMaxPooling2D(_Global):
    """Takes the maximum over the pixels of images: (height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, height, width).
        keepdims: whether to keep the reduced axes with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _spatial_axes, _kind = 2, "max"


@register()
class GlobalMaxPooling3D(_Global):
    """Takes the maximum over the voxels of volumes: (depth, height, width, features) becomes (features,).

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, depth, height, width).
        keepdims: whether to keep the reduced axes with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _spatial_axes, _kind = 3, "max"


# Keras' other names.
GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D
GlobalAvgPool2D, GlobalMaxPool2D = GlobalAveragePooling2D, GlobalMaxPooling2D
GlobalAvgPool3D, GlobalMaxPool3D = GlobalAveragePooling3D, GlobalMaxPooling3D
