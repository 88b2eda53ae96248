"""Recording of the elementwise functions of `engine.ops`: each becomes the code of a map."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from engine._base.promotion import standard
from engine._tracing.code import Term
from engine._tracing.dispatch import records
from engine._tracing.errors import line_of_user
from engine._tracing.primitives import (
    broadcast_to,
    common_dtype,
    elementwise,
    float_dtype,
    full,
    number_in,
    stop_gradient,
)
from engine._tracing.symbolic import lengths
from engine._tracing.trace import TracedArray, as_traced, trace_of

_LN2, _LN10 = math.log(2.0), math.log(10.0)
# From here on, x + sqrt(x^2 + 1) is 2x in float32.
_LARGE = 1e6
# The product of a float32 with it, minus the difference of that and the float, has one bit (Veltkamp's splitting).
_ROUNDS_TO_A_POWER = 2.0**23 + 1.0
# Halfway between the largest number of float16 and the next power of 2.
_TOO_LARGE_FOR_FLOAT16 = 65520.0
# From here on, nine terms of the asymptotic series of i0 are exact in float32.
_FAR = 10.0
# Up to here, five terms of the series of sinc are exact in float32.
_NEAR = 0.5


def tan(x: Term) -> Term:
    """The tangent."""
    return x.of("sin") / x.of("cos")


def arctan(x: Term) -> Term:
    """The inverse tangent."""
    return x.of("atan2", 1.0)


def arcsin(x: Term) -> Term:
    """The inverse sine."""
    return x.of("atan2", ((1.0 - x) * (1.0 + x)).of("sqrt"))


def arccos(x: Term) -> Term:
    """The inverse cosine."""
    return ((1.0 - x) * (1.0 + x)).of("sqrt").of("atan2", x)


def _direction(x: Term) -> Term:
    """1 or -1. Unlike the sign, it isn't 0 at 0, where it would hide the derivative of what it is multiplied by."""
    return (x < 0.0).choose(-1.0, 1.0)


def sinh(x: Term) -> Term:
    """The hyperbolic sine, exact near 0."""
    e = x.of("abs").of("expm1")
    finite = e.of("minimum", 1e30)
    return _direction(x) * (e + finite / (finite + 1.0)) * 0.5


def cosh(x: Term) -> Term:
    """The hyperbolic cosine."""
    e = x.of("abs").of("exp")
    return (e + 1.0 / e) * 0.5


def arcsinh(x: Term) -> Term:
    """The inverse hyperbolic sine."""
    size = x.of("abs")
    small = size.of("minimum", _LARGE)  # whose square is finite
    square = small * small
    near = (small + square / (1.0 + (square + 1.0).of("sqrt"))).of("log1p")
    far = size.of("maximum", 1.0).of("log") + _LN2
    return _direction(x) * (size < _LARGE).choose(near, far)


def _of_larger(a: Term, b: Term, rest: Callable[[Term], Term]) -> Term:
    """The larger number plus `rest` of the difference, which is 0 or negative, and 0 for two infinities of one sign."""
    first = a > b
    larger, smaller = first.choose(a, b), first.choose(b, a)
    same_infinity = smaller.equals(larger) * larger.of("abs").equals(math.inf)
    return larger + rest(same_infinity.choose(0.0, smaller - larger))


def _log2_of_1_and_power(x: Term) -> Term:
    """The logarithm of 1 + 2^x to base 2."""
    return _power_of_2(x).of("log1p") / _LN2


def sinc(x: Term) -> Term:
    """sin(pi x) / (pi x); near 0 its series, which has all derivatives."""
    angle = x * math.pi
    near = angle.of("abs") < _NEAR
    small = near.choose(angle, 0.0)
    square = small * small
    series = square.term(1.0)
    for last in (8, 6, 4, 2):  # 1 - u^2 / 6 (1 - u^2 / 20 (1 - ...))
        series = 1.0 - square / float(last * (last + 1)) * series
    return near.choose(series, angle.of("sin") / near.choose(1.0, angle))


def arccosh(x: Term) -> Term:
    """The inverse hyperbolic cosine, exact near 1."""
    rest = x.of("minimum", _LARGE) - 1.0
    near = (rest + rest.of("sqrt") * (rest + 2.0).of("sqrt")).of("log1p")
    far = x.of("maximum", 1.0).of("log") + _LN2
    return (x > _LARGE).choose(far, near)


def arctanh(x: Term) -> Term:
    """The inverse hyperbolic tangent."""
    return (2.0 * x / (1.0 - x)).of("log1p") * 0.5


def cbrt(x: Term) -> Term:
    """The cubic root."""
    return _direction(x) * x.of("abs").of("power", 1.0 / 3.0)


def ceil(x: Term) -> Term:
    """The least integer that is not below the number."""
    return -((-x).of("floor"))


def fmod(a: Term, b: Term) -> Term:
    """The exact remainder of a division that is cut off towards 0; it has the sign of `a`."""
    rest = a.of("abs").of("remainder", b.of("abs"))
    return (a < 0.0).choose(-rest, rest)


def floor_divide(a: Term, b: Term) -> Term:
    """The quotient, rounded down: exact, and 0 or -1 for an infinite divisor."""
    rest = fmod(a, b)
    rounded_down = (rest.of("sign") * b.of("sign")) < 0.0
    quotient = ((a - rest) / b).of("round") - rounded_down
    return b.equals(0.0).choose(a / b, quotient)


def _power_of_2(x: Term) -> Term:
    return x.term(2.0).of("power", x)


def trunc(x: Term) -> Term:
    """The number, cut off towards 0 to an integer."""
    return x.of("sign") * x.of("abs").of("floor")


def is_nan(x: Term) -> Term:
    """1 where the number is NaN, else 0."""
    return 1.0 - x.equals(x)


def erf(x: Term) -> Term:
    """The error function, which shares exp(-x^2) with its derivative."""
    return x.of("erf", x.of("gaussian"))


def erfc(x: Term) -> Term:
    """1 - erf."""
    return 1.0 - erf(x)


def i0(x: Term) -> Term:
    """The modified Bessel function of the first kind, order 0: its series, and far from 0 the asymptotic one."""
    size = x.of("abs")
    quarter = size.of("minimum", _FAR) * size.of("minimum", _FAR) * 0.25
    near = x.term(1.0)
    for k in range(24, 0, -1):  # 1 + q (1 + q / 4 (1 + q / 9 (1 + ...)))
        near = 1.0 + quarter / float(k * k) * near
    large = size.of("maximum", _FAR)
    far = x.term(1.0)
    for k in range(8, 0, -1):  # 1 + 1 / 8x (1 + 9 / 16x (1 + 25 / 24x (1 + ...)))
        far = 1.0 + float((2 * k - 1) ** 2) / (8.0 * k * large) * far
    # Half of the exponential is multiplied at a time, so that the product overflows where the result does.
    half = (large * 0.5).of("exp")
    return (size < _FAR).choose(near, half * (far / (large * (2.0 * math.pi)).of("sqrt")) * half)


# Functions of one number, with a result of floats.
_OF_FLOATS: dict[str, Callable[[Term], Any]] = {
    "exp": lambda x: x.of("exp"),
    "exp2": _power_of_2,
    "expm1": lambda x: x.of("expm1"),
    "log": lambda x: x.of("log"),
    "log1p": lambda x: x.of("log1p"),
    "log2": lambda x: x.of("log") / _LN2,
    "log10": lambda x: x.of("log") / _LN10,
    "sqrt": lambda x: x.of("sqrt"),
    "rsqrt": lambda x: 1.0 / x.of("sqrt"),
    "cbrt": cbrt,
    "reciprocal": lambda x: 1.0 / x,
    "sin": lambda x: x.of("sin"),
    "cos": lambda x: x.of("cos"),
    "tan": tan,
    "arcsin": arcsin,
    "arccos": arccos,
    "arctan": arctan,
    "sinh": sinh,
    "cosh": cosh,
    "tanh": lambda x: x.of("tanh"),
    "arcsinh": arcsinh,
    "arccosh": arccosh,
    "arctanh": arctanh,
    "erf": erf,
    "erfc": erfc,
    "erfinv": lambda x: x.of("erfinv"),
    "deg2rad": lambda x: x * (math.pi / 180.0),
    "rad2deg": lambda x: x * (180.0 / math.pi),
    "fabs": lambda x: x.of("abs"),
    "sinc": sinc,
    "i0": i0,
    "angle": lambda x: x.term(0.0).of("atan2", x),
    "floor": lambda x: x.of("floor"),
    "ceil": ceil,
}
# Functions of one number, with a result of the same dtype.
_OF_ANY: dict[str, Callable[[Term], Any]] = {
    "absolute": lambda x: x.of("abs"),
    "abs": lambda x: x.of("abs"),
    "trunc": trunc,
}
# Questions about one number.
_QUESTIONS: dict[str, Callable[[Term], Any]] = {
    "logical_not": lambda x: x.equals(0.0),
    "isnan": is_nan,
    "isinf": lambda x: x.of("abs").equals(math.inf),
    "isposinf": lambda x: x.equals(math.inf),
    "isneginf": lambda x: x.equals(-math.inf),
    "isfinite": lambda x: x.of("abs") < math.inf,
    "isreal": lambda x: x * 0.0 + 1.0,
    "signbit": lambda x: (x < 0.0).of("maximum", 1.0 / x < 0.0),
}
# Functions of two numbers, with a result of their common dtype.
_OF_TWO: dict[str, Callable[[Term, Term], Any]] = {
    "maximum": lambda a, b: a.of("maximum", b),
    "minimum": lambda a, b: a.of("minimum", b),
    "fmax": lambda a, b: (a > b).of("maximum", is_nan(b)).choose(a, b),
    "fmin": lambda a, b: (a < b).of("maximum", is_nan(b)).choose(a, b),
}
# Functions of two numbers, with a result of floats.
_OF_TWO_FLOATS: dict[str, Callable[[Term, Term], Any]] = {
    "divide": lambda a, b: a / b,
    "true_divide": lambda a, b: a / b,
    "divide_no_nan": lambda a, b: b.equals(0.0).choose(0.0, a / b.equals(0.0).choose(1.0, b)),
    "arctan2": lambda a, b: a.of("atan2", b),
    "logaddexp": lambda a, b: _of_larger(a, b, lambda x: x.of("softplus")),
    "logaddexp2": lambda a, b: _of_larger(a, b, _log2_of_1_and_power),
}
# Questions about two numbers.
_COMPARISONS: dict[str, Callable[[Term, Term], Any]] = {
    "equal": lambda a, b: a.equals(b),
    "not_equal": lambda a, b: 1.0 - a.equals(b),
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "logical_and": lambda a, b: (1.0 - a.equals(0.0)) * (1.0 - b.equals(0.0)),
    "logical_or": lambda a, b: 1.0 - a.equals(0.0) * b.equals(0.0),
    "logical_xor": lambda a, b: 1.0 - a.equals(0.0).equals(b.equals(0.0)),
}


def _unary(formula: Callable[[Term], Any], dtype_for: Callable[[Any], str]) -> Callable[..., TracedArray]:
    def recorded(x: Any) -> TracedArray:
        return elementwise(formula, x, dtype=dtype_for(x))

    return recorded


def _binary(
    formula: Callable[[Term, Term], Any], dtype_for: Callable[..., str]
) -> Callable[..., TracedArray]:
    def recorded(x1: Any, x2: Any) -> TracedArray:
        return elementwise(formula, x1, x2, dtype=dtype_for(x1, x2))

    return recorded


def _bool(*operands: Any) -> str:
    del operands
    return "bool"


for _formulas, _dtype in ((_OF_FLOATS, float_dtype), (_OF_ANY, common_dtype), (_QUESTIONS, _bool)):
    for _name, _formula in _formulas.items():
        records(_name)(_unary(_formula, _dtype))
for _pairs, _dtype in ((_OF_TWO, common_dtype), (_OF_TWO_FLOATS, float_dtype), (_COMPARISONS, _bool)):
    for _name, _pair in _pairs.items():
        records(_name)(_binary(_pair, _dtype))


def _wrapped(x: Term, dtype: str) -> Term:
    """The number as an integer of 8 or 16 bits, which overflows as in NumPy; numbers of other dtypes stay as they are."""
    kind = np.dtype(dtype)
    if kind.kind not in "iu" or kind.itemsize > 2:  # noqa: PLR2004 # float32 holds no sums of larger ones
        return x
    low, count = float(np.iinfo(kind).min), 2.0 ** (8 * kind.itemsize)
    return (x - low).of("remainder", count) + low if low else x.of("remainder", count)


@records("add")
def add(x1: Any, x2: Any) -> TracedArray:
    """The sum. That of two bools is true if one of them is, as in NumPy."""
    dtype = common_dtype(x1, x2)
    return elementwise(
        lambda a, b: a.of("maximum", b) if dtype == "bool" else _wrapped(a + b, dtype), x1, x2, dtype=dtype
    )


def _no_bool(dtype: str, name: str) -> str:
    if dtype == "bool":
        msg = f"{line_of_user()}: `{name}` takes numbers, got bools: use ops.cast(x, 'int32'), or ops.logical_not(x)"
        raise TypeError(msg)
    return dtype


@records("subtract")
def subtract(x1: Any, x2: Any) -> TracedArray:
    """The difference."""
    dtype = _no_bool(common_dtype(x1, x2), "subtract")
    return elementwise(lambda a, b: _wrapped(a - b, dtype), x1, x2, dtype=dtype)


@records("multiply")
def multiply(x1: Any, x2: Any) -> TracedArray:
    """The product."""
    dtype = common_dtype(x1, x2)
    return elementwise(lambda a, b: _wrapped(a * b, dtype), x1, x2, dtype=dtype)


@records("negative")
def negative(x: Any) -> TracedArray:
    """The number with the other sign."""
    dtype = _no_bool(common_dtype(x), "negative")
    return elementwise(lambda a: _wrapped(-a, dtype), x, dtype=dtype)


@records("square")
def square(x: Any) -> TracedArray:
    """The square; of bools, an integer."""
    dtype = common_dtype(x, least_dtype=int)
    return elementwise(lambda a: _wrapped(a * a, dtype), x, dtype=dtype)


@records("sign")
def sign(x: Any) -> TracedArray:
    """-1, 0 or 1."""
    return elementwise(lambda a: a.of("sign"), x, dtype=_no_bool(common_dtype(x), "sign"))


def _dividing(
    formula: Callable[[Term, Term], Term], whole_formula: Callable[[Term, Term], Term] | None = None
) -> Callable[..., TracedArray]:
    """Returns a function of floats, or of integers, which gives 0 where they are divided by 0, as in NumPy.

    Args:
        formula: of floats.
        whole_formula: of integers that float32 has as they are; default the same.
    """
    of_integers = whole_formula or formula

    def of_any_integers(a: Term, b: Term) -> Term:
        none = b.equals(0.0)
        return none.choose(0.0, of_integers(a, none.choose(1.0, b)))

    def recorded(x1: Any, x2: Any) -> TracedArray:
        dtype = common_dtype(x1, x2, least_dtype=int)
        if np.dtype(dtype).kind == "f":
            return elementwise(formula, x1, x2, dtype=dtype)
        return elementwise(of_integers if number_in(x2) else of_any_integers, x1, x2, dtype=dtype)

    return recorded


records("mod")(_dividing(lambda a, b: a.of("remainder", b)))
# A quotient of integers up to 2^24 is rounded by less than its distance from the next integer.
records("floor_divide")(_dividing(floor_divide, lambda a, b: (a / b).of("floor")))
records("fmod")(_dividing(fmod))


@records("power")
def power(x1: Any, x2: Any) -> TracedArray:
    """Powers. Those with a constant exponent of 1 to 4 are products, which have derivatives everywhere, and 0.5 is a root."""
    exponent = number_in(x2)
    dtype = common_dtype(x1, x2, least_dtype=int)
    if exponent in (1.0, 2.0, 3.0, 4.0):
        return elementwise(lambda x: _wrapped(_product(x, int(exponent)), dtype), x1, dtype=dtype)
    if exponent == 0.5:  # noqa: PLR2004 # a square root
        return elementwise(lambda x: x.of("sqrt"), x1, dtype=dtype)
    if exponent == 0.0:
        return elementwise(lambda x: x.term(1.0), x1, dtype=dtype)
    if np.dtype(dtype).kind != "f":
        return elementwise(lambda a, b: _wrapped(_power_of_integers(a, b), dtype), x1, x2, dtype=dtype)
    return elementwise(lambda a, b: a.of("power", b), x1, x2, dtype=dtype)


def _power_of_integers(a: Term, b: Term) -> Term:
    """Powers of integers; with a negative exponent, what a division of integers leaves: 0, or that of 1 and -1."""
    size = b.of("abs")
    result = a.of("power", size).of("round")
    return (b < 0.0).choose(a.of("abs").equals(1.0).choose(result, 0.0), result)


def _product(x: Term, times: int) -> Term:
    square = x * x
    return {1: x, 2: square, 3: square * x, 4: square * square}[times]


def _bits(x: Any, y: Any, name: str, least_dtype: Any = None) -> str:
    """Returns the dtype of a function of the bits of integers or bools; a TypeError for floats."""
    dtype = common_dtype(x, y, least_dtype=least_dtype)
    if np.dtype(dtype).kind == "f" and not trace_of(x, y).only_shapes:
        msg = (
            f"{line_of_user()}: `{name}` takes integers or bools, got {common_dtype(x)} and {common_dtype(y)}: compare first, as "
            "in (x > 0) & (y > 0), or use ops.logical_and, ops.logical_or and ops.logical_xor"
        )
        raise TypeError(msg)
    return dtype


def _of_bits(
    name: str, of_bools: Callable[[Term, Term], Term], of_integers: Callable[[Term, Term], Term]
) -> Callable[..., TracedArray]:
    def recorded(x: Any, y: Any) -> TracedArray:
        dtype = _bits(x, y, name)
        return elementwise(of_bools if dtype == "bool" else of_integers, x, y, dtype=dtype)

    return recorded


def _and(a: Term, b: Term) -> Term:
    return a.of("bitwise_and", b)


for _name, _of_bools, _of_integers in (
    ("bitwise_and", lambda a, b: a.of("minimum", b), _and),
    ("bitwise_or", lambda a, b: a.of("maximum", b), lambda a, b: a + (b - _and(a, b))),
    (
        "bitwise_xor",
        lambda a, b: 1.0 - a.equals(b),
        lambda a, b: (a - _and(a, b)) + (b - _and(a, b)),
    ),
):
    records(_name)(_of_bits(_name, _of_bools, _of_integers))


@records("bitwise_not", "bitwise_invert")
def bitwise_not(x: Any) -> TracedArray:
    """The complement of bools or integers."""
    dtype = _bits(x, True, "bitwise_not")
    is_integer = np.dtype(dtype).kind in "iu"
    all_bits = np.iinfo(dtype).max + np.iinfo(dtype).min if is_integer else 1
    return elementwise(lambda a: float(all_bits) - a, x, dtype=dtype)


@records("left_shift", "bitwise_left_shift")
def left_shift(x: Any, y: Any) -> TracedArray:
    """The integers, shifted left by so many bits; none is left of a shift by more bits than there are, as in NumPy."""
    dtype = _bits(x, y, "left_shift", int)

    def formula(a: Term, b: Term) -> Term:
        inside = _is_shift(b, dtype)
        return inside.choose(_wrapped(a * _power_of_2(inside.choose(b, 0.0)), dtype), 0.0)

    return elementwise(formula, x, y, dtype=dtype)


def _is_shift(bits: Term, dtype: str) -> Term:
    return (bits >= 0.0) * (bits < 8.0 * np.dtype(dtype).itemsize)


@records("right_shift", "bitwise_right_shift")
def right_shift(x: Any, y: Any) -> TracedArray:
    """The integers, shifted right by so many bits; only the sign is left of a shift by more bits than there are."""
    dtype = _bits(x, y, "right_shift", int)

    def formula(a: Term, b: Term) -> Term:
        inside = _is_shift(b, dtype)
        shifted = (a / _power_of_2(inside.choose(b, 0.0))).of("floor")
        return inside.choose(shifted, (a < 0.0).choose(-1.0, 0.0))

    return elementwise(formula, x, y, dtype=dtype)


@records("hypot")
def hypot(x1: Any, x2: Any) -> TracedArray:
    """sqrt(x1^2 + x2^2), which does not overflow if the result is finite, and is infinite beside one infinity."""

    def formula(a: Term, b: Term) -> Term:
        first, other = a.of("abs"), b.of("abs")
        large, small = first.of("maximum", other), first.of("minimum", other)
        ratio = small / large.equals(0.0).choose(1.0, large)
        infinite = first.equals(math.inf).of("maximum", other.equals(math.inf))
        return infinite.choose(math.inf, large * (1.0 + ratio * ratio).of("sqrt"))

    return elementwise(formula, x1, x2, dtype=float_dtype(x1, x2))


@records("round")
def round_(x: Any, decimals: int = 0) -> TracedArray:
    """The nearest number with so many decimals."""
    factor = 10.0**decimals
    if decimals == 0:
        return elementwise(lambda a: a.of("round"), x)
    return elementwise(lambda a: (a * factor).of("round") / factor, x)


@records("clip")
def clip(x: Any, x_min: Any, x_max: Any) -> TracedArray:
    """The numbers, within bounds; None is no bound."""
    if x_min is None or x_max is None:
        if x_min is None and x_max is None:
            return as_traced(x, trace_of(x))
        name = "maximum" if x_max is None else "minimum"
        return elementwise(lambda a, b: a.of(name, b), x, x_min if x_max is None else x_max)
    return elementwise(lambda a, low, high: a.of("maximum", low).of("minimum", high), x, x_min, x_max)


@records("where")
def where(condition: Any, x1: Any = None, x2: Any = None) -> TracedArray:
    """`x1` where the condition holds, else `x2`."""
    if x1 is None or x2 is None:
        msg = "`where` with one argument returns so many indices as values say: give it `x1` and `x2`"
        raise TypeError(msg)
    return elementwise(lambda c, a, b: c.choose(a, b), condition, x1, x2, dtype=common_dtype(x1, x2))


@records("select")
def select(condlist: Any, choicelist: Any, default: Any = 0) -> TracedArray:
    """The first of the choices whose condition holds."""
    result = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = where(condition, choice, result)
    return as_traced(result, trace_of(result))


@records("ldexp")
def ldexp(x1: Any, x2: Any) -> TracedArray:
    """`x1 * 2**x2`, in two steps, so that no factor overflows alone."""
    dtype = common_dtype(x2)
    if np.dtype(dtype).kind not in "iu":
        msg = f"ldexp exponent must be an integer type, got `x2` of dtype {dtype}"
        raise TypeError(msg)

    def formula(a: Term, b: Term) -> Term:
        half = (b * 0.5).of("floor")
        return a * _power_of_2(half) * _power_of_2(b - half)

    return elementwise(formula, x1, x2, dtype=float_dtype(x1))


@records("heaviside")
def heaviside(x1: Any, x2: Any) -> TracedArray:
    """0 below 0, 1 above, `x2` at 0."""
    return elementwise(
        lambda a, b: a.equals(0.0).choose(b, (a > 0.0).choose(1.0, (a < 0.0).choose(0.0, a))),
        x1,
        x2,
        dtype=float_dtype(x1, x2),
    )


@records("isclose")
def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> TracedArray:
    """Returns whether numbers are equal within a tolerance."""

    def formula(a: Term, b: Term) -> Term:
        near = ((a - b).of("abs") <= b.of("abs") * rtol + atol) * (b.of("abs") < math.inf)
        same = 1.0 - (1.0 - near) * (1.0 - a.equals(b))
        return is_nan(a).choose(is_nan(b), same) if equal_nan else same

    return elementwise(formula, x1, x2, dtype="bool")


@records("nan_to_num")
def nan_to_num(x: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> TracedArray:
    """The numbers, with finite ones in place of NaN and infinities."""
    largest = float(np.finfo(np.float32).max)
    high, low = largest if posinf is None else posinf, -largest if neginf is None else neginf

    def formula(a: Term) -> Term:
        finite = a.equals(math.inf).choose(high, a.equals(-math.inf).choose(low, a))
        return is_nan(a).choose(nan, finite)

    return elementwise(formula, x)


def to_float16(x: Term) -> Term:
    """The nearest number of float16; of two that are as near, the one whose last bit is 0."""
    size = x.of("abs")
    scaled = size * _ROUNDS_TO_A_POWER
    near = scaled - (scaled - size)  # the nearest power of 2
    power = (near > size).choose(near * 0.5, near)
    # A sum with this number has as many bits behind its point as `x` in float16.
    shift = (power * (1.5 * 2.0**13)).of("maximum", 1.5 * 2.0**-1)
    rounded = (size + shift) - shift
    return (size < _TOO_LARGE_FOR_FLOAT16).choose((x < 0.0).choose(-rounded, rounded), x * math.inf)


def _rounded_to_float16(array: TracedArray) -> TracedArray:
    """The numbers as float16 has them, with the derivative 1."""
    change = elementwise(
        lambda a: to_float16(a).equals(a).choose(0.0, to_float16(a) - a),
        array,
        dtype="float32",
    )
    return elementwise(lambda a, b: a + b, array, stop_gradient(change), dtype="float16")


@records("saturate_cast")
def saturate_cast(x: Any, dtype: Any) -> TracedArray:
    """The numbers in another dtype, with its lowest and largest number for those beyond it."""
    array, target = as_traced(x, trace_of(x)), standard(dtype)
    if target.kind not in "iu" and target.name != "float16":
        return cast(array, dtype)
    limits: Any = np.iinfo(target) if target.kind in "iu" else np.finfo(target)
    low, high = float(limits.min), float(limits.max)
    return cast(elementwise(lambda a: a.of("maximum", low).of("minimum", high), array), dtype)


@records("cast")
def cast(x: Any, dtype: Any) -> TracedArray:
    """The numbers in another dtype: floats are cut off towards 0 for integers, and become 1 or 0 for bools."""
    name = standard(dtype).name
    array = as_traced(x, trace_of(x))
    if name == array.dtype:
        return array
    if name == "bool":
        return elementwise(lambda a: 1.0 - a.equals(0.0), array, dtype=name)
    if name == "float16" and array.dtype != "bool":
        return _rounded_to_float16(array)
    if standard(dtype).kind not in "iu":
        return array.as_dtype(name)
    if np.dtype(array.dtype).kind == "f":
        return elementwise(trunc, array, dtype=name)
    return elementwise(lambda a: _wrapped(a, name), array, dtype=name)


@records("convert_to_tensor", "array")
def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> TracedArray:
    """The symbol itself, or one of another dtype."""
    del sparse, ragged
    array = as_traced(x, trace_of(*(x if isinstance(x, (list, tuple)) else (x,))))
    return array if dtype is None else cast(array, dtype)


@records("copy", "real", "conj", "conjugate")
def copy(x: Any) -> TracedArray:
    """The symbol itself."""
    return as_traced(x, trace_of(x))


@records("imag")
def imag(x: Any) -> TracedArray:
    """The imaginary parts of real numbers: zeros."""
    array = as_traced(x, trace_of(x))
    return full(array.trace, array.extents, 0.0, array.dtype)


@records("full_like")
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> TracedArray:
    """An array of the shape of `x` with one number."""
    array = as_traced(x, trace_of(x))
    name = array.dtype if dtype is None else standard(dtype).name
    number = number_in(fill_value)
    if number is not None:
        return full(array.trace, array.extents, number, name)
    return broadcast_to(cast(as_traced(fill_value, array.trace), name), array.extents)


@records("zeros_like", "empty_like")
def zeros_like(x: Any, dtype: Any = None) -> TracedArray:
    """Zeros in the shape of `x`."""
    return full_like(x, 0.0, dtype)


@records("ones_like")
def ones_like(x: Any, dtype: Any = None) -> TracedArray:
    """Ones in the shape of `x`."""
    return full_like(x, 1.0, dtype)


@records("full")
def full_(shape: Any, fill_value: Any, dtype: Any = None) -> TracedArray:
    """An array of one number."""
    trace = trace_of(fill_value)
    number = number_in(fill_value)
    if number is not None:
        name = common_dtype(fill_value) if dtype is None else standard(dtype).name
        return full(trace, lengths(shape), number, name)
    array = as_traced(fill_value, trace)
    return broadcast_to(array if dtype is None else cast(array, dtype), lengths(shape))


@records("zeros", "empty")
def zeros(shape: Any, dtype: Any = None) -> TracedArray:
    """Zeros."""
    return full(trace_of(), lengths(shape), 0.0, standard(dtype).name)


@records("ones")
def ones(shape: Any, dtype: Any = None) -> TracedArray:
    """Ones."""
    return full(trace_of(), lengths(shape), 1.0, standard(dtype).name)
