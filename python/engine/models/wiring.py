"""How the layers of a model are connected: which outputs each of them reads.

The calls of layers and models in a model are numbered in the order in which they compute. Each of them has one output or
more, and these *values* are numbered in the same order. Negative numbers are the inputs of the model: -1 is the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine._base.checks import Shape
from engine.layers.layer import Part


class Wiring(NamedTuple):
    """The connections of a model."""

    reads: tuple[tuple[int, ...], ...]
    """For each call the numbers of the values that it reads."""
    outputs: tuple[int, ...]
    """The numbers of the values that are the outputs of the model."""

    @property
    def is_chain(self) -> bool:
        """Whether each call reads the output of the one before, and the last one computes the one output."""
        return self == chain_of(len(self.reads))


class Shapes(NamedTuple):
    """The shapes of one sample in a network."""

    read: list[list[Shape]]
    """For each call the shapes of what it reads."""
    values: list[Shape]
    """The shape of each value."""
    outputs: list[Shape]
    """The shape of each output of the model."""


def chain_of(count: int) -> Wiring:
    """Returns the connections of `count` calls, each of which reads the output of the one before."""
    return Wiring(tuple((number - 1,) for number in range(count)), (count - 1,))


def shapes_along(inputs: Sequence[Shape], parts: Sequence[Part], wiring: Wiring) -> Shapes:
    """Returns the shapes of one sample throughout a model.

    Args:
        inputs: the shape of each input.
        parts: the layers and models, one as often as it is called.
        wiring: their connections.
    """
    read, values = list[list[Shape]](), list[Shape]()

    def shape_of(number: int) -> Shape:
        return inputs[-1 - number] if number < 0 else values[number]

    for part, numbers in zip(parts, wiring.reads, strict=True):
        read.append([shape_of(number) for number in numbers])
        values += part._output_shapes_for(read[-1])
    return Shapes(read, values, [shape_of(number) for number in wiring.outputs])
