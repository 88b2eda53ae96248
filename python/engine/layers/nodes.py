"""The leaves of a network beside its layers: nodes of recordings, and what masks and penalties need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine._base.checks import Shape
from engine._core_interface.cpp import Operation
from engine._core_interface.operations import LayerOperation
from engine._tracing.extents import as_pairs, full_shape, sample_shape
from engine._tracing.recordings import lowered_node
from engine._tracing.trace import Node
from engine.layers.layer import Layer
from engine.layers.leaf import Leaf
from engine.layers.weights import WeightSpec


class InnerLeaf(Leaf):
    """Base class of the leaves of a network that no user sees.

    Args:
        name: what it is.
        shape: of one sample of its output.
    """

    supports_masking = True

    def __init__(self, name: str, shape: Any) -> None:
        self.name, self.shape = name, shape

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Any]:
        del samples
        return [self.shape]

    def _operations_for(
        self, samples: Sequence[Shape], lowered: Sequence[LayerOperation] | None = None
    ) -> list[Operation]:
        del samples, lowered
        return self._operations()

    def _operations(self) -> list[Operation]:
        """Returns the core's operations that compute it; none if its output is its first input."""
        return []


# The kinds of nodes whose outputs hold numbers of their input as they are.
_MOVING = frozenset(("reshape", "slice", "transpose"))


class NodeLeaf(InnerLeaf):
    """A node of a recording.

    Args:
        node: the node.
        picks: for each input that is a weight of a layer its number; None for others.
    """

    supports_masking = False

    def __init__(self, node: Node, picks: Sequence[int | None]) -> None:
        super().__init__(node.kind, sample_shape(node.shape))
        self.node, self.picks = node, tuple(picks)
        self.keeps_dtype = node.kind in _MOVING
        """Whether its output holds numbers of its input, which may be strings or integers."""

    def _operations(self) -> list[Operation]:
        return [lowered_node(self.node)]

    def _mask_source_of(self, sources: Sequence[int | None]) -> int | None:
        """No mask: as in Keras, operations don't pass it on."""
        del sources
        return None


class WeightsLeaf(InnerLeaf):
    """The weights of a layer that nodes read, beside the layer's own operations.

    Args:
        layer: the layer.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__("weights", ())
        self.layer = layer

    def _nodes(self, first: int, specs: Sequence[WeightSpec]) -> list[dict[str, Any]]:
        """Returns a node for each weight, if they are the program's variables from number `first` on.

        Args:
            first: the number of the first one.
            specs: the weights.
        """
        return [
            {
                "kind": "weight",
                "variable": first + index,
                "input_shapes": [],
                "shape": [[length, 0] for length in weight.shape],
                "trainable": self.layer.trainable and weight.trainable,
            }
            for index, weight in enumerate(specs)
        ]


class MaskLeaf(InnerLeaf):
    """Its output is its first input, with the mask of its second one.

    Args:
        shape: of one sample of the first input.
        mask: of one sample of the second input.
    """

    def __init__(self, shape: Shape, mask: Shape) -> None:
        super().__init__("with_mask", shape)
        self.mask = mask

    def _mask_source_of(self, sources: Sequence[int | None]) -> int | None:
        return sources[-1]

    def _operations(self) -> list[Operation]:
        shapes = [as_pairs(full_shape(each)) for each in (self.shape, self.mask)]
        return [{"kind": "with_mask", "input_shapes": shapes, "shape": shapes[0]}]


class RowMaskLeaf(InnerLeaf):
    """A mask: the rows for which its input isn't 0.

    Args:
        shape: of one sample of the rows, with 1 as the last length.
    """

    _makes_mask = True

    def __init__(self, shape: Shape) -> None:
        super().__init__("row_mask", shape)

    def _operations(self) -> list[Operation]:
        return [{"kind": "mask", "value": 0.0, "groups": math.prod(self.shape)}]


class PenaltyLeaf(InnerLeaf):
    """The penalty on an output of a layer that was recorded.

    Args:
        layer: the layer.
        shape: of one sample of the output.
    """

    def __init__(self, layer: Layer, shape: Shape) -> None:
        super().__init__("penalty", shape)
        self.layer = layer

    def _operations(self) -> list[Operation]:
        return [self.layer._penalty_on_outputs(self.shape)]
