"""Operations on arrays, computed by the engine's own kernels: NumPy in, NumPy out."""

from __future__ import annotations

from functools import cache

from numpy.typing import ArrayLike

from engine import _program, activations
from engine._program import Float32, Operation

__all__ = ["matmul"]


@cache  # looking it up takes as long as a small product
def _lowered(name: str) -> Operation:
    return activations.lower(activations.get(name))


def matmul(
    a: ArrayLike,
    b: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    activation: str | activations.Activation | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Float32 | None = None,
) -> Float32:
    """The matrix product `activation(a @ b + bias)` in float32, by the rules of `numpy.matmul`.

    An element is a sum of chains of 256 fused multiply-adds, added up in order, so its bits depend on its row of
    `a`, its column of `b` and nothing else: not on the number of rows, the threads or the instruction set. A product
    of two vectors is summed in 64 lanes instead, which are just as fixed.

    Args:
        a: (..., m, k), or a vector (k,), which counts as one row. Of float32, float16, bool, or integers of at most
            16 bits, which float32 holds exactly; any strides.
        b: (..., k, n), or a vector (k,), which counts as one column; otherwise as `a`. Axes before the last two are
            stacks of matrices and are broadcast against those of `a`.
        bias: as many numbers as the last axis of the product has, added to each of its rows; (n,) for matrices.
        activation: name or function of `engine.activations`, applied last; softmax works on the last axis.
        transpose_a: whether `a` is stored as (..., k, m): its last two axes are swapped.
        transpose_b: whether `b` is stored as (..., n, k).
        out: float32 array of the product's shape that takes the result; any strides, but its elements may lie
            neither on each other nor in memory of `a`, `b` or `bias`.

    Returns:
        The product (..., m, n) as float32, without the axes that a vector lacks: (m,), (n,), or a `numpy.float32` for
        two vectors. `out`, if given. With k = 0 every sum is zero.

    Raises:
        TypeError: if an array holds what float32 can't, such as float64 or 32-bit integers; the message says how to
            convert it. If `out` is no float32 array.
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
    if activation is None:
        lowered = None
    elif isinstance(activation, str):
        lowered = _lowered(activation)
    else:
        lowered = activations.lower(activations.get(activation))
    return _program.matmul(a, b, bias, lowered, transpose_a, transpose_b, out)
