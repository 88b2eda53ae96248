"""The functions of arrays at the top of `engine.tensorflow`: what makes, cuts, joins and rearranges them."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from engine import ops, tree
from engine._base.tensor_like import StoredArray
from engine._tracing.errors import needs_values
from engine._tracing.symbolic import current, is_symbolic
from engine.tensorflow._like_ops import like_ops
from engine.tensorflow._tensor import Tensor, TensorShape, constant, lengths, returns_tensors, tensors

_SAME = like_ops(
    """
    broadcast_to broadcast_to input shape
    identity copy input
    stop_gradient stop_gradient input
    """,
    "engine.tensorflow",
)
broadcast_to, identity, stop_gradient = _SAME["broadcast_to"], _SAME["identity"], _SAME["stop_gradient"]


class TopK(NamedTuple):
    """The largest entries, and where they are."""

    values: Any
    indices: Any


class Unique(NamedTuple):
    """The different entries, and the place of each entry among them."""

    y: Any
    idx: Any


class UniqueWithCounts(NamedTuple):
    """The different entries, the place of each entry among them, and how often each occurs."""

    y: Any
    idx: Any
    count: Any


def _name(dtype: Any) -> str:
    return str(np.dtype(dtype).name)


def _integers(values: Any) -> Any:
    """Returns an argument that may be a tensor as an integer or nested lists of them."""
    return np.asarray(values).tolist() if not is_symbolic(values) else values


# What makes arrays.


def convert_to_tensor(value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None) -> Any:
    """Returns a tensor of numbers, an array, a variable or nested lists; a tensor as it is.

    Args:
        value: what to convert.
        dtype: of the tensor, by default that of `constant`.
        dtype_hint: the dtype for numbers of Python.
        name: without effect.
    """
    if isinstance(value, (np.ndarray, StoredArray)) or is_symbolic(value):
        if is_symbolic(value) or isinstance(value, StoredArray):
            return tensors(ops.convert_to_tensor(value, None if dtype is None else _name(dtype)))
        return tensors(value if dtype is None else value.astype(dtype, copy=False))
    return constant(value, dtype_hint if dtype is None else dtype)


def is_tensor(x: Any) -> bool:
    """Returns whether `x` is a tensor, a variable or a symbol, and no array of NumPy."""
    return isinstance(x, (Tensor, StoredArray))


@returns_tensors
def zeros(shape: Any, dtype: Any = np.float32, name: str | None = None) -> Any:
    """Returns zeros."""
    return ops.zeros(lengths(shape), _name(dtype))


@returns_tensors
def ones(shape: Any, dtype: Any = np.float32, name: str | None = None) -> Any:
    """Returns ones."""
    return ops.ones(lengths(shape), _name(dtype))


@returns_tensors
def fill(dims: Any, value: Any, name: str | None = None) -> Any:
    """Returns an array of shape `dims` with one number everywhere."""
    value = convert_to_tensor(value)
    return ops.full(lengths(dims), value, _name(value.dtype))


@returns_tensors
def zeros_like(input: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Returns zeros with the shape of an array."""
    return ops.zeros_like(convert_to_tensor(input), None if dtype is None else _name(dtype))


@returns_tensors
def ones_like(input: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Returns ones with the shape of an array."""
    return ops.ones_like(convert_to_tensor(input), None if dtype is None else _name(dtype))


@returns_tensors
def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = np.float32,
    name: str | None = None,
) -> Any:
    """Returns a matrix with ones on its diagonal and zeros elsewhere, once for each place in `batch_shape`."""
    matrix = ops.eye(int(num_rows), None if num_columns is None else int(num_columns), 0, _name(dtype))
    return matrix if batch_shape is None else np.tile(matrix, (*lengths(batch_shape), 1, 1))


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = None) -> Any:
    """Returns the numbers from `start`, or from 0, below `limit`, in steps of `delta`."""
    begin, end = (0, start) if limit is None else (start, limit)
    values: list[Any] = [
        np.asarray(constant(each) if not hasattr(each, "dtype") else each) for each in (begin, end, delta)
    ]
    kind = np.result_type(*values) if dtype is None else np.dtype(dtype)
    first, last, step = (value[()] for value in values)
    return np.arange(first, last, step).astype(kind).view(Tensor)


@returns_tensors
def linspace(start: Any, stop: Any, num: Any, name: str | None = None, axis: int = 0) -> Any:
    """Returns `num` numbers from `start` to `stop`, both included, at equal distances."""
    begin = constant(start) if not hasattr(start, "dtype") else start
    kind = np.dtype(begin.dtype) if np.dtype(begin.dtype).kind == "f" else np.dtype(np.float64)
    return np.linspace(start, stop, int(num), axis=axis).astype(kind)


@returns_tensors
def one_hot(  # TensorFlow's signature
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Any:
    """Returns an array with `on_value` at each index, by default 1, and `off_value` elsewhere, by default 0."""
    if dtype is None:
        dtype = next((constant(each).dtype for each in (on_value, off_value) if each is not None), np.float32)
    hot = ops.one_hot(indices, int(depth), -1 if axis is None else axis, _name(dtype))
    if on_value is None and off_value is None:
        return hot
    low, high = 0 if off_value is None else off_value, 1 if on_value is None else on_value
    if np.dtype(dtype).kind in {"b", "U"}:
        return np.where(hot, high, low)
    return ops.add(
        ops.multiply(hot, ops.cast(np.subtract(high, low), _name(dtype))), ops.cast(low, _name(dtype))
    )


@returns_tensors
def meshgrid(*args: Any, **kwargs: Any) -> Any:
    """Returns the coordinates of a grid; `indexing` is "xy" or "ij"."""
    kwargs.pop("name", None)
    return ops.meshgrid(*args, **kwargs)


@returns_tensors
def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = np.bool_, name: str | None = None) -> Any:
    """Returns for each length a row that is true up to it, and false after it."""
    counts = np.asarray(lengths)
    longest = int(counts.max(initial=0)) if maxlen is None else int(maxlen)
    return (np.arange(longest) < counts[..., np.newaxis]).astype(dtype)


# Shapes and dtypes.


def shape(input: Any, out_type: Any = np.int32, name: str | None = None) -> Any:
    """Returns the shape as a tensor. For a symbol whose batch axis has no length yet it is a tuple."""
    sizes = ops.shape(input)
    known = all(isinstance(size, (int, np.integer)) for size in sizes)
    return np.array(sizes, out_type).view(Tensor) if known else sizes


def size(input: Any, out_type: Any = np.int32, name: str | None = None) -> Any:
    """Returns how many entries there are."""
    return constant(int(np.prod(ops.shape(input), dtype=np.int64)), out_type)


def rank(input: Any, name: str | None = None) -> Any:
    """Returns the number of axes."""
    return constant(ops.ndim(input))


@returns_tensors
def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """Returns the numbers with another dtype. Fractions are cut off."""
    if np.asarray(x).dtype.kind in "US" if not is_symbolic(x) else False:
        msg = "texts are no numbers: call tf.strings.to_number()"
        raise TypeError(msg)
    return ops.cast(x, _name(dtype))


@returns_tensors
def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Any:
    """Returns the numbers with another dtype, and those outside of its range as its ends."""
    return ops.saturate_cast(value, _name(dtype))


@returns_tensors
def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """Returns the entries in another shape. One length may be -1."""
    return ops.reshape(tensor, lengths(shape))


@returns_tensors
def expand_dims(input: Any, axis: Any, name: str | None = None) -> Any:
    """Inserts an axis of length 1."""
    return ops.expand_dims(input, int(axis))


@returns_tensors
def squeeze(input: Any, axis: Any = None, name: str | None = None) -> Any:
    """Drops axes of length 1; all by default."""
    axes = None if axis is None else _integers(axis)
    return ops.squeeze(input, tuple(axes) if isinstance(axes, list) else axes)


@returns_tensors
def transpose(a: Any, perm: Any = None, conjugate: bool = False, name: str | None = None) -> Any:
    """Changes the order of the axes; by default it turns round."""
    result = ops.transpose(a, None if perm is None else tuple(_integers(perm)))
    return ops.conj(result) if conjugate else result


@returns_tensors
def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Any:
    """Returns `x`, whose shape must fit.

    Raises:
        ValueError: if it has another shape.
    """
    if not TensorShape(shape).is_compatible_with(ops.shape(x)):
        msg = f"the shape must be {tuple(shape)}, got {tuple(ops.shape(x))}"
        raise ValueError(msg)
    return x


# Parts.


@returns_tensors
def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: Any = None,
    batch_dims: int = 0,
    name: str | None = None,
) -> Any:
    """Returns entries along one axis.

    Args:
        params: array.
        indices: integers.
        validate_indices: without effect.
        axis: the axis, by default the first after the `batch_dims`.
        batch_dims: how many of the first axes `params` and `indices` share: each place there has its own indices.
        name: without effect.
    """
    place = int(batch_dims) if axis is None else int(axis)
    if not batch_dims:
        return ops.take(params, indices, axis=place)
    place %= ops.ndim(params)
    index = np.asarray(indices)
    grids = np.ogrid[tuple(np.s_[:length] for length in index.shape[:batch_dims])]
    spread = [grid.reshape(grid.shape + (1,) * (index.ndim - batch_dims)) for grid in grids]
    taken = ops.moveaxis(params, place, batch_dims)[(*spread, index)]
    before = (
        place - batch_dims
    )  # the axes between the batch and the indexed one now follow those of the indices
    return ops.moveaxis(
        taken,
        [index.ndim + i for i in builtins.range(before)],
        [batch_dims + i for i in builtins.range(before)],
    )


@returns_tensors
def gather_nd(params: Any, indices: Any, batch_dims: int = 0, name: str | None = None) -> Any:
    """Returns the entries or parts at places, each of which is the last axis of `indices`."""
    index = np.asarray(indices)
    places = tuple(np.moveaxis(index, -1, 0))
    if batch_dims:
        grids = np.ogrid[tuple(np.s_[:length] for length in index.shape[:batch_dims])]
        places = (*(g.reshape(g.shape + (1,) * (index.ndim - 1 - batch_dims)) for g in grids), *places)
    return (params if hasattr(params, "shape") else np.asarray(params))[places]


@returns_tensors
def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Any:
    """Returns the part that begins at `begin` and has the lengths `size`, where -1 goes to the end."""
    starts, counts = _integers(begin), _integers(size)
    ends = [None if count < 0 else start + count for start, count in zip(starts, counts, strict=True)]
    part = tuple(np.s_[start:end] for start, end in zip(starts, ends, strict=True))
    return (input_ if hasattr(input_, "shape") else np.asarray(input_))[part]


@returns_tensors
def boolean_mask(tensor: Any, mask: Any, axis: int | None = None, name: str = "boolean_mask") -> Any:
    """Returns the entries where the mask is true, which stands for axes from `axis` on."""
    return np.asarray(tensor)[(np.s_[:],) * (axis or 0) + (np.asarray(mask, bool),)]


@returns_tensors
def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """Returns x where the condition is true, and y elsewhere; without them the places where it is true."""
    if x is None and y is None:
        return np.argwhere(np.asarray(condition))
    return ops.where(condition, x, y)


def split(value: Any, num_or_size_splits: Any, axis: int = 0, num: Any = None, name: str = "split") -> Any:
    """Cuts an array along one axis into equal parts, or into parts of given lengths, one of which may be -1."""
    sizes = _integers(num_or_size_splits)
    if isinstance(sizes, list):
        whole = ops.shape(value)[axis]
        if -1 in sizes:
            sizes[sizes.index(-1)] = whole - sum(sizes) - 1
        return tensors(list(ops.split(value, list(accumulate(sizes))[:-1], axis)))
    return tensors(list(ops.split(value, sizes, axis)))


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> Any:
    """Returns a list of the parts along one axis."""
    return tensors(list(ops.unstack(value, num, axis)))


# What joins and repeats.


@returns_tensors
def concat(values: Any, axis: Any, name: str = "concat") -> Any:
    """Joins arrays along one axis."""
    return ops.concatenate(list(values), axis=int(axis))


@returns_tensors
def stack(values: Any, axis: int = 0, name: str = "stack") -> Any:
    """Joins arrays along a new axis."""
    return ops.stack([convert_to_tensor(value) for value in values], axis)


@returns_tensors
def tile(input: Any, multiples: Any, name: str | None = None) -> Any:
    """Repeats an array along each axis."""
    return ops.tile(input, lengths(multiples))


@returns_tensors
def repeat(input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> Any:
    """Repeats each entry along one axis, by default in one row."""
    return ops.repeat(input, _integers(repeats), axis)


@returns_tensors
def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None
) -> Any:
    """Adds entries before and after along each axis; `mode` is "CONSTANT", "REFLECT" or "SYMMETRIC"."""
    widths = _integers(paddings)
    if mode.upper() == "CONSTANT":
        return ops.pad(tensor, widths, "constant", constant_values)
    return ops.pad(tensor, widths, mode.lower())


@returns_tensors
def reverse(tensor: Any, axis: Any, name: str | None = None) -> Any:
    """Turns the order along axes round."""
    axes = _integers(axis)
    return ops.flip(tensor, tuple(axes) if isinstance(axes, list) else axes)


@returns_tensors
def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Any:
    """Moves the entries along axes, those at the end to the beginning."""
    return ops.roll(input, _integers(shift), _integers(axis))


# Order.


def _descends(direction: str) -> bool:
    if direction not in {"ASCENDING", "DESCENDING"}:
        msg = f"`direction` must be 'ASCENDING' or 'DESCENDING', got {direction!r}"
        raise ValueError(msg)
    return direction == "DESCENDING"


@returns_tensors
def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Any:
    """Sorts along one axis; `direction` is "ASCENDING" or "DESCENDING"."""
    result = ops.sort(values, axis)
    return ops.flip(result, axis) if _descends(direction) else result


@returns_tensors
def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Any:
    """Returns the indices that sort along one axis. Equal entries keep their order."""
    if not _descends(direction):
        return ops.cast(ops.argsort(values, axis), "int32")
    length = ops.shape(values)[axis]
    backwards = ops.flip(ops.argsort(ops.flip(values, axis), axis), axis)
    return ops.cast(ops.subtract(length - 1, backwards), "int32")


@returns_tensors
def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = np.int32, name: str | None = None
) -> Any:
    """Returns where values would be inserted into sorted rows; both have the same first axes."""
    rows, wanted = np.asarray(sorted_sequence), np.asarray(values)
    if rows.ndim == 1:
        return np.searchsorted(rows, wanted, side=side).astype(out_type)  # type: ignore[call-overload] # checks side
    places = np.empty(wanted.shape, out_type)
    for row in np.ndindex(rows.shape[:-1]):
        places[row] = np.searchsorted(rows[row], wanted[row], side=side)  # type: ignore[call-overload]
    return places


def unique(x: Any, out_idx: Any = np.int32, name: str | None = None) -> Unique:
    """Returns the different entries in the order in which they first occur, and the place of each entry among them."""
    y, idx, _ = unique_with_counts(x, out_idx)
    return Unique(y, idx)


def unique_with_counts(x: Any, out_idx: Any = np.int32, name: str | None = None) -> UniqueWithCounts:
    """Returns what `unique` does, and how often each entry occurs."""
    values, first, inverse, counts = np.unique(
        np.asarray(convert_to_tensor(x)), return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    indices = place[inverse.reshape(np.shape(x))].astype(out_idx)
    return UniqueWithCounts(*tensors((values[order], indices, counts[order].astype(out_idx))))


# What writes into arrays: each returns a new one.


@returns_tensors
def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Any:
    """Returns zeros to which updates are added at places."""
    result = ops.scatter(indices, updates, lengths(shape))
    dtype = np.dtype(getattr(updates, "dtype", result.dtype))
    return result if result.dtype == dtype else ops.cast(result, dtype.name)


def _updated(tensor: Any, indices: Any, updates: Any, reduction: str | None) -> Any:
    return ops.scatter_update(convert_to_tensor(tensor), indices, updates, reduction)


@returns_tensors
def tensor_scatter_nd_update(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """Returns an array with other entries or parts at places."""
    return _updated(tensor, indices, updates, None)


@returns_tensors
def tensor_scatter_nd_add(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """Returns an array to which updates are added at places."""
    return _updated(tensor, indices, updates, "add")


@returns_tensors
def tensor_scatter_nd_sub(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """Returns an array from which updates are subtracted at places."""
    return _updated(tensor, indices, ops.negative(updates), "add")


@returns_tensors
def tensor_scatter_nd_max(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """Returns the larger of the entries and the updates at places."""
    return _updated(tensor, indices, updates, "max")


@returns_tensors
def tensor_scatter_nd_min(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """Returns the smaller of the entries and the updates at places."""
    return _updated(tensor, indices, updates, "min")


# Clipping.


@returns_tensors
def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Returns numbers between two limits."""
    return ops.minimum(ops.maximum(t, clip_value_min), clip_value_max)


@returns_tensors
def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Returns t * clip_norm / max(norm of t over axes, clip_norm)."""
    axes = None if axes is None else tuple(np.atleast_1d(np.asarray(axes)).tolist())
    norm = ops.sqrt(ops.sum(ops.square(t), axes, keepdims=True))
    return ops.divide(ops.multiply(t, clip_norm), ops.maximum(norm, clip_norm))


def clip_by_global_norm(t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None) -> Any:
    """Returns arrays times clip_norm / max(norm of all together, clip_norm), and this norm. None stays None."""
    norm = global_norm(t_list) if use_norm is None else use_norm
    factor = ops.divide(clip_norm, ops.maximum(norm, clip_norm))
    return [None if each is None else tensors(ops.multiply(each, factor)) for each in t_list], norm


@returns_tensors
def global_norm(t_list: Any, name: str | None = None) -> Any:
    """Returns the square root of the sum of the squares of all entries of arrays."""
    total: Any = 0.0
    for each in t_list:
        if each is not None:
            total = ops.add(total, ops.sum(ops.square(each)))
    return ops.sqrt(total)


# Control flow.


@returns_tensors
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: str | None = None) -> Any:
    """Returns what one of two functions does, by a condition."""
    return ops.cond(pred, true_fn, false_fn)


@returns_tensors
def while_loop(  # TensorFlow's signature
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    maximum_iterations: int | None = None,
    name: str | None = None,
) -> Any:
    """Calls `body` with the variables of a loop while `cond` is true for them. The other arguments are without effect."""
    limit = None if maximum_iterations is None else int(maximum_iterations)
    return ops.while_loop(cond, body, tree.map_structure(convert_to_tensor, loop_vars), limit)


@returns_tensors
def map_fn(fn: Callable[[Any], Any], elems: Any, dtype: Any = None, **others: Any) -> Any:
    """Returns what a function does with each part along the first axis of arrays. The other arguments are without effect."""
    return ops.map(fn, tree.map_structure(convert_to_tensor, elems))


@returns_tensors
def vectorized_map(
    fn: Callable[[Any], Any], elems: Any, fallback_to_while_loop: bool = True, warn: bool = True
) -> Any:
    """Returns what a function does with each part along the first axis of arrays, computed for all at once."""
    return ops.vectorized_map(fn, tree.map_structure(convert_to_tensor, elems))


@returns_tensors
def scan(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, **others: Any) -> Any:
    """Returns all values of a state: `fn` makes the next one of the last one and a part along the first axis.

    Args:
        fn: called as `fn(state, part)`, returns the next state.
        elems: array, or a structure of arrays.
        initializer: the first state; by default the first part, which is the first value, too.
        **others: `reverse`, whether the parts come in the other order. All others are without effect.
    """
    elems = tree.map_structure(convert_to_tensor, elems)
    reverse = bool(others.get("reverse"))
    if reverse:
        elems = tree.map_structure(lambda each: ops.flip(each, 0), elems)
    if initializer is None:
        state = tree.map_structure(lambda each: each[0], elems)
        elems = tree.map_structure(lambda each: each[1:], elems)
    else:
        state = tree.map_structure(convert_to_tensor, initializer)
    first = state

    def step(state: Any, part: Any) -> Any:
        following = fn(state, part)
        return following, following

    _, values = ops.scan(step, state, elems)
    if initializer is None:
        values = tree.map_structure(
            lambda one, all_: ops.concatenate([ops.expand_dims(one, 0), all_], 0), first, values
        )
    return tree.map_structure(lambda each: ops.flip(each, 0), values) if reverse else values


@returns_tensors
def foldl(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, **others: Any) -> Any:
    """Returns the last value of a state: `fn` makes the next one of the last one and a part along the first axis."""
    parts = list(convert_to_tensor(elems))
    state = parts.pop(0) if initializer is None else convert_to_tensor(initializer)
    for part in parts:
        state = fn(state, part)
    return state


@returns_tensors
def foldr(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, **others: Any) -> Any:
    """Does what `foldl` does, from the last part to the first."""
    return foldl(fn, ops.flip(convert_to_tensor(elems), 0), initializer)


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """Returns the shape that arrays of two shapes have together."""
    return TensorShape(np.broadcast_shapes(tuple(shape_x), tuple(shape_y)))


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Any:
    """Returns the shape that arrays of two shapes have together, as a tensor."""
    return constant(np.broadcast_shapes(lengths(shape_x), lengths(shape_y)), np.int32)


def timestamp(name: str | None = None) -> Any:
    """Returns the seconds since 1970. A function that contains such a call runs as it is written."""
    if current.get() is not None:
        raise needs_values("the present time", "tf.timestamp()")
    return constant(time.time(), np.float64)


def py_function(func: Callable[..., Any], inp: Any, Tout: Any, name: str | None = None) -> Any:  # noqa: N803
    """Calls a function of Python with tensors. A function that contains such a call runs as it is written."""
    if any(is_symbolic(leaf) for leaf in tree.flatten(inp)):
        raise needs_values("an argument of tf.py_function", "tf.py_function")
    result = func(*map(tensors, inp))
    if isinstance(Tout, (list, tuple)) and not Tout:
        return []
    if isinstance(Tout, (list, tuple)):
        return [constant(each, dtype) for each, dtype in zip(result, Tout, strict=True)]
    return constant(result, Tout)


def numpy_function(
    func: Callable[..., Any] | None = None,
    inp: Any = None,
    Tout: Any = None,  # noqa: N803
    stateful: bool = True,
    name: str | None = None,
) -> Any:
    """Calls a function of Python with arrays of NumPy. A function that contains such a call runs as it is written.

    Without `func` it decorates a function, whose calls are of that kind.
    """
    if func is None:
        return lambda decorated: lambda *args: numpy_function(decorated, args, Tout)
    return py_function(lambda *args: func(*map(np.asarray, args)), inp, Tout)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function that returns its value, and a function that makes derivatives of those of the value."""
    return ops.custom_gradient(f)


@contextmanager
def no_effect(*args: Any, **kwargs: Any) -> Iterator[None]:
    """Takes the place of contexts that have no meaning here, such as `tf.name_scope`."""
    yield
