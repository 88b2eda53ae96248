"""Recordings of traced functions: what layers, operations and models with Python code of their own compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._base.checks import Shape
from engine._core_interface.cpp import Operation
from engine._core_interface.operations import LayerOperation
from engine._tracing.extents import as_pairs, full_shape, sample_shape
from engine._tracing.symbolic import mapped
from engine._tracing.trace import Node, Trace, TracedArray, as_traced
from engine.layers.layer import Layer


class Recording(NamedTuple):
    """What a function has recorded."""

    trace: Trace
    outputs: list[TracedArray]
    packed: Any
    """What the function returned, with the number of an output in place of each symbol."""

    @property
    def shapes(self) -> list[Any]:
        """The shape of one sample of each output."""
        return [sample_shape(each.extents) for each in self.outputs]

    def with_outputs(self, values: Sequence[Any]) -> Any:
        """Returns `values`, one for each output, in the form in which the function returned them."""
        return filled_slots(self.packed, values)


class Slot(NamedTuple):
    """Stands for a symbol in a structure of values."""

    number: int


def filled_slots(structure: Any, values: Sequence[Any]) -> Any:
    """Returns a structure with `values` in place of its slots."""
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, (list, tuple)):
        return type(structure)(filled_slots(each, values) for each in structure)
    if isinstance(structure, dict):
        return {key: filled_slots(each, values) for key, each in structure.items()}
    if isinstance(structure, slice):
        return slice(*(filled_slots(each, values) for each in (structure.start, structure.stop, structure.step)))
    return structure


def recording(
    function: Callable[..., Any], samples: Sequence[Shape], dtypes: Sequence[str]
) -> Recording:
    """Runs a function with symbols, and returns what it records.

    Args:
        function: takes one symbol for each input, and returns symbols in lists, tuples and dicts.
        samples: the shape of one sample of each input.
        dtypes: of the inputs.
    """
    trace = Trace([full_shape(sample) for sample in samples], dtypes)
    with trace.recording():
        result = function(*trace.inputs)
        outputs = list[TracedArray]()

        def slot_for(value: Any) -> Slot:
            outputs.append(as_traced(value, trace))
            return Slot(len(outputs) - 1)

        packed = slot_for(result) if _is_constant(result) else mapped(slot_for, result)
    return Recording(trace, outputs, packed)


def _is_constant(result: Any) -> bool:
    return isinstance(result, (bool, int, float, np.ndarray, np.generic))


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
