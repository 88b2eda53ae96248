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
from engine._tracing.extents import joint_length
from engine._tracing.primitives import axes_in, axis_in, broadcast, broadcast_to
from engine._tracing.reductions import array_of
from engine._tracing.symbolic import length
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


@records("numpy.matrix_power")
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


# Linear algebra of the array API standard.


@records("numpy.eigvalsh")
def eigvalsh(a: Any) -> TracedArray:
    """The eigenvalues of symmetric matrices."""
    return ops("eigh")(a)[0]  # type: ignore[no-any-return] # a symbol


@records("numpy.svdvals")
def svdvals(x: Any, /) -> TracedArray:
    """The singular values of matrices."""
    return ops("svd")(x, compute_uv=False)  # type: ignore[no-any-return] # a symbol


@records("numpy.vector_norm")
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


@records("numpy.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> TracedArray:  # NumPy's name
    """The Euclidean norms of matrices."""
    return ops("norm")(x, ord, (-2, -1), keepdims)  # type: ignore[no-any-return] # a symbol
