"""Linear algebra, of one matrix or of stacks of them; integers give float32, and float16 is computed in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import require_matrices, solves_vectors
from engine._base.lazy_imports import on_first_use
from engine._base.promotion import Array, Result, as_array, axis_or_tuple, common, copied, floats
from engine._base.quiet import quiet
from engine._tracing.traceable import make_all_traceable

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)


def cholesky(x: ArrayLike, upper: bool = False) -> Result:
    """The Cholesky factor L of the positive definite matrices `x` (..., n, n), with `x = L L^H`.

    Args:
        x: symmetric or Hermitian matrices; the mean of each with its transpose counts.
        upper: whether to return L^H, which is upper triangular.

    Raises:
        ValueError: if a matrix is not square or not positive definite.
    """
    matrices = _square(x)
    try:
        factor = np.linalg.cholesky((matrices + _adjoint(matrices)) / matrices.dtype.type(2))
    except np.linalg.LinAlgError as error:
        msg = f"Cholesky decomposition failed: `x` must be positive definite ({error})"
        raise ValueError(msg) from None
    return _cast(_adjoint(factor) if upper else factor, x)


def cholesky_inverse(x: ArrayLike, upper: bool = False) -> Result:
    """The inverses of the matrices whose Cholesky factors are `x` (..., n, n), which are upper triangular if `upper`."""
    factors = _square(x)
    inverse = solve_triangular(factors, np.broadcast_to(_identity(factors), factors.shape), lower=not upper)
    transposed = np.swapaxes(inverse, -1, -2)
    return _cast(inverse @ transposed if upper else transposed @ inverse, x)


@quiet
def det(x: ArrayLike) -> Result:
    """The determinants of the matrices `x` (..., n, n).

    Raises:
        ValueError: if they are not square.
    """
    return _cast(np.linalg.det(_square(x)), x)


def eig(x: ArrayLike) -> tuple[Array, Array]:
    """The eigenvalues (..., n) and eigenvectors (..., n, n), as columns, of the matrices `x`, as complex numbers."""
    values, vectors = np.linalg.eig(_square(x))
    dtype = np.result_type(values.dtype, np.complex64)
    return values.astype(dtype), vectors.astype(dtype)


def eigh(x: ArrayLike) -> tuple[Array, Array]:
    """The eigenvalues (..., n), ascending, and eigenvectors (..., n, n), as columns, of the symmetric matrices `x`."""
    matrices = _square(x)
    values, vectors = np.linalg.eigh((matrices + _adjoint(matrices)) / matrices.dtype.type(2))
    return values, vectors


def inv(x: ArrayLike) -> Result:
    """The inverses of the matrices `x` (..., n, n).

    Raises:
        ValueError: if they are not square, or as numpy.linalg.LinAlgError if one has no inverse.
    """
    return _cast(np.linalg.inv(_square(x)), x)


def lstsq(a: ArrayLike, b: ArrayLike, rcond: float | None = None) -> Result:
    """The least solutions of `a @ x = b` in the sense of least squares.

    Args:
        a: (m, n).
        b: (m,) or (m, k).
        rcond: singular values below this share of the largest one count as zero; default the precision of the dtype
            times the larger of m and n.

    Returns:
        (n,) or (n, k).
    """
    left, right = common(a, b, least_dtype=float)
    return np.linalg.lstsq(_single(left), _single(right), rcond)[0].astype(left.dtype)


@quiet
def lu_factor(x: ArrayLike) -> tuple[Array, Array]:
    """The factors of `x` with its rows permuted, L U, by elimination with partial pivoting.

    Args:
        x: (..., m, n).

    Returns:
        (..., m, n) with U on and above the diagonal and L, whose diagonal is ones, below it; and (..., min(m, n)),
        int32: the row that each row was swapped with, one after the other.
    """
    factors = copied(_matrices(x))
    rows, columns = factors.shape[-2:]
    steps = min(rows, columns)
    flat = factors.reshape(-1, rows, columns)
    pivots = np.zeros((len(flat), steps), np.int32)
    for matrix, swaps in zip(flat, pivots, strict=True):
        for step in range(steps):
            row = step + int(np.argmax(np.abs(matrix[step:, step])))
            swaps[step] = row
            matrix[[step, row]] = matrix[[row, step]]
            if matrix[step, step] != 0:
                matrix[step + 1 :, step] /= matrix[step, step]
            matrix[step + 1 :, step + 1 :] -= np.outer(matrix[step + 1 :, step], matrix[step, step + 1 :])
    return _cast(factors, x), pivots.reshape(*factors.shape[:-2], steps)


def matrix_rank(x: ArrayLike, tol: float | None = None) -> Result:
    """Returns the number of singular values of the matrices `x` (..., m, n) above `tol`, as int32.

    Args:
        x: matrices.
        tol: default the largest singular value times the precision of the dtype times the larger of m and n.
    """
    return np.asarray(np.linalg.matrix_rank(_matrices(x), tol), np.int32)


@quiet
def norm(x: ArrayLike, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Result:
    """The norms of vectors or matrices, by `numpy.linalg.norm`.

    Args:
        x: any shape.
        ord: a number, "fro" or "nuc"; None is the Euclidean norm.
        axis: an int for vectors, two for matrices; None is all of `x`.
        keepdims: whether the axes stay, with length 1.
    """
    values = floats(x)
    result = np.linalg.norm(_single(values), ord, axis_or_tuple(axis), keepdims)
    return np.asarray(result).astype(values.real.dtype)


def pinv(x: ArrayLike, rcond: float | None = None) -> Result:
    """The pseudo-inverses (..., n, m) of the matrices `x` (..., m, n).

    Args:
        x: matrices.
        rcond: singular values below this share of the largest one count as zero; default 10 times the precision of
            the dtype times the larger of m and n.
    """
    matrices = _matrices(x)
    tolerance = 10 * max(matrices.shape[-2:]) * np.finfo(matrices.dtype).eps if rcond is None else rcond
    return _cast(np.linalg.pinv(matrices, tolerance), x)


def qr(x: ArrayLike, mode: str = "reduced") -> tuple[Array, Array]:
    """Q, with orthonormal columns, and the upper triangular R of the matrices `x` (..., m, n), with `x = Q R`.

    Args:
        x: matrices.
        mode: "reduced" for (..., m, k) and (..., k, n) with k = min(m, n), or "complete" for (..., m, m) and
            (..., m, n).

    Raises:
        ValueError: for another mode.
    """
    if mode not in ("reduced", "complete"):
        msg = f"`mode` must be one of 'reduced', 'complete', got {mode!r}"
        raise ValueError(msg)
    how: Any = mode
    q, r = np.linalg.qr(_matrices(x), how)
    return _cast(q, x), _cast(r, x)


def solve(a: ArrayLike, b: ArrayLike) -> Result:
    """The solutions of `a @ x = b`.

    Args:
        a: (..., n, n).
        b: (..., n) with one axis less than `a`, or (..., n, k).

    Raises:
        ValueError: if shapes don't go together, or as numpy.linalg.LinAlgError if a matrix has no inverse.
    """
    left, right = common(a, b, least_dtype=float)
    require_matrices(left.shape, square=True)
    vectors = solves_vectors(left.shape, right.shape)
    columns = right[..., np.newaxis] if vectors else right
    solution = np.linalg.solve(_single(left), _single(columns)).astype(left.dtype)
    return copied(solution[..., 0]) if vectors else solution


def solve_triangular(a: ArrayLike, b: ArrayLike, lower: bool = False) -> Result:
    """The solutions of `a @ x = b`, where of `a` only one triangle counts.

    Args:
        a: (..., n, n).
        b: (..., n) with one axis less than `a`, or (..., n, k).
        lower: whether the triangle is the lower one.

    Raises:
        ValueError: if shapes don't go together.
    """
    matrices = _square(a)
    return solve(np.tril(matrices) if lower else np.triu(matrices), b)


def svd(x: ArrayLike, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """The singular values of the matrices `x` (..., m, n), and the matrices of `x = U S V`.

    Args:
        x: matrices.
        full_matrices: whether U is (..., m, m) and V (..., n, n); else (..., m, k) and (..., k, n), k = min(m, n).
        compute_uv: whether to return U and V.

    Returns:
        U, the singular values (..., k) in descending order, and V; or the singular values alone.
    """
    decompose: Any = np.linalg.svd
    factors = decompose(_matrices(x), full_matrices, compute_uv)
    return tuple(_real_cast(part, x) for part in factors) if compute_uv else _real_cast(factors, x)


def _matrices(x: ArrayLike, square: bool = False) -> Array:
    values = _single(floats(x))
    require_matrices(values.shape, square)
    return values


def _square(x: ArrayLike) -> Array:
    return _matrices(x, square=True)


def _single(values: Array) -> Array:
    """Returns `values`, converted to float32 if they are float16, which LAPACK lacks."""
    return values.astype(np.float32) if values.dtype.char == "e" else values


def _cast(result: Any, x: ArrayLike) -> Array:
    """Returns `result` in the float dtype that Keras gives for `x`."""
    return np.asarray(result).astype(floats(x).dtype, copy=False)


def _real_cast(result: Any, x: ArrayLike) -> Array:
    """Returns the same as `_cast`, but real numbers stay real."""
    real = np.asarray(result).dtype.kind == "f"
    return np.asarray(result).astype(np.real(floats(x)).dtype) if real else _cast(result, x)


def _identity(matrices: Array) -> Array:
    return np.identity(matrices.shape[-1], matrices.dtype)


def _adjoint(matrices: Array) -> Array:
    return as_array(matrices).swapaxes(-1, -2).conj()


make_all_traceable(globals())
