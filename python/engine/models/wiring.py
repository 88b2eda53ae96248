"""How the layers of a model are connected: which outputs each of them reads.

The calls of layers and models in a model are numbered in the order in which they compute. Each of them has one output or
more, and these *values* are numbered in the same order. Negative numbers are the inputs of the model: -1 is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from engine._base.checks import Shape
from engine.layers.leaf import Leaf
from engine.layers.part import Part

_Value = TypeVar("_Value")


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


def values_along(
    reads: Iterable[Iterable[int]],
    outputs: Iterable[int],
    inputs: Sequence[_Value],
    call_next: Callable[[list[_Value]], Iterable[_Value]],
) -> tuple[list[_Value], list[_Value]]:
    """Returns all values of a model or network, and the outputs among them.

    Args:
        reads: as in `Wiring`. It is read call by call, so that a generator may depend on the calls before.
        outputs: as in `Wiring`, in the same way.
        inputs: a value for each input, of any kind: symbols, shapes, arrays, ...
        call_next: gets the values that the next call reads, and returns one for each output of it.
    """
    values = list[_Value]()
    for numbers in reads:
        values += call_next([inputs[-1 - number] if number < 0 else values[number] for number in numbers])
    return values, [inputs[-1 - number] if number < 0 else values[number] for number in outputs]


def shapes_along(inputs: Sequence[Shape], parts: Sequence[Part | Leaf], wiring: Wiring) -> Shapes:
    """Returns the shapes of one sample throughout a model.

    Args:
        inputs: the shape of each input.
        parts: the layers and models, one as often as it is called.
        wiring: their connections.
    """
    read, following = list[list[Shape]](), iter(parts)

    def call_next(shapes: list[Shape]) -> Iterable[Shape]:
        read.append(shapes)
        return next(following)._output_shapes_for(shapes)

    values, outputs = values_along(*wiring, inputs, call_next)
    return Shapes(read, values, outputs)
