"""Recording of NumPy's functions whose arguments `engine.ops` don't have, or that `engine.ops` don't have at all.

Each is found as "numpy." and its name, and has NumPy's arguments. `numpy_functions` says for which arguments one is taken in
place of the function of `engine.ops` that has its name.
"""

from __future__ import annotations

import math
from typing import Any

from engine._tracing.dispatch import implementation_of as ops
from engine._tracing.dispatch import records
from engine._tracing.errors import CannotRecordError
from engine._tracing.extents import ONE, joint_length
from engine._tracing.primitives import axes_in, axis_in, broadcast, broadcast_to
from engine._tracing.reductions import array_of
from engine._tracing.symbolic import length, symbolics_in
from engine._tracing.trace import TracedArray, as_traced, trace_of


def _of_dtype(name: str) -> Any:
    """Returns what records a reduction that may first convert its numbers."""

    def reduction(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> TracedArray:
        array = array_of(a)
        result: TracedArray = ops(name)(array if dtype is None else ops("cast")(array, dtype), axis, keepdims)
        return result if dtype is None else ops("cast")(result, dtype)

    return reduction


for _name in ("sum", "prod", "mean"):
    records(f"numpy.{_name}")(_of_dtype(_name))


@records("numpy.var")
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    *,
    keepdims: bool = False,
    correction: float = 0,
) -> TracedArray:
    """The variance along axes, for which squares are divided by the number of elements minus `ddof`."""
    array = array_of(a) if dtype is None else ops("cast")(a, dtype)
    found: TracedArray = ops("var")(array, axis, keepdims)
    less = ddof or correction
    if not less:
        return found
    count = joint_length([array.extents[each] for each in axes_in(axis, array.ndim)])
    if count is None:
        msg = "a variance with `ddof` can't be of two axes that depend on the number of samples"
        raise CannotRecordError(msg)
    number: Any = length(count)
    if isinstance(number, int) and number <= less:
        return ops("multiply")(found, math.inf)  # type: ignore[no-any-return] # a symbol
    return ops("multiply")(found, number / (number - less))  # type: ignore[no-any-return] # a symbol


@records("numpy.std")
def std(*args: Any, **options: Any) -> TracedArray:
    """The standard deviation along axes, as `var`."""
    return ops("sqrt")(var(*args, **options))  # type: ignore[no-any-return] # a symbol


@records("numpy.count_nonzero")
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> TracedArray:
    """The number of elements that aren't 0."""
    return ops("sum")(ops("cast")(array_of(a), "bool"), axis, keepdims)  # type: ignore[no-any-return] # a symbol


@records("numpy.sort")
def sort(a: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> TracedArray:
    """The numbers in order."""
    del kind, stable
    return ops("sort")(a, axis)  # type: ignore[no-any-return] # a symbol


@records("numpy.argsort")
def argsort(a: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> TracedArray:
    """The places of the numbers in order. All sorts are stable."""
    del kind, stable
    return ops("argsort")(a, axis)  # type: ignore[no-any-return] # a symbol


def _so_far(name: str, first: float) -> Any:
    """Returns what records sums or products of the numbers so far, maybe with one before all."""

    def recorded(
        x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
    ) -> TracedArray:
        array = array_of(x)
        place = axis_in(0 if axis is None else axis, array.ndim)
        found: TracedArray = ops(name)(array, place, dtype)
        if not include_initial:
            return found
        start = ops("full_like")(found[(slice(None),) * place + (slice(0, 1),)], first)
        return ops("concatenate")([start, found], place)  # type: ignore[no-any-return] # a symbol

    return recorded


records("numpy.cumulative_sum")(_so_far("cumsum", 0.0))
records("numpy.cumulative_prod")(_so_far("cumprod", 1.0))


@records("numpy.diff")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> TracedArray:
    """The differences of neighbours."""
    array = array_of(a)
    place, parts = axis_in(axis, array.ndim), list[Any]()
    for each in (prepend, array, append):
        part = None if each is None else as_traced(each, array.trace)
        if part is not None and part.ndim == 0:  # as NumPy has it
            one = tuple(
                extent if i != place else extent.times(0).plus(1) for i, extent in enumerate(array.extents)
            )
            part = broadcast_to(part, one)
        parts += [] if part is None else [part]
    return ops("diff")(array if len(parts) == 1 else ops("concatenate")(parts, place), n, axis)  # type: ignore[no-any-return] # a symbol


@records("numpy.reshape")
def reshape(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None
) -> TracedArray:
    """The numbers in another shape."""
    if order != "C" or copy is False:
        msg = f"np.reshape with `order` {order!r} and `copy` {copy} can't be recorded: it has order 'C' and may copy"
        raise CannotRecordError(msg)
    return ops("reshape")(a, newshape if shape is None else shape)  # type: ignore[no-any-return] # a symbol


@records("numpy.astype")
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> TracedArray:
    """The numbers in another dtype."""
    del copy, device
    return ops("cast")(x, dtype)  # type: ignore[no-any-return] # a symbol


@records("numpy.matrix_transpose")
def matrix_transpose(x: Any, /) -> TracedArray:
    """The transposed matrices."""
    return ops("swapaxes")(x, -1, -2)  # type: ignore[no-any-return] # a symbol


@records("numpy.linalg.matrix_power")
def matrix_power(a: Any, n: int) -> TracedArray:
    """The powers of matrices."""
    base = array_of(a) if n >= 0 else ops("inv")(a)
    if n == 0:
        identity = ops("eye")(base.shape[-1])
        return broadcast_to(as_traced(identity, base.trace), base.extents)
    power: Any = None
    rest = abs(n)
    while rest:
        if rest % 2:
            power = base if power is None else ops("matmul")(power, base)
        rest //= 2
        base = ops("matmul")(base, base) if rest else base
    return power  # type: ignore[no-any-return] # a symbol


@records("numpy.broadcast_arrays")
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[TracedArray, ...]:
    """The arrays in the shape to which they are broadcast together."""
    del subok
    trace = trace_of(*args)
    arrays = [as_traced(each, trace) for each in args]
    shape = broadcast(*(each.extents for each in arrays))
    return tuple(broadcast_to(each, shape) for each in arrays)


@records("numpy.copysign")
def copysign(x1: Any, x2: Any) -> TracedArray:
    """The sizes of numbers with the signs of others."""
    size = ops("absolute")(as_traced(x1, trace_of(x1, x2)))
    return ops("where")(ops("signbit")(as_traced(x2, size.trace)), -size, size)  # type: ignore[no-any-return] # a symbol


@records("numpy.vecdot")
def vecdot(x1: Any, x2: Any, axis: int = -1) -> TracedArray:
    """The sums of products of vectors."""
    return ops("sum")(ops("multiply")(x1, x2), axis)  # type: ignore[no-any-return] # a symbol


@records("numpy.take_along_axis")
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> TracedArray:
    """The elements at indices along an axis."""
    return ops("take_along_axis")(arr, indices, axis)  # type: ignore[no-any-return] # a symbol


def _of_at_least(axes: int) -> Any:
    """Returns what records NumPy's function that gives arrays so many axes."""

    def recorded(*arys: Any) -> Any:
        trace = trace_of(*arys)
        found = [_with_axes(as_traced(each, trace), axes) for each in arys]
        return found[0] if len(found) == 1 else tuple(found)

    return recorded


def _with_axes(array: TracedArray, axes: int) -> TracedArray:
    if array.ndim == 2 and axes == 3:  # noqa: PLR2004 # a matrix gets its third axis at the end
        return array.reshaped((*array.extents, ONE))
    before = axes - array.ndim
    if before <= 0:
        return array
    after = int(before == 2 and array.ndim == 1)  # noqa: PLR2004 # a vector gets one on each side
    return array.reshaped((*[ONE] * (before - after), *array.extents, *[ONE] * after))


for _axes in (1, 2, 3):
    records(f"numpy.atleast_{_axes}d")(_of_at_least(_axes))


@records("numpy.column_stack")
def column_stack(tup: Any) -> TracedArray:
    """Vectors as the columns of a matrix, and matrices side by side."""
    trace = trace_of(*tup)
    arrays = [as_traced(each, trace) for each in tup]
    columns = [each if each.ndim > 1 else each.reshaped((*(each.extents or (ONE,)), ONE)) for each in arrays]
    return ops("concatenate")(columns, 1)  # type: ignore[no-any-return] # a symbol


@records("numpy.block")
def block(arrays: Any) -> Any:
    """Arrays in nested lists, of which the innermost are joined along the last axis."""

    def depth(part: Any) -> int:
        return 1 + max(map(depth, part)) if isinstance(part, list) else 0

    trace = trace_of(*symbolics_in(arrays))
    axes = depth(arrays)

    def most_axes(part: Any) -> int:
        return max(map(most_axes, part)) if isinstance(part, list) else as_traced(part, trace).ndim

    axes_of_result = max(axes, most_axes(arrays))

    def joined(part: Any, level: int) -> TracedArray:
        if isinstance(part, list):
            return ops("concatenate")([joined(each, level - 1) for each in part], -level)  # type: ignore[no-any-return] # a symbol
        array = as_traced(part, trace)
        return array.reshaped((*[ONE] * (axes_of_result - array.ndim), *array.extents))

    return joined(arrays, axes)


@records("numpy.rollaxis")
def rollaxis(a: Any, axis: int, start: int = 0) -> TracedArray:
    """The array with an axis in front of another one."""
    array = array_of(a)
    place = axis_in(axis, array.ndim)
    before = start + array.ndim if start < 0 else start
    return ops("moveaxis")(array, place, before - (place < before))  # type: ignore[no-any-return] # a symbol


@records("numpy.ediff1d")
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours of all numbers, with others around them."""
    array = array_of(ary)
    parts = [to_begin, ops("diff")(ops("ravel")(array)), to_end]
    flat = [ops("ravel")(as_traced(each, array.trace)) for each in parts if each is not None]
    return flat[0] if len(flat) == 1 else ops("concatenate")(flat, 0)


@records("numpy.gradient")
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The slopes along axes, by the neighbours on both sides and by the nearest one or two at the ends."""
    array = array_of(f)
    axes = axes_in(axis, array.ndim)
    steps = list(varargs) or [1.0]
    steps = steps * len(axes) if len(steps) == 1 else steps
    if len(steps) != len(axes) or not all(isinstance(step, (int, float)) for step in steps):
        msg = "np.gradient is recorded with one number, or one for each axis, as the distance of neighbours"
        raise CannotRecordError(msg)
    found = [_slope(array, place, step, edge_order) for place, step in zip(axes, steps, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _slope(array: TracedArray, axis: int, step: float, edge_order: int) -> Any:
    def at(*bounds: int | None) -> Any:
        return array[(slice(None),) * axis + (slice(*bounds),)]

    inner = (at(2, None) - at(0, -2)) / (2.0 * step)
    if edge_order == 1:
        first, last = (at(1, 2) - at(0, 1)) / step, (at(-1, None) - at(-2, -1)) / step
    else:
        first = (-1.5 * at(0, 1) + 2.0 * at(1, 2) - 0.5 * at(2, 3)) / step
        last = (0.5 * at(-3, -2) - 2.0 * at(-2, -1) + 1.5 * at(-1, None)) / step
    return ops("concatenate")([first, inner, last], axis)


@records("numpy.polyval")
def polyval(p: Any, x: Any) -> Any:
    """The values of a polynomial whose first coefficient is that of the highest power."""
    trace = trace_of(p, x)
    coefficients, points = as_traced(p, trace), as_traced(x, trace)
    value: Any = points * 0
    for coefficient in coefficients:
        value = value * points + coefficient
    return value


@records("numpy.interp")
def interp(  # noqa: PLR0917 # NumPy's parameters
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """The values on the lines between points, whose `xp` rise."""
    if period is not None:
        msg = "np.interp with `period` can't be recorded"
        raise CannotRecordError(msg)
    trace = trace_of(x, xp, fp)
    at, places, values = (as_traced(each, trace) for each in (x, xp, fp))
    count = places.extents[0].static
    if count is None or count <= 1:
        msg = "np.interp is recorded with a known number of points, 2 or more"
        raise CannotRecordError(msg)
    number = ops("clip")(ops("searchsorted")(places, at, side="right") - 1, 0, count - 2)
    low, high = (ops("take")(places, number + more) for more in (0, 1))
    first, last = (ops("take")(values, number + more) for more in (0, 1))
    share = (at - low) / (high - low)
    before, after = (places[0], values[0], left), (places[-1], values[-1], right)
    value = first + share * (last - first)
    value = ops("where")(at < before[0], before[1] if left is None else left, value)
    return ops("where")(at > after[0], after[1] if right is None else right, value)


@records("numpy.convolve")
def convolve(a: Any, v: Any, mode: str = "full") -> TracedArray:
    """The sums of products of a vector and another one, reversed, that is moved along it."""
    trace = trace_of(a, v)
    longer, other = as_traced(a, trace), as_traced(v, trace)
    if other.size > longer.size:
        longer, other = other, longer
    return ops("correlate")(longer, ops("flip")(other), mode)  # type: ignore[no-any-return] # a symbol


@records("numpy.matvec")
def matvec(x1: Any, x2: Any) -> Any:
    """The products of matrices and vectors."""
    return ops("matmul")(x1, as_traced(x2, trace_of(x1, x2))[..., None])[..., 0]


@records("numpy.vecmat")
def vecmat(x1: Any, x2: Any) -> Any:
    """The products of vectors and matrices."""
    return ops("matmul")(as_traced(x1, trace_of(x1, x2))[..., None, :], x2)[..., 0, :]


@records("numpy.cov")
def cov(  # noqa: PLR0917 # NumPy's parameters
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
) -> Any:
    """The covariances of the rows of a matrix."""
    if fweights is not None or aweights is not None:
        msg = "np.cov with weights can't be recorded"
        raise CannotRecordError(msg)
    trace = trace_of(m, y)
    given = [as_traced(each, trace) for each in (m, y) if each is not None]
    rows = [
        each.reshaped((ONE, *each.extents)) if each.ndim == 1 else each if rowvar else ops("transpose")(each)
        for each in given
    ]
    array = rows[0] if len(rows) == 1 else ops("concatenate")(rows, 0)
    centered = array - ops("mean")(array, 1, keepdims=True)
    less = (0 if bias else 1) if ddof is None else ddof
    return ops("squeeze")(ops("matmul")(centered, ops("transpose")(centered)) / (array.shape[1] - less))


# Linear algebra of the array API standard.


@records("numpy.linalg.diagonal")
def diagonal(x: Any, /, *, offset: int = 0) -> TracedArray:
    """The diagonals of matrices."""
    return ops("diagonal")(x, offset, -2, -1)  # type: ignore[no-any-return] # a symbol


@records("numpy.linalg.trace")
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> TracedArray:
    """The sums of the diagonals of matrices."""
    return _of_dtype("sum")(diagonal(x, offset=offset), -1, dtype)  # type: ignore[no-any-return] # a symbol


@records("numpy.linalg.multi_dot")
def multi_dot(arrays: Any) -> Any:
    """The product of several matrices."""
    product = arrays[0]
    for other in arrays[1:]:
        product = ops("dot")(product, other)
    return product


def _half_turned(sign: int) -> Any:
    """Returns what records a shift of axes by half of their length."""

    def recorded(x: Any, axes: Any = None) -> TracedArray:
        array = array_of(x)
        places = axes_in(axes, array.ndim)
        shifts = [array.shape[place] // 2 for place in places]
        return ops("roll")(array, [sign * shift for shift in shifts], list(places))  # type: ignore[no-any-return] # a symbol

    return recorded


records("numpy.fft.fftshift")(_half_turned(1))
records("numpy.fft.ifftshift")(_half_turned(-1))


@records("numpy.linalg.eigvalsh")
def eigvalsh(a: Any) -> TracedArray:
    """The eigenvalues of symmetric matrices."""
    return ops("eigh")(a)[0]  # type: ignore[no-any-return] # a symbol


@records("numpy.linalg.svdvals")
def svdvals(x: Any, /) -> TracedArray:
    """The singular values of matrices."""
    return ops("svd")(x, compute_uv=False)  # type: ignore[no-any-return] # a symbol


@records("numpy.linalg.vector_norm")
def vector_norm(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2
) -> TracedArray:  # NumPy's name
    """The norms of vectors along an axis, or of all numbers."""
    array = array_of(x)
    if axis is None or not isinstance(axis, int):
        if ord != 2:  # noqa: PLR2004 # Euclidean
            msg = f"np.linalg.vector_norm with `ord` {ord} can be recorded along one axis"
            raise CannotRecordError(msg)
        return ops("sqrt")(ops("sum")(ops("square")(array), axis, keepdims))  # type: ignore[no-any-return] # a symbol
    return ops("norm")(array, ord, axis, keepdims)  # type: ignore[no-any-return] # a symbol


@records("numpy.linalg.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> TracedArray:  # NumPy's name
    """The Euclidean norms of matrices."""
    return ops("norm")(x, ord, (-2, -1), keepdims)  # type: ignore[no-any-return] # a symbol
