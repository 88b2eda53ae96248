"""`vmap`: functions of single elements that become functions of arrays of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from engine import tree
from engine._gradients.functions import converted, recording_trace
from engine._tracing.extents import ONE, Extent, text_of_extent, text_of_extents
from engine._tracing.primitives import broadcast_to, transpose
from engine._tracing.symbolic import Slot, filled_slots, sequence_like
from engine._tracing.trace import TracedArray, as_traced

if TYPE_CHECKING:
    from engine._tracing.batching import Region


class _Mapped(NamedTuple):
    """An array that the elements of a batch come from."""

    name: str
    axis: int
    """The axis along which they lie, 0 or above."""
    array: TracedArray

    @property
    def length(self) -> Extent:
        return self.array.extents[self.axis]


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Returns a function that computes `function` for each element along an axis of its arguments.

    `function` is written for one element, and recorded once. What it computes is then computed for all elements at once, as
    if it were written for arrays with one more axis. Functions that `vmap`, `keras.grad` and `keras.jacobian` return can be mapped,
    and the other way round: `vmap(grad(f))` returns a gradient for each element. Numbers of `keras.random` differ between
    elements. What calls layers or differentiates by weights is recorded once for each element.

    Args:
        function: takes and returns arrays, in any structure of lists, tuples and dicts. It computes by `keras.ops`, NumPy's functions
            or arithmetic, and can't look at numbers, as by `float(x)`.
        in_axes: the axis of the elements in each argument: an int, which may be negative, or None for an argument that all elements
            share. One for all arguments, or a tuple with one for each argument by position. In the place of one axis there may be a
            tuple, a list or a dict with an axis for each part of the argument. The axis of arguments by keyword is 0.
        out_axes: where the axis of the elements is in the results: one int for all, or in the structure of the results. None
            is for a result that is the same for all elements, which then has no such axis.

    Returns:
        A function with the same arguments, which have an axis more, and results with an axis more.

    Raises:
        ValueError: when the axes of arguments have different lengths, when there is no axis, or for a result with `None` in
            `out_axes` that differs between elements.

    Example:
        >>> import numpy as np
        >>> import engine as keras
        >>> def distance(x, y):
        ...     return np.sqrt(np.sum((x - y) ** 2))
        >>> x, y = np.ones((2, 3), "float32"), np.zeros((4, 3), "float32")
        >>> keras.vmap(keras.vmap(distance, in_axes=(None, 0)), in_axes=(0, None))(x, y).shape
        (2, 4)
    """

    @functools.wraps(function)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        from engine._tracing.batching import Region

        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
            msg = (
                f"`in_axes` must be an axis, or one for each argument by position: it has {len(in_axes)}, and the function was "
                f"called with {len(args)}"
            )
            raise ValueError(msg)
        axes = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        with recording_trace() as trace:
            batches = _Batches(trace)
            given = [
                batches.slots_for(*each) for each in zip(args, axes, _names(function, len(args)), strict=True)
            ]
            named = {name: batches.slots_for(value, 0, f"`{name}`") for name, value in kwargs.items()}
            count = batches.count()
            leaves = list[TracedArray]()

            def listed(leaf: Any) -> Slot:
                leaves.append(as_traced(leaf, trace))
                return Slot(len(leaves) - 1)

            with Region(trace, "vmap") as region:
                elements = batches.elements(region)
                result = function(*filled_slots(given, elements), **filled_slots(named, elements))
                packed = tree.map_structure(listed, result, none_is_leaf=False)
            by_origin = {
                element.origin: _moved(each.array, each.axis, 0)
                for element, each in zip(elements, batches.arrays, strict=True)
            }
            found = region.replayed(count, by_origin, leaves)

            def with_axis(slot: Slot | None, axis: int | None) -> TracedArray | None:
                return None if slot is None else _with_axis(*found[slot.number], axis, count)

            return _placed(packed, out_axes, with_axis, "out_axes")

    return mapped


class _Batches:
    """The arrays whose elements a function is mapped over.

    Args:
        trace: where they are recorded.
    """

    def __init__(self, trace: Any) -> None:
        self._trace = trace
        self.arrays: list[_Mapped] = []

    def slots_for(self, value: Any, axes: Any, name: str) -> Any:
        """Returns an argument with a slot in the place of each array with elements, which is appended to `arrays`.

        Args:
            value: the argument.
            axes: the axis of the elements, None, or these for its parts.
            name: of the argument, for messages.
        """

        def collected(leaf: Any, axis: Any) -> Any:
            if leaf is None or axis is None:
                return leaf
            array = as_traced(leaf, self._trace)
            if not -array.ndim <= axis < array.ndim:
                msg = (
                    f"{name} has the shape {text_of_extents(array.extents)}, so it has no elements along axis {axis}: give None in "
                    "`in_axes` for an argument that all elements share"
                )
                raise ValueError(msg)
            self.arrays.append(_Mapped(name, axis % array.ndim, array))
            return Slot(len(self.arrays) - 1)

        return _placed(value, axes, collected, "in_axes")

    def count(self) -> Extent:
        """Returns the number of elements."""
        lengths = list(dict.fromkeys(each.length for each in self.arrays))
        if not lengths:
            msg = "vmap maps a function over an axis of its arguments, but all of them have None in `in_axes`"
            raise ValueError(msg)
        if not all(length.agrees_with(lengths[0]) for length in lengths):
            listed = ", ".join(
                f"{text_of_extent(each.length)} along axis {each.axis} of {each.name} {text_of_extents(each.array.extents)}"
                for each in self.arrays
            )
            msg = f"vmap maps a function over axes of one length, got {listed}: check `in_axes`"
            raise ValueError(msg)
        return lengths[0]

    def elements(self, region: Region) -> list[TracedArray]:
        """Returns a placeholder for one element of each array."""
        return [
            region.placeholder(
                (*each.array.extents[: each.axis], *each.array.extents[each.axis + 1 :]), each.array.dtype
            )
            for each in self.arrays
        ]


def _names(function: Callable[..., Any], count: int) -> list[str]:
    """Returns the names of arguments by position, for messages."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # as for functions of NumPy
        parameters = []
    named = [
        f"`{each.name}`"
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    return [named[number] if number < len(named) else f"argument {number}" for number in range(count)]


def _placed(value: Any, axes: Any, convert: Callable[[Any, Any], Any], what: str) -> Any:
    """Returns a structure of what `convert` returns for each array in `value` and its axis.

    Args:
        value: arrays in lists, tuples and dicts. A list of numbers alone is an array.
        axes: one axis for all of them, or for each part.
        convert: the function.
        what: the name of the argument that `axes` come from.
    """
    if isinstance(axes, (list, tuple, dict)):
        parts = (
            list(value)
            if isinstance(value, dict)
            else range(len(value) if isinstance(value, (list, tuple)) else 0)
        )
        if isinstance(axes, dict) != isinstance(value, dict) or set(parts) != set(
            axes if isinstance(axes, dict) else range(len(axes))
        ):
            msg = f"`{what}` must be an axis, or have an axis for each part, got {axes!r} for {type(value).__name__} of {len(parts)}"
            raise ValueError(msg)
        placed = [_placed(value[key], axes[key], convert, what) for key in parts]
        return (
            dict(zip(parts, placed, strict=True)) if isinstance(value, dict) else sequence_like(value, placed)
        )
    return value if axes is None and what == "in_axes" else converted(value, lambda each: convert(each, axes))


def _with_axis(array: TracedArray, is_batched: bool, axis: int | None, count: Extent) -> TracedArray:
    """Returns a result with the axis of the elements at its place in `out_axes`."""
    if axis is None:
        if is_batched:
            msg = "a result with None in `out_axes` must be the same for all elements, but it depends on them: give an axis"
            raise ValueError(msg)
        return array
    if not is_batched:
        array = broadcast_to(array.reshaped((ONE, *array.extents)), (count, *array.extents))
    if not -array.ndim <= axis < array.ndim:
        msg = f"`out_axes` has the axis {axis} for a result of shape {text_of_extents(array.extents)}"
        raise ValueError(msg)
    return _moved(array, 0, axis % array.ndim)


def _moved(array: TracedArray, source: int, destination: int) -> TracedArray:
    """Returns an array with one axis at another place."""
    order = [axis for axis in range(array.ndim) if axis != source]
    order.insert(destination, source)
    return transpose(array, order)
