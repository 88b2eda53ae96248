"""Functions that append nodes to a trace, and infer their shapes: one for each kind of node.

A function that only changes the shape under which numbers are read, such as `reshape`, appends none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engine._base.promotion import result_type
from engine._tracing.code import Code, Term, constant, copy_of_input
from engine._tracing.errors import CannotRecordError
from engine._tracing.extents import (
    ONE,
    SAMPLES,
    UNKNOWN,
    Extent,
    Extents,
    as_pairs,
    quotient,
    size_of,
    text_of_extents,
)
from engine._tracing.symbolic import BatchLength, current
from engine._tracing.trace import Computed, Node, Trace, TracedArray, as_traced, length_term, trace_of


def broadcast(*shapes: Extents) -> Extents:
    """Returns the shape to which arrays of these shapes are broadcast, as in NumPy; an unknown length fits every other."""
    axes = max(map(len, shapes), default=0)
    extents = list[Extent]()
    for axis in range(-axes, 0):
        lengths = {shape[axis] for shape in shapes if len(shape) >= -axis} - {ONE}
        if len(lengths) > 1:
            lengths.discard(UNKNOWN)
        if len(lengths) > 1:
            listed = " and ".join(map(text_of_extents, shapes))
            msg = f"shapes {listed} can't be broadcast to one shape: axis {axis} has other lengths"
            raise ValueError(msg)
        extents.append(lengths.pop() if lengths else ONE)
    return tuple(extents)


def elementwise(formula: Callable[..., Any], *operands: Any, dtype: str | None = None) -> TracedArray:
    """Returns the array of `formula(a, b, ...)` for the elements a, b, ... of `operands`, which are broadcast.

    Args:
        formula: a function of terms; see `code`.
        operands: symbols, arrays or numbers. A number becomes a constant of the code.
        dtype: of the result; default the common dtype of the operands.
    """
    trace = trace_of(*operands)
    numbers = [number_in(operand) for operand in operands]
    arrays = list[TracedArray]()  # the inputs of the node, each once
    input_of_operand, input_of_view = dict[int, int](), dict[Any, int]()
    for position, (operand, number) in enumerate(zip(operands, numbers, strict=True)):
        if number is None and not isinstance(operand, BatchLength):
            array = as_traced(operand, trace)
            if array.view not in input_of_view:
                input_of_view[array.view] = len(arrays)
                arrays.append(array)
            input_of_operand[position] = input_of_view[array.view]
    _draw_by_sample(arrays)
    code = Code(len(arrays))

    def term_of(position: int) -> Term:
        if position in input_of_operand:
            return Term(code, input_of_operand[position])
        operand, number = operands[position], numbers[position]
        if number is None:
            return length_term(code, operand.extent)
        return Term(code, code.add("constant", number=number))

    result = formula(*map(term_of, range(len(operands))))
    if not isinstance(result, Term):
        result = Term(code, code.add("constant", number=float(result)))
    # The core takes the result of the last instruction. A formula that returns an operand needs none.
    if not code.operations or result.register != code.registers - 1:
        if result.register < len(arrays):
            return arrays[result.register].as_dtype(dtype or arrays[result.register].dtype)
        code.add_copy(result.register)
    shape = broadcast(*(array.extents for array in arrays))
    return trace.add("map", arrays, shape, common_dtype(*operands) if dtype is None else dtype, **code.fields)


def _draw_by_sample(arrays: Sequence[TracedArray]) -> None:
    """Draws random numbers for each sample if their shape has a batch size in its place, as beside arrays of samples.

    Keras computes `z_mean + ops.exp(z_log_var) * random.normal((100, 2))` in batches of 100 samples, and refuses others.
    """
    axes = max((array.ndim for array in arrays), default=0)
    if any(array.ndim == axes and array.extents[:1] == (SAMPLES,) for array in arrays):
        for array in arrays:
            if array.ndim == axes and array.extents[0] not in (ONE, SAMPLES):
                _give_batch_axis(array)


def _give_batch_axis(array: TracedArray) -> None:
    """Gives random numbers that nothing has read yet the shape (n, ...) in place of one with a fixed number of rows."""
    entries, origin = array.trace.entries, array.origin
    node = entries[origin.entry] if isinstance(origin, Computed) else None
    if not isinstance(node, Node) or node.kind != "random" or node.shape != array.extents:
        return
    if not any(view[0] == origin for read in entries for view in read.inputs):
        array.extents = (SAMPLES, *array.extents[1:])
        entries[origin.entry] = node._replace(shape=array.extents)  # type: ignore[union-attr] # it is computed


def number_in(value: Any) -> float | None:
    """Returns a number that a user gave, also as an array without axes that no tape watches; None for anything else."""
    if isinstance(value, (bool, int, float, np.generic)):
        return float(value)
    if isinstance(value, np.ndarray) and value.ndim == 0 and not hasattr(value, "_weight_in"):
        watched = id(value) in getattr(current.get(), "watched", ())
        return None if watched else float(value)
    return None


def dtype_name(value: Any) -> Any:
    """Returns the dtype of an operand, as `result_type` takes it."""
    if isinstance(value, TracedArray):
        return np.dtype(value.dtype)
    if isinstance(value, BatchLength):
        return int
    if isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic)):
        return type(value)
    if hasattr(value, "_weight_in"):
        return np.dtype(np.float32)
    if isinstance(value, (list, tuple)):
        return result_type(*map(dtype_name, value)) if value else np.dtype(np.float32)
    return value


def common_dtype(*operands: Any, least_dtype: Any = None) -> str:
    """Returns the dtype that the result of an operation has, by Keras' rules."""
    return result_type(*map(dtype_name, operands), *([] if least_dtype is None else [least_dtype])).name


def float_dtype(*operands: Any) -> str:
    """Returns the common dtype of operands, but float32 for integers and bools."""
    return common_dtype(*operands, least_dtype=float)


def full(trace: Trace, shape: Extents, number: float, dtype: str) -> TracedArray:
    """Returns an array of one number."""
    return trace.add("map", (), shape, dtype, **constant(number).fields)


def coordinate(trace: Trace, shape: Extents, axis: int, dtype: str = "int32") -> TracedArray:
    """Returns an array that holds for each element its index along an axis."""
    code = Code(0)
    code.add("coordinate", number=float(axis))
    return trace.add("map", (), shape, dtype, **code.fields)


def broadcast_to(x: TracedArray, shape: Extents) -> TracedArray:
    """Returns an array repeated along axes of length 1 and new axes at the front."""
    if x.extents == shape:
        return x
    fitting = broadcast(x.extents, shape)
    if len(fitting) > len(shape) or not all(map(Extent.agrees_with, fitting, shape)):
        msg = f"an array of shape {text_of_extents(x.extents)} can't be broadcast to {text_of_extents(shape)}"
        raise ValueError(msg)
    return x.trace.add("map", (x,), shape, x.dtype, **copy_of_input().fields)


def reshape(x: TracedArray, shape: Sequence[Any]) -> TracedArray:
    """Returns the same numbers under another shape; one length may be -1. This is no node."""
    extents = [Extent(length) if isinstance(length, int) else length for length in shape]
    open_axes = [i for i, extent in enumerate(extents) if extent == Extent(-1)]
    if len(open_axes) <= 1 and (UNKNOWN in x.extents or UNKNOWN in extents):
        return x.reshaped(tuple(UNKNOWN if extent == Extent(-1) else extent for extent in extents))
    size = size_of(x.extents)
    if len(open_axes) == 1:
        (open_axis,) = open_axes
        remaining = quotient(size, size_of([*extents[:open_axis], *extents[open_axis + 1 :]]))
        if remaining is not None:
            extents[open_axis] = remaining
    if size_of(extents) != size or Extent(-1) in extents:
        msg = f"an array of shape {text_of_extents(x.extents)} can't have the shape {text_of_extents(tuple(extents))}: it has other elements"
        raise ValueError(msg)
    return x.reshaped(tuple(extents))


def axes_in(axis: Any, ndim: int) -> tuple[int, ...]:
    """Returns axes of an array in ascending order, 0 or above; None means all."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(
        sorted(
            {axis_in(position, ndim) for position in (axis if isinstance(axis, (list, tuple)) else (axis,))}
        )
    )


def axis_in(axis: Any, ndim: int) -> int:
    """Returns one axis, 0 or above."""
    number = int(axis)
    if not -ndim <= number < ndim:
        msg = f"axis {number} is out of bounds for an array with {ndim} axes"
        raise ValueError(msg)
    return number % ndim


def two_axes(axis1: Any, axis2: Any, ndim: int) -> tuple[int, int]:
    """Returns the axes of matrices in an array, 0 or above."""
    first, other = axis_in(axis1, ndim), axis_in(axis2, ndim)
    if first == other:
        msg = f"`axis1` and `axis2` must be two axes, got {axis1} and {axis2}"
        raise ValueError(msg)
    return first, other


# The core counts in float32, which holds every integer up to this one.
_MOST_PLACES = 2**24


def require_places(extent: Extent) -> None:
    """Checks that the places along an axis are numbers of the core.

    Raises:
        CannotRecordError: the axis is longer.
    """
    if extent.static is not None and extent.static > _MOST_PLACES:
        msg = (
            f"places along an axis of {extent.static:,} numbers can't be recorded: the core counts in float32, which holds every "
            f"integer up to {_MOST_PLACES:,}. Divide the axis into shorter ones, or call NumPy outside of the function"
        )
        raise CannotRecordError(msg)


def reduce(
    x: TracedArray, reduction: str, axis: Any, keepdims: bool, dtype: str | None = None
) -> TracedArray:
    """Returns the sum, product or an extreme of an array along axes, or the index of an extreme along one.

    Args:
        x: the array.
        reduction: "sum", "prod", "max", "min", "argmax" or "argmin".
        axis: an axis, several, or None for all.
        keepdims: whether the result has axes of length 1 in place of those.
        dtype: of the result; default that of `x`.
    """
    axes = axes_in(axis, x.ndim)
    if reduction in ("argmax", "argmin"):
        require_places(x.extents[axes[0]])
    remaining = tuple(extent for place, extent in enumerate(x.extents) if place not in axes)
    result = x.as_dtype(dtype or x.dtype)
    if axes:
        result = x.trace.add(
            "reduce", (x,), remaining, dtype or x.dtype, reduction=reduction, axes=list(axes)
        )
    if keepdims:
        return result.reshaped(
            tuple(ONE if place in axes else extent for place, extent in enumerate(x.extents))
        )
    return result


def transpose(x: TracedArray, axes: Sequence[int]) -> TracedArray:
    """Returns the array with its axes in the order `axes`. Without a node if only axes of length 1 change places."""
    order = [axis_in(axis, x.ndim) for axis in axes]
    if sorted(order) != list(range(x.ndim)):
        msg = f"`axes` must name each of the {x.ndim} axes of the array once, got {tuple(axes)}"
        raise ValueError(msg)
    shape = tuple(x.extents[axis] for axis in order)
    long = [axis for axis in order if x.extents[axis] != ONE]
    if long == sorted(long):
        return x.reshaped(shape)
    return x.trace.add("transpose", (x,), shape, x.dtype, axes=order)


def slice_(x: TracedArray, begin: Sequence[Extent], step: Sequence[int], shape: Extents) -> TracedArray:
    """Returns the elements `begin`, `begin + step` and so on of each axis, so many that they have `shape`."""
    if (
        shape == x.extents
        and all(start == Extent(0) for start in begin)
        and all(stride == 1 for stride in step)
    ):
        return x
    return x.trace.add("slice", (x,), shape, x.dtype, begin=as_pairs(tuple(begin)), step=list(step))


def part(x: TracedArray, axis: int, begin: Extent, length: Extent, step: int = 1) -> TracedArray:
    """Returns a part of an array along one axis."""
    begins = [begin if index == axis else Extent(0) for index in range(x.ndim)]
    steps = [step if index == axis else 1 for index in range(x.ndim)]
    shape = tuple(length if index == axis else extent for index, extent in enumerate(x.extents))
    return slice_(x, begins, steps, shape)


def join(parts: Sequence[TracedArray], axis: int) -> TracedArray:
    """Returns the concatenation of arrays along an axis."""
    first = parts[0]
    axis_index = axis_in(axis, first.ndim)
    total, shape = Extent(0), list(first.extents)
    for joined in parts:
        if joined.ndim != first.ndim or not all(
            length.agrees_with(other)
            for i, (length, other) in enumerate(zip(joined.extents, shape, strict=True))
            if i != axis_index
        ):
            listed = " and ".join(text_of_extents(array.extents) for array in parts)
            msg = f"arrays of shapes {listed} can't be joined along axis {axis}: their other axes differ"
            raise ValueError(msg)
        total = total.plus(joined.extents[axis_index])
        shape = [
            other if length == UNKNOWN else length
            for length, other in zip(shape, joined.extents, strict=True)
        ]
    if len(parts) == 1:
        return first
    shape[axis_index] = total
    dtype = common_dtype(*parts)
    return first.trace.add("join", parts, tuple(shape), dtype, axis=axis_index)


def gather(x: TracedArray, indices: TracedArray, batch_axes: int = 0) -> TracedArray:
    """Returns the elements of `x` at `indices` along its axis `batch_axes`; `x` and `indices` share the axes before it."""
    require_places(x.extents[batch_axes])
    shape = (*indices.extents, *x.extents[batch_axes + 1 :])
    return x.trace.add("gather", (x, indices), shape, x.dtype, batch_axes=batch_axes)


def scatter(
    rows: TracedArray, indices: TracedArray, count: Extent, reduction: str = "sum", initial: float = 0.0
) -> TracedArray:
    """Returns for each of `count` indices the sum of the rows that have it, or the largest of these numbers.

    Args:
        rows: the rows.
        indices: the index of each row. Those that are out of range are left out.
        count: how many indices there are.
        reduction: "sum" or "max".
        initial: what each number of the result begins with.
    """
    require_places(count)
    shape = (count, *rows.extents[indices.ndim :])
    return rows.trace.add(
        "scatter", (rows, indices), shape, rows.dtype, reduction=reduction, initial=initial, batch_axes=0
    )


def contraction(
    a: TracedArray, b: TracedArray, a_letters: str, b_letters: str, y_letters: str
) -> TracedArray:
    """Returns `einsum` of two arrays. No letter comes twice in one operand."""
    lengths = dict[str, Extent]()
    for array, letters in ((a, a_letters), (b, b_letters)):
        for letter, extent in zip(letters, array.extents, strict=True):
            if lengths.get(letter, UNKNOWN) == UNKNOWN:
                lengths[letter] = extent
            elif not lengths[letter].agrees_with(extent):
                msg = (
                    f"arrays of shapes {text_of_extents(a.extents)} and {text_of_extents(b.extents)} can't be multiplied: the axes "
                    "over which they are summed have other lengths"
                )
                raise ValueError(msg)
    shape = tuple(lengths[letter] for letter in y_letters)
    dtype = common_dtype(a, b)
    return a.trace.add(
        "contraction", (a, b), shape, dtype, a_letters=a_letters, b_letters=b_letters, y_letters=y_letters
    )


def cumulative_sum(x: TracedArray, axis: int, reverse: bool = False) -> TracedArray:
    """Returns the sums of all elements up to each one along an axis, or from each one on."""
    return x.trace.add(
        "cumulative_sum", (x,), x.extents, x.dtype, axis=axis_in(axis, x.ndim), reverse=reverse
    )


def sorted_along(x: TracedArray, gives_places: bool) -> TracedArray:
    """Returns the elements in ascending order along the last axis, NaN last, or the places that they have in `x`."""
    require_places(x.extents[-1])  # by which a gradient goes back, too
    dtype = "int32" if gives_places else x.dtype
    return x.trace.add("sort", (x,), x.extents, dtype, gives_places=gives_places)


def random(  # noqa: PLR0917 # the fields of the node
    trace: Trace, shape: Extents, distribution: str, low: float, high: float, seed: Mapping[str, int]
) -> TracedArray:
    """Returns random numbers.

    `seed` is the field "seed", with which they are drawn anew in each batch, or "fixed_seed", with which they stay the same.
    """
    return trace.add("random", (), shape, "float32", distribution=distribution, low=low, high=high, **seed)


def stop_gradient(x: TracedArray) -> TracedArray:
    """Returns the same numbers, which no gradient flows through."""
    return x.trace.add("stop_gradient", (x,), x.extents, x.dtype)
