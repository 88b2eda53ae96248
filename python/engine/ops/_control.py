"""Conversions, loops and branches, and changes of parts of arrays."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from engine import tree
from engine._base.checks import integer
from engine._base.promotion import Array, Result, as_array, copied, standard
from engine._base.quiet import quiet
from engine._base.tensor_like import Tensor
from engine._tracing.errors import CannotRecordError, NeedsValuesError, line_of_user
from engine._tracing.symbolic import apply, contains_symbolic, is_symbolic
from engine._tracing.traceable import make_all_traceable

# The most rounds of a loop that are recorded although the last ones may not be needed: each of them is computed.
_MOST_ROUNDS = 100

_REDUCTIONS: dict[str, Any] = {
    "add": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
}


@quiet
def cast(x: ArrayLike, dtype: DTypeLike) -> Result:
    """`x` as a new array of `dtype`.

    Args:
        x: an array, or what NumPy makes one of.
        dtype: such as "float32" or "bool".
    """
    return as_array(x).astype(standard(dtype))


@quiet
def saturate_cast(x: ArrayLike, dtype: DTypeLike) -> Result:
    """`x` as a new array of `dtype`, with its lowest and largest number for those beyond it."""
    values, target = as_array(x), standard(dtype)
    if target.kind not in "iuf" or values.dtype.kind not in "iuf":
        return values.astype(target)
    limits: Any = np.iinfo(target) if target.kind in "iu" else np.finfo(target)
    low, high = (
        builtins.float(limit) if values.dtype.kind == "f" else limit for limit in (limits.min, limits.max)
    )
    if values.dtype.kind in "iu":
        own_limits = np.iinfo(values.dtype)
        low, high = max(low, int(own_limits.min)), min(high, int(own_limits.max))
    clipped = np.clip(values, low, high)
    result = clipped.astype(target)
    # The largest integer may not be representable as a float.
    if target.kind in "iu" and values.dtype.kind == "f":
        result = np.where(values >= high, limits.max, result).astype(target)
        result = np.where(values <= low, limits.min, result).astype(target)
    return result


def convert_to_tensor(
    x: ArrayLike, dtype: DTypeLike | None = None, sparse: bool | None = None, ragged: bool | None = None
) -> Result:
    """`x` as a new array.

    Args:
        x: an array, or what NumPy makes one of.
        dtype: of the result; default float32 for floats of Python, int32 for its integers, else as it is.
        sparse: None or False; there are no sparse arrays here.
        ragged: None or False; there are no ragged arrays here.

    Raises:
        ValueError: for `sparse` or `ragged`.
    """
    if sparse or ragged:
        msg = f"`{'sparse' if sparse else 'ragged'}` must be None or False: there are only dense arrays here"
        raise ValueError(msg)
    array = copied(as_array(x, dtype))
    return array.view(Tensor) if array.dtype.char == "f" else array


def convert_to_numpy(x: ArrayLike) -> Result:
    """`x`, an array or what NumPy makes one of, as a new array."""
    return np.array(x)


def is_tensor(x: Any) -> bool:
    """Returns whether `x` is an array, or a number of NumPy, which functions of `ops` return for one number."""
    return isinstance(x, (np.ndarray, np.generic))


def shape(x: ArrayLike) -> tuple[int, ...]:
    """The shape of `x`, an array or what NumPy makes one of."""
    return np.shape(x)


def dtype(x: ArrayLike) -> str:
    """The name of the dtype of `x`, such as "float32"."""
    return as_array(x).dtype.name


def stop_gradient(variable: ArrayLike) -> Result:
    """A copy of `variable`: nothing here derives what it is used in."""
    return copied(as_array(variable))


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` with a gradient of its own, which layers, losses and gradient tapes use.

    Args:
        f: returns a pair: its result, one array, and a function that computes the gradient. That function gets the gradient
            with respect to the result, and returns the gradient with respect to the argument of `f`, or a gradient for each
            of its arguments, in their shape; None for an argument without one.

    Example:
        >>> import engine as keras
        >>> @keras.ops.custom_gradient
        ... def rounded(x):  # as if it were the identity
        ...     return keras.ops.round(x), lambda upstream: upstream
        >>> float(keras.grad(lambda x: rounded(x) ** 2)(2.6))
        6.0
    """

    @wraps(f)
    def result_only(*args: Any, **kwargs: Any) -> Any:
        if contains_symbolic(args) or contains_symbolic(kwargs):
            return apply("custom_gradient", (f, args, kwargs), {})
        result, _ = f(*args, **kwargs)
        return result

    return result_only


def cond(pred: ArrayLike, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Returns the result of `true_fn` if the single bool `pred` is true, else that of `false_fn`."""
    return true_fn() if bool(as_array(pred)) else false_fn()


def switch(index: ArrayLike, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Returns the result of function number `index` of `branches` for `operands`; an index out of range is clipped."""
    return branches[min(max(int(as_array(index)), 0), len(branches) - 1)](*operands)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """Returns `loop_vars` after `body` was called on them as long as `cond` was true.

    Args:
        cond: a function of the variables that returns a single bool.
        body: a function of the variables that returns as many.
        loop_vars: a tuple or list of variables, or one.
        maximum_iterations: the most calls of `body`. Where a function is recorded and `cond` depends on numbers, it must be 100 or
            less: so many rounds are recorded, and variables keep their values from the round on for which `cond` is false.

    Returns:
        A tuple, or the one variable.
    """
    several = isinstance(loop_vars, (tuple, list))
    variables = tuple(loop_vars) if several else (loop_vars,)
    calls, goes_on = 0, None
    while maximum_iterations is None or calls < maximum_iterations:
        condition = cond(*variables)
        holds = _known_truth(condition)
        if holds is None and (maximum_iterations is None or maximum_iterations > _MOST_ROUNDS):
            advice = f"give `maximum_iterations`, at most {_MOST_ROUNDS}, which is how many are recorded then"
            raise _unknown_rounds("the condition of ops.while_loop", advice)
        if holds is False and goes_on is None:
            break
        result = body(*variables)
        following = tuple(result) if several else (result,)
        if holds is None or goes_on is not None:
            goes_on = condition if goes_on is None else apply("logical_and", (goes_on, condition), {})
            following = apply("cond", (goes_on, partial(tuple, following), partial(tuple, variables)), {})
        variables = following
        calls += 1
    return variables if several else variables[0]


def _known_truth(condition: Any) -> bool | None:
    """Returns whether a condition is true; None if its number isn't known, since a function is recorded."""
    try:
        return bool(condition)
    except NeedsValuesError:
        return None


def _unknown_rounds(what: str, advice: str) -> NeedsValuesError:
    """Returns the error for a loop that is recorded round by round, although their number depends on numbers.

    Args:
        what: depends on numbers.
        advice: what to do.
    """
    return NeedsValuesError(
        f"{line_of_user()}: {what} depends on numbers that are there only when a batch runs, so it isn't known how many rounds to "
        f"record: {advice}, or let the loop run in Python, on numbers"
    )


def fori_loop(lower: int, upper: int, body_fun: Callable[[int, Any], Any], init_val: Any) -> Any:
    """Returns `init_val` after `value = body_fun(i, value)` for i from `lower` to `upper - 1`."""
    value = init_val
    try:
        steps = range(int(lower), int(upper))
    except NeedsValuesError:
        raise _unknown_rounds(
            "a bound of ops.fori_loop", "give bounds that are known, and choose by ops.where(i < n, a, b)"
        ) from None
    for step in steps:
        value = body_fun(step, value)
    return value


def scan(  # noqa: PLR0917 # Keras' signature
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Call `carry, y = f(carry, x)` for each part x of `xs` along the first axis.

    Args:
        f: a function of what is carried on and of a part.
        init: what the first call carries.
        xs: an array, or a nested structure of arrays of one length; None for parts None.
        length: how many parts there are; needed without `xs`.
        reverse: whether to begin with the last part.
        unroll: an integer of at least 1, or a bool; without effect.

    Returns:
        What the last call carried on, and the results y stacked along the first axis, in the order of `xs`.

    Raises:
        ValueError: if lengths differ or there is none, or for another `unroll`.
    """
    if not isinstance(unroll, bool):
        integer(unroll, "unroll", 1)
    count = _length(xs, length)
    carry, results = init, []
    for index in reversed(range(count)) if reverse else range(count):
        carry, result = f(carry, _part(xs, index))
        results.append(result)
    return carry, _stacked(results[::-1] if reverse else results)


def associative_scan(f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """The results of the associative function `f` for all elements up to each place.

    Args:
        f: a function of two elements, which are arrays with `axis`, or structures of them.
        elems: an array, or a nested structure of arrays of one length along `axis`.
        reverse: whether to begin with the last element.
        axis: along which the elements lie.
    """
    leaves = tree.flatten(elems)
    count = _one_length({_length_along(leaf, axis) for leaf in leaves})
    order = list(reversed(range(count)) if reverse else range(count))
    results: list[Any] = []
    for index in order:
        element = tree.map_structure(lambda leaf: _along(leaf, index, axis), elems)  # noqa: B023 # called at once
        results.append(f(results[-1], element) if results else element)
    results = results[::-1] if reverse else results
    if not results:
        return tree.map_structure(lambda leaf: copied(as_array(leaf)), elems)

    def joined(*parts: Any) -> Any:
        if contains_symbolic(parts):
            return apply("concatenate", (list(parts), axis), {})
        return np.concatenate(parts, axis)

    return tree.map_structure(joined, *results)


def _along(leaf: Any, index: int, axis: int) -> Any:
    """Returns the part at a place along an axis, which it keeps."""
    before = axis % len(leaf.shape if is_symbolic(leaf) else np.shape(leaf))
    return _item(leaf, (builtins.slice(None),) * before + (builtins.slice(index, index + 1),))


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """Returns the results of `f` for each part of `xs` along the first axis, stacked along the first axis.

    Args:
        f: a function of a part; its results are arrays, or nested structures of arrays.
        xs: an array, or a nested structure of arrays of one length.
    """
    return _stacked([f(_part(xs, index)) for index in range(_length(xs, None))])


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """Returns the results of `function` for each part of `elements` along the first axis, stacked, as `map` does.

    Where `elements` are recorded, `function` is recorded once for all parts, as by `keras.vmap`, unless it looks at numbers.
    """
    if contains_symbolic(elements):
        from engine._gradients.vectorization import vmap

        try:
            return vmap(function)(elements)
        except (
            CannotRecordError,
            NeedsValuesError,
        ):  # maybe the numbers of single parts are known, as on a tape
            pass
    return map(function, elements)


def slice(inputs: ArrayLike, start_indices: Any, shape: Sequence[int]) -> Result:
    """The part of `inputs` of the shape `shape` that begins at `start_indices`.

    Args:
        inputs: any shape.
        start_indices: the first place along each axis; a part that would go over the end begins earlier.
        shape: its length along each axis; -1 is the rest.
    """
    values = as_array(inputs)
    starts = _places(start_indices)
    sizes = [
        values.shape[axis] - start if size == -1 else int(size)
        for axis, (size, start) in enumerate(zip(shape, starts, strict=True))
    ]
    return copied(values[_window(values, starts, sizes)])


def slice_update(inputs: ArrayLike, start_indices: Any, updates: ArrayLike) -> Result:
    """A copy of `inputs` with `updates` at the place that begins at `start_indices`, as for `slice`."""
    result = copied(as_array(inputs))
    new = as_array(updates)
    result[_window(result, _places(start_indices), new.shape)] = new
    return result


@quiet
def scatter(indices: ArrayLike, values: ArrayLike, shape: Sequence[int]) -> Result:
    """Zeros of `shape` with `values` added at `indices`.

    Args:
        indices: (..., k), places along the first k axes; those out of range are left out.
        values: the numbers, or the parts, for each place.
        shape: of the result.
    """
    added = as_array(values)
    result = np.zeros(tuple(shape), added.dtype)
    _change(result, as_array(indices), added, np.add)
    return result


@quiet
def scatter_update(
    inputs: ArrayLike, indices: ArrayLike, updates: ArrayLike, reduction: str | None = None
) -> Result:
    """A copy of `inputs` with `updates` at `indices`.

    Args:
        inputs: any shape.
        indices: (n, k), places along the first k axes; those out of range are left out.
        updates: the numbers, or the parts, for each place.
        reduction: what they do there: None replaces; "add", "mul", "max" or "min".

    Raises:
        ValueError: for another `reduction`.
    """
    name = reduction.lower() if isinstance(reduction, str) else reduction
    if name is not None and name not in _REDUCTIONS:
        msg = f"`reduction` must be None or one of {', '.join(_REDUCTIONS)}, got {reduction!r}"
        raise ValueError(msg)
    result = copied(as_array(inputs))
    _change(result, as_array(indices), as_array(updates).astype(result.dtype), _REDUCTIONS.get(name or ""))
    return result


def unstack(x: ArrayLike, num: int | None = None, axis: int = 0) -> list[Array]:
    """The parts of `x` along `axis`, without that axis.

    Args:
        x: any shape.
        num: how many there are; default found from the shape.
        axis: along which they lie.
    """
    del num
    return [copied(part) for part in np.moveaxis(as_array(x), axis, 0)]


def _places(indices: Any) -> list[int]:
    return np.asarray(indices).reshape(-1).tolist()


def _length(xs: Any, length: int | None) -> int:
    """Returns the number of parts along the first axes."""
    lengths = set() if xs is None else {_length_along(leaf, 0) for leaf in tree.flatten(xs)}
    return _one_length(lengths if length is None else {*lengths, integer(length, "length", 0)})


def _one_length(lengths: set[int]) -> int:
    if len(lengths) != 1:
        msg = f"the arrays, and `length` if given, must have one length, got {sorted(lengths) or 'none'}"
        raise ValueError(msg)
    return lengths.pop()


def _length_along(leaf: Any, axis: int) -> int:
    """Returns a length of an array or a symbol.

    Raises:
        TypeError: for a length that depends on the batch.
    """
    length = (leaf.shape if is_symbolic(leaf) else np.shape(leaf))[axis]
    if not isinstance(length, int):
        msg = f"a loop is recorded round by round, so its number of rounds can't depend on the batch, as that of {leaf!r}"
        raise TypeError(msg)
    return length


def _item(leaf: Any, key: Any) -> Any:
    """Returns a part of an array as a new one, or the part of a symbol."""
    return apply("get_item", (leaf, key), {}) if is_symbolic(leaf) else copied(as_array(leaf)[key])


def _part(xs: Any, index: int) -> Any:
    return None if xs is None else tree.map_structure(lambda leaf: _item(leaf, index), xs)


def _stacked(results: list[Any]) -> Any:
    if not results:
        return np.zeros((0,), np.float32)
    if results[0] is None:
        return None

    def stacked(*parts: Any) -> Any:
        if contains_symbolic(parts):
            return apply("stack", (list(parts),), {})
        return np.stack([as_array(part) for part in parts])

    return tree.map_structure(stacked, *results, none_is_leaf=False)


def _window(values: Array, starts: Sequence[int], sizes: Sequence[int]) -> tuple[builtins.slice, ...]:
    """Returns where a part of `sizes` begins: at `starts`, or before that if it would not fit in otherwise."""
    window = []
    for start, size, extent in zip(starts, sizes, values.shape, strict=True):
        if size > extent:
            msg = f"a part of shape {tuple(sizes)} doesn't fit into {values.shape}"
            raise ValueError(msg)
        begin = min(max(start + extent if start < 0 else start, 0), extent - size)
        window.append(builtins.slice(begin, begin + size))
    return tuple(window)


def _change(result: Array, indices: Array, updates: Array, reduction: Any) -> None:
    """Sets `result` at `indices` (..., k) to `updates`, or combines the old values with them."""
    depth = indices.shape[-1]
    extents = np.array(result.shape[:depth])
    positions = indices.reshape(-1, depth).astype(np.intp)
    positions = np.where(positions < 0, positions + extents, positions)
    inside = np.all((positions >= 0) & (positions < extents), axis=1)
    parts = np.broadcast_to(updates, (*indices.shape[:-1], *result.shape[depth:]))
    parts = parts.reshape(len(positions), *result.shape[depth:])[inside]
    key = tuple(positions[inside].T)
    if reduction is None:
        result[key] = parts
    else:
        reduction.at(result, key, parts)


make_all_traceable(globals())
