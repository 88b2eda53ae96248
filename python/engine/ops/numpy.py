"""Keras' versions of NumPy's functions: NumPy in, NumPy out.

A result has memory of its own, and no function writes into what it is given. Its dtype follows Keras' rules: results of
integers that are no integers are float32, and numbers of Python have the dtype of the array beside them.
"""

from __future__ import annotations

import builtins
import functools
import math
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from engine import activations
from engine._base.checks import flag
from engine._base.lazy_imports import on_first_use
from engine._base.promotion import (
    FLOATS,
    KEPT,
    Array,
    Axis,
    Result,
    alike,
    as_array,
    axis_or_tuple,
    common,
    copied,
    floating,
    floats,
    result_type,
    standard,
)
from engine._base.quiet import quiet
from engine._core_interface import cpp
from engine._core_interface.cpp import Float32, Operation
from engine._tracing.symbolic import contains_symbolic
from engine._tracing.traceable import make_all_traceable

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)

# What NumPy's reductions call: (array, axis, dtype, out, keepdims, initial). They have no overload for a `keepdims` of type bool.
_sum: Any = np.add.reduce
_prod: Any = np.multiply.reduce
_max: Any = np.maximum.reduce
_min: Any = np.minimum.reduce
_all: Any = np.logical_and.reduce
_any: Any = np.logical_or.reduce

# The dtypes in which small integers are added and multiplied.
_SUMS = {"b": np.dtype(np.int32), "i": np.dtype(np.int32), "u": np.dtype(np.uint32)}
# The names of the operands in messages of the core.
_OPERAND = re.compile(r"(?<=`)[ab](?=`)|\b[ab](?=\.copy\(\)|, np\.)")

# By the least kind of numbers of a result: the dtypes of operands that are its dtype, too.
_KEPT_AS = {None: KEPT, int: [dtype for dtype in KEPT if dtype.kind != "b"], float: FLOATS}
_NUMBERS = frozenset((int, float))
_REAL_FLOATS = [dtype for dtype in FLOATS if dtype.kind == "f"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


# What makes the functions of the tables below.


class _Unary(Protocol):
    def __call__(self, x: ArrayLike) -> Result: ...


class _Binary(Protocol):
    def __call__(self, x1: ArrayLike, x2: ArrayLike) -> Result: ...


class _Bitwise(Protocol):
    def __call__(self, x: ArrayLike, y: ArrayLike) -> Result: ...


def _named(function: _Function, name: str, says: str) -> _Function:
    """Gives a function of the tables below the name by which it is recorded, and its docstring."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = says
    return function


def _alias(function: _Function, name: str) -> _Function:
    """Returns a function that does the same under another name, by which it is recorded."""

    @functools.wraps(function)
    def same(*args: Any, **options: Any) -> Result:
        return function(*args, **options)

    return quiet(_named(same, name, function.__doc__ or ""), function, KEPT)  # type: ignore[return-value] # it takes the same arguments


def _unary_of_floats(compute: Any, says: str) -> _Unary:
    """Returns a function of one array, elementwise, whose result is of floats."""

    def function(x: ArrayLike) -> Result:
        return compute(floats(x))

    return quiet(_named(function, compute.__name__, f"{says}; integers give float32."), compute, FLOATS)


def _unary(compute: Any, says: str, name: str = "") -> _Unary:
    """Returns a function of one array of any dtype, elementwise."""

    def function(x: ArrayLike) -> Result:
        return compute(as_array(x))

    return quiet(_named(function, name or compute.__name__, says), compute, KEPT)


def _binary(compute: Any, says: str, least: Any = None, name: str = "") -> _Binary:
    """Returns a function of two arrays, elementwise; `least` is the kind of numbers that its result has at least."""

    def function(x1: ArrayLike, x2: ArrayLike) -> Result:
        return compute(*common(x1, x2, least_dtype=least))

    end = ", and integers give float32." if least is float else "."
    return quiet(
        _named(function, name or compute.__name__, f"{says}; shapes are broadcast{end}"),
        compute,
        _KEPT_AS[least],
    )


def _bitwise(compute: Any, says: str, least: Any = None, name: str = "") -> _Bitwise:
    """Returns a function of the bits of two arrays of integers, elementwise."""

    def function(x: ArrayLike, y: ArrayLike) -> Result:
        return compute(*common(x, y, least_dtype=least))

    return quiet(
        _named(function, name or compute.__name__, f"{says}; shapes are broadcast."), compute, _KEPT_AS[least]
    )


def _window(compute: Any, says: str) -> _Unary:
    """Returns a function from the length of a window to its numbers."""

    def function(x: ArrayLike) -> Result:
        return compute(_length(x)).astype(np.float32)

    return _named(function, compute.__name__, says)


# One array, elementwise.

arccos = _unary_of_floats(np.arccos, "Inverse cosine of `x`, in radians, elementwise")
arccosh = _unary_of_floats(np.arccosh, "Inverse hyperbolic cosine of `x`, elementwise")
arcsin = _unary_of_floats(np.arcsin, "Inverse sine of `x`, in radians, elementwise")
arcsinh = _unary_of_floats(np.arcsinh, "Inverse hyperbolic sine of `x`, elementwise")
arctan = _unary_of_floats(np.arctan, "Inverse tangent of `x`, in radians, elementwise")
arctanh = _unary_of_floats(np.arctanh, "Inverse hyperbolic tangent of `x`, elementwise")
cbrt = _unary_of_floats(np.cbrt, "Cube root of `x`, elementwise")
ceil = _unary_of_floats(np.ceil, "Least whole number that is at least `x`, elementwise")
cos = _unary_of_floats(np.cos, "Cosine of `x`, which is in radians, elementwise")
cosh = _unary_of_floats(np.cosh, "Hyperbolic cosine of `x`, elementwise")
deg2rad = _unary_of_floats(np.deg2rad, "`x` in degrees converted to radians, elementwise")
exp = _unary_of_floats(np.exp, "`e**x`, elementwise")
exp2 = _unary_of_floats(np.exp2, "`2**x`, elementwise")
expm1 = _unary_of_floats(np.expm1, "`exp(x) - 1`, precise for small `x`, elementwise")
fabs = _unary_of_floats(np.fabs, "Absolute values of the real numbers `x`, as floats, elementwise")
floor = _unary_of_floats(np.floor, "Greatest whole number that is at most `x`, elementwise")
log = _unary_of_floats(np.log, "Natural logarithm of `x`, elementwise")
log10 = _unary_of_floats(np.log10, "Logarithm of `x` to base 10, elementwise")
log1p = _unary_of_floats(np.log1p, "`log(1 + x)`, precise for small `x`, elementwise")
log2 = _unary_of_floats(np.log2, "Logarithm of `x` to base 2, elementwise")
rad2deg = _unary_of_floats(np.rad2deg, "`x` in radians converted to degrees, elementwise")
sin = _unary_of_floats(np.sin, "Sine of `x`, which is in radians, elementwise")
sinc = _unary_of_floats(np.sinc, "`sin(pi x) / (pi x)` of `x`, elementwise, 1 for 0")
sinh = _unary_of_floats(np.sinh, "Hyperbolic sine of `x`, elementwise")
sqrt = _unary_of_floats(np.sqrt, "Square root of `x`, elementwise")
tan = _unary_of_floats(np.tan, "Tangent of `x`, which is in radians, elementwise")
tanh = _unary_of_floats(np.tanh, "Hyperbolic tangent of `x`, elementwise")
isfinite = _unary(np.isfinite, "Whether each number of `x` is neither infinite nor NaN.")
isinf = _unary(np.isinf, "Whether each number of `x` is infinite.")
isnan = _unary(np.isnan, "Whether each number of `x` is NaN.")
isneginf = _unary(np.isneginf, "Whether each number of `x` is minus infinity.")
isposinf = _unary(np.isposinf, "Whether each number of `x` is plus infinity.")
isreal = _unary(np.isreal, "Whether each number of `x` has no imaginary part.")
logical_not = _unary(np.logical_not, "Whether each number of `x` is zero.")
signbit = _unary(np.signbit, "Whether each number of `x` has its sign bit set, as -0.0 has.")

# Two arrays, elementwise.

add = _binary(np.add, "Elementwise `x1 + x2`")
maximum = _binary(np.maximum, "Elementwise the larger of `x1` and `x2`, NaN if one is NaN")
minimum = _binary(np.minimum, "Elementwise the smaller of `x1` and `x2`, NaN if one is NaN")
fmax = _binary(np.fmax, "Elementwise the larger of `x1` and `x2`, the other one if one is NaN")
fmin = _binary(np.fmin, "Elementwise the smaller of `x1` and `x2`, the other one if one is NaN")
mod = _binary(np.mod, "Elementwise the remainder of `x1 / x2`, with the sign of `x2`", least=int, name="mod")
fmod = _binary(np.fmod, "Elementwise the remainder of `x1 / x2`, with the sign of `x1`", least=int)
multiply = _binary(np.multiply, "Elementwise `x1 * x2`")
subtract = _binary(np.subtract, "Elementwise `x1 - x2`")
floor_divide = _binary(
    np.floor_divide, "Elementwise the greatest whole number that is at most `x1 / x2`", least=int
)
gcd = _binary(np.gcd, "Elementwise the greatest common divisor of the integers `x1` and `x2`")
lcm = _binary(np.lcm, "Elementwise the least common multiple of the integers `x1` and `x2`")
arctan2 = _binary(
    np.arctan2, "Elementwise the angle of the point (`x2`, `x1`), in radians, in [-pi, pi]", least=float
)
divide = _binary(np.divide, "Elementwise `x1 / x2`", least=float)
heaviside = _binary(
    np.heaviside, "Elementwise 0 where `x1 < 0`, `x2` where `x1 == 0`, 1 where `x1 > 0`", least=float
)
hypot = _binary(np.hypot, "Elementwise `sqrt(x1**2 + x2**2)`, without overflow", least=float)
logaddexp = _binary(np.logaddexp, "Elementwise `log(exp(x1) + exp(x2))`, without overflow", least=float)
logaddexp2 = _binary(np.logaddexp2, "Elementwise `log2(2**x1 + 2**x2)`, without overflow", least=float)
nextafter = _binary(
    np.nextafter, "Elementwise the next number after `x1` in the direction of `x2`", least=float
)
equal = _binary(np.equal, "Whether `x1 == x2`, elementwise")
greater = _binary(np.greater, "Whether `x1 > x2`, elementwise")
greater_equal = _binary(np.greater_equal, "Whether `x1 >= x2`, elementwise")
less = _binary(np.less, "Whether `x1 < x2`, elementwise")
less_equal = _binary(np.less_equal, "Whether `x1 <= x2`, elementwise")
not_equal = _binary(np.not_equal, "Whether `x1 != x2`, elementwise")
logical_and = _binary(np.logical_and, "Whether both `x1` and `x2` are true (not zero), elementwise")
logical_or = _binary(np.logical_or, "Whether at least one of `x1` and `x2` is true (not zero), elementwise")
logical_xor = _binary(np.logical_xor, "Whether exactly one of `x1` and `x2` is true (not zero), elementwise")
bitwise_and = _bitwise(np.bitwise_and, "Bitwise and of the integers or bools `x` and `y`")
bitwise_or = _bitwise(np.bitwise_or, "Bitwise or of the integers or bools `x` and `y`")
bitwise_xor = _bitwise(np.bitwise_xor, "Bitwise exclusive or of the integers or bools `x` and `y`")


def divide_no_nan(x1: ArrayLike, x2: ArrayLike) -> Result:
    """Elementwise `x1 / x2`, and 0 where `x2` is 0; shapes are broadcast, and integers give float32."""
    dividend, divisor = common(x1, x2, least_dtype=float)
    zero = divisor == 0
    ratio = np.divide(dividend, np.where(zero, divisor.dtype.type(1), divisor))
    return np.where(zero, divisor.dtype.type(0), ratio)


true_divide = _alias(divide, "true_divide")


@partial(quiet, direct=np.power, dtypes=FLOATS)
def power(x1: ArrayLike, x2: ArrayLike) -> Result:
    """Elementwise `x1 ** x2`; shapes are broadcast. Of integers, 1 divided by more than 1 is 0."""
    base, exponent = common(x1, x2, least_dtype=int)
    if base.dtype.kind == "i":
        result = np.power(base, np.maximum(exponent, 0))
        inverse = np.where(np.abs(base) == 1, np.power(base, np.abs(exponent) % 2), 0).astype(base.dtype)
        return np.where(exponent < 0, inverse, result)
    return np.power(base, exponent)


@quiet
def ldexp(x1: ArrayLike, x2: ArrayLike) -> Result:
    """Elementwise `x1 * 2**x2` for integers `x2`; shapes are broadcast.

    Raises:
        TypeError: if `x2` is not of integers.
    """
    exponent = as_array(x2)
    if exponent.dtype.kind not in "iu":
        msg = f"ldexp exponent must be an integer type, got `x2` of dtype {exponent.dtype}"
        raise TypeError(msg)
    values = floats(x1)
    return np.ldexp(values, exponent.astype(np.int32, copy=False)).astype(values.dtype, copy=False)


bitwise_invert = _unary(np.invert, "Bitwise complement of the integers or bools `x`.", name="bitwise_invert")
bitwise_not = _alias(bitwise_invert, "bitwise_not")
bitwise_left_shift = _bitwise(
    np.left_shift,
    "The integers `x`, elementwise shifted left by `y` bits",
    least=int,
    name="bitwise_left_shift",
)
left_shift = _alias(bitwise_left_shift, "left_shift")
bitwise_right_shift = _bitwise(
    np.right_shift,
    "The integers `x`, elementwise shifted right by `y` bits",
    least=int,
    name="bitwise_right_shift",
)
right_shift = _alias(bitwise_right_shift, "right_shift")
absolute = _unary(np.absolute, "Absolute values of `x`, elementwise; of complex numbers their lengths.")
abs = _alias(absolute, "abs")
negative = _unary(np.negative, "`-x`, elementwise.")


@partial(quiet, direct=np.reciprocal, dtypes=_REAL_FLOATS)
def reciprocal(x: ArrayLike) -> Result:
    """`1 / x`, elementwise; integers give float32."""
    values = floats(x)
    return np.divide(1, values)


sign = _unary(np.sign, "-1, 0 or 1 by the sign of `x`, elementwise, in the dtype of `x`; NaN stays NaN.")


@partial(quiet, direct=np.square, dtypes=_KEPT_AS[int])
def square(x: ArrayLike) -> Result:
    """`x * x`, elementwise; bools give int32."""
    values = as_array(x)
    return np.square(values.astype(np.int32) if values.dtype.kind == "b" else values)


def trunc(x: ArrayLike) -> Result:
    """`x` without what follows the point, elementwise; integers stay integers."""
    values = as_array(x)
    return np.trunc(values) if values.dtype.kind == "f" else copied(values)


def round(x: ArrayLike, decimals: int = 0) -> Result:
    """`x` rounded to the nearest number of `decimals` digits after the point, halves to even; the dtype stays."""
    values = as_array(x)
    if values.dtype.kind in "iu" and decimals < 0:
        factor = np.float32(10.0**decimals)
        return (np.round(values.astype(np.float32) * factor) / factor).astype(values.dtype)
    return copied(values.round(decimals))


def conjugate(x: ArrayLike) -> Result:
    """The complex conjugates of `x`, elementwise; real numbers stay as they are."""
    values = as_array(x)
    return np.conjugate(values) if values.dtype.kind == "c" else copied(values)


conj = _alias(conjugate, "conj")


def real(x: ArrayLike) -> Result:
    """The real parts of `x`, elementwise."""
    return copied(as_array(x).real)


def imag(x: ArrayLike) -> Result:
    """The imaginary parts of `x`, elementwise; of real numbers 0."""
    return copied(as_array(x).imag)


def angle(x: ArrayLike) -> Result:
    """The angles of the complex numbers `x`, in radians; of real numbers 0 or pi."""
    values = floats(x)
    return np.arctan2(np.imag(values), np.real(values))


def i0(x: ArrayLike) -> Result:
    """The modified Bessel function of the first kind, order 0, of `x`, elementwise; integers give float32."""
    values = floats(x)
    return np.i0(values.astype(np.float64)).reshape(values.shape).astype(values.dtype)


def nan_to_num(
    x: ArrayLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Result:
    """`x` with other numbers in the places of those that are not finite.

    Args:
        x: any shape.
        nan: in the place of NaN.
        posinf: in the place of infinity; default the largest number of the dtype.
        neginf: in the place of minus infinity; default the lowest number of the dtype.
    """
    return np.asarray(np.nan_to_num(as_array(x), True, nan, posinf, neginf))


@quiet
def isclose(
    x1: ArrayLike, x2: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Result:
    """Returns whether `x1` and `x2` are about equal, elementwise: `abs(x1 - x2) <= atol + rtol * abs(x2)`.

    Args:
        x1: any shape.
        x2: a shape that is broadcast against that of `x1`.
        rtol: tolerance relative to `x2`.
        atol: absolute tolerance.
        equal_nan: whether NaN is equal to NaN.
    """
    first, second = common(x1, x2)
    # Absolute values of integers may be beyond their dtype.
    second = second if second.dtype.kind in "fc" else second.astype(np.float64)
    within = np.abs(first - second) <= atol + rtol * np.abs(second)
    near = within & np.isfinite(second) | (first == second)
    return np.asarray(near | np.isnan(first) & np.isnan(second) if equal_nan else near)


def allclose(
    x1: ArrayLike, x2: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Result:
    """Returns whether all numbers of `x1` and `x2` are about equal, as one bool; `rtol`, `atol` and `equal_nan` as for `isclose`."""
    return isclose(x1, x2, rtol, atol, equal_nan).all()


def clip(x: ArrayLike, x_min: ArrayLike | None, x_max: ArrayLike | None) -> Result:
    """`x` with `x_min` in the place of lower numbers and `x_max` in that of higher ones; bools give integers.

    Args:
        x: any shape.
        x_min: a number, or an array whose shape is broadcast; None for no bound.
        x_max: as `x_min`.
    """
    values = as_array(x)
    values = values.astype(np.int32) if values.dtype.kind == "b" else values
    bounds = [bound for bound in (x_min, x_max) if bound is not None]
    if values.dtype.kind != "f" or not _NUMBERS.issuperset(map(type, bounds)):
        values, *bounds = common(values, *bounds)
    if x_min is not None:
        values = maximum(values, bounds[0])
    if x_max is not None:
        values = minimum(values, bounds[-1])
    return values if bounds and values.ndim else copied(values)


@partial(quiet, direct=np.where, dtypes=KEPT, arity=3, conditions=1)
def where(condition: ArrayLike, x1: ArrayLike | None = None, x2: ArrayLike | None = None) -> Any:
    """Elements of `x1` where `condition` is true, else of `x2`; shapes are broadcast.

    Args:
        condition: bools, or numbers of which 0 is false.
        x1: an array or a number; None, for both, asks for the places where `condition` is true.
        x2: as `x1`.

    Returns:
        An array; or, without `x1` and `x2`, a tuple of int32 indices (k,), one array for each axis.

    Raises:
        ValueError: if only one of `x1` and `x2` is None.
    """
    if (x1 is None) != (x2 is None):
        msg = "`x1` and `x2` must both be given, or neither of them"
        raise ValueError(msg)
    if x1 is None or x2 is None:
        return nonzero(condition)
    return np.where(as_array(condition), *common(x1, x2))


def select(condlist: Sequence[ArrayLike], choicelist: Sequence[ArrayLike], default: ArrayLike = 0) -> Result:
    """Elements of the first of `choicelist` whose condition in `condlist` is true, else of `default`.

    Args:
        condlist: arrays of bools, whose shapes are broadcast.
        choicelist: as many arrays.
        default: an array or a number.
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        msg = f"`condlist` and `choicelist` must have one length, 1 or more, got {len(condlist)} and {len(choicelist)}"
        raise ValueError(msg)
    *choices, result = common(*choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        result = np.where(as_array(condition), choice, result)
    return result


# Reductions ------------------------------------------------------------------------------------------------------


def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """Returns whether all elements of `x` along `axis` are true; `keepdims` keeps the axis with length 1."""
    return _all(as_array(x), axis_or_tuple(axis), None, None, keepdims)


def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """Returns whether any element of `x` along `axis` is true; `keepdims` keeps the axis with length 1."""
    return _any(as_array(x), axis_or_tuple(axis), None, None, keepdims)


@quiet
def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Result:
    """The largest elements of `x` along `axis`.

    Args:
        x: any shape.
        axis: an int or several; None is all.
        keepdims: whether the axes stay, with length 1.
        initial: the least result, also that of no elements.

    Raises:
        ValueError: for no elements without `initial`.
    """
    start = () if initial is None else (initial,)
    return _max(as_array(x), axis_or_tuple(axis), None, None, keepdims, *start)


@quiet
def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Result:
    """The smallest elements of `x` along `axis`; arguments as for `max`: `keepdims`, and `initial` as the largest result."""
    start = () if initial is None else (initial,)
    return _min(as_array(x), axis_or_tuple(axis), None, None, keepdims, *start)


def amax(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The largest elements of `x` along `axis`; `keepdims` keeps the axis with length 1."""
    return max(x, axis, keepdims)


def amin(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The smallest elements of `x` along `axis`; `keepdims` keeps the axis with length 1."""
    return min(x, axis, keepdims)


@quiet
def ptp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The largest elements of `x` along `axis` minus the smallest; `keepdims` keeps the axis with length 1."""
    values, over = as_array(x), axis_or_tuple(axis)
    highest = _max(values, over, None, None, keepdims)
    return np.subtract(highest, _min(values, over, None, None, keepdims))


@quiet
def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The sums of `x` along `axis`; small integers give int32 or uint32; `keepdims` keeps the axis with length 1."""
    values = as_array(x)
    return _sum(values, axis_or_tuple(axis), _summed(values.dtype), None, keepdims)


@quiet
def prod(x: ArrayLike, axis: Axis = None, keepdims: bool = False, dtype: DTypeLike | None = None) -> Result:
    """The products of `x` along `axis`, in `dtype`; `keepdims` keeps the axis with length 1."""
    values = as_array(x)
    result_dtype = _summed(values.dtype) if dtype is None else standard(dtype)
    return _prod(values, axis_or_tuple(axis), result_dtype, None, keepdims)


@quiet
def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The means of `x` along `axis`, NaN for no elements; integers give float32; `keepdims` keeps the axis with length 1."""
    values = as_array(x)
    over = axis_or_tuple(axis)
    total = _sum(values, over, _averaged(values.dtype), None, keepdims)
    return (total / total.dtype.type(_count(values, over))).astype(floating(values.dtype))


@quiet
def var(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The variances of `x` along `axis`, divided by their number; integers give float32; `keepdims` keeps the axis with length 1."""
    values = as_array(x)
    over = axis_or_tuple(axis)
    wide = values.astype(_averaged(values.dtype), copy=False)
    count = wide.dtype.type(_count(values, over))
    apart = wide - _sum(wide, over, None, None, True) / count
    squares = (
        np.square(np.real(apart)) + np.square(np.imag(apart)) if wide.dtype.kind == "c" else np.square(apart)
    )
    spread = _sum(squares, over, None, None, keepdims) / count.real
    return spread.astype(squares.dtype if wide.dtype.kind == "c" else floating(values.dtype))


@quiet
def std(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The standard deviations of `x` along `axis`; integers give float32; `keepdims` keeps the axis with length 1."""
    return np.sqrt(var(x, axis, keepdims))


@quiet
def average(x: ArrayLike, axis: Axis = None, weights: ArrayLike | None = None) -> Result:
    """The means of `x` along `axis`, weighted by `weights`; integers give float32.

    Args:
        x: any shape.
        axis: along which to average; None is all.
        weights: of the shape of `x`, or one weight for each place along `axis`.
    """
    if weights is None:
        return mean(x, axis)
    values, factors = common(x, weights, least_dtype=float)
    if factors.shape != values.shape:
        axis = _one_axis(axis)
        if not isinstance(axis, (int, np.integer)) or factors.shape != (values.shape[axis],):
            msg = (
                f"`weights` must have the shape of `x`, {values.shape}, or one entry for each place along `axis`, "
                f"got shape {factors.shape} and axis {axis}"
            )
            raise ValueError(msg)
        ones_around = [1] * values.ndim
        ones_around[axis] = -1
        factors = np.broadcast_to(factors.reshape(ones_around), values.shape)
    return np.sum(values * factors, axis_or_tuple(axis)) / np.sum(factors, axis_or_tuple(axis))


@quiet
def median(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """The medians of `x` along `axis`; integers give float32; `keepdims` keeps the axis with length 1."""
    values = floats(x)
    if _count(values, axis_or_tuple(axis)) == 0:
        return quantile(values, 0.5, axis, keepdims=keepdims)
    return np.asarray(np.median(_wide(values), axis_or_tuple(axis), keepdims=keepdims)).astype(values.dtype)


@quiet
def quantile(
    x: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Result:
    """The numbers below which a share `q` of `x` lies.

    Args:
        x: any shape.
        q: a share in [0, 1], or several.
        axis: along which they are found; None is all.
        method: between two numbers: "linear", "lower", "higher", "midpoint" or "nearest".
        keepdims: whether the axes stay, with length 1.

    Returns:
        An array with the axes of `q` before the rest of `x`; integers give float32.
    """
    values = floats(x)
    if _count(values, axis_or_tuple(axis)) == 0:
        return _nan_like(_sum(values, axis_or_tuple(axis), None, None, keepdims), np.shape(q))
    result = np.quantile(_wide(values), _shares(q), axis_or_tuple(axis), method=method, keepdims=keepdims)  # type: ignore[call-overload] # a name
    return np.asarray(result).astype(values.dtype)


def percentile(
    x: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Result:
    """`quantile` of `x` for `q` per cent; `axis`, `method` and `keepdims` as there."""
    return quantile(x, _shares(q) / 100, axis, method, keepdims)


def count_nonzero(x: ArrayLike, axis: Axis = None) -> Result:
    """Returns the number of elements of `x` along `axis` that are not zero, as int32."""
    return np.asarray(np.count_nonzero(as_array(x), axis_or_tuple(axis)), np.int32)


@quiet
def cumsum(x: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None) -> Result:
    """The sums of `x` up to each place along `axis`, in `dtype`; None is all of `x` as a vector."""
    values = as_array(x)
    return values.cumsum(_one_axis(axis), _cumulative(values, dtype))


@quiet
def cumprod(x: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None) -> Result:
    """The products of `x` up to each place along `axis`, in `dtype`; None is all of `x` as a vector."""
    values = as_array(x)
    return values.cumprod(_one_axis(axis), _cumulative(values, dtype))


# Reductions that leave out NaN -----------------------------------------------------------------------------------


def nansum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`sum` of `x` along `axis` without NaN; `keepdims` keeps the axis with length 1."""
    return sum(_without_nan(x, 0), axis, keepdims)


def nanprod(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`prod` of `x` along `axis` without NaN; `keepdims` keeps the axis with length 1."""
    return prod(_without_nan(x, 1), axis, keepdims)


def nancumsum(x: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None) -> Result:
    """`cumsum` of `x` along `axis`, in `dtype`, with 0 for NaN."""
    return cumsum(_without_nan(x, 0), axis, dtype)


def nancumprod(x: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None) -> Result:
    """`cumprod` of `x` along `axis`, in `dtype`, with 1 for NaN."""
    return cumprod(_without_nan(x, 1), axis, dtype)


@quiet
def nanmean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`mean` of `x` along `axis` without NaN; `keepdims` keeps the axis with length 1."""
    values = floats(x)
    present = _sum(~np.isnan(values), axis_or_tuple(axis), None, None, keepdims)
    total = _sum(_without_nan(_wide(values), 0), axis_or_tuple(axis), None, None, keepdims)
    return np.asarray(total / present).astype(values.dtype)


@quiet
def nanvar(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`var` of `x` along `axis` without NaN; `keepdims` keeps the axis with length 1."""
    values = floats(x)
    wide, over = _wide(values), axis_or_tuple(axis)
    present = np.sum(~np.isnan(values), over, keepdims=True)
    apart = np.abs(wide - np.sum(_without_nan(wide, 0), over, keepdims=True) / present)
    total = _sum(np.where(np.isnan(values), 0, np.square(apart)), over, None, None, keepdims)
    result = np.asarray(total / (present if keepdims else present.reshape(np.shape(total))))
    return result.astype(np.real(values).dtype)


@quiet
def nanstd(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`std` of `x` along `axis` without NaN; `keepdims` keeps the axis with length 1."""
    return np.sqrt(nanvar(x, axis, keepdims))


def nanmax(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`max` of `x` along `axis` without NaN, NaN where all are; `keepdims` keeps the axis with length 1."""
    reduce: Any = np.fmax.reduce
    return reduce(as_array(x), axis=_all_axes(x, axis), keepdims=keepdims)


def nanmin(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`min` of `x` along `axis` without NaN, NaN where all are; `keepdims` keeps the axis with length 1."""
    reduce: Any = np.fmin.reduce
    return reduce(as_array(x), axis=_all_axes(x, axis), keepdims=keepdims)


@quiet
def nanmedian(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Result:
    """`median` of `x` along `axis` without NaN; `keepdims` keeps the axis with length 1."""
    values = floats(x)
    if _count(values, axis_or_tuple(axis)) == 0:
        return quantile(values, 0.5, axis, keepdims=keepdims)
    filled, lost = _filled(values, axis_or_tuple(axis))
    medians = np.nanmedian(filled, axis_or_tuple(axis), keepdims=keepdims)
    return np.where(np.reshape(lost, np.shape(medians)), np.nan, medians).astype(values.dtype)


@quiet
def nanquantile(
    x: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Result:
    """`quantile` of `x` for `q` along `axis` by `method` without NaN; `keepdims` keeps the axis with length 1."""
    values = floats(x)
    over = axis_or_tuple(axis)
    if _count(values, over) == 0:
        return quantile(x, q, axis, method, keepdims)
    filled, lost = _filled(values, over)
    result = np.nanquantile(filled, _shares(q), over, method=method, keepdims=keepdims)  # type: ignore[call-overload] # a name
    lost = lost if keepdims else np.squeeze(lost, axis=over)
    return np.where(lost, np.nan, result).astype(values.dtype)


def nanpercentile(
    x: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Result:
    """`nanquantile` of `x` for `q` per cent; `axis`, `method` and `keepdims` as there."""
    return nanquantile(x, _shares(q) / 100, axis, method, keepdims)


# Places ----------------------------------------------------------------------------------------------------------


def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Result:
    """The places of the largest elements of `x` along `axis`, as int32: of equal ones the first, and 0.0 is above -0.0.

    Args:
        x: any shape with elements.
        axis: None counts through all of `x`.
        keepdims: whether the axes stay, with length 1.
    """
    return np.asarray(_signed_zeros(x).argmax(axis, keepdims=keepdims), np.int32)


def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Result:
    """The places of the smallest elements of `x` along `axis`, as int32; `keepdims` keeps the axis with length 1."""
    return np.asarray(_signed_zeros(x).argmin(axis, keepdims=keepdims), np.int32)


def nanargmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Result:
    """`argmax` of `x` along `axis` without NaN, -1 where all are; `keepdims` keeps the axis with length 1."""
    return _nan_place(np.argmax, x, -np.inf, axis, keepdims)


def nanargmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Result:
    """`argmin` of `x` along `axis` without NaN, -1 where all are; `keepdims` keeps the axis with length 1."""
    return _nan_place(np.argmin, x, np.inf, axis, keepdims)


def argsort(x: ArrayLike, axis: int | None = -1) -> Result:
    """The places of the elements of `x` along `axis` in ascending order, equal ones in theirs, as int32."""
    values = as_array(x)
    return values.argsort(None if values.ndim == 0 else axis, "stable").astype(np.int32)


def argpartition(x: ArrayLike, kth: int, axis: int | None = -1) -> Result:
    """Places of `x` along `axis`, as int32: that of the element of rank `kth` at its place, smaller ones before it."""
    return as_array(x).argpartition(kth, axis).astype(np.int32)


def nonzero(x: ArrayLike) -> tuple[Array, ...]:
    """The places of what is not zero in `x`: one array of int32 indices (k,) for each axis."""
    return tuple([positions.astype(np.int32) for positions in as_array(x).nonzero()])


@quiet
def searchsorted(sorted_sequence: ArrayLike, values: ArrayLike, side: str = "left") -> Result:
    """The places in `sorted_sequence` before which `values` belong, as int32.

    Args:
        sorted_sequence: (n,), in ascending order.
        values: any shape.
        side: "left" of equal elements, or "right" of them.

    Raises:
        ValueError: if `sorted_sequence` has another number of axes than 1.
    """
    row, searched = common(sorted_sequence, values)
    if row.ndim != 1:
        msg = f"`sorted_sequence` must have one axis, got shape {row.shape}"
        raise ValueError(msg)
    return np.asarray(row.searchsorted(searched, side), np.int32)


def digitize(x: ArrayLike, bins: ArrayLike) -> Result:
    """The number of the bin of each number of `x`, as int32; `bins` are their edges (n,), in ascending or descending order."""
    return np.asarray(np.digitize(*common(x, bins)), np.int32)


def unravel_index(indices: ArrayLike, shape: Sequence[int]) -> tuple[Array, ...]:
    """The places in an array of `shape` whose elements have the numbers `indices`: an array for each axis."""
    flat = as_array(indices)
    positions = np.unravel_index(flat.astype(np.intp), tuple(shape))
    return tuple(np.asarray(places, flat.dtype) for places in positions)


def isin(x1: ArrayLike, x2: ArrayLike, assume_unique: bool = False, invert: bool = False) -> Result:
    """Returns whether each element of `x1` is one of `x2`.

    Args:
        x1: any shape.
        x2: any shape.
        assume_unique: whether neither has an element twice; the result is the same.
        invert: asks for those that are not.
    """
    first, second = common(x1, x2)
    return np.isin(first, second, assume_unique=False, invert=invert)


# Sorting and counting --------------------------------------------------------------------------------------------


def sort(x: ArrayLike, axis: int | None = -1) -> Result:
    """The elements of `x` along `axis` in ascending order, NaN last."""
    return np.sort(as_array(x), axis, kind="stable")


def unique(  # noqa: PLR0917 # Keras' signature
    x: ArrayLike,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """The different elements of `x`, or its different slices along `axis`, in ascending order.

    Args:
        x: any shape.
        sorted: they always are in ascending order.
        return_index: whether to return the first place of each as well.
        return_inverse: whether to return for each element of `x` where it is in the result.
        return_counts: whether to return how often each is there.
        axis: None takes all of `x` as a vector.
        size: the length of the result, which is cut or filled up; default as many as there are.
        fill_value: what fills it up, default the least element.

    Returns:
        An array; or a tuple of that and what else is asked for, as int32.
    """
    del sorted
    values = as_array(x)
    if size is None and not (return_index or return_inverse or return_counts):
        return np.unique(values, axis=axis, equal_nan=False)
    distinct, first, inverse, counts = np.unique(values, True, True, True, axis, equal_nan=False)
    axis_shape = values.shape if axis is None else (values.shape[axis],)
    results = [distinct, *(part.astype(np.int32) for part in (first, inverse.reshape(axis_shape), counts))]
    if size is not None:
        along = axis or 0
        fills = [distinct.take([0], along) if fill_value is None else fill_value, results[1][:1], None, 0]
        for index in (0, 1, 3):
            results[index] = _resized(results[index], size, along if index == 0 else 0, fills[index])
    requested = (True, return_index, return_inverse, return_counts)
    selected = [result for result, keep in zip(results, requested, strict=True) if keep]
    return selected[0] if len(selected) == 1 else tuple(selected)


def bincount(
    x: ArrayLike, weights: ArrayLike | None = None, minlength: int = 0, sparse: bool = False
) -> Result:
    """Returns how often each integer from 0 occurs in `x`, or the sums of its weights.

    Args:
        x: integers of at least 0, (n,), or (rows, n) for the counts of each row.
        weights: of the shape of `x`; default 1 for each.
        minlength: the least length of the result.
        sparse: False; there are no sparse arrays here.

    Returns:
        (length,) or (rows, length), int32 or the dtype of `weights`.

    Raises:
        ValueError: for more than two axes, or `sparse`.
    """
    _dense(sparse)
    rows = as_array(x)
    if rows.ndim not in (1, 2):
        msg = f"`x` must have one axis or two, got shape {rows.shape}"
        raise ValueError(msg)
    dtype = np.dtype(np.int32) if weights is None else as_array(weights).dtype
    if rows.ndim == 1:
        factors = None if weights is None else as_array(weights).astype(np.float64)
        return np.bincount(rows.astype(np.int64), factors, builtins.max(minlength, 0)).astype(dtype)
    length = builtins.max(int(rows.max()) + 1 if rows.size else 0, minlength)
    parts = None if weights is None else as_array(weights).reshape(-1, rows.shape[-1]).astype(np.float64)
    counts = [
        np.bincount(row.astype(np.int64), None if parts is None else parts[index], length)
        for index, row in enumerate(rows.reshape(-1, rows.shape[-1]))
    ]
    return np.stack(counts).reshape(*rows.shape[:-1], length).astype(dtype)


def histogram(x: ArrayLike, bins: Any = 10, range: Any = None) -> tuple[Array, Array]:
    """Returns the number of elements of `x` in each interval.

    Args:
        x: any shape.
        bins: how many intervals of equal width, or their edges (n + 1,).
        range: the lowest and the highest edge; default the least and the largest number.

    Returns:
        The counts (n,) and the edges (n + 1,), as floats.
    """
    values = floats(x)
    edges = bins if isinstance(bins, int) else _wide(as_array(bins))
    counts, bounds = np.histogram(_wide(values), edges, range)
    return counts.astype(values.dtype), bounds.astype(values.dtype)


# Products --------------------------------------------------------------------------------------------------------


@cache  # without the cache, the look-up would take as long as a small product
def _lowered(name: str) -> Operation:
    return activations.lower(activations.get(name))


def matmul(
    x1: ArrayLike,
    x2: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    activation: str | activations.Activation | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Float32 | None = None,
) -> Any:
    """The matrix product of `x1` and `x2`, by the rules of `numpy.matmul`; float32 by the engine's own kernels.

    An element of a float32 product is a sum of chains of 256 fused multiply-adds, added up in order, so its bits depend
    on its row of `x1`, its column of `x2` and nothing else: not on the number of rows, the threads or the instruction
    set. A product of two vectors is summed in 64 lanes instead, which are just as fixed. Products of other dtypes are
    NumPy's, those of float16 are rounded from float32.

    Args:
        x1: (..., m, k), or a vector (k,), which counts as one row; any strides.
        x2: (..., k, n), or a vector (k,), which counts as one column; otherwise as `x1`. Axes before the last two are
            stacks of matrices and are broadcast against those of `x1`.
        bias: as many numbers as the last axis of the product has, added to each of its rows; (n,) for matrices. With
            `bias`, `activation` or `out` the product is `activation(x1 @ x2 + bias)` in float32, and each array is of
            float32, float16, bool, or integers of at most 16 bits, which float32 holds exactly.
        activation: name or function of `engine.activations`, applied last; softmax works on the last axis.
        transpose_a: whether `x1` is stored as (..., k, m): its last two axes are swapped.
        transpose_b: whether `x2` is stored as (..., n, k).
        out: float32 array of the product's shape that takes the result; any strides, but its elements may lie
            neither on each other nor in memory of `x1`, `x2` or `bias`.

    Returns:
        The product (..., m, n) without the axes that a vector lacks: (m,), (n,), or a NumPy scalar for two vectors.
        `out`, if given. With k = 0 every sum is zero. Its dtype follows from those of `x1` and `x2` as in Keras, such
        as float32 for float32 with integers, float64 for float64 with anything, and int32 for int8.

    Raises:
        TypeError: with `bias`, `activation` or `out` if an array holds what float32 can't, such as float64 or 32-bit
            integers; the message says how to convert it. If `out` is no float32 array.
        ValueError: if shapes don't go together, an operand is a scalar, a vector is to be transposed, the activation
            is unknown, or `out` has another shape, is read-only, or shares memory.

    Example:
        >>> import numpy as np
        >>> import engine
        >>> a = np.array([[1, -2], [3, 4]], np.float32)
        >>> engine.ops.matmul(a, a, bias=np.array([1, 0], np.float32), activation="relu", transpose_b=True)
        array([[ 6.,  0.],
               [ 0., 25.]], dtype=float32)
    """
    operation = None if activation is None else _activation(activation)
    fused = bias is not None or operation is not None or out is not None
    try:
        if fused or (type(x1) is type(x2) is np.ndarray and x1.dtype == x2.dtype == np.float32):
            return cpp.matmul(x1, x2, bias, operation, transpose_a, transpose_b, out)
        first, second = as_array(x1), as_array(x2)
        dtype = result_type(first, second)
        if dtype in (np.float16, np.float32):
            left, right = (
                operand if operand.dtype.kind == "f" else operand.astype(np.float32)
                for operand in (first, second)
            )
            product = cpp.matmul(left, right, None, None, transpose_a, transpose_b, None)
            return product if dtype == np.float32 else product.astype(dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(_OPERAND.sub(lambda match: {"a": "x1", "b": "x2"}[match[0]], str(error))) from None
    dtype = np.dtype(np.int32) if first.dtype == second.dtype == np.int8 else dtype
    return np.matmul(
        *(
            _stored(operand.astype(dtype), swap, name)
            for operand, swap, name in ((first, transpose_a, "a"), (second, transpose_b, "b"))
        )
    )


def _activation(activation: Any) -> Operation:
    if isinstance(activation, str):
        return _lowered(activation)
    return activations.lower(activations.get(activation))


def _stored(matrices: Array, swap: bool, name: str) -> Array:
    """Returns `matrices`, with the last two axes swapped if `swap` is true."""
    if flag(swap, f"transpose_{name}") and matrices.ndim < 2:  # noqa: PLR2004 # a matrix
        msg = f"`transpose_{name}` swaps the last two axes, but there is a shape of {matrices.shape}"
        raise ValueError(msg)
    return np.swapaxes(matrices, -1, -2) if swap else matrices


@quiet
def dot(x1: ArrayLike, x2: ArrayLike) -> Result:
    """The product of vectors or matrices `x1` and `x2`, by the rules of `numpy.dot`."""
    return np.asarray(np.dot(*common(x1, x2)))


@partial(quiet, direct=np.inner, dtypes=KEPT)
def inner(x1: ArrayLike, x2: ArrayLike) -> Result:
    """The sums of products of `x1` and `x2` over the last axis of each."""
    return np.inner(*common(x1, x2))


@partial(quiet, direct=np.outer, dtypes=KEPT)
def outer(x1: ArrayLike, x2: ArrayLike) -> Result:
    """The products of each element of `x1` with each of `x2`, as a matrix (n, m)."""
    return np.outer(*common(x1, x2))


@partial(quiet, direct=np.vdot, dtypes=KEPT)
def vdot(x1: ArrayLike, x2: ArrayLike) -> Result:
    """The sum of the products of the elements of `x1`, conjugated, with those of `x2`."""
    return np.vdot(*common(x1, x2))


@quiet
def tensordot(x1: ArrayLike, x2: ArrayLike, axes: Any = 2) -> Result:
    """The sums of products of `x1` and `x2` over `axes`.

    Args:
        x1: any shape.
        x2: any shape.
        axes: how many of the last axes of `x1` and the first of `x2`; or a pair of lists, the axes of each.
    """
    first, second = common(x1, x2)
    return np.tensordot(first, second, axes)


@partial(quiet, direct=np.kron, dtypes=KEPT)
def kron(x1: ArrayLike, x2: ArrayLike) -> Result:
    """The Kronecker product of `x1` and `x2`."""
    return np.kron(*common(x1, x2))


@quiet
def einsum(subscripts: str, *operands: ArrayLike, **kwargs: Any) -> Result:
    """Sums of products by Einstein's summation convention; those of int8 are int32.

    Args:
        subscripts: such as "ij,jk->ik".
        *operands: an array for each part of `subscripts`.
        **kwargs: `optimize` as in `numpy.einsum`; nothing else changes the result.
    """
    arrays = common(*operands)
    dtype = arrays[0].dtype if arrays else np.dtype(np.float32)
    arrays = [array.astype(np.int32) for array in arrays] if dtype == np.int8 else arrays
    return copied(np.einsum(subscripts, *arrays, optimize=kwargs.get("optimize", len(arrays) > 2)))  # noqa: PLR2004 # else there is one order


def cross(  # noqa: PLR0917 # Keras' signature
    x1: ArrayLike, x2: ArrayLike, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Result:
    """The cross product of vectors of 2 or 3 numbers.

    Args:
        x1: vectors along `axisa`.
        x2: vectors along `axisb`; the other axes are broadcast.
        axisa: axis of `x1`.
        axisb: axis of `x2`.
        axisc: axis of the result.
        axis: in the place of all three.

    Returns:
        Vectors of 3 numbers; of two vectors of 2 the third number alone.

    Raises:
        ValueError: for vectors of another length.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    first, second = common(x1, x2)
    first = first if axisa == -1 else np.moveaxis(first, axisa, -1)
    second = second if axisb == -1 else np.moveaxis(second, axisb, -1)
    plane, space = 2, 3
    if {first.shape[-1], second.shape[-1]} - {plane, space}:
        msg = f"`x1` and `x2` must have 2 or 3 numbers along their axes, got shapes {np.shape(x1)} and {np.shape(x2)}"
        raise ValueError(msg)
    if first.shape[-1] == second.shape[-1] == plane:
        return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])
    (a, b, c), (d, e, f) = (
        [
            vectors[..., place] if place < vectors.shape[-1] else vectors.dtype.type(0)
            for place in range(space)
        ]
        for vectors in (first, second)
    )
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axisc)


def corrcoef(x: ArrayLike) -> Result:
    """The correlation coefficients of the rows of `x`, (n, values), as a matrix (n, n); integers give float32."""
    values = floats(x)
    with np.errstate(all="ignore"):
        return np.asarray(np.corrcoef(_wide(values))).astype(values.dtype)


@partial(quiet, direct=np.correlate, dtypes=KEPT)
def correlate(x1: ArrayLike, x2: ArrayLike, mode: str = "valid") -> Result:
    """The cross-correlation of the vectors `x1` and `x2`; `mode` is "valid", "same" or "full", as in `numpy.correlate`."""
    first, second = common(x1, x2)
    how: Any = mode
    return np.correlate(first, second, how)


@quiet
def trace(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Result:
    """The sums along the diagonals of `x`, `offset` above the main one, of the matrices in `axis1` and `axis2`."""
    values = as_array(x)
    return values.trace(offset, axis1, axis2, _summed(values.dtype))


@quiet
def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: float = 1.0, axis: int = -1) -> Result:
    """The integrals of `y` along `axis` by the trapezoidal rule.

    Args:
        y: any shape.
        x: where `y` was taken; default at distances `dx`.
        dx: the distance, where `x` is None.
        axis: along which to integrate.
    """
    if x is None:
        values = floats(y)
        return np.asarray(np.trapezoid(values, dx=values.dtype.type(dx), axis=axis)).astype(values.dtype)
    values, positions = common(y, x, least_dtype=float)
    return np.asarray(np.trapezoid(values, positions, axis=axis)).astype(values.dtype)


def diff(a: ArrayLike, n: int = 1, axis: int = -1) -> Result:
    """The differences between neighbours in `a` along `axis`, taken `n` times."""
    return np.diff(as_array(a), n, axis) if n else copied(as_array(a))


# Arrays from numbers ---------------------------------------------------------------------------------------------


def _new(dtype: DTypeLike | None) -> np.dtype[Any]:
    """Returns the dtype of a new array: float32 unless another one is given."""
    return np.dtype(np.float32) if dtype is None else standard(dtype)


def zeros(shape: Any, dtype: DTypeLike | None = None) -> Result:
    """Zeros of `shape`, in `dtype`, default float32."""
    return np.zeros(shape, _new(dtype))


def ones(shape: Any, dtype: DTypeLike | None = None) -> Result:
    """Ones of `shape`, in `dtype`, default float32."""
    return np.ones(shape, _new(dtype))


def empty(shape: Any, dtype: DTypeLike | None = None) -> Result:
    """An array of `shape` that holds any numbers, in `dtype`, default float32."""
    return np.empty(shape, _new(dtype))


def full(shape: Any, fill_value: ArrayLike, dtype: DTypeLike | None = None) -> Result:
    """An array of `shape` filled with `fill_value`, which is broadcast, in `dtype`, default float32."""
    result_dtype = _new(dtype)
    return np.full(shape, as_array(fill_value, result_dtype), result_dtype)


def zeros_like(x: ArrayLike, dtype: DTypeLike | None = None) -> Result:
    """Zeros in the shape of `x`, in `dtype`, default that of `x`."""
    return np.zeros(np.shape(x), as_array(x).dtype if dtype is None else standard(dtype))


def ones_like(x: ArrayLike, dtype: DTypeLike | None = None) -> Result:
    """Ones in the shape of `x`, in `dtype`, default that of `x`."""
    return np.ones(np.shape(x), as_array(x).dtype if dtype is None else standard(dtype))


def empty_like(x: ArrayLike, dtype: DTypeLike | None = None) -> Result:
    """An array in the shape of `x` that holds any numbers, in `dtype`, default that of `x`."""
    return np.empty(np.shape(x), as_array(x).dtype if dtype is None else standard(dtype))


def full_like(x: ArrayLike, fill_value: ArrayLike, dtype: DTypeLike | None = None) -> Result:
    """An array in the shape of `x` filled with `fill_value`, in `dtype`, default that of `x`."""
    result_dtype = as_array(x).dtype if dtype is None else standard(dtype)
    return np.full(np.shape(x), as_array(fill_value).astype(result_dtype), result_dtype)


def eye(N: int, M: int | None = None, k: int = 0, dtype: DTypeLike | None = None) -> Result:  # noqa: N803 # Keras' names
    """A matrix (`N`, `M`) with ones on the diagonal `k` and zeros elsewhere, in `dtype`, default float32."""
    return np.eye(N, M, k, _new(dtype))


def identity(n: int, dtype: DTypeLike | None = None) -> Result:
    """The identity matrix (`n`, `n`), in `dtype`, default float32."""
    return np.identity(n, _new(dtype))


def tri(N: int, M: int | None = None, k: int = 0, dtype: DTypeLike | None = None) -> Result:  # noqa: N803 # Keras' names
    """A matrix (`N`, `M`) with ones on the diagonal `k` and below it, in `dtype`, default float32."""
    return np.tri(N, M, k, _new(dtype))


def arange(start: Any, stop: Any = None, step: Any = None, dtype: DTypeLike | None = None) -> Result:
    """Numbers from `start` at distances `step` below `stop`.

    Args:
        start: the first number; without `stop` that is where they end, and the first is 0.
        stop: the end, which is not among them.
        step: default 1.
        dtype: default int32, or float32 if one argument is a float.
    """
    bounds = [value for value in (start, stop, step) if value is not None]
    result_dtype = result_type(*bounds) if dtype is None else standard(dtype)
    first: Any = 0 if stop is None else start
    end: Any = start if stop is None else stop
    return np.arange(first, end, 1 if step is None else step, dtype=result_dtype)


def linspace(  # noqa: PLR0917 # Keras' signature
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Any:
    """`num` numbers at equal distances from `start` to `stop`.

    Args:
        start: a number or an array.
        stop: as `start`.
        num: how many.
        endpoint: whether `stop` is among them.
        retstep: whether to return their distance as well.
        dtype: default floats.
        axis: of the result along which they lie.

    Returns:
        An array, or a pair of it and the distance.
    """
    result_dtype = result_type(start, stop, float) if dtype is None else standard(dtype)
    first, last = _wides(start, stop)
    numbers, step = np.linspace(first, last, num, endpoint, retstep=True, axis=axis)
    numbers_in_dtype = np.floor(numbers) if result_dtype.kind in "iu" else numbers
    result = np.asarray(numbers_in_dtype).astype(result_dtype)
    return (result, np.asarray(step).astype(floating(result_dtype))) if retstep else result


@quiet
def logspace(  # noqa: PLR0917 # Keras' signature
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Result:
    """`base` to the power of `num` numbers from `start` to `stop`; `endpoint`, `dtype` and `axis` as for `linspace`."""
    result_dtype = result_type(start, stop, float) if dtype is None else standard(dtype)
    first, last = _wides(start, stop)
    return np.power(float(base), np.linspace(first, last, num, endpoint, axis=axis)).astype(result_dtype)


@quiet
def geomspace(  # noqa: PLR0917 # Keras' signature
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Result:
    """`num` numbers at equal ratios from `start` to `stop`; `endpoint`, `dtype` and `axis` as for `linspace`."""
    result_dtype = result_type(start, stop, float) if dtype is None else standard(dtype)
    first, last = _wides(start, stop)
    return np.geomspace(first, last, num, endpoint, axis=axis).astype(result_dtype)


bartlett = _window(np.bartlett, "The Bartlett window of `x` numbers, float32.")
blackman = _window(np.blackman, "The Blackman window of `x` numbers, float32.")
hamming = _window(np.hamming, "The Hamming window of `x` numbers, float32.")
hanning = _window(np.hanning, "The Hann window of `x` numbers, float32.")


def kaiser(x: ArrayLike, beta: ArrayLike) -> Result:
    """The Kaiser window of `x` numbers with the shape parameter `beta`, float32."""
    return np.kaiser(_length(x), float(as_array(beta))).astype(np.float32)


@quiet
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Result:  # noqa: N803 # Keras' names
    """The powers of the vector `x` (n,) as the columns of a matrix (n, `N`), falling, or rising if `increasing`."""
    values = as_array(x)
    count = len(values) if N is None else N
    powers = np.arange(count) if increasing else np.arange(count)[::-1]
    return power(values[:, np.newaxis], powers.astype(np.int32))


# Arrays from arrays ----------------------------------------------------------------------------------------------


def array(x: ArrayLike, dtype: DTypeLike | None = None) -> Result:
    """`x` as a new array in `dtype`, default that of `x`; floats of Python become float32, integers int32."""
    return copied(as_array(x, dtype))


def copy(x: ArrayLike) -> Result:
    """A copy of `x`."""
    return copied(as_array(x))


def view(x: ArrayLike, dtype: DTypeLike | None = None) -> Result:
    """The bytes of `x` as numbers of `dtype`; the length of the last axis changes with their size."""
    values = as_array(x)
    return copied(
        values if dtype is None else np.ascontiguousarray(values).reshape(values.shape).view(standard(dtype))
    )


def get_item(x: ArrayLike, key: Any) -> Result:
    """`x[key]`."""
    return copied(as_array(x)[key])


def reshape(x: ArrayLike, newshape: int | Sequence[int]) -> Result:
    """The elements of `x` in the shape `newshape`, in which one length may be -1.

    Raises:
        ValueError: if `x` has other elements than that shape, or for other negative lengths, which NumPy ignores.
    """
    lengths: Any = newshape
    if not isinstance(newshape, (tuple, list)):
        lengths = [newshape] if isinstance(newshape, int) else np.atleast_1d(newshape).tolist()
    least = builtins.min(lengths, default=0)
    if least < -1:
        msg = f"a length must be a non-negative integer, or -1 once, got newshape={newshape}"
        raise ValueError(msg)
    if least == -1 and lengths.count(-1) > 1:
        msg = f"there can be at most one unknown dimension, -1, got newshape={newshape}"
        raise ValueError(msg)
    return copied(as_array(x).reshape(newshape))


def ravel(x: ArrayLike) -> Result:
    """The elements of `x` as a vector."""
    return as_array(x).flatten()


def transpose(x: ArrayLike, axes: Sequence[int] | None = None) -> Result:
    """`x` with its axes in the order `axes`; None turns the order round."""
    return copied(as_array(x).transpose(axes))


def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Result:
    """`x` with `axis1` and `axis2` swapped."""
    return copied(as_array(x).swapaxes(axis1, axis2))


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Result:
    """`x` with the axes `source` at the places `destination`."""
    return copied(np.moveaxis(as_array(x), source, destination))


def expand_dims(x: ArrayLike, axis: int | Sequence[int]) -> Result:
    """`x` with a new axis of length 1 at `axis`, or several."""
    return copied(np.expand_dims(as_array(x), axis_or_tuple(axis)))


def squeeze(x: ArrayLike, axis: Axis = None) -> Result:
    """`x` without the axes `axis`, which have length 1; None is all of these."""
    return copied(as_array(x).squeeze(axis_or_tuple(axis)))


def broadcast_to(x: ArrayLike, shape: Sequence[int]) -> Result:
    """`x` broadcast to `shape`."""
    return copied(np.broadcast_to(as_array(x), shape))


def concatenate(xs: Sequence[ArrayLike], axis: int | None = 0) -> Result:
    """The arrays `xs` one after the other along `axis`."""
    return copied(np.concatenate(alike(xs), axis))


def append(x1: ArrayLike, x2: ArrayLike, axis: int | None = None) -> Result:
    """`x2` behind `x1` along `axis`; None takes both as vectors."""
    first, second = alike((x1, x2))
    return np.append(first, second, axis)


def stack(x: Sequence[ArrayLike], axis: int = 0) -> Result:
    """The arrays `x`, which have one shape, side by side along a new `axis`."""
    return np.stack(alike(x), axis)


def vstack(xs: Sequence[ArrayLike]) -> Result:
    """The arrays `xs` one after the other along the first axis; vectors are rows."""
    return np.vstack(alike(xs))


def hstack(xs: Sequence[ArrayLike]) -> Result:
    """The arrays `xs` one after the other along the second axis, vectors along the first."""
    return np.hstack(alike(xs))


def dstack(xs: Sequence[ArrayLike]) -> Result:
    """The arrays `xs` one after the other along the third axis."""
    return np.dstack(alike(xs))


def split(x: ArrayLike, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """The parts of `x` along `axis`.

    Args:
        x: any shape.
        indices_or_sections: how many parts of equal length, or where each but the first begins.
        axis: along which it is split.

    Raises:
        ValueError: if equal parts are impossible.
    """
    return _split(x, indices_or_sections, axis)


def array_split(x: ArrayLike, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """The parts of `x` along `axis` as by `split`, but `indices_or_sections` parts may differ in length by 1."""
    return _split(x, indices_or_sections, axis, in_equal_parts=False)


def hsplit(x: ArrayLike, indices_or_sections: Any) -> list[Array]:
    """The parts of `x` along the second axis, a vector's along the first, by `indices_or_sections` as for `split`."""
    values = as_array(x)
    return _split(values, indices_or_sections, 1 if values.ndim > 1 else 0)


def vsplit(x: ArrayLike, indices_or_sections: Any) -> list[Array]:
    """The parts of `x` along the first axis by `indices_or_sections` as for `split`."""
    return _split(x, indices_or_sections, 0, least_axes=2)


def dsplit(x: ArrayLike, indices_or_sections: Any) -> list[Array]:
    """The parts of `x` along the third axis by `indices_or_sections` as for `split`."""
    return _split(x, indices_or_sections, 2, least_axes=3)


def meshgrid(*x: ArrayLike, indexing: str = "xy") -> list[Array]:
    """Arrays of the coordinates of a grid.

    Args:
        *x: the coordinates along each axis, (n,), (m,) and so on.
        indexing: "xy" for the axes (m, n, ...), "ij" for (n, m, ...).
    """
    return list(np.meshgrid(*map(as_array, x), indexing=indexing))  # type: ignore[call-overload] # a name


def tile(x: ArrayLike, repeats: Any) -> Result:
    """`x` repeated as a whole, `repeats` times along each axis."""
    return np.tile(as_array(x), repeats)


def repeat(x: ArrayLike, repeats: Any, axis: int | None = None) -> Result:
    """`x` with each element `repeats` times along `axis`; None takes it as a vector."""
    return as_array(x).repeat(repeats, axis)


def roll(x: ArrayLike, shift: Any, axis: Any = None) -> Result:
    """`x` moved by `shift` places along `axis`, with what leaves at one end coming in at the other."""
    return np.roll(as_array(x), shift, axis_or_tuple(axis))


def flip(x: ArrayLike, axis: Axis = None) -> Result:
    """`x` in the opposite order along `axis`; None is all."""
    return copied(np.flip(as_array(x), axis_or_tuple(axis)))


def fliplr(x: ArrayLike) -> Result:
    """`x` in the opposite order along the second axis."""
    return copied(np.fliplr(as_array(x)))


def flipud(x: ArrayLike) -> Result:
    """`x` in the opposite order along the first axis."""
    return copied(np.flipud(as_array(x)))


def rot90(array: ArrayLike, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Result:
    """`array` turned `k` times by 90 degrees, from the first of `axes` towards the second.

    Raises:
        ValueError: for an array with one axis, or `axes` that are no two different ones.
    """
    return copied(np.rot90(as_array(array), k, axes))


def diag(x: ArrayLike, k: int = 0) -> Result:
    """The diagonal `k` of a matrix `x`, or the matrix that has the vector `x` there."""
    return copied(np.diag(as_array(x), k))


def diagflat(x: ArrayLike, k: int = 0) -> Result:
    """The matrix that has the elements of `x` on its diagonal `k`."""
    return np.diagflat(as_array(x), k)


def diagonal(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Result:
    """The diagonals of `x`, `offset` above the main one, of the matrices in `axis1` and `axis2`."""
    return copied(as_array(x).diagonal(offset, axis1, axis2))


def tril(x: ArrayLike, k: int = 0) -> Result:
    """`x` with zeros above the diagonal `k` of its matrices (..., n, m)."""
    return np.tril(as_array(x), k)


def triu(x: ArrayLike, k: int = 0) -> Result:
    """`x` with zeros below the diagonal `k` of its matrices (..., n, m)."""
    return np.triu(as_array(x), k)


def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> Result:
    """The elements of `x` at `indices` along `axis`; None takes it as a vector.

    Raises:
        IndexError: for an index out of range.
    """
    return as_array(x).take(_indices(indices), axis)


def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> Result:
    """The elements of `x` at `indices` along `axis`, with indices of its own for each place along the other axes.

    Raises:
        IndexError: for an index out of range.
    """
    return np.take_along_axis(as_array(x), _indices(indices), axis)


def pad(x: ArrayLike, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Result:
    """`x` with more elements at the ends of its axes.

    Args:
        x: any shape.
        pad_width: how many before and after, a pair for each axis, one for all, or a number.
        mode: what they are: "constant", "edge", "reflect", "symmetric", "wrap" and others, as in `numpy.pad`.
        constant_values: of the mode "constant", default 0.

    Raises:
        ValueError: for `constant_values` with another mode.
    """
    how: Any = mode
    if constant_values is None:
        return np.pad(as_array(x), pad_width, how)
    if mode != "constant":
        msg = f"`constant_values` can only be given when `mode` is 'constant', got mode={mode!r}"
        raise ValueError(msg)
    return np.pad(as_array(x), pad_width, how, constant_values=constant_values)


def vectorize(pyfunc: Any, *, excluded: Any = None, signature: str | None = None) -> Callable[..., Any]:
    """A function of arrays that calls `pyfunc` for each element, or each core array, of its broadcast arguments.

    Args:
        pyfunc: a function of numbers, or of arrays with a `signature`.
        excluded: places or names of arguments that are handed over whole.
        signature: such as "(n),(n)->()".

    Raises:
        ValueError: if `pyfunc` can't be called.
    """
    if not callable(pyfunc):
        msg = f"`pyfunc` must be a function, got {pyfunc!r}"
        raise ValueError(msg)
    looped = np.vectorize(pyfunc, excluded=excluded, signature=signature)
    excluded_indices = set(excluded or ())

    def vectorized(*args: Any, **kwargs: Any) -> Any:
        if contains_symbolic(args) or contains_symbolic(kwargs):
            msg = "vectorize() calls a function of numbers, which can't be recorded: use ops.vectorized_map(), or ops of arrays"
            raise TypeError(msg)
        arrays = [
            argument if index in excluded_indices else as_array(argument)
            for index, argument in enumerate(args)
        ]
        return looped(*arrays, **kwargs)

    return vectorized


def ndim(x: ArrayLike) -> int:
    """The number of axes of `x`."""
    return np.ndim(x)


def size(x: ArrayLike) -> int:
    """The number of elements of `x`."""
    return int(np.size(x))


def slogdet(x: ArrayLike) -> tuple[Array, Array]:
    """The signs, and the logarithms of the absolute values, of the determinants of the matrices `x` (..., n, n)."""
    sign_of, logarithm = np.linalg.slogdet(_linalg(x))
    dtype = floats(x).dtype
    return np.asarray(sign_of).astype(dtype), np.asarray(logarithm).astype(np.real(np.zeros(0, dtype)).dtype)


# Helpers ---------------------------------------------------------------------------------------------------------


def _linalg(x: ArrayLike) -> Array:
    """Returns `x` as floats for NumPy's linear algebra, which does not support float16."""
    values = floats(x)
    return values.astype(np.float32) if values.dtype.char == "e" else values


def _summed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the dtype in which numbers of `dtype` are added."""
    wide = _SUMS.get(dtype.kind)
    return dtype if wide is None or dtype.itemsize > wide.itemsize else wide


@cache
def _averaged(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the dtype in which a mean of numbers of `dtype` is computed."""
    return result_type(dtype, np.dtype(np.float32))


def _one_axis(axis: Any) -> Any:
    """Returns the axis in a sequence of one; anything else as it is."""
    return axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis


def _cumulative(values: Array, dtype: DTypeLike | None) -> np.dtype[Any]:
    if dtype is not None:
        return standard(dtype)
    return np.dtype(np.int32) if values.dtype.kind == "b" else values.dtype


def _count(values: Array, axis: Any) -> int:
    """Returns how many numbers of `values` a reduction over `axis` combines into one."""
    if axis is None:
        return values.size
    return math.prod(
        values.shape[position] for position in ((axis,) if isinstance(axis, (int, np.integer)) else axis)
    )


def _wide(values: Array) -> Array:
    """Returns floats as float64, for intermediate results that are rounded to their dtype once at the end."""
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def _shares(q: ArrayLike) -> Array:
    """Returns shares as float64: for float32 those of the decimals, as 0.7 of 10 numbers are 7, and not a bit less."""
    fractions = np.asarray(q)
    return np.asarray(fractions.astype(str) if fractions.dtype == np.float32 else fractions, np.float64)


def _wides(*operands: ArrayLike) -> list[Any]:
    return [_wide(as_array(operand)) for operand in operands]


def _nan_like(reduced: Any, before: tuple[int, ...]) -> Array:
    return np.full((*before, *np.shape(reduced)), np.nan, np.asarray(reduced).dtype)


def _without_nan(x: ArrayLike, other: float) -> Array:
    values = as_array(x)
    return (
        np.where(np.isnan(values), values.dtype.type(other), values) if values.dtype.kind in "fc" else values
    )


def _filled(values: Array, axis: Any) -> tuple[Array, Array]:
    """Returns `values` with 0 where all numbers along `axis` are NaN, of which NumPy would warn, and the mask of these."""
    lost = np.all(np.isnan(values), axis=axis, keepdims=True)
    return np.where(lost, 0, _wide(values)), lost


def _all_axes(x: ArrayLike, axis: Axis) -> Any:
    return tuple(range(np.ndim(x))) if axis is None else axis_or_tuple(axis)


def _signed_zeros(x: ArrayLike) -> Any:
    """Returns `x` with the negative number nearest to 0 instead of each -0.0."""
    values: Any = as_array(x)
    if values.dtype.kind != "f" or values.ndim == 0 or np.count_nonzero(values) == values.size:
        return values
    wide = values.astype(np.float32) if values.dtype.char == "e" else values
    return np.where((wide == 0) & np.signbit(wide), -np.finfo(wide.dtype).tiny, wide)


def _nan_place(find: Any, x: ArrayLike, filling: float, axis: int | None, keepdims: bool) -> Array:
    values = as_array(x)
    if values.dtype.kind not in "fc":
        return np.asarray(find(values, axis, keepdims=keepdims), np.int32)
    lost = np.isnan(values)
    position = find(np.where(lost, values.dtype.type(filling), values), axis, keepdims=keepdims)
    return np.where(_all(lost, axis, None, None, keepdims), np.int32(-1), np.asarray(position, np.int32))


def _resized(values: Array, length: int, axis: int, filling: Any) -> Array:
    """Returns `values` cut or padded to `length` along `axis`."""
    more = length - values.shape[axis]
    if more <= 0:
        return copied(values.take(range(length), axis))
    shape = list(values.shape)
    shape[axis] = more
    return np.concatenate([values, np.broadcast_to(np.asarray(filling, values.dtype), shape)], axis)


def _dense(sparse: bool) -> None:
    if sparse:
        msg = "`sparse` must be False: there are no sparse arrays in `ops`"
        raise ValueError(msg)


def _split(
    x: ArrayLike, indices_or_sections: Any, axis: int, *, in_equal_parts: bool = True, least_axes: int = 1
) -> list[Array]:
    values, sections = as_array(x), as_array(indices_or_sections)
    if values.ndim < least_axes:
        msg = f"`x` must have at least {least_axes} axes to be split along axis {axis}, got shape {values.shape}"
        raise ValueError(msg)
    length = values.shape[axis]
    if sections.ndim == 0:
        count = int(sections)
        if count < 1:
            msg = f"`indices_or_sections` must be at least 1 if it is a number of parts, got {count}"
            raise ValueError(msg)
        size, larger = divmod(length, count)
        if in_equal_parts and larger:
            msg = f"{length} elements along axis {axis} are no equal division into {count} parts"
            raise ValueError(msg)
        bounds = [number * size + builtins.min(number, larger) for number in range(count + 1)]
    else:
        bounds = [0, *sections.tolist(), length]
    turned = values.swapaxes(axis, 0)
    return [copied(turned[begin:end].swapaxes(axis, 0)) for begin, end in pairwise(bounds)]


def _indices(indices: ArrayLike) -> Array:
    positions = as_array(indices)
    if positions.dtype.kind not in "iu":
        msg = f"`indices` must be integers, got dtype {positions.dtype}"
        raise TypeError(msg)
    return positions.astype(np.intp)


def _length(x: ArrayLike) -> int:
    return int(as_array(x))


make_all_traceable(globals())
