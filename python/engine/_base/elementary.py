"""Powers, exponentials, logarithms and cosines of float64 arrays, the same bits on every machine.

NumPy's functions depend on the C library and the CPU, and differ in the last bits. These functions use only additions,
multiplications, divisions and exact scaling by powers of two, which IEEE 754 rounds in one way. The series are Taylor's,
cut where the remainder is less than half a rounding error; the tests compare them with results of 50 digits. Learning
rate schedules, losses and random layers use them for whatever has an influence on a weight.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

_SQRT_HALF = 0.7071067811865476
_LN2 = 0.6931471805599453
# The first 32 bits of ln 2, whose product with an exponent is exact, and the rest of ln 2.
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_LARGEST_EXPONENT = 745.2  # exp(x) is infinite above it, and exp(-x) is zero

_QUARTER_TURN = 0.5  # 90 degrees in units of pi

_ATANH = [1 / (2 * k + 1) for k in reversed(range(12))]
_EXP = [1 / math.factorial(k) for k in reversed(range(15))]
_SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in reversed(range(9))]
_COS = [(-1) ** k / math.factorial(2 * k) for k in reversed(range(10))]


def power(base: ArrayLike, exponent: ArrayLike) -> Doubles:
    """Returns `base ** exponent` for `base >= 0`, elementwise.

    The relative error is below `(4 + 4 * abs(exponent * log(base))) * 2**-53`; `x ** 1` is exact.
    """
    x, p = np.broadcast_arrays(np.asarray(base, np.float64), np.asarray(exponent, np.float64))
    positive = x > 0
    result = exp(p * log(np.where(positive, x, 1.0)))
    at_zero = np.where(p > 0, 0.0, np.where(p == 0, 1.0, np.inf))
    return np.where(p == 1, x, np.where(positive, result, at_zero))


def cos_pi(x: ArrayLike) -> Doubles:
    """Returns `cos(pi * x)` for x in [0, 1], elementwise, with an error below 3 * 2**-53."""
    turn = np.asarray(x, np.float64)
    far = turn > _QUARTER_TURN
    near = np.where(far, 1.0 - turn, turn)  # cos(pi - a) = -cos(a)
    steep = near > _QUARTER_TURN / 2
    t = np.pi * np.where(steep, _QUARTER_TURN - near, near)  # cos(pi/2 - a) = sin(a)
    square = t * t
    value = np.where(steep, t * _series(_SIN, square), _series(_COS, square))
    return np.where(far, -value, value)


def log(x: Doubles) -> Doubles:
    """Returns the natural logarithm of positive numbers.

    For x = m 2^e with m in [sqrt(1/2), sqrt(2)) it is e ln2 + 2 artanh((m - 1) / (m + 1)).
    """
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    m = np.where(small, 2.0 * mantissa, mantissa)
    e = exponent - small.astype(np.int64)
    s = (m - 1.0) / (m + 1.0)
    return e * _LN2_HIGH + (2.0 * s * _series(_ATANH, s * s) + e * _LN2_LOW)


def exp(x: Doubles) -> Doubles:
    """Returns the exponential function. For x = n ln2 + r it is 2^n times the series at r."""
    clipped = np.clip(x, -_LARGEST_EXPONENT - 1.0, _LARGEST_EXPONENT)
    n = np.rint(clipped / _LN2)
    r = (clipped - n * _LN2_HIGH) - n * _LN2_LOW
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(_series(_EXP, r), n.astype(np.int32))


def _series(coefficients: list[float], x: Doubles) -> Doubles:
    """Returns the polynomial with these coefficients, highest first, at `x`, by Horner's scheme."""
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total
