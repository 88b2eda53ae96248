"""`tf.linalg`: products, decompositions and norms of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine import ops
from engine.tensorflow import _arrays, math
from engine.tensorflow._like_ops import like_ops
from engine.tensorflow._tensor import alike, returns_tensors, tensors

_SAME = like_ops(
    """
    cholesky cholesky input
    det det input
    inv inv input
    logdet logdet matrix
    pinv pinv a
    slogdet slogdet input
    """,
    __name__,
)
globals().update(_SAME)

__all__ = [
    "adjoint",
    "band_part",
    "cross",
    "diag",
    "diag_part",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "einsum",
    "eye",
    "global_norm",
    "l2_normalize",
    "lstsq",
    "matmul",
    "matrix_rank",
    "matrix_transpose",
    "matvec",
    "norm",
    "normalize",
    "qr",
    "set_diag",
    "solve",
    "svd",
    "tensordot",
    "trace",
    "triangular_solve",
]
__all__.extend(_SAME)

eye, global_norm, l2_normalize = _arrays.eye, _arrays.global_norm, math.l2_normalize


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # those in `_SAME`


def _turned(x: Any) -> Any:
    return ops.swapaxes(x, -1, -2)


@returns_tensors
def matmul(  # TensorFlow's signature
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    output_type: Any = None,
    grad_a: bool = False,
    grad_b: bool = False,
    name: str | None = None,
) -> Any:
    """Returns the product of matrices.

    Args:
        a: array, shape (..., m, k).
        b: array, shape (..., k, n).
        transpose_a: whether `a` has the shape (..., k, m).
        transpose_b: whether `b` has the shape (..., n, k).
        adjoint_a: the same, with conjugate numbers.
        adjoint_b: the same, with conjugate numbers.
        a_is_sparse: without effect.
        b_is_sparse: without effect.
        output_type: without effect.
        grad_a: without effect.
        grad_b: without effect.
        name: without effect, here and in all other functions.

    Raises:
        ValueError: if an operand has fewer than two axes.
    """
    a, b = alike((a, b))
    if min(ops.ndim(a), ops.ndim(b)) < 2:  # noqa: PLR2004 # rows and columns
        msg = (
            f"`a` and `b` must be matrices, got {ops.ndim(a)} and {ops.ndim(b)} axes: for a vector call tf.linalg.matvec(), or "
            "tf.expand_dims() before"
        )
        raise ValueError(msg)
    left = _turned(ops.conj(a) if adjoint_a else a) if transpose_a or adjoint_a else a
    right = _turned(ops.conj(b) if adjoint_b else b) if transpose_b or adjoint_b else b
    return ops.matmul(left, right)


@returns_tensors
def matvec(a: Any, b: Any, transpose_a: bool = False, name: str | None = None, **others: Any) -> Any:
    """Returns the product of matrices and vectors. The other arguments of TensorFlow are without effect."""
    column = ops.expand_dims(b, -1)
    return ops.squeeze(ops.matmul(_turned(a) if transpose_a else a, column), -1)


@returns_tensors
def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Any:
    """Exchanges the last two axes."""
    return _turned(ops.conj(a) if conjugate else a)


@returns_tensors
def adjoint(matrix: Any, name: str | None = None) -> Any:
    """Exchanges the last two axes of the conjugate numbers."""
    return _turned(ops.conj(matrix))


@returns_tensors
def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """Returns sums of products over axes: a number of axes, or those of each operand."""
    a, b = alike((a, b))
    return ops.tensordot(a, b, np.asarray(axes).tolist())


@returns_tensors
def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Any:
    """Returns sums of products by Einstein's notation, as "ij,jk->ik"."""
    return ops.einsum(equation, *inputs)


@returns_tensors
def cross(a: Any, b: Any, name: str | None = None) -> Any:
    """Returns the cross products of vectors of length 3."""
    return ops.cross(a, b)


@returns_tensors
def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
) -> Any:
    """Returns norms over axes; that of all entries by default. `ord` is "euclidean", "fro", 1, 2, another power or infinity."""
    axes = None if axis is None else np.asarray(axis).tolist()
    if ord in {"euclidean", "fro"}:
        places = tuple(axes) if isinstance(axes, list) else axes
        return ops.sqrt(ops.sum(ops.square(ops.abs(tensor)), places, bool(keepdims)))
    if axes is None:
        flat = ops.norm(ops.reshape(tensor, (-1,)), ord)
        return ops.reshape(flat, (1,) * ops.ndim(tensor)) if keepdims else flat
    return ops.norm(tensor, ord, tuple(axes) if isinstance(axes, list) else axes, bool(keepdims))


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None) -> Any:
    """Returns entries divided by their norm over axes, and the norm."""
    size = norm(tensor, ord, axis, keepdims=True)
    return tensors(ops.divide(tensor, size)), size


@returns_tensors
def trace(x: Any, name: str | None = None) -> Any:
    """Returns the sums of the diagonals of the last two axes."""
    return ops.trace(x, 0, -2, -1)


@returns_tensors
def diag(diagonal: Any, name: str = "diag", **others: Any) -> Any:
    """Returns matrices with the last axis on their diagonals.

    Raises:
        TypeError: for diagonals beside the main one.
    """
    _require_main_diagonal(others)
    return ops.multiply(ops.expand_dims(diagonal, -1), np.eye(ops.shape(diagonal)[-1], dtype=_kind(diagonal)))


@returns_tensors
def diag_part(input: Any, name: str = "diag_part", **others: Any) -> Any:
    """Returns the diagonals of the last two axes.

    Raises:
        TypeError: for diagonals beside the main one.
    """
    _require_main_diagonal(others)
    return ops.diagonal(input, 0, -2, -1)


@returns_tensors
def set_diag(input: Any, diagonal: Any, name: str = "set_diag", **others: Any) -> Any:
    """Returns matrices with other diagonals.

    Raises:
        TypeError: for diagonals beside the main one.
    """
    _require_main_diagonal(others)
    rows, columns = ops.shape(input)[-2:]
    length = ops.shape(diagonal)[-1]
    wide = ops.pad(diagonal, [(0, 0)] * (ops.ndim(diagonal) - 1) + [(0, columns - length)])
    return ops.where(np.eye(rows, columns, dtype=bool), ops.expand_dims(wide, -2), input)


def _require_main_diagonal(others: dict[str, Any]) -> None:
    for name, value in others.items():
        if name not in {"padding_value", "align"} and np.any(np.asarray(value) != 0) and value != -1:
            msg = f"{name}={value!r} is left out: the main diagonal alone can be read and set"
            raise TypeError(msg)


def _kind(x: Any) -> Any:
    return np.dtype(x.dtype) if hasattr(x, "dtype") else np.float32


@returns_tensors
def band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Any:
    """Returns matrices with zeros outside of a band around the diagonal; -1 keeps a whole triangle."""
    rows, columns = ops.shape(input)[-2:]
    distance = np.arange(rows)[:, np.newaxis] - np.arange(columns)
    lower, upper = int(num_lower), int(num_upper)
    kept = ((lower < 0) | (distance <= lower)) & ((upper < 0) | (-distance <= upper))
    return ops.where(kept, input, ops.zeros_like(input))


@returns_tensors
def matrix_rank(
    a: Any, tol: float | None = None, validate_args: bool = False, name: str | None = None
) -> Any:
    """Returns how many singular values are larger than `tol`, by default a multiple of the machine's precision."""
    return np.asarray(np.linalg.matrix_rank(np.asarray(a), tol)).astype(np.int32)


@returns_tensors
def eigh(tensor: Any, name: str | None = None) -> Any:
    """Returns eigenvalues in ascending order, and eigenvectors in columns, of symmetric matrices."""
    return ops.eigh(tensor)


@returns_tensors
def eigvalsh(tensor: Any, name: str | None = None) -> Any:
    """Returns the eigenvalues of symmetric matrices in ascending order."""
    return ops.eigh(tensor)[0]


@returns_tensors
def eig(tensor: Any, name: str | None = None) -> Any:
    """Returns eigenvalues, in no order, and eigenvectors in columns, as complex numbers."""
    values, vectors = np.linalg.eig(np.asarray(tensor))
    kind = np.complex64 if np.asarray(tensor).dtype == np.float32 else np.complex128
    return values.astype(kind), vectors.astype(kind)


def eigvals(tensor: Any, name: str | None = None) -> Any:
    """Returns eigenvalues, in no order, as complex numbers."""
    return eig(tensor)[0]


@returns_tensors
def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """Returns singular values s in descending order, u and v, with tensor = u @ diag(s) @ transpose(v)."""
    if not compute_uv:
        return ops.svd(tensor, full_matrices, compute_uv=False)
    u, s, vh = ops.svd(tensor, full_matrices)
    return s, u, _turned(ops.conj(vh))


@returns_tensors
def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> Any:
    """Returns q with orthogonal columns and r, an upper triangle, with input = q @ r."""
    return ops.qr(input, "complete" if full_matrices else "reduced")


@returns_tensors
def solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Any:
    """Returns x with matrix @ x = rhs, or with the adjoint matrix."""
    return ops.solve(_turned(ops.conj(matrix)) if adjoint else matrix, rhs)


@returns_tensors
def triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Any:
    """Returns x with matrix @ x = rhs for a triangular matrix, or with its adjoint."""
    if adjoint:
        return ops.solve_triangular(_turned(ops.conj(matrix)), rhs, not lower)
    return ops.solve_triangular(matrix, rhs, lower)


@returns_tensors
def lstsq(
    matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True, name: str | None = None
) -> Any:
    """Returns x that minimizes the squares of matrix @ x - rhs, plus `l2_regularizer` times those of x."""
    if not l2_regularizer:
        return ops.lstsq(matrix, rhs)
    turned = _turned(matrix)
    ridge = np.eye(ops.shape(matrix)[-1], dtype=_kind(matrix)) * l2_regularizer
    return ops.solve(
        ops.add(ops.matmul(turned, matrix), ridge.astype(_kind(matrix))), ops.matmul(turned, rhs)
    )
