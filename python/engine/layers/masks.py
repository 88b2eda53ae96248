"""Means and largest numbers over all places of a sample, and rows that count for nothing, such as padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import Shape, filled, flag, real, text_of_shape
from engine._base.operations import LayerOperation, Pooling
from engine.layers._axes import transposed
from engine.layers._outputs import TRIED_LENGTHS
from engine.layers.layer import Layer, register
from engine.layers.reshaping import DATA_FORMATS, data_format_or_last


@register()
class Masking(Layer):
    """Masks timesteps whose features all equal `mask_value`, and sets them to 0.

    A later GlobalAveragePooling1D ignores masked timesteps. If the mask reaches the outputs of the model, the loss
    is the mean over the other timesteps. In evaluation, metrics that are means over timesteps, such as accuracies,
    ignore masked ones as well; in training they don't, as in Keras on JAX.

    Args:
        mask_value: value of all features of a timestep to mask.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _makes_mask = True

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        self.mask_value = real(mask_value, "mask_value")
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """One mask."""
        del input_shape
        return [{"kind": "mask", "value": self.mask_value}]

    def compute_mask(self, inputs: ArrayLike, previous_mask: object = None) -> NDArray[np.bool_]:
        """Returns the mask, shape (n, ...) for `inputs` (n, ..., features). `previous_mask` is ignored."""
        del previous_mask
        return np.asarray(np.any(np.not_equal(inputs, self.mask_value), axis=-1))


class _Global(Layer):
    """One number for each feature, of all places.

    Args:
        data_format: "channels_last", or "channels_first" for samples (features, depth, height, width).
        keepdims: whether to keep the reduced axes with length 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _spatial_axes: ClassVar[int]
    _kind: ClassVar[Literal["mean", "max"]] = "mean"

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        self.data_format = data_format_or_last(data_format)
        self.keepdims = flag(keepdims, "keepdims")
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The features alone."""
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
        """As `data_format` says."""
        del axes
        return self.data_format == DATA_FORMATS[0]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """One mean, or maximum, of channels that are last."""
        order = tuple(range(len(input_shape)))
        if self.data_format != DATA_FORMATS[0]:
            order = (*order[1:], 0)
        places = math.prod(input_shape[axis] for axis in order[:-1])
        return [*transposed(input_shape, order), Pooling(kind=self._kind, groups=places)]


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


def masks_before(stack: Sequence[Layer]) -> list[int | None]:
    """The number of the layer whose mask there is before each layer, and after the last; custom ones are built."""
    source: int | None = None
    found = []
    for number, layer in enumerate(stack):
        found.append(source)
        if layer._is_custom and layer.supports_masking:
            # A `compute_mask` of its own is tried on zeros.
            inputs = np.zeros((2, *filled(layer._sample_shape or (1,), TRIED_LENGTHS[0])), np.float32)
            before = None if source is None else np.ones(inputs.shape[:-1], bool)
            after = layer.compute_mask(inputs, before)
            source = None if after is None else source if after is before else number
            continue
        if source is not None and not layer.supports_masking:
            layer._warn_of_lost_mask()
        passes = layer.supports_masking and not layer._consumes_mask
        source = number if layer._makes_mask else source if passes else None
    return [*found, source]
