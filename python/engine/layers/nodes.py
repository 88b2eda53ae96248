"""Nodes of recordings, as leaves of a network beside its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine._base.checks import Shape
from engine._core_interface.cpp import Operation
from engine._core_interface.operations import LayerOperation
from engine._tracing.extents import as_pairs, sample_shape
from engine._tracing.trace import Node
from engine.layers.layer import Layer


class Numbers(np.ndarray[Any, np.dtype[np.float32]]):
    """Constants of a node, which compare as a whole."""

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return self is other or (isinstance(other, np.ndarray) and np.array_equal(self.view(np.ndarray), other))

    __hash__ = None  # type: ignore[assignment]


class NodeLeaf(Layer):
    """A node of a recording, as one of the leaves of a network.

    Args:
        node: the node.
        picks: for each input that is a weight of a layer its number; None for others.
    """

    supports_masking = True

    def __init__(self, node: Node, picks: Sequence[int | None]) -> None:
        # It has no name, weights or config, so that the constructor of layers has nothing to do.
        self.node, self.picks = node, tuple(picks)
        self.name = node.kind
        self._specs, self._weights, self._places = [], [], []
        self._sample_shape, self._given_shape = None, None
        self.activity_regularizer = None
        self._added, self._penalties = [], []

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        del input_shape
        return sample_shape(self.node.shape)  # type: ignore[no-any-return] # a shape of either kind

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        return [self._output_shape_for(())]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to the node."""
        del input_shape
        return [self._operation()]  # type: ignore[list-item] # it is one of many kinds

    def _operation(self) -> Any:
        fields = dict(self.node.fields)
        if "numbers" in fields and isinstance(fields["numbers"], np.ndarray):
            fields["numbers"] = fields["numbers"].view(Numbers)
        shapes = [as_pairs(shape) for _, shape in self.node.inputs]
        return {"kind": self.node.kind, "input_shapes": shapes, "shape": as_pairs(self.node.shape), **fields}

    def _operations_for_inputs(
        self, samples: Sequence[Shape], lowered: Sequence[LayerOperation] | None = None
    ) -> list[Operation]:
        del samples, lowered
        return [self._operation()]

    def _attach(self, model: Any, program: Any, first: int, count: int) -> None:
        """Does nothing, as it has no weights."""

    def _detach(self, model: Any) -> None:
        """Does nothing."""

    def _mask_source_of(self, sources: Sequence[int | None]) -> int | None:
        found = [source for source in sources if source is not None]
        return found[0] if found else None
