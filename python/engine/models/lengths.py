"""Programs of a model whose samples have axes of unknown length: one for each length that comes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from engine._base.checks import Shape, filled
from engine._base.cpp import Operation, Program, build
from engine._training.compile_arguments import Compiled

# In the place of unknown lengths, for the program that holds the weights: the first of these that all layers can take.
# Layers of the user's may need a few steps, and Reshape a length that it can divide.
_LENGTHS = range(64, 0, -1)
# Programs that are kept: each takes as much memory as the optimizer's state.
_MOST_PROGRAMS = 8

Lowering = Callable[[Shape], tuple[list[Operation], Shape]]
"""Gives the operations for samples of a shape of known lengths, and the shape of one output."""


def known_shape(declared: Shape, shapes_for: Callable[[Shape], Sequence[Shape]]) -> Shape:
    """A shape of known lengths that suits `declared`, whose unknown lengths are None.

    Args:
        declared: the shape of one sample.
        shapes_for: gives the shapes after each layer, or raises where a layer can't take such samples.
    """
    if None not in declared:
        return declared
    found = next((length for length in _LENGTHS if _suits(filled(declared, length), shapes_for)), _LENGTHS[0])
    shapes_for(filled(declared, found))  # raises what is wrong, where no length suits
    return filled(declared, found)


def _suits(shape: Shape, shapes_for: Callable[[Shape], Sequence[Shape]]) -> bool:
    try:
        shapes_for(shape)
    except Exception:  # layers of the user's may raise anything
        return False
    return True


class ProgramsByShape:
    """The programs of a model, one for each shape of samples, which all have the weights of the first one.

    Args:
        first: the program that the model has the weights in.
        shape: of the samples of the first one.
        lowering: of the layers.
    """

    def __init__(self, first: Program, shape: Shape, lowering: Lowering) -> None:
        self._first, self._lowering = first, lowering
        self._loans = [(first, number) for number in range(len(first.variables))]
        self._programs: dict[Shape, Program] = {}
        self._plans: dict[Shape, object] = {}  # with which each was compiled
        self._shape = shape
        self._making = threading.Lock()  # predictions come from many threads

    def program(self, shape: Shape, compiled: Compiled | None) -> Program:
        """The program for samples of `shape`, ready to train where `compiled` is given."""
        if shape == self._shape:
            return self._first
        with self._making:
            program = self._programs.pop(shape, None)
            if program is None:
                operations, output_shape = self._lowering(shape)
                program = build(math.prod(shape), operations, self._loans, math.prod(output_shape[:-1]))
                self._plans.pop(shape, None)
            self._programs[shape] = program  # the last is the one that was used last
            if compiled is not None and self._plans.get(shape) is not compiled.plan:
                compiled.compile_again(program)
                self._plans[shape] = compiled.plan
            while len(self._programs) > _MOST_PROGRAMS:
                oldest = next(iter(self._programs))
                del self._programs[oldest]
                self._plans.pop(oldest, None)
            return program
