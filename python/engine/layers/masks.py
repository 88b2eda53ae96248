"""Rows of a sample that count for nothing, such as the padding of sequences: who says so, and who passes it on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import Shape, real
from engine._program import Operation
from engine.layers.base import Layer, register
from engine.layers.normalization import BatchNormalization


@register()
class Masking(Layer):
    """Rows that hold `mask_value` alone become 0, and a later GlobalAveragePooling1D leaves them out.

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


def masks_before(stack: Sequence[Layer]) -> list[bool]:
    """Whether there are rows that count for nothing before each layer, and after the last.

    Raises:
        ValueError: for a layer that would have to leave them out and can't.
    """
    masked, found = False, []
    for layer in stack:
        found.append(masked)
        if masked and isinstance(layer, BatchNormalization):
            msg = (
                f"layer {layer.name!r} (BatchNormalization) can't leave masked rows out of its statistics: put it after "
                "GlobalAveragePooling1D(), or drop `mask_zero` or Masking()"
            )
            raise ValueError(msg)
        if masked and not layer.supports_masking:
            msg = (
                f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask attached to it. "
                "However, this layer does not support masking and will therefore destroy the mask information. "
                "Downstream layers will not see the mask."
            )
            warnings.warn(msg, stacklevel=2)
        masked = layer.masks or (masked and layer.supports_masking and not layer.takes_mask)
    return [*found, masked]
