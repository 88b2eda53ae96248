"""The axes of a sample that a layer works on: transpositions that make them the last ones, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from engine._base.checks import LOWEST, Shape, integer, integers, text_of_axes, text_of_shape
from engine._core_interface.operations import LayerOperation, extended


def axis_argument(value: object, name: str = "axis") -> int | list[int]:
    """Returns `value`, an int or a list of ints, checked."""
    if isinstance(value, (tuple, list)):
        return list(integers(value, name, LOWEST))
    return integer(value, name, LOWEST)


class Axes(NamedTuple):
    """The axes of a sample, counted from 0: the inner ones, which a layer works on, and the outer ones.

    Args:
        shape: of the sample.
        inner: numbers of the inner axes.
        outer: numbers of the outer axes.
    """

    shape: Shape
    inner: Shape
    outer: Shape

    @property
    def inner_shape(self) -> Shape:
        """The lengths of the inner axes."""
        return tuple(self.shape[axis] for axis in self.inner)

    @property
    def rows(self) -> int:
        """The number of rows: the product of the lengths of the outer axes."""
        return math.prod(self.shape[axis] for axis in self.outer)

    def around(self, operations: Sequence[LayerOperation]) -> list[LayerOperation]:
        """Returns `operations` for rows of the inner axes, between two transpositions if these aren't the last axes."""
        within = [extended(operation, {"groups": self.rows}) for operation in operations]
        return [*self.before(), *within, *self.after()]

    def before(self) -> list[LayerOperation]:
        """Returns the transposition that makes the inner axes the last ones; none if they are."""
        return transposed(self.shape, self._order)

    def after(self) -> list[LayerOperation]:
        """Returns the transposition that undoes the one of `before`."""
        order = self._order
        moved = tuple(self.shape[axis] for axis in order)
        return transposed(moved, tuple(order.index(axis) for axis in range(len(order))))

    @property
    def _order(self) -> Shape:
        return (*self.outer, *self.inner)


def axes_of(layer: str, axis: int | Sequence[int], input_shape: Shape) -> Axes:
    """Returns the axes of a sample for an argument `axis`, which counts from the batch axis, 0, or from the end.

    Raises:
        ValueError: if there is no such axis.
    """
    rank, found = len(input_shape) + 1, []
    for number in [axis] if isinstance(axis, int) else axis:
        axis_number = number % rank if -rank <= number < rank else 0
        if axis_number == 0 or axis_number - 1 in found:
            msg = f"layer {layer!r} has `axis={axis}`, but gets {text_of_shape(input_shape)}: {_axes_of(rank - 1)}"
            raise ValueError(msg)
        found.append(axis_number - 1)
    outer = tuple(other for other in range(rank - 1) if other not in found)
    return Axes(input_shape, tuple(sorted(found)), outer)


def _axes_of(count: int) -> str:
    """The part of a message that says which axes there are, for samples with `count` axes."""
    if count == 0:
        return "a sample is a single number and has no axes. Bring the samples into the shape (n, 1)"
    return f"give axes of a sample, which are {text_of_axes(count, 1)}, each once"


def weight_shape(layer: str, axis: int | Sequence[int], input_shape: Shape) -> Shape:
    """Returns the shape of a weight along `axis`, whose numbers Keras sorts, negative ones first.

    Raises:
        ValueError: if there is no such axis.
    """
    axes_of(layer, axis, input_shape)
    return tuple(
        input_shape[number % (len(input_shape) + 1) - 1]
        for number in sorted([axis] if isinstance(axis, int) else axis)
    )


def transposed(input_shape: Shape, order: Shape) -> list[LayerOperation]:
    """Returns the operation that brings the axes of `input_shape`, counted from 0, into `order`; none if they are."""
    axes = [axis for axis in order if input_shape[axis] != 1]
    if axes == sorted(axes):
        return []
    kept = sorted(axes)
    lengths = [input_shape[axis] for axis in kept]
    return [{"kind": "permute", "lengths": lengths, "axes": [kept.index(axis) for axis in axes]}]
