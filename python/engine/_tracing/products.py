"""Recording of the products of `engine.ops`: all are `einsum` of two operands."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine._base.checks import choice
from engine._tracing.dispatch import implementation_of, records
from engine._tracing.errors import CannotRecordError
from engine._tracing.extents import ONE, joint_length, text_of_extents
from engine._tracing.primitives import (
    common_dtype,
    contraction,
    elementwise,
    float_dtype,
    gather,
    join,
    reduce,
    reshape,
    transpose,
)
from engine._tracing.trace import TracedArray, as_traced, trace_of

_LETTERS = string.ascii_letters


def product(a: TracedArray, b: TracedArray, a_letters: str, b_letters: str, y_letters: str) -> TracedArray:
    """Returns `einsum` of two operands, in which axes of length 1 are broadcast.

    An axis whose letter neither the other operand nor the result has is summed first, within its operand.
    """
    operands = [
        _summed(array, letters_here, other + y_letters)
        for array, letters_here, other in ((a, a_letters, b_letters), (b, b_letters, a_letters))
    ]
    (first, one_letters), (two, two_letters) = operands
    lengths = [dict(zip(letters, array.extents, strict=True)) for array, letters in operands]
    # In each operand the letters of axes of length 1 that are longer in the other one.
    single = [
        "".join(c for c in letters if length[c] == ONE and c in other and other[c] != ONE)
        for (_, letters), length, other in zip(operands, lengths, reversed(lengths), strict=True)
    ]
    first, one_letters = _without(first, one_letters, single[0])
    two, two_letters = _without(two, two_letters, single[1])
    # Without these axes, their letters are those of one operand alone.
    first, one_letters = _summed(first, one_letters, two_letters + y_letters)
    two, two_letters = _summed(two, two_letters, one_letters + y_letters)
    return contraction(first, two, one_letters, two_letters, y_letters)


def _summed(array: TracedArray, letters: str, kept_letters: str) -> tuple[TracedArray, str]:
    """Returns an operand summed over the axes whose letters aren't in `kept_letters`, and the letters that are left."""
    gone = [index for index, letter in enumerate(letters) if letter not in kept_letters]
    if not gone:
        return array, letters
    return reduce(array, "sum", gone, False), "".join(letter for letter in letters if letter in kept_letters)


def _without(array: TracedArray, letters: str, gone: str) -> tuple[TracedArray, str]:
    """Returns an operand without the axes of length 1 whose letters are in `gone`, and the letters that are left."""
    extents = tuple(
        extent for extent, letter in zip(array.extents, letters, strict=True) if letter not in gone
    )
    return array.reshaped(extents), "".join(letter for letter in letters if letter not in gone)


def _require_equal_lengths(a: TracedArray, b: TracedArray, axes: Sequence[tuple[int, int]]) -> None:
    """Raises ValueError if an axis of `a` is summed with one of `b` of another length, also if one of them is 1.

    Args:
        a: an operand.
        b: the other operand.
        axes: pairs of an axis of `a` and one of `b`.
    """
    if not all(a.extents[axis].agrees_with(b.extents[other]) for axis, other in axes):
        msg = (
            f"arrays of shapes {text_of_extents(a.extents)} and {text_of_extents(b.extents)} can't be multiplied: the axes over which they "
            "are summed have other lengths"
        )
        raise ValueError(msg)


def _pair(x1: Any, x2: Any) -> tuple[TracedArray, TracedArray]:
    trace = trace_of(x1, x2)
    return as_traced(x1, trace), as_traced(x2, trace)


@records("matmul")
def matmul(x1: Any, x2: Any) -> TracedArray:
    """Matrix products, of the last two axes."""
    a, b = _pair(x1, x2)
    if 0 in (a.ndim, b.ndim):
        msg = "`matmul` takes arrays with axes, got a single number: multiply by it"
        raise ValueError(msg)
    _require_equal_lengths(a, b, [(a.ndim - 1, max(b.ndim - 2, 0))])
    first, two = _LETTERS[: max(a.ndim - 2, 0)], _LETTERS[: max(b.ndim - 2, 0)]
    batch = max(first, two, key=len)
    first, two = batch[len(batch) - len(first) :], batch[len(batch) - len(two) :]
    rows, columns = "X" if a.ndim > 1 else "", "Z" if b.ndim > 1 else ""
    return product(a, b, f"{first}{rows}Y", f"{two}Y{columns}", f"{batch}{rows}{columns}")


@records("dot")
def dot(x1: Any, x2: Any) -> TracedArray:
    """The sum of products over the last axis of one and the last but one of the other."""
    a, b = _pair(x1, x2)
    if 0 in (a.ndim, b.ndim):
        return elementwise(lambda a, other: a * other, a, b)
    axis = max(b.ndim - 2, 0)
    return tensordot(a, b, [[a.ndim - 1], [axis]])


@records("tensordot")
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> TracedArray:
    """The sum of products over pairs of axes."""
    a, b = _pair(x1, x2)
    if isinstance(axes, int):
        a_axes, other = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        a_axes, other = (list(axis) if isinstance(axis, (list, tuple)) else [axis] for axis in axes)
    a_axes, other = [axis % a.ndim for axis in a_axes], [axis % b.ndim for axis in other]
    _require_equal_lengths(a, b, list(zip(a_axes, other, strict=True)))
    a_letters = _LETTERS[: a.ndim]
    rest = iter(_LETTERS[a.ndim :])
    b_letters = [next(rest) for _ in range(b.ndim)]
    for left, right in zip(a_axes, other, strict=True):
        b_letters[right] = a_letters[left]
    y_letters = [letter for index, letter in enumerate(a_letters) if index not in a_axes]
    y_letters += [letter for index, letter in enumerate(b_letters) if index not in other]
    return product(a, b, a_letters, "".join(b_letters), "".join(y_letters))


@records("inner")
def inner(x1: Any, x2: Any) -> TracedArray:
    """The sum of products over the last axes."""
    a, b = _pair(x1, x2)
    if 0 in (a.ndim, b.ndim):
        return elementwise(lambda a, other: a * other, a, b)
    return tensordot(a, b, [[a.ndim - 1], [b.ndim - 1]])


@records("outer")
def outer(x1: Any, x2: Any) -> TracedArray:
    """All products of two numbers, one of each array."""
    a, b = _pair(x1, x2)
    column, row = reshape(a, (-1,)), reshape(b, (-1,))
    return elementwise(
        lambda a, other: a * other,
        column.reshaped((*column.extents, ONE)),
        row.reshaped((ONE, *row.extents)),
    )


@records("kron")
def kron(x1: Any, x2: Any) -> TracedArray:
    """Each number of the first array times the second array, in its place."""
    a, b = _pair(x1, x2)
    ndim = max(a.ndim, b.ndim)
    first, other = (array.reshaped((*[ONE] * (ndim - array.ndim), *array.extents)) for array in (a, b))
    spread = elementwise(
        lambda u, v: u * v,
        first.reshaped(tuple(extent for length in first.extents for extent in (length, ONE))),
        other.reshaped(tuple(extent for length in other.extents for extent in (ONE, length))),
    )
    lengths = [joint_length(pair) for pair in zip(first.extents, other.extents, strict=True)]
    joint_lengths = tuple(length for length in lengths if length is not None)
    if len(joint_lengths) < ndim:
        msg = f"the Kronecker product of {a!r} and {b!r} would have an axis with the square of the number of samples"
        raise CannotRecordError(msg)
    return spread.reshaped(joint_lengths)


@records("vdot")
def vdot(x1: Any, x2: Any) -> TracedArray:
    """The sum of products of two arrays, as vectors."""
    a, b = (reshape(array, (-1,)) for array in _pair(x1, x2))
    _require_equal_lengths(a, b, [(0, 0)])
    return reduce(elementwise(lambda p, other: p * other, a, b), "sum", None, False)


@records("einsum")
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> TracedArray:
    """Sums of products that letters describe."""
    del kwargs
    trace = trace_of(*operands)
    arrays = [as_traced(operand, trace) for operand in operands]
    inputs, output = _letters_of(subscripts.replace(" ", ""), arrays)
    arrays, letters = map(list, zip(*map(_without_twins, arrays, inputs), strict=True))
    result, result_letters = arrays[0], letters[0]
    for number, (array, other) in enumerate(zip(arrays[1:], letters[1:], strict=True), 2):
        needed = output + "".join(letters[number:])
        kept_letters = "".join(dict.fromkeys(letter for letter in result_letters + other if letter in needed))
        kept_letters = output if number == len(arrays) else kept_letters
        result, result_letters = product(result, array, result_letters, other, kept_letters), kept_letters
    result, result_letters = _summed(result, result_letters, output)
    return (
        result
        if result_letters == output
        else transpose(result, [result_letters.index(letter) for letter in output])
    )


def _without_twins(array: TracedArray, letters: str) -> tuple[TracedArray, str]:
    """Returns an operand with the diagonal in place of two axes that have one letter, and the letters that are left."""
    twin = next((letter for letter in letters if letters.count(letter) > 1), None)
    if twin is None:
        return array, letters
    first, other = letters.index(twin), letters.rindex(twin)
    rest = "".join(letter for index, letter in enumerate(letters) if index not in (first, other))
    diagonals = implementation_of("diagonal")(array, 0, first, other)
    return _without_twins(diagonals, rest + twin)


def _letters_of(subscripts: str, arrays: Sequence[TracedArray]) -> tuple[list[str], str]:
    """Returns the letters of each operand and of the result, without an ellipsis."""
    before, arrow, after = subscripts.partition("->")
    terms = before.split(",")
    if len(terms) != len(arrays):
        msg = f"einsum of {subscripts!r} takes {len(terms)} arrays, got {len(arrays)}"
        raise ValueError(msg)
    free = [letter for letter in _LETTERS if letter not in subscripts]
    most = max(
        (
            array.ndim - len(term.replace("...", ""))
            for term, array in zip(terms, arrays, strict=True)
            if "..." in term
        ),
        default=0,
    )
    shared = "".join(free[:most])
    inputs = []
    for term, array in zip(terms, arrays, strict=True):
        count = array.ndim - len(term.replace("...", ""))
        expanded = term.replace("...", shared[len(shared) - count :] if count else "")
        if len(expanded) != array.ndim:
            msg = f"einsum of {subscripts!r}: {term!r} has another number of letters than {array!r} has axes"
            raise ValueError(msg)
        inputs.append(expanded)
    joined = "".join(inputs)
    if arrow:
        return inputs, after.replace("...", shared)
    once = sorted(letter for letter in set(joined) if joined.count(letter) == 1 and letter not in shared)
    return inputs, shared + "".join(once)


@records("correlate")
def correlate(x1: Any, x2: Any, mode: str = "valid") -> TracedArray:
    """The sums of products of a vector and another one that is moved along it."""
    choice(mode, "mode", ("valid", "same", "full"))
    a, b = _pair(x1, x2)
    n, m = (array.extents[0].static if array.ndim == 1 else None for array in (a, b))
    if not n or not m:
        msg = f"`x1` and `x2` must be vectors of known lengths, got shapes {text_of_extents(a.extents)} and {text_of_extents(b.extents)}"
        raise CannotRecordError(msg)
    least = min(n, m)
    if mode == "full":
        begin, count = 0, n + m - 1
    elif mode == "valid":
        begin, count = least - 1, max(n, m) - least + 1
    else:
        # Of the sums at both ends NumPy leaves out half; where the second vector is longer, it counts from the other end.
        left_out = least - 1 - least // 2
        begin, count = (left_out if n >= m else least // 2), max(n, m)
    # Each number of the result is a window of `x1` times `x2`; beyond its ends `x1` is zero.
    indices = begin + np.arange(count)[:, np.newaxis] - (m - 1) + np.arange(m)
    inside = (indices >= 0) & (indices < n)
    windows = gather(a, a.trace.constant(np.clip(indices, 0, n - 1).astype(np.int32)))
    products = elementwise(lambda a, ok: ok.choose(a, 0.0), windows, inside, dtype=a.dtype)
    return matmul(products, b)


@records("cdist")
def cdist(x: Any, y: Any) -> TracedArray:
    """The distances of each row of `x` to each of `y`; the derivative of a distance of 0 is 0."""
    a, b = _pair(x, y)
    if min(a.ndim, b.ndim) < 2 or a.extents[-1] != b.extents[-1]:  # noqa: PLR2004 # rows
        msg = f"`x` and `y` must be rows of the same length, got shapes {text_of_extents(a.extents)} and {text_of_extents(b.extents)}"
        raise ValueError(msg)
    rows = a.reshaped((*a.extents[:-1], ONE, a.extents[-1]))
    columns = b.reshaped((*b.extents[:-2], ONE, *b.extents[-2:]))
    squares = elementwise(lambda u, v: (u - v) * (u - v), rows, columns, dtype=float_dtype(a, b))

    def root(s: Any) -> Any:
        none = s.equals(0.0)
        return none.choose(0.0, none.choose(1.0, s).of("sqrt"))

    return elementwise(root, reduce(squares, "sum", -1, False))


@records("corrcoef")
def corrcoef(x: Any) -> TracedArray:
    """The correlation coefficients of rows."""
    (array,) = (as_traced(operand, trace_of(operand)) for operand in (x,))
    if array.ndim > 2:  # noqa: PLR2004 # rows
        msg = f"`x` must have rows of values, (n, values), got shape {text_of_extents(array.extents)}"
        raise ValueError(msg)
    rows = array.reshaped((ONE, *array.extents)) if array.ndim == 1 else array
    total = reduce(rows, "sum", -1, True)
    number = rows.shape[-1]
    rest = elementwise(lambda a, s, n: a - s / n, rows, total, number, dtype=float_dtype(array))
    products = matmul(rest, transpose(rest, (1, 0)))
    sizes = elementwise(lambda a: a.of("sqrt"), reduce(elementwise(lambda a: a * a, rest), "sum", -1, False))
    result = elementwise(
        lambda p, u, v: (p / u / v).of("maximum", -1.0).of("minimum", 1.0), products,
        sizes.reshaped((*sizes.extents, ONE)), sizes.reshaped((ONE, *sizes.extents)),
    )  # fmt: skip
    return result.reshaped(()) if array.ndim == 1 else result


@records("vander")
def vander(x: Any, N: int | None = None, increasing: bool = False) -> TracedArray:  # noqa: N803 # Keras' names
    """The powers of a vector as columns."""
    (vector,) = (as_traced(array, trace_of(array)) for array in (x,))
    count = vector.extents[0].static if N is None else int(N)
    if vector.ndim != 1 or count is None:
        msg = f"`x` must be a vector, and `N` given if its length depends on the batch, got {vector!r}"
        raise ValueError(msg)
    column = vector.reshaped((*vector.extents, ONE))
    powers = [elementwise(lambda a: a * 0.0 + 1.0, column)]
    while len(powers) < count:
        powers.append(elementwise(lambda a, b: a * b, powers[-1], column))
    return join(powers[:count] if increasing else powers[:count][::-1], 1).as_dtype(
        common_dtype(vector, least_dtype=int)
    )
