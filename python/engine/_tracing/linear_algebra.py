"""Recording of linear algebra of `engine.ops`: decompositions that NumPy computes, and formulas for their derivatives.

The formulas are those of M. Giles, "An extended collection of matrix derivative results" (2008), J. Townsend,
"Differentiating the singular value decomposition" (2016), and G. Golub and V. Pereyra (1973) for the pseudo-inverse. In them
dX is the gradient with respect to X.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine._base.checks import choice, require_matrices, solves_vectors
from engine._tracing.arrangement import concatenate, expand_dims, swapaxes, take_along_axis, tril, triu
from engine._tracing.dispatch import function_of_arrays, records
from engine._tracing.elementwise import multiply, subtract
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import Extent, text_of_extents
from engine._tracing.host_operations import constant, host, host_functions
from engine._tracing.primitives import (
    broadcast,
    coordinate,
    elementwise,
    float_dtype,
    full,
    part,
    stop_gradient,
)
from engine._tracing.primitives import broadcast_to as spread
from engine._tracing.products import matmul
from engine._tracing.reductions import array_of, sum_
from engine._tracing.trace import TracedArray, as_traced, trace_of

_MATRIX = 2


def _matrices(x: Any, square: bool = False) -> TracedArray:
    array = array_of(x)
    require_matrices(array.extents, square, text_of_extents)
    return array.as_dtype(float_dtype(array))


def _square(x: Any) -> TracedArray:
    return _matrices(x, square=True)


def _length(extent: Extent) -> int:
    """Returns the length of an axis of matrices whose derivatives or parts need it as a number."""
    if extent.static is None:
        msg = f"{line_of_user()}: the samples of a batch can't be the rows or columns of a matrix that is decomposed"
        raise CannotRecordError(msg)
    return extent.fixed


def _transposed(x: TracedArray) -> TracedArray:
    return swapaxes(x, -1, -2)


def _negative(x: TracedArray) -> TracedArray:
    return elementwise(lambda a: -a, x)


def _plus(*terms: TracedArray) -> TracedArray:
    total = terms[0]
    for term in terms[1:]:
        total = elementwise(lambda a, b: a + b, total, term)
    return total


def _product(*factors: TracedArray) -> TracedArray:
    product = factors[0]
    for factor in factors[1:]:
        product = matmul(product, factor)
    return product


def _symmetric(x: TracedArray) -> TracedArray:
    return elementwise(lambda a, b: (a + b) * 0.5, x, _transposed(x))


def _columns(vector: TracedArray) -> TracedArray:
    """Returns vectors as rows, so that a product with them scales columns."""
    return expand_dims(vector, -2)


def _on_diagonal(vector: TracedArray) -> TracedArray:
    """Returns matrices with vectors on their diagonals."""
    return multiply(_columns(vector), _identity(vector, vector.extents[-1]))


def _identity(like: TracedArray, side: Extent) -> TracedArray:
    rows, columns = (coordinate(like.trace, (side, side), axis) for axis in (0, 1))
    return elementwise(lambda i, j: i.equals(j), rows, columns, dtype="float32")


def _single(x: TracedArray) -> TracedArray:
    """Returns single numbers as matrices of one."""
    return expand_dims(expand_dims(x, -1), -1)


# Inverses, determinants, systems of equations.


@records("inv")
def inv(x: Any) -> TracedArray:
    """The inverses of matrices."""
    a = _square(x)
    (inverse,) = host(
        "inv", [a], [a.extents[-2:]], batch=a.extents[:-2], dtypes=[a.dtype],
        rule=lambda dy, y: [_negative(_product(_transposed(y[0]), dy[0], _transposed(y[0])))],
    )  # fmt: skip
    return inverse


@records("det")
def det(x: Any) -> TracedArray:
    """The determinants of matrices."""
    a = _square(x)
    (determinant,) = host(
        "det", [a], [()], batch=a.extents[:-2], dtypes=[a.dtype],
        rule=lambda dy, _: [multiply(_single(dy[0]), _cofactors(a))],
    )  # fmt: skip
    return determinant


def _cofactors(a: TracedArray) -> TracedArray:
    """The determinant times the transposed inverse, which singular matrices have, too."""

    def rule(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray]:
        cofactors, upstream = y[0], dy[0]
        determinant = sum_(multiply(a[..., 0, :], cofactors[..., 0, :]), -1)
        common = multiply(_single(sum_(multiply(cofactors, upstream), (-2, -1))), cofactors)
        rest = subtract(common, _product(cofactors, _transposed(upstream), cofactors))
        return [elementwise(lambda cofactor, whole: cofactor / whole, rest, _single(determinant))]

    (result,) = host("cofactors", [a], [a.extents[-2:]], batch=a.extents[:-2], rule=rule)
    return result


def _cofactors_of_arrays(x: Any) -> Any:
    u, s, v = np.linalg.svd(x)
    n = s.shape[-1]
    other_products = np.prod(np.where(np.eye(n, dtype=bool), 1, s[..., np.newaxis, :]), axis=-1)
    return (np.linalg.det(u) * np.linalg.det(v))[..., np.newaxis, np.newaxis] * (
        (u * other_products[..., np.newaxis, :]) @ v
    )


host_functions["cofactors"] = _cofactors_of_arrays


@records("slogdet")
def slogdet(x: Any) -> tuple[TracedArray, TracedArray]:
    """The signs of the determinants of matrices, and the logarithms of their sizes."""
    a = _square(x)
    sign, logarithm = host(
        "slogdet", [a], [(), ()], batch=a.extents[:-2], dtypes=[a.dtype, a.dtype],
        rule=lambda dy, _: [multiply(_single(dy[1]), _transposed(inv(a)))],
    )  # fmt: skip
    return stop_gradient(sign), logarithm


@records("logdet")
def logdet(x: Any) -> TracedArray:
    """The logarithms of the determinants of positive definite matrices."""
    return slogdet(x)[1]


@records("solve")
def solve(a: Any, b: Any) -> TracedArray:
    """The solutions x of `a @ x = b`."""
    trace = trace_of(a, b)
    left, right = _square(as_traced(a, trace)), as_traced(b, trace)
    vectors = solves_vectors(left.extents, right.extents, text_of_extents)
    columns = expand_dims(right, -1) if vectors else right
    batch = broadcast(left.extents[:-2], columns.extents[:-2])
    left, columns = (spread(array, (*batch, *array.extents[-2:])) for array in (left, columns))

    def rule(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray]:
        by_right = _product(_transposed(inv(left)), dy[0])
        return [_negative(_product(by_right, _transposed(y[0]))), by_right]

    (solution,) = host(
        "solve",
        [left, columns],
        [columns.extents[-2:]],
        batch=batch,
        dtypes=[float_dtype(left, columns)],
        rule=rule,
    )
    return solution.reshaped(solution.extents[:-1]) if vectors else solution


@records("solve_triangular")
def solve_triangular(a: Any, b: Any, lower: bool = False) -> TracedArray:
    """The solutions of `a @ x = b`, where of `a` one triangle counts."""
    matrices = _square(as_traced(a, trace_of(a, b)))
    return solve(tril(matrices) if lower else triu(matrices), b)


@records("pinv")
def pinv(x: Any, rcond: float | None = None) -> TracedArray:
    """The pseudo-inverses of matrices."""
    a = _matrices(x)
    rows, columns = a.extents[-2:]

    def rule(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray]:
        inverse, upstream = y[0], _transposed(dy[0])
        turned = _transposed(inverse)
        beyond_rows = subtract(_identity(a, rows), _product(a, inverse))
        beyond_columns = subtract(_identity(a, columns), _product(inverse, a))
        return [
            _plus(
                _negative(_product(turned, dy[0], turned)),
                _product(beyond_rows, upstream, inverse, turned),
                _product(turned, inverse, upstream, beyond_columns),
            )
        ]

    (result,) = host(
        "pinv",
        [a],
        [(columns, rows)],
        batch=a.extents[:-2],
        dtypes=[a.dtype],
        rule=rule,
        options={"rcond": rcond},
    )
    return result


@records("lstsq")
def lstsq(a: Any, b: Any, rcond: float | None = None) -> TracedArray:
    """The least solutions of `a @ x = b` in the sense of least squares."""
    trace = trace_of(a, b)
    left, right = _matrices(as_traced(a, trace)), as_traced(b, trace)
    if left.ndim != _MATRIX or right.ndim not in (1, _MATRIX) or right.extents[0] != left.extents[0]:
        msg = (
            "`a` must be a matrix (m, n), and `b` (m,) or (m, k), got shapes "
            f"{text_of_extents(left.extents)} and {text_of_extents(right.extents)}"
        )
        raise ValueError(msg)
    least = rcond
    if least is None:
        least = float(np.finfo(np.float32).eps) * max(map(_length, left.extents))
    return matmul(pinv(left, least), right)


@records("matrix_rank")
def matrix_rank(x: Any, tol: float | None = None) -> TracedArray:
    """Returns the number of singular values of matrices above `tol`."""
    a = _matrices(x)
    (rank,) = host(
        "matrix_rank", [a], [()], batch=a.extents[:-2], dtypes=["int32"], rule=constant, options={"tol": tol}
    )
    return rank


# Decompositions.


@records("cholesky")
def cholesky(x: Any, upper: bool = False) -> TracedArray:
    """The Cholesky factors of positive definite matrices."""
    a = _square(x)

    def rule(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray]:
        inverse = inv(y[0])
        inner = _half_lower(_product(_transposed(y[0]), dy[0]))
        return [_symmetric(_product(_transposed(inverse), inner, inverse))]

    (factor,) = host("cholesky", [a], [a.extents[-2:]], batch=a.extents[:-2], dtypes=[a.dtype], rule=rule)
    return _transposed(factor) if upper else factor


def _half_lower(x: TracedArray) -> TracedArray:
    """Returns lower triangles with half of the diagonals."""
    rows, columns = (coordinate(x.trace, x.extents[-2:], axis) for axis in (0, 1))
    return elementwise(
        lambda a, i, j: (j < i).choose(a, i.equals(j).choose(a * 0.5, 0.0)), x, rows, columns, dtype=x.dtype
    )


@records("cholesky_inverse")
def cholesky_inverse(x: Any, upper: bool = False) -> TracedArray:
    """The inverses of matrices with these Cholesky factors."""
    factors = _square(x)
    inverse = inv(triu(factors) if upper else tril(factors))
    return _product(inverse, _transposed(inverse)) if upper else _product(_transposed(inverse), inverse)


def _inverse_gaps(values: TracedArray, function: Any = None) -> TracedArray:
    """Returns 1 / (b - a) for each pair of values, a of the row and b of the column; 0 for equal ones."""
    rows, columns = expand_dims(values, -1), expand_dims(values, -2)

    def formula(a: Any, b: Any) -> Any:
        gap = b - a if function is None else function(b) - function(a)
        same = gap.equals(0.0)
        return same.choose(0.0, 1.0 / same.choose(1.0, gap))

    return elementwise(formula, rows, columns)


@records("eigh")
def eigh(x: Any) -> tuple[TracedArray, TracedArray]:
    """The eigenvalues, ascending, and eigenvectors of symmetric matrices."""
    a = _square(x)
    side = a.extents[-1]

    def rule(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray]:
        (by_values, by_vectors), (values, vectors) = dy, y
        turned = _transposed(vectors)
        inner = multiply(_inverse_gaps(values), _product(turned, by_vectors))
        return [_symmetric(_product(vectors, _plus(_on_diagonal(by_values), inner), turned))]

    values, vectors = host(
        "eigh", [a], [(side,), (side, side)], batch=a.extents[:-2], dtypes=[a.dtype, a.dtype], rule=rule
    )
    return values, vectors


@records("svd")
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """The singular values of matrices, and the matrices of singular vectors."""
    a = _matrices(x)
    batch, (rows, columns) = a.extents[:-2], a.extents[-2:]
    least = Extent(min(_length(rows), _length(columns)))

    def rule(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray]:
        return [_derivative_of_svd(a, dy, y)]

    u, s, v = host(
        "svd", [a], [(rows, least), (least,), (least, columns)], batch=batch, dtypes=[a.dtype] * 3, rule=rule,
        options={"full_matrices": False},
    )  # fmt: skip
    if not compute_uv:
        return s
    if full_matrices and rows != columns:
        # Any vectors that complete a basis are right, so that they have no derivatives.
        more_u, _, more_v = host(
            "svd", [a], [(rows, rows), (least,), (columns, columns)], batch=batch, dtypes=[a.dtype] * 3
        )
        u = concatenate([u, part(more_u, more_u.ndim - 1, least, rows.plus(least, -1))], -1)
        v = concatenate([v, part(more_v, more_v.ndim - 2, least, columns.plus(least, -1))], -2)
    return u, s, v


def _derivative_of_svd(a: TracedArray, dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> TracedArray:
    (du, ds, dv), (u, s, v) = dy, y
    gaps = _inverse_gaps(s, lambda a: a * a)
    turned_u, vectors = _transposed(u), _transposed(v)
    dvectors = _transposed(dv)

    def rotation(left: TracedArray, other: TracedArray) -> TracedArray:
        product = _product(left, other)
        return multiply(gaps, subtract(product, _transposed(product)))

    inner = _plus(
        multiply(rotation(turned_u, du), _columns(s)),
        _on_diagonal(ds),
        multiply(expand_dims(s, -1), rotation(v, dvectors)),
    )
    gradient = _product(u, inner, v)
    rows, columns = a.extents[-2:]
    inverse = elementwise(lambda a: 1.0 / a, s)
    if rows.fixed > columns.fixed:
        beyond = subtract(du, _product(u, turned_u, du))
        gradient = _plus(gradient, _product(multiply(beyond, _columns(inverse)), v))
    if columns.fixed > rows.fixed:
        beyond = subtract(dv, _product(dv, vectors, v))
        gradient = _plus(gradient, _product(multiply(u, _columns(inverse)), beyond))
    return gradient


@records("qr")
def qr(x: Any, mode: str = "reduced") -> tuple[TracedArray, TracedArray]:
    """Orthonormal columns Q and upper triangles R of matrices Q R."""
    choice(mode, "mode", ("reduced", "complete"))
    a = _matrices(x)
    rows, columns = map(_length, a.extents[-2:])
    if rows < columns:  # Q is that of the first columns
        first = part(a, a.ndim - 1, Extent(0), Extent(rows))
        rest = part(a, a.ndim - 1, Extent(rows), Extent(columns - rows))
        q, r = qr(first)
        return q, concatenate([r, _product(_transposed(q), rest)], -1)
    batch, shapes = a.extents[:-2], (a.extents[-2:], (a.extents[-1],) * 2)
    whole = mode == "complete" and rows > columns
    q, r = host(
        "qr", [a], shapes, batch=batch, dtypes=[a.dtype] * 2,
        rule=lambda dy, y: [_derivative_of_qr(dy, y)],
    )  # fmt: skip
    if whole:
        # Any columns that complete a basis are right, so that they have no derivatives.
        more_q, _ = host(
            "qr", [a], [(Extent(rows), Extent(rows)), a.extents[-2:]], batch=batch, dtypes=[a.dtype] * 2,
            options={"mode": "complete"},
        )  # fmt: skip
        q = concatenate([q, part(more_q, more_q.ndim - 1, Extent(columns), Extent(rows - columns))], -1)
        below = full(a.trace, (*batch, Extent(rows - columns), Extent(columns)), 0.0, a.dtype)
        r = concatenate([r, below], -2)
    return q, r


def _derivative_of_qr(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> TracedArray:
    (dq, dr), (q, r) = dy, y
    inner = subtract(_product(r, _transposed(dr)), _product(_transposed(dq), q))
    mirrored = _plus(tril(inner), _transposed(tril(inner, -1)))
    return _product(_plus(dq, _product(q, mirrored)), _transposed(inv(r)))


@records("lu_factor")
def lu_factor(x: Any) -> tuple[TracedArray, TracedArray]:
    """The factors L and U of matrices with rows swapped, and the swaps."""
    a = _matrices(x)
    batch, (rows, columns) = a.extents[:-2], a.extents[-2:]
    least = Extent(min(_length(rows), _length(columns)))
    pivots, order = host(
        "row_order", [a], [(least,), (rows,)], batch=batch, dtypes=["int32", "int32"], rule=constant
    )
    ordered = take_along_axis(a, expand_dims(order, -1), -2)
    block = part(part(ordered, a.ndim - 2, Extent(0), least), a.ndim - 1, Extent(0), least)
    factors = _factors(block)
    if rows.fixed > least.fixed:
        below = part(ordered, a.ndim - 2, least, rows.plus(least, -1))
        return concatenate([factors, _product(below, inv(triu(factors)))], -2), pivots
    if columns.fixed > least.fixed:
        beside = part(ordered, a.ndim - 1, least, columns.plus(least, -1))
        return concatenate([factors, _product(inv(_unit_lower(factors)), beside)], -1), pivots
    return factors, pivots


def _unit_lower(factors: TracedArray) -> TracedArray:
    """Returns L, with ones on the diagonal, of L and U in one square matrix."""
    return _plus(tril(factors, -1), _identity(factors, factors.extents[-1]))


def _factors(ordered: TracedArray) -> TracedArray:
    """Returns L and U, in one matrix, of square matrices whose rows need not be swapped."""

    def rule(dy: Sequence[TracedArray], y: Sequence[TracedArray]) -> list[TracedArray]:
        lower, upper = _unit_lower(y[0]), triu(y[0])
        inner = _plus(
            tril(_product(_transposed(lower), tril(dy[0], -1)), -1),
            triu(_product(triu(dy[0]), _transposed(upper))),
        )
        return [_product(_transposed(inv(lower)), inner, _transposed(inv(upper)))]

    (result,) = host("factors", [ordered], [ordered.extents[-2:]], batch=ordered.extents[:-2], rule=rule)
    return result


def _row_order(x: Any) -> tuple[Any, Any]:
    """The swaps of rows of `lu_factor`, and where each row of the result comes from."""
    _, pivots = function_of_arrays("lu_factor")(x)
    order = np.broadcast_to(np.arange(x.shape[-2]), x.shape[:-1]).copy()
    for rows_of_matrix, swaps in zip(
        order.reshape(-1, x.shape[-2]), pivots.reshape(-1, pivots.shape[-1]), strict=True
    ):
        for row, other in enumerate(swaps):
            rows_of_matrix[[row, other]] = rows_of_matrix[[other, row]]
    return pivots, order


host_functions["row_order"] = _row_order
host_functions["factors"] = lambda x: function_of_arrays("lu_factor")(x)[0]
