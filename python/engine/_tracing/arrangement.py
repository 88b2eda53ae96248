"""Recording of the functions of `engine.ops` that move elements: indexing, reshaping, joining, repeating."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from engine._base.budget import spend
from engine._base.checks import choice
from engine._base.named_axes import rearrangement
from engine._base.promotion import as_array, standard
from engine._tracing.dispatch import records
from engine._tracing.elementwise import cast
from engine._tracing.extents import ONE, SAMPLES, UNKNOWN, Extent, Extents, joint_length, text_of_extents
from engine._tracing.primitives import (
    axes_in,
    axis_in,
    common_dtype,
    coordinate,
    elementwise,
    float_dtype,
    full,
    gather,
    join,
    part,
    scatter,
    slice_,
    two_axes,
)
from engine._tracing.primitives import broadcast as broadcast_shapes
from engine._tracing.primitives import broadcast_to as spread
from engine._tracing.primitives import reshape as reshaped
from engine._tracing.primitives import transpose as turned
from engine._tracing.reductions import argmax, array_of, max_, min_, prod, sum_
from engine._tracing.symbolic import BatchLength, extent_of, lengths, symbolics_in
from engine._tracing.trace import Trace, TracedArray, as_traced, trace_of

_NOTHING = Extent(0)
_SPACE = 3  # the numbers of a vector that has a vector product


# Shapes.


@records("reshape")
def reshape(x: Any, newshape: Any) -> TracedArray:
    """Returns the array in another shape."""
    array = array_of(x)
    return reshaped(array, _lengths_for(array, newshape))


def _lengths_for(array: TracedArray, shape: Any) -> Extents:
    """Returns the lengths of a new shape of `array`.

    None is in the shape of symbols of a model for every unknown length. Only in the first place of the shape of an array
    that has the samples there, too, it says which length is meant.
    """
    if not isinstance(shape, (list, tuple)) or all(length is not None for length in shape):
        return lengths(shape)
    if array.trace.only_shapes:
        return tuple(UNKNOWN if length is None else extent_of(length) for length in shape)
    if array.extents[:1] != (SAMPLES,) or any(length is None for length in shape[1:]):
        msg = (
            f"None in the shape {tuple(shape)} for {array!r} may stand for any unknown length: it can be the number of samples "
            "in the first place alone. Give -1 for one length, or write a layer, in whose `call` ops.shape(x) has lengths"
        )
        raise ValueError(msg)
    return (SAMPLES, *lengths(shape[1:]))


@records("ravel")
def ravel(x: Any) -> TracedArray:
    """The numbers as a vector."""
    return reshaped(array_of(x), (-1,))


@records("expand_dims")
def expand_dims(x: Any, axis: Any) -> TracedArray:
    """The array with new axes of length 1."""
    array = array_of(x)
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    total = array.ndim + len(axes)
    new = {axis_in(position, total) for position in axes}
    rest = iter(array.extents)
    return array.reshaped(tuple(ONE if position in new else next(rest) for position in range(total)))


@records("squeeze")
def squeeze(x: Any, axis: Any = None) -> TracedArray:
    """The array without axes of length 1."""
    array = array_of(x)
    if axis is None:
        gone = {place for place, extent in enumerate(array.extents) if extent == ONE}
    else:
        gone = set(axes_in(axis, array.ndim))
        for index in gone:
            if array.extents[index] != ONE:
                msg = f"only an axis of length 1 can be left out, but axis {index} of {array!r} isn't"
                raise ValueError(msg)
    return array.reshaped(tuple(extent for index, extent in enumerate(array.extents) if index not in gone))


@records("transpose")
def transpose(x: Any, axes: Any = None) -> TracedArray:
    """The array with its axes in another order."""
    array = array_of(x)
    return turned(array, range(array.ndim)[::-1] if axes is None else axes)


@records("swapaxes")
def swapaxes(x: Any, axis1: int, axis2: int) -> TracedArray:
    """The array with two axes exchanged."""
    array = array_of(x)
    order = list(range(array.ndim))
    first, other = axis_in(axis1, array.ndim), axis_in(axis2, array.ndim)
    order[first], order[other] = order[other], order[first]
    return turned(array, order)


@records("moveaxis")
def moveaxis(x: Any, source: Any, destination: Any) -> TracedArray:
    """The array with axes at other places."""
    array = array_of(x)
    moved = dict(zip(_several(destination, array.ndim), _several(source, array.ndim), strict=True))
    rest = iter(position for position in range(array.ndim) if position not in moved.values())
    return turned(
        array, [moved[position] if position in moved else next(rest) for position in range(array.ndim)]
    )


def _several(axis: Any, ndim: int) -> list[int]:
    return [axis_in(position, ndim) for position in (axis if isinstance(axis, (list, tuple)) else (axis,))]


@records("broadcast_to")
def broadcast_to(x: Any, shape: Any) -> TracedArray:
    """The array repeated to a shape."""
    array = as_traced(x, trace_of(x))
    return spread(array, _lengths_for(array, shape))


@records("rot90")
def rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> TracedArray:
    """The array turned by 90 degrees, `k` times."""
    rotated = array_of(array)
    for _ in range(k % 4):
        rotated = swapaxes(flip(rotated, axes[1]), *axes)
    return rotated


@records("rearrange")
def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> TracedArray:
    """The array with its axes reordered, split and joined as names say."""
    array = array_of(tensor)
    split_shape, order, joined = rearrangement(pattern, array.shape, axes_lengths)
    return reshape(turned(reshape(array, split_shape), order), joined)


# Indexing.


class WrongIndexError(IndexError, ValueError):
    """An index that a symbol doesn't have. NumPy raises the one error, Keras the other."""


@records("get_item")
def get_item(x: Any, key: Any) -> TracedArray:
    """`x[key]`, for integers, slices, None, Ellipsis, and arrays of integers, which must index consecutive axes."""
    array = array_of(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    consumed = sum(entry is not None and entry is not Ellipsis for entry in keys)
    if consumed > array.ndim or sum(entry is Ellipsis for entry in keys) > 1:
        msg = f"{array!r} has {array.ndim} axes, so it can't be indexed by {key!r}"
        raise WrongIndexError(msg)
    free: list[Any] = [slice(None)] * (array.ndim - consumed)
    if any(entry is Ellipsis for entry in keys):
        index = next(i for i, entry in enumerate(keys) if entry is Ellipsis)
        keys[index : index + 1] = free
    else:
        keys += free
    return _indexed(array, keys)


def _indexed(array: TracedArray, keys: Sequence[Any]) -> TracedArray:
    """Returns `array` indexed by one key for each axis, and None for each new one."""
    begin, step, lengths_left = list[Extent](), list[int](), list[Extent]()
    shape = list[Any]()  # of the result: an extent, or the number of an axis that is indexed by an array
    chosen = list[tuple[int, Any]]()  # the axes that are indexed by arrays, with these
    axis = 0  # of `array`
    for key in keys:
        if key is None:
            shape.append(ONE)
            continue
        extent = array.extents[axis]
        if isinstance(key, slice):
            first, by, count = _slice_of(key, extent)
            shape.append(count)
        elif _is_integer(key):
            first, by, count = _counted_from_front(key, extent), 1, ONE
        else:
            first, by, count = _NOTHING, 1, extent
            chosen.append((axis, key))
            shape.append(axis)
        begin.append(first)
        step.append(by)
        lengths_left.append(count)
        axis += 1
    sliced = slice_(array, begin, step, tuple(lengths_left))
    if not chosen:
        return sliced.reshaped(tuple(shape))
    return _chosen(sliced, chosen, shape)


def _chosen(array: TracedArray, chosen: Sequence[tuple[int, Any]], shape: Sequence[Any]) -> TracedArray:
    """Returns `array` with elements chosen along some axes by arrays of integers, which are broadcast together."""
    axes = [axis for axis, _ in chosen]
    total = array.extents[axes[0]]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        msg = "arrays as indices must follow each other in [...]: transpose the array before"
        raise WrongIndexError(msg)
    # The axes become one, whose indices are computed from those of each, as `np.ravel_multi_index` does.
    indices: Any = _indices(chosen[0][1], total, array.trace)
    for axis, key in chosen[1:]:
        extent = array.extents[axis]
        more = _indices(key, extent, array.trace)
        if extent.static is None:
            msg = "only the first of several arrays as indices can choose samples"
            raise WrongIndexError(msg)
        indices = elementwise(lambda a, b, n=extent.fixed: a * n + b, indices, more)
        total = total.times(extent.fixed)
    first, after = axes[0], array.extents[axes[-1] + 1 :]
    joined = array.reshaped((*array.extents[:first], total, *after))
    gathered = _gathered(joined, indices, first)
    inserted = list[Extent]()
    for length in shape:
        if not isinstance(length, int):
            inserted.append(length)
        elif length == first:
            inserted += indices.extents
    # Leaving out axes that integers index, and inserting new ones, only changes the shape.
    return gathered.reshaped(tuple(inserted))


def _gathered(array: TracedArray, indices: TracedArray, axis: int) -> TracedArray:
    """Returns the elements at `indices`, 0 or above, along an axis, with the axes of the indices in its place."""
    if axis == 0:
        return gather(array, indices)
    order = [axis, *(position for position in range(array.ndim) if position != axis)]
    gathered = gather(turned(array, order), indices)
    count = indices.ndim
    back = [*range(count, count + axis), *range(count), *range(count + axis, gathered.ndim)]
    return turned(gathered, back)


def _indices(key: Any, extent: Extent, trace: Trace) -> TracedArray:
    """Returns indices along an axis of length `extent` as a symbol, none of them negative."""
    if isinstance(key, TracedArray):
        if key.dtype == "bool":
            msg = "an index of bools chooses so many elements as values say: use ops.where, or multiply by it"
            raise TypeError(msg)
        if np.dtype(key.dtype).kind == "u":
            return key
        return elementwise(lambda i, n: (i < 0.0).choose(i + n, i), key, _number(extent), dtype=key.dtype)
    numbers = as_array(key)
    if numbers.dtype == np.bool_:
        numbers = np.nonzero(numbers)[0]
    if numbers.dtype.kind not in "iu":
        msg = f"an index must be integers, slices, None or Ellipsis, got {key!r}"
        raise TypeError(msg)
    if extent.static is not None:
        if numbers.size and not (-extent.fixed <= numbers.min() and numbers.max() < extent.fixed):
            msg = f"an index is out of range for an axis of length {extent.fixed}: {key!r}"
            raise WrongIndexError(msg)
        return trace.constant(np.where(numbers < 0, numbers + extent.fixed, numbers))
    if (numbers >= 0).all():
        return trace.constant(numbers)
    return _indices(trace.constant(numbers), extent, trace)


def _number(extent: Extent) -> Any:
    return BatchLength(extent) if extent.per_sample else extent.fixed


def _is_integer(key: Any) -> bool:
    if isinstance(key, (bool, TracedArray)):
        return False
    return isinstance(key, (BatchLength, int, np.integer)) or (
        isinstance(key, np.ndarray) and key.ndim == 0 and key.dtype.kind in "iu"
    )


def _counted_from_front(key: Any, extent: Extent) -> Extent:
    """Returns an index of an axis of length `extent`, of which a negative one counts from the end, as one from 0."""
    index = extent_of(key)
    if index.static is None:
        return index
    if extent.static is not None and not -extent.fixed <= index.fixed < extent.fixed:
        msg = f"index {index.fixed} is out of range for an axis of length {extent.fixed}"
        raise WrongIndexError(msg)
    return index if index.fixed >= 0 else extent.plus(index)


def _slice_of(key: slice, extent: Extent) -> tuple[Extent, int, Extent]:
    """Returns the first index, the step and the number of elements of a slice of an axis of length `extent`."""
    step = 1 if key.step is None else int(key.step)
    if extent.static is not None and not any(
        isinstance(bound, BatchLength) for bound in (key.start, key.stop)
    ):
        indices = range(extent.fixed)[slice(key.start, key.stop, key.step)]
        return Extent(indices.start if len(indices) else 0), step, Extent(len(indices))
    start = (_NOTHING if step > 0 else extent.plus(-1)) if key.start is None else _bound(key.start, extent)
    stop = (extent if step > 0 else Extent(-1)) if key.stop is None else _bound(key.stop, extent)
    span = stop.plus(start, -1) if step > 0 else start.plus(stop, -1)
    size = abs(step)
    if UNKNOWN in (extent, span):
        return start, step, UNKNOWN
    if not span.per_sample and span.fixed > 1:
        msg = (
            f"{key!r} takes {span.fixed} samples of each batch, but a batch may have fewer: take one, such as x[:1], or all, "
            "such as by a mean over axis 0, or give the other samples the weight 0, such as by "
            f"ops.cast(ops.arange(ops.shape(x)[0]) < {span.fixed}, 'float32'). A `train_step` of your own may take it, as its "
            "batches have known lengths"
        )
        raise WrongIndexError(msg)
    if size == 1:
        return start, step, span
    count = span.divided(size)
    if count is None:
        msg = f"the number of samples in {key!r} depends on the batch: a step must divide it"
        raise WrongIndexError(msg)
    return start, step, count


def _bound(value: Any, extent: Extent) -> Extent:
    """Returns a bound of a slice, of which a negative one counts from the end, as one from 0."""
    bound = extent_of(value)
    return extent.plus(bound) if bound.static is not None and bound.fixed < 0 else bound


@records("slice")
def slice_ops(inputs: Any, start_indices: Any, shape: Any) -> TracedArray:
    """A part of `shape` from `start_indices` on."""
    array = array_of(inputs)
    if symbolics_in(start_indices):
        return _slice_from_symbols(array, start_indices, shape)
    begin = [extent_of(index) for index in start_indices]
    lengths = [
        total.plus(first, -1) if length == Extent(-1) else length
        for length, first, total in zip(_lengths_for(array, shape), begin, array.extents, strict=True)
    ]
    return slice_(array, begin, [1] * array.ndim, tuple(lengths))


def _slice_from_symbols(array: TracedArray, start_indices: Any, shape: Any) -> TracedArray:
    """Returns the part of `array` that begins where symbols say: earlier if it would go over an end."""
    for axis, (total, size) in enumerate(zip(array.extents, _lengths_for(array, shape), strict=True)):
        if size == total:
            continue
        if not isinstance(start_indices, TracedArray) and not symbolics_in(start_indices[axis]):
            first = extent_of(start_indices[axis])
            array = part(array, axis, first, total.plus(first, -1) if size == Extent(-1) else size)
            continue
        if size.static is None or size.fixed < 0 or total.static is None:
            if not array.trace.only_shapes:
                msg = (
                    "a part that begins where a symbol says must have a known length along each axis of known length, got "
                    f"`shape` {shape} for {array!r}"
                )
                raise ValueError(msg)
            length = UNKNOWN if size == Extent(-1) else size
            array = part(array, axis, _NOTHING, length)
            continue
        start = elementwise(
            lambda first, last=float(total.fixed - size.fixed), count=float(total.fixed): (
                (first < 0.0).choose(first + count, first).of("maximum", 0.0).of("minimum", last)
            ),
            start_indices[axis],
        )
        indices = coordinate(array.trace, (size,), 0)
        array = _gathered(array, elementwise(lambda first, i: first + i, start, indices, dtype="int32"), axis)
    return array


@records("take")
def take(x: Any, indices: Any, axis: Any = None) -> TracedArray:
    """The elements at indices along an axis."""
    trace = trace_of(x, indices)
    array = as_traced(x, trace)
    if axis is None:
        array, axis = reshaped(array, (-1,)), 0
    axis_index = axis_in(axis, array.ndim)
    if _is_integer(indices):
        return _indexed(
            array, [indices if position == axis_index else slice(None) for position in range(array.ndim)]
        )
    return _gathered(array, _indices(indices, array.extents[axis_index], trace), axis_index)


@records("take_along_axis")
def take_along_axis(x: Any, indices: Any, axis: Any = None) -> TracedArray:
    """The elements at indices along an axis, with indices of its own for each position along the others."""
    trace = trace_of(x, indices)
    array, chosen = as_traced(x, trace), as_traced(indices, trace)
    if axis is None:
        array, chosen, axis = reshaped(array, (-1,)), reshaped(chosen, (-1,)), 0
    axis_index = axis_in(axis, array.ndim)
    places = _indices(chosen, array.extents[axis_index], trace)
    other_extents = broadcast_shapes(
        *((*operand.extents[:axis_index], *operand.extents[axis_index + 1 :]) for operand in (array, places))
    )
    rows = [
        spread(
            operand, (*other_extents[:axis_index], operand.extents[axis_index], *other_extents[axis_index:])
        )
        for operand in (array, places)
    ]
    order = [*(position for position in range(array.ndim) if position != axis_index), axis_index]
    back = [*range(axis_index), array.ndim - 1, *range(axis_index, array.ndim - 1)]
    return turned(gather(turned(rows[0], order), turned(rows[1], order), array.ndim - 1), back)


@records("diagonal")
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TracedArray:
    """The diagonals of matrices."""
    array = array_of(x)
    first, other = two_axes(axis1, axis2, array.ndim)
    rows, columns = array.extents[first].static, array.extents[other].static
    rest = [position for position in range(array.ndim) if position not in (first, other)]
    if UNKNOWN in (array.extents[first], array.extents[other]):
        return full(array.trace, (*(array.extents[position] for position in rest), UNKNOWN), 0.0, array.dtype)
    if rows is None or columns is None:
        msg = "the diagonal of a matrix needs lengths that don't depend on the number of samples"
        raise ValueError(msg)
    indices = np.diagonal(np.arange(rows * columns).reshape(rows, columns), offset)
    matrices = turned(array, [*rest, first, other])
    flat = matrices.reshaped((*matrices.extents[:-2], Extent(rows * columns)))
    return _gathered(flat, array.trace.constant(indices), len(rest))


@records("diag")
def diag(x: Any, k: int = 0) -> TracedArray:
    """The diagonal of a matrix, or the matrix of a vector."""
    array = array_of(x)
    if array.ndim == 1:
        return _on_diagonal(array, k)
    if array.ndim != 2:  # noqa: PLR2004 # a matrix
        msg = f"`diag` takes a vector or a matrix, got {array!r}: use ops.diagonal"
        raise ValueError(msg)
    return diagonal(array, k)


@records("diagflat")
def diagflat(x: Any, k: int = 0) -> TracedArray:
    """The matrix with the numbers on a diagonal."""
    return _on_diagonal(ravel(x), k)


def _on_diagonal(vector: TracedArray, k: int) -> TracedArray:
    size = vector.extents[0]
    padded = pad(vector, (max(k, 0), max(-k, 0))) if k else vector
    side = size.plus(abs(k))
    rows, columns = (coordinate(vector.trace, (side, side), axis) for axis in (0, 1))
    return elementwise(
        lambda a, i, j: (j - i).equals(float(k)).choose(a, 0.0), padded, rows, columns, dtype=vector.dtype
    )


# Joining and splitting.


def _arrays(values: Any) -> list[TracedArray]:
    trace = trace_of(*values)
    return [as_traced(value, trace) for value in values]


@records("concatenate")
def concatenate(xs: Any, axis: Any = 0) -> TracedArray:
    """Arrays one behind the other."""
    arrays = _arrays(xs)
    if axis is None:
        arrays, axis = [reshaped(array, (-1,)) for array in arrays], 0
    return join(arrays, axis)


@records("append")
def append(x1: Any, x2: Any, axis: Any = None) -> TracedArray:
    """The second array behind the first one."""
    return concatenate([x1, x2], axis)


def _agree(first: Extents, other: Extents) -> bool:
    return len(first) == len(other) and all(a.agrees_with(b) for a, b in zip(first, other, strict=True))


@records("stack")
def stack(x: Any, axis: int = 0) -> TracedArray:
    """Arrays along a new axis."""
    arrays = _arrays(x)
    shape = broadcast_shapes(*(array.extents for array in arrays))
    if any(not _agree(array.extents, shape) for array in arrays):
        msg = f"stack joins arrays of one shape, got {', '.join(text_of_extents(each.extents) for each in arrays)}"
        raise ValueError(msg)
    axis_index = axis_in(axis, len(shape) + 1)
    return join([expand_dims(spread(array, shape), axis_index) for array in arrays], axis_index)


@records("vstack")
def vstack(xs: Any) -> TracedArray:
    """Arrays below each other; vectors are rows."""
    return join([_at_least(array, 2) for array in _arrays(xs)], 0)


@records("hstack")
def hstack(xs: Any) -> TracedArray:
    """Arrays beside each other."""
    arrays = [_at_least(array, 1) for array in _arrays(xs)]
    return join(arrays, 0 if arrays[0].ndim == 1 else 1)


@records("dstack")
def dstack(xs: Any) -> TracedArray:
    """Arrays along the third axis."""
    arrays = [_at_least(array, 2) for array in _arrays(xs)]
    return join([expand_dims(array, 2) if array.ndim == 2 else array for array in arrays], 2)  # noqa: PLR2004 # matrices


def _at_least(x: TracedArray, axes: int) -> TracedArray:
    return x.reshaped((*[ONE] * (axes - x.ndim), *x.extents))


@records("split")
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[TracedArray]:
    """The parts of an array along an axis."""
    array = array_of(x)
    axis_index = axis_in(axis, array.ndim)
    total = array.extents[axis_index]
    if not isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        count = int(indices_or_sections)
        size = total.divided(count)
        if size is None:
            msg = f"{array!r} can't be split into {count} equal parts along axis {axis}"
            raise ValueError(msg)
        return [part(array, axis_index, size.times(number), size) for number in range(count)]
    bounds = [_NOTHING, *(_bound(index, total) for index in list(indices_or_sections)), total]
    if total.static is not None:
        fixed_bounds = [
            min(bound.fixed, total.fixed) if bound.static is not None else bound for bound in bounds
        ]
        bounds = [bound if isinstance(bound, Extent) else Extent(bound) for bound in fixed_bounds]
    return [part(array, axis_index, first, last.plus(first, -1)) for first, last in pairwise(bounds)]


@records("array_split")
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[TracedArray]:
    """The parts of an array along an axis, of nearly equal lengths."""
    array = array_of(x)
    total = array.extents[axis_in(axis, array.ndim)].static
    if isinstance(indices_or_sections, int) and total is not None:
        spend(indices_or_sections, "the parts of an array")
        bounds = np.cumsum(
            [len(section) for section in np.array_split(np.arange(total), indices_or_sections)]
        )
        return split(array, bounds[:-1].tolist(), axis)
    return split(array, indices_or_sections, axis)


@records("hsplit")
def hsplit(x: Any, indices_or_sections: Any) -> list[TracedArray]:
    """The parts along the second axis."""
    return split(x, indices_or_sections, 0 if array_of(x).ndim == 1 else 1)


@records("vsplit")
def vsplit(x: Any, indices_or_sections: Any) -> list[TracedArray]:
    """The parts along the first axis."""
    return split(x, indices_or_sections, 0)


@records("dsplit")
def dsplit(x: Any, indices_or_sections: Any) -> list[TracedArray]:
    """The parts along the third axis."""
    return split(x, indices_or_sections, 2)


@records("unstack")
def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[TracedArray]:
    """The arrays along an axis."""
    array = array_of(x)
    axis_index = axis_in(axis, array.ndim)
    count = num if array.extents[axis_index] == UNKNOWN else array.extents[axis_index].static
    if count is None:
        msg = f"{array!r} can't be taken apart along axis {axis}, whose length depends on the batch"
        raise ValueError(msg)
    if num not in (None, count):
        msg = f"`num` must be the length {count} of axis {axis}, got {num}"
        raise ValueError(msg)
    return [squeeze(part(array, axis_index, Extent(number), ONE), axis_index) for number in range(count)]


# Repeating and moving.


@records("repeat")
def repeat(x: Any, repeats: Any, axis: Any = None) -> TracedArray:
    """The array with each element several times."""
    array = array_of(x)
    if axis is None:
        array, axis = reshaped(array, (-1,)), 0
    axis_index = axis_in(axis, array.ndim)
    if isinstance(repeats, (list, tuple, np.ndarray)) and np.size(repeats) > 1:
        spend(int(np.sum(repeats)), "what `repeats` repeats")
        if array.extents[axis_index] == UNKNOWN:
            shape = (*array.extents[:axis_index], UNKNOWN, *array.extents[axis_index + 1 :])
            return full(array.trace, shape, 0.0, array.dtype)
        if array.extents[axis_index] != Extent(len(repeats)):
            msg = f"`repeats` must be one number, or one for each place along axis {axis} of {array!r}, got {len(repeats)}"
            raise ValueError(msg)
        return take(array, np.repeat(np.arange(len(repeats)), repeats), axis_index)
    times = int(np.reshape(repeats, ()))
    long = array.reshaped((*array.extents[: axis_index + 1], ONE, *array.extents[axis_index + 1 :]))
    wide = spread(long, (*array.extents[: axis_index + 1], Extent(times), *array.extents[axis_index + 1 :]))
    extent = array.extents[axis_index].times(times)
    return wide.reshaped((*array.extents[:axis_index], extent, *array.extents[axis_index + 1 :]))


@records("tile")
def tile(x: Any, repeats: Any) -> TracedArray:
    """The array several times along each axis."""
    array = array_of(x)
    counts = [
        extent_of(number)
        for number in (repeats if isinstance(repeats, (list, tuple, np.ndarray)) else [repeats])
    ]
    axes = max(array.ndim, len(counts))
    array = _at_least(array, axes)
    times = [*[ONE] * (axes - len(counts)), *counts]
    split_shape = tuple(part_extent for extent in array.extents for part_extent in (ONE, extent))
    wide = tuple(
        part_extent
        for extent, count in zip(array.extents, times, strict=True)
        for part_extent in (count, extent)
    )
    total = list[Extent]()
    for extent, count in zip(array.extents, times, strict=True):
        product = joint_length((extent, count))
        if product is None:
            msg = "an axis that depends on the number of samples can't be repeated as often as there are samples"
            raise ValueError(msg)
        total.append(product)
    return spread(array.reshaped(split_shape), wide).reshaped(tuple(total))


@records("flip")
def flip(x: Any, axis: Any = None) -> TracedArray:
    """The array in the opposite order."""
    array = array_of(x)
    axes = axes_in(axis, array.ndim)
    begin = [extent.plus(-1) if index in axes else _NOTHING for index, extent in enumerate(array.extents)]
    return slice_(array, begin, [-1 if index in axes else 1 for index in range(array.ndim)], array.extents)


@records("fliplr")
def fliplr(x: Any) -> TracedArray:
    """The array in the opposite order along the second axis."""
    return flip(x, 1)


@records("flipud")
def flipud(x: Any) -> TracedArray:
    """The array in the opposite order along the first axis."""
    return flip(x, 0)


@records("roll")
def roll(x: Any, shift: Any, axis: Any = None) -> TracedArray:
    """The array moved along axes."""
    array = array_of(x)
    if axis is None:
        return roll(reshaped(array, (-1,)), shift, 0).reshaped(array.extents)
    axes, shifts = np.broadcast_arrays(axis, shift)
    for moved_axis, moved in zip(axes.reshape(-1).tolist(), shifts.reshape(-1).tolist(), strict=True):
        index = axis_in(moved_axis, array.ndim)
        total = array.extents[index]
        by = int(moved) if total.static is None else int(moved) % max(total.fixed, 1)
        if by == 0:
            continue
        end = Extent(by) if by > 0 else total.plus(by)
        rest = total.plus(end, -1)
        array = join([part(array, index, rest, end), part(array, index, _NOTHING, rest)], index)
    return array


@records("pad")
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> TracedArray:
    """The array with more elements at the ends of its axes."""
    array = array_of(x)
    if constant_values is not None and mode != "constant":
        msg = f"`constant_values` can only be given when `mode` is 'constant', got mode={mode!r}"
        raise ValueError(msg)
    widths = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2)).tolist()
    for axis, (before, after) in enumerate(widths):
        ends = [
            _padding(array, axis, count, mode, constant_values or 0, at_end)
            for count, at_end in ((before, False), (after, True))
        ]
        parts = [*ends[0], array, *ends[1]]
        array = join(parts, axis)
    return array


def _padding(  # noqa: PLR0917 # what `pad` was given
    array: TracedArray, axis: int, count: int, mode: str, value: float, at_end: bool
) -> list[TracedArray]:
    """Returns a list with the array that is added at one end of an axis; an empty list if `count` is 0."""
    if count == 0:
        return []
    total = array.extents[axis]
    shape = tuple(Extent(count) if index == axis else extent for index, extent in enumerate(array.extents))
    if mode == "constant":
        return [full(array.trace, shape, float(value), array.dtype)]
    edge = total.plus(-1)
    if mode == "edge":
        return [spread(part(array, axis, edge if at_end else _NOTHING, ONE), shape)]
    size = Extent(count)
    if mode == "wrap":
        return [part(array, axis, _NOTHING if at_end else total.plus(size, -1), size)]
    if mode in ("reflect", "symmetric"):
        skip = 1 if mode == "reflect" else 0
        first = edge.plus(-skip) if at_end else Extent(count - 1 + skip)
        return [part(array, axis, first, size, -1)]
    msg = f"`mode` must be 'constant', 'edge', 'reflect', 'symmetric' or 'wrap' in a traced function, got {mode!r}"
    raise ValueError(msg)


# Arrays that are computed from the indices of their elements.


def _triangle(x: Any, k: int, upper: bool) -> TracedArray:
    array = array_of(x)
    rows, columns = (coordinate(array.trace, array.extents[-2:], axis) for axis in (0, 1))
    return elementwise(
        lambda a, i, j: ((i + float(k) <= j) if upper else (j <= i + float(k))).choose(a, 0.0),
        array,
        rows,
        columns,
        dtype=array.dtype,
    )


@records("tril")
def tril(x: Any, k: int = 0) -> TracedArray:
    """The lower triangles of matrices."""
    return _triangle(x, k, upper=False)


@records("triu")
def triu(x: Any, k: int = 0) -> TracedArray:
    """The upper triangles of matrices."""
    return _triangle(x, k, upper=True)


@records("eye")
def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> TracedArray:  # noqa: N803 # Keras' names
    """A matrix of ones on a diagonal."""
    trace = trace_of()
    shape = (extent_of(N), extent_of(N if M is None else M))
    rows, columns = coordinate(trace, shape, 0), coordinate(trace, shape, 1)
    return elementwise(lambda i, j: (j - i).equals(float(k)), rows, columns, dtype=standard(dtype).name)


@records("identity")
def identity(n: Any, dtype: Any = None) -> TracedArray:
    """The identity matrix."""
    return eye(n, dtype=dtype)


@records("tri")
def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> TracedArray:  # noqa: N803 # Keras' names
    """A matrix of ones below a diagonal."""
    trace = trace_of()
    shape = (extent_of(N), extent_of(N if M is None else M))
    rows, columns = coordinate(trace, shape, 0), coordinate(trace, shape, 1)
    return elementwise(lambda i, j: j <= i + float(k), rows, columns, dtype=standard(dtype).name)


@records("arange")
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> TracedArray:
    """Numbers at equal distances."""
    trace = trace_of(start, stop)
    first, last = (0, start) if stop is None else (start, stop)
    by = 1 if step is None else step
    count = extent_of(last).plus(extent_of(first), -1).divided(by)
    if count is None:
        msg = f"the step of arange must divide a length that depends on the batch, got {by}"
        raise ValueError(msg)
    indices = coordinate(trace, (count,), 0)
    name = "int32" if dtype is None else standard(dtype).name
    return elementwise(lambda i, begin: i * float(by) + begin, indices, first, dtype=name)


@records("linspace")
def linspace(  # noqa: PLR0917 # Keras' signature
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Numbers at equal distances between two."""
    trace = trace_of(start, stop)
    first, last = as_traced(start, trace), as_traced(stop, trace)
    shape = broadcast_shapes(first.extents, last.extents)
    axis_index = axis_in(axis, len(shape) + 1)
    steps = num - 1 if endpoint else num
    line = tuple(Extent(num) if i == axis_index else ONE for i in range(len(shape) + 1))
    fractions = elementwise(
        lambda i: i / float(max(steps, 1)), coordinate(trace, line, axis_index), dtype="float32"
    )
    left, other = (expand_dims(spread(bound, shape), axis_index) for bound in (first, last))
    name = "float32" if dtype is None else standard(dtype).name
    values = elementwise(lambda a, b, s: a + (b - a) * s, left, other, fractions, dtype=name)
    step = elementwise(lambda a, b: (b - a) / (steps or math.nan), first, last, dtype=name)
    return (values, step) if retstep else values


@records("logspace")
def logspace(  # noqa: PLR0917 # Keras' signature
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10,
    dtype: Any = None,
    axis: int = 0,
) -> TracedArray:
    """Powers of a base with exponents at equal distances."""
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    name = float_dtype(start, stop) if dtype is None else standard(dtype).name
    return cast(elementwise(lambda b, a: b.of("power", a), base, exponents, dtype="float32"), name)


@records("geomspace")
def geomspace(  # noqa: PLR0917 # Keras' signature
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> TracedArray:
    """Numbers at equal ratios, all of the sign of the first one."""
    trace = trace_of(start, stop)
    first, last = as_traced(start, trace), as_traced(stop, trace)
    shape = broadcast_shapes(first.extents, last.extents)
    axis_index = axis_in(axis, len(shape) + 1)
    line = tuple(Extent(num) if i == axis_index else ONE for i in range(len(shape) + 1))
    low, other = (expand_dims(spread(bound, shape), axis_index) for bound in (first, last))
    steps = float(max(num - 1 if endpoint else num, 1))
    values = elementwise(
        lambda i, a, b: i.equals(0.0).choose(a, i.equals(steps).choose(b, a * (b / a).of("power", i / steps))),
        coordinate(trace, line, axis_index), low, other, dtype="float32",
    )  # fmt: skip
    return cast(values, float_dtype(first, last) if dtype is None else standard(dtype).name)


@records("meshgrid")
def meshgrid(*x: Any, indexing: str = "xy") -> list[TracedArray]:
    """Arrays of the coordinates of a grid."""
    choice(indexing, "indexing", ("xy", "ij"))
    arrays = [reshaped(vector, (-1,)) for vector in _arrays(x)]
    axes = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        axes[:2] = [1, 0]
    shape = list[Extent](vector.extents[0] for vector in arrays)
    for array, axis in zip(arrays, axes, strict=True):
        shape[axis] = array.extents[0]
    return [
        spread(
            array.reshaped(tuple(array.extents[0] if i == axis else ONE for i in range(len(shape)))),
            tuple(shape),
        )
        for array, axis in zip(arrays, axes, strict=True)
    ]


@records("one_hot")
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> TracedArray:
    """A 1 at each index, along a new axis."""
    del sparse
    array = array_of(x)
    axis_index = axis_in(axis, array.ndim + 1)
    line = tuple(extent_of(num_classes) if i == axis_index else ONE for i in range(array.ndim + 1))
    name = "float32" if dtype is None else standard(dtype).name
    classes = coordinate(array.trace, line, axis_index)
    return elementwise(lambda a, b: a.equals(b), expand_dims(array, axis_index), classes, dtype=name)


@records("multi_hot")
def multi_hot(  # Keras' signature
    inputs: Any,
    num_classes: Any = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
    **kwargs: Any,
) -> TracedArray:
    """A 1 at the place of each of several indices."""
    count = kwargs.pop("num_tokens", None) if num_classes is None else num_classes
    array = array_of(inputs)
    return max_(one_hot(array, count, axis, dtype, sparse), 1 if array.ndim > 1 else 0)


def _segments_of(num_segments: Any) -> int:
    if num_segments is None:
        msg = "`num_segments` must be given in a traced function, where the largest number is not known"
        raise ValueError(msg)
    return int(num_segments)


def _memberships(segment_ids: Any, num_segments: Any, trace: Trace) -> TracedArray:
    if num_segments is None and trace.only_shapes:
        ids = as_traced(segment_ids, trace)
        return full(trace, (*ids.extents, UNKNOWN), 0.0, "float32")
    return one_hot(as_traced(segment_ids, trace), _segments_of(num_segments))


@records("segment_sum")
def segment_sum(
    data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False
) -> TracedArray:  # Keras' name
    """The sums of rows that have the same number."""
    del sorted
    trace = trace_of(data, segment_ids)
    rows = as_traced(data, trace)
    ids = as_traced(segment_ids, trace)
    if num_segments is None and trace.only_shapes:
        return full(trace, (UNKNOWN, *rows.extents[1:]), 0.0, rows.dtype)
    return scatter(rows, ids, extent_of(_segments_of(num_segments)))


def _segments(data: Any, segment_ids: Any, num_segments: Any, reduction: Any, nothing: float) -> TracedArray:
    trace = trace_of(data, segment_ids)
    rows = as_traced(data, trace)
    members = _memberships(segment_ids, num_segments, trace)
    spread_members = members.reshaped((*members.extents, *[ONE] * (rows.ndim - 1)))
    masked = elementwise(
        lambda m, a: m.choose(a, nothing), spread_members, expand_dims(rows, 1), dtype=rows.dtype
    )
    return reduction(masked, 0)  # type: ignore[no-any-return] # max_ and the like


@records("segment_max")
def segment_max(
    data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False
) -> TracedArray:  # Keras' name
    """The largest of the rows that have the same number."""
    del sorted
    return _segments(data, segment_ids, num_segments, max_, float(np.finfo(np.float32).min))


@records("segment_min")
def segment_min(
    data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False
) -> TracedArray:  # Keras' name
    """The smallest of the rows that have the same number."""
    del sorted
    return _segments(data, segment_ids, num_segments, min_, float(np.finfo(np.float32).max))


@records("segment_prod")
def segment_prod(
    data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False
) -> TracedArray:  # Keras' name
    """The products of the rows that have the same number."""
    del sorted
    return _segments(data, segment_ids, num_segments, prod, 1.0)


@records("top_k")
def top_k(
    x: Any,
    k: int,
    sorted: bool = True,  # Keras' name
    is_stable: bool = True,
) -> tuple[TracedArray, TracedArray]:
    """The largest numbers along the last axis, and their places, of equal numbers the first."""
    del sorted, is_stable
    rest = array_of(x)
    width = rest.extents[-1]
    if width != UNKNOWN and (width.static is None or not 0 < k <= width.fixed):
        msg = f"`k` must be from 1 to the length of the last axis of {rest!r}, got {k}"
        raise ValueError(msg)
    values, indices = list[TracedArray](), list[TracedArray]()
    for _ in range(k):
        index = argmax(rest, -1, keepdims=True)
        indices.append(index)
        values.append(take_along_axis(rest, index, -1))
        column = coordinate(rest.trace, (*[ONE] * (rest.ndim - 1), width), rest.ndim - 1)
        rest = elementwise(
            lambda a, chosen, i: chosen.equals(i).choose(-math.inf, a), rest, index, column, dtype=rest.dtype
        )
    return join(values, -1), join(indices, -1)


@records("in_top_k")
def in_top_k(targets: Any, predictions: Any, k: int) -> TracedArray:
    """Returns whether fewer than `k` numbers are larger than that of the target."""
    trace = trace_of(targets, predictions)
    rows, classes = as_traced(predictions, trace), as_traced(targets, trace)
    score = take_along_axis(rows, expand_dims(classes, -1), -1)
    larger = elementwise(lambda a, b: b < a, rows, score, dtype="float32")
    return elementwise(lambda count: count < float(k), sum_(larger, -1), dtype="bool")


@records("cross")
def cross(  # noqa: PLR0917 # Keras' signature
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> TracedArray:
    """Vector products. Of two vectors of two components each, the third one, which isn't 0."""
    a, b = _arrays([x1, x2])
    if axis is not None:
        axisa = axisb = axisc = axis
    left, right = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    counts = [vectors.extents[-1] for vectors in (left, right)]
    if any(count not in (Extent(_SPACE - 1), Extent(_SPACE), UNKNOWN) for count in counts):
        msg = f"`x1` and `x2` must have 2 or 3 numbers along their axes `axisa` and `axisb`, got {a!r} and {b!r}"
        raise ValueError(msg)
    plane = Extent(_SPACE) not in counts
    if not plane:
        left, right = (
            pad(vectors, [(0, 0)] * (vectors.ndim - 1) + [(0, 1)]) if count == Extent(_SPACE - 1) else vectors
            for vectors, count in zip((left, right), counts, strict=True)
        )

    def component(i: int, j: int) -> TracedArray:
        pairs = left[..., i], right[..., j], left[..., j], right[..., i]
        return elementwise(lambda p, q, r, s: p * q - r * s, *pairs, dtype=common_dtype(a, b))

    if plane:
        return component(0, 1)
    return stack([component(1, 2), component(2, 0), component(0, 1)], axisc)
