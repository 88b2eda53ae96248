"""Masks: the layer that masks timesteps, and which mask reaches each layer of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import Shape, real
from engine._core_interface.operations import LayerOperation
from engine._tracing.recordings import with_tried_length
from engine.layers.layer import Layer, register
from engine.layers.leaf import Leaf

__all__ = ["Masking"]


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

    supports_masking = _makes_mask = _built_at_once = True

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        self.mask_value = real(mask_value, "mask_value")
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one mask."""
        del input_shape
        return [{"kind": "mask", "value": self.mask_value}]

    def compute_mask(self, inputs: ArrayLike, previous_mask: object = None) -> NDArray[np.bool_]:
        """Returns the mask, shape (n, ...) for `inputs` (n, ..., features). `previous_mask` is ignored."""
        del previous_mask
        return np.asarray(np.any(np.not_equal(inputs, self.mask_value), axis=-1))


def mask_sources(
    stack: Sequence[Leaf], reads: Sequence[Sequence[int]]
) -> tuple[list[int | None], list[int | None]]:
    """Returns which mask reaches each layer of a network, and which mask its outputs have.

    Args:
        stack: the layers in the order in which they compute. Custom ones are built.
        reads: for each layer the numbers of those whose outputs it reads; negative ones are inputs of the network.

    Returns:
        For each layer the number of the layer that made the mask of its inputs, and of its outputs; None is no mask.
    """
    before: list[int | None] = []
    after: list[int | None] = []
    for number, (layer, read) in enumerate(zip(stack, reads, strict=True)):
        source = layer._mask_source_of([None if each < 0 else after[each] for each in read]) if read else None
        before.append(source)
        after.append(_mask_after(layer, number, source))
    return before, after


def _mask_after(layer: Leaf, number: int, source: int | None) -> int | None:
    """Returns which mask the outputs of layer `number` have if its inputs have the mask `source`."""
    if isinstance(layer, Layer) and layer._is_by_call and layer.supports_masking:
        # What its `compute_mask` does with a mask is found by a call on zeros.
        (sample,) = with_tried_length([layer._sample_shape or (1,)])
        inputs = np.zeros((2, *sample), np.float32)
        before = None if source is None else np.ones(inputs.shape[:-1], bool)
        mask = layer.compute_mask(inputs, before)
        return None if mask is None else source if mask is before else number
    if source is not None and isinstance(layer, Layer) and not layer.supports_masking:
        layer._warn_of_lost_mask()
    passes = layer.supports_masking and not layer._consumes_mask
    return number if layer._makes_mask else source if passes else None
