"""The programs of a model whose samples have an axis of unknown length: one for each length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from engine._base.checks import Shape, filled
from engine._base.locks import Lock, Order
from engine._core_interface.cpp import Program, build
from engine._data.several_arrays import inputs_in
from engine._training.compile_arguments import Compiled
from engine.models.layer_graph import LayerGraph
from engine.models.stack import Lowered
from engine.models.wiring import shapes_along

# The first program is built for a known length: the first of these that all layers can take. Custom layers may need
# several timesteps, and Reshape a length that it can divide.
_LENGTHS = range(64, 0, -1)
# The number of programs that are kept.
_MOST_PROGRAMS = 8

LowerForShape = Callable[[Shape], Lowered]
"""Returns what the core computes for samples of a shape without None."""


def _known_shapes(
    declared: Sequence[Shape], shapes_for: Callable[[Sequence[Shape]], Sequence[Shape]]
) -> list[Shape]:
    """Returns shapes with a number in place of each None in `declared`, the same everywhere.

    Args:
        declared: the shape of one sample of each input.
        shapes_for: returns the shapes after each layer, or raises if a layer can't take such samples.
    """
    if not any(None in shape for shape in declared):
        return list(declared)

    def with_length(length: int) -> list[Shape]:
        return [filled(shape, length) for shape in declared]

    found = next((length for length in _LENGTHS if _suit(with_length(length), shapes_for)), _LENGTHS[0])
    shapes_for(with_length(found))  # raises the error if no length suits
    return with_length(found)


def _suit(shapes: Sequence[Shape], shapes_for: Callable[[Sequence[Shape]], Sequence[Shape]]) -> bool:
    try:
        shapes_for(shapes)
    except Exception:  # custom layers may raise anything
        return False
    return True


class ProgramsByShape:
    """The programs of a model, one for each shape of samples, which all use the weights of its layers.

    Args:
        first: the program for samples of `shape`.
        shape: of the samples of the first program, as `sample_shape_of` returns it.
        lowering: of the layers.
        outputs_for: returns the shape of each output for samples of a shape.
    """

    def __init__(
        self,
        first: Program,
        shape: Shape,
        lowering: LowerForShape,
        outputs_for: Callable[[Shape], list[Shape]],
    ) -> None:
        self._first, self._lowering, self._outputs_for = first, lowering, outputs_for
        self._arrays = first.arrays
        self._programs: dict[Shape, Program] = {}
        # The arguments of `Program.compile`. Only the thread that has the lock of the model compiles.
        self._compiled_with = WeakKeyDictionary[Program, Any]()
        self._shape = shape
        self._lock = Lock("the programs of a model", Order.FUNCTIONS)  # predictions run in many threads

    def program(self, shape: Shape, compiled: Compiled | None) -> Program:
        """Returns the program for samples of `shape`, compiled with `compiled` if it is given."""
        if shape == self._shape:
            return self._first
        program = self._used(shape, self._programs.get(shape) or self._made(shape))
        if compiled is not None and self._compiled_with.get(program) is not compiled.program_arguments:
            compiled.compile_again(program, self._outputs_for(shape))
            self._compiled_with[program] = compiled.program_arguments
        return program

    def _made(self, shape: Shape) -> Program:
        """Returns a new program, without the lock, as it may run code of users."""
        operations, outputs = self._lowering(shape)
        return build([math.prod(each) for each in inputs_in(shape)], operations, self._arrays, outputs)

    def _used(self, shape: Shape, program: Program) -> Program:
        """Returns the program for a shape: `program`, unless another thread has made it meanwhile."""
        dropped = []  # freed without the lock
        with self._lock.held():
            program = self._programs.pop(shape, program)
            self._programs[shape] = program  # the order is that of the last uses
            while len(self._programs) > _MOST_PROGRAMS:
                dropped.append(self._programs.pop(next(iter(self._programs))))
        return program


def known_inputs(graph: LayerGraph) -> list[Shape]:
    """Returns the shapes of the inputs with a number in place of each None, as the first program is built for."""
    return _known_shapes(
        graph.input_shapes, lambda shapes: shapes_along(shapes, graph.layers, graph.wiring).values
    )
