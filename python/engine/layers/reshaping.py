"""Reshaping layers, which move numbers and don't change them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine._base.checks import Shape, choice, integer, integers, text_of_shape
from engine._core_interface.operations import LayerOperation
from engine.layers._axes import transposed
from engine.layers.layer import Layer, register

__all__ = ["Flatten", "Identity", "Permute", "RepeatVector", "Reshape"]

DATA_FORMATS = ("channels_last", "channels_first")


def data_format_or_last(value: str | None) -> str:
    """Returns `value`, one of `DATA_FORMATS`; None is the first, "channels_last"."""
    return str(choice(DATA_FORMATS[0] if value is None else value, "data_format", DATA_FORMATS))


class _Moving(Layer):
    _only_moves_values = True


@register()
class Flatten(_Moving):
    """Flattens each sample to one axis: (28, 28) becomes (784,), and a single number becomes (1,).

    Args:
        data_format: "channels_last", or "channels_first" to move the first axis of samples to the end before
            flattening.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        self.data_format = data_format_or_last(data_format)
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """One axis, whose length is the product of all axes."""
        return (None if None in input_shape else math.prod(input_shape),)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to nothing, or to a transposition if the channels come first."""
        if self.data_format == DATA_FORMATS[0] or len(input_shape) < 2:  # noqa: PLR2004 # nothing to turn
            return []
        return transposed(input_shape, (*range(1, len(input_shape)), 0))


@register()
class Reshape(_Moving):
    """Gives each sample another shape.

    Args:
        target_shape: shape of one output sample. One axis may be -1; it is computed from the others.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        self.target_shape = integers(target_shape, "target_shape", -1)
        if 0 in self.target_shape or self.target_shape.count(-1) > 1:
            msg = f"`target_shape` must hold positive integers and at most one -1, got {self.target_shape}"
            raise ValueError(msg)
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """`target_shape` with the length that -1 stands for, which is None if the input has an unknown length."""
        if None in input_shape:
            return tuple(None if axis == -1 else axis for axis in self.target_shape)
        size, known = math.prod(input_shape), math.prod(axis for axis in self.target_shape if axis != -1)
        if size % known or (size != known and -1 not in self.target_shape):
            msg = (
                f"layer {self.name!r} can't reshape {text_of_shape(input_shape)} to `target_shape="
                f"{self.target_shape}`: a sample has {size} numbers"
            )
            raise ValueError(msg)
        return tuple(size // known if axis == -1 else axis for axis in self.target_shape)


@register()
class Permute(_Moving):
    """Permutes the axes of each sample.

    Args:
        dims: order of the axes, counted from 1: `(2, 1)` transposes.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        self.dims = integers(dims, "dims", 1)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            wanted = tuple(range(1, len(self.dims) + 1))
            order = " in any order" if len(wanted) > 1 else ""
            msg = f"`dims` must hold the numbers of the axes, {wanted}{order}, got {self.dims}"
            raise ValueError(msg)
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The axes of `input_shape` in the order of `dims`."""
        if len(input_shape) != len(self.dims):
            msg = (
                f"layer {self.name!r} permutes {len(self.dims)} axes, `dims={self.dims}`, but gets "
                f"{text_of_shape(input_shape)}"
            )
            raise ValueError(msg)
        return tuple(input_shape[axis - 1] for axis in self.dims)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one transposition, or to nothing."""
        return transposed(input_shape, tuple(axis - 1 for axis in self.dims))


@register()
class RepeatVector(_Moving):
    """Repeats each sample `n` times: (features,) becomes (n, features).

    Args:
        n: number of repetitions, at least 1.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(self, n: int, **options: Any) -> None:
        self.n = integer(n, "n", 1)
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """`(n, features)`."""
        if len(input_shape) != 1:
            msg = f"layer {self.name!r} repeats rows, (n, features), but gets {text_of_shape(input_shape)}: put a Flatten() before it"
            raise ValueError(msg)
        return (self.n, *input_shape)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one copy of the inputs for each repetition."""
        del input_shape
        return [{"kind": "repeat", "count": self.n}]


@register()
class Identity(_Moving):
    """Returns its inputs unchanged.

    Args:
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True
