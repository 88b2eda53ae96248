"""Operations on arrays, NumPy in, NumPy out: a product by the engine's own kernels, and Keras' names for NumPy's.

What metrics, callbacks and functions of one's own are written with in Keras, such as `ops.mean(ops.square(x))`, is
NumPy's function of that name; `ops.softmax` and its like are those of `engine.activations`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from engine import _program, activations
from engine._checks import EPSILON, NUMBERS, choice, dtype_of, integer
from engine._first_use import no_attribute
from engine._program import Float32, Operation

__all__ = [
    "cast",
    "convert_to_numpy",
    "convert_to_tensor",
    "divide_no_nan",
    "erf",
    "gelu",
    "in_top_k",
    "logsumexp",
    "matmul",
    "moments",
    "norm",
    "normalize",
    "one_hot",
    "rsqrt",
    "shape",
    "stop_gradient",
    "top_k",
]

# What Keras and NumPy call the same.
_SAME_NAMES = """
    abs absolute add all allclose amax amin any append arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax
    argmin argpartition argsort array array_split average bincount bitwise_and bitwise_or bitwise_xor
    broadcast_to cbrt ceil clip concatenate conj conjugate copy corrcoef cos cosh count_nonzero cross cumprod
    cumsum deg2rad diag diagflat diagonal diff digitize divide dot dstack einsum empty empty_like equal exp exp2
    expand_dims expm1 eye fabs flip fliplr flipud floor floor_divide fmax fmin fmod full full_like gcd geomspace
    greater greater_equal heaviside histogram hsplit hstack hypot identity imag inner isclose isfinite isin
    isinf isnan isneginf isposinf isreal kron lcm ldexp left_shift less less_equal linspace log log10 log1p log2
    logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logspace max maximum mean median
    meshgrid min minimum mod moveaxis multiply nan_to_num nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin
    nanpercentile nanprod nanquantile nanstd nansum nanvar ndim negative nextafter nonzero not_equal ones
    ones_like outer pad percentile power prod ptp quantile rad2deg ravel real reciprocal repeat reshape
    right_shift roll rot90 round searchsorted sign signbit sin sinc sinh size sort split sqrt square squeeze
    stack std subtract sum swapaxes take take_along_axis tan tensordot tile trace transpose tri tril triu
    true_divide trunc unique unravel_index vander var vdot vsplit vstack where zeros zeros_like
"""
_OF_NUMPY = frozenset(_SAME_NAMES.split())
_OF_LINALG = {
    "cholesky",
    "det",
    "eigh",
    "inv",
    "lstsq",
    "matrix_rank",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
}
_ACTIVATIONS = frozenset(activations.__all__) - {"deserialize", "gelu", "get", "serialize"}


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


def cast(x: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """`x` as an array of `dtype`.

    Args:
        x: an array, or what NumPy makes one of.
        dtype: of the result, such as "float32" or "bool".
    """
    return np.asarray(x).astype(dtype_of(dtype, "dtype", NUMBERS))


def convert_to_tensor(x: ArrayLike, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """`x` as an array.

    Args:
        x: an array, or what NumPy makes one of.
        dtype: of the result; default float32 for Python's floats, else as it is.
    """
    given = hasattr(x, "dtype") or dtype is not None
    array: NDArray[Any] = np.asarray(x, None if dtype is None else dtype_of(dtype, "dtype", NUMBERS))
    return array if given or array.dtype != np.float64 else array.astype(np.float32)


def convert_to_numpy(x: ArrayLike) -> NDArray[Any]:
    """`x`, an array or what NumPy makes one of, as an array."""
    return np.asarray(x)


def shape(x: ArrayLike) -> tuple[int, ...]:
    """The shape of `x`, an array or what NumPy makes one of."""
    return np.shape(x)


def norm(
    x: ArrayLike, ord: Any = None, axis: int | tuple[int, int] | None = None, keepdims: bool = False
) -> Any:
    """The norm of `x`, by `numpy.linalg.norm`.

    Args:
        x: an array.
        ord: of the norm; None is the Euclidean one.
        axis: along which the norms are taken; None is all.
        keepdims: whether the axes stay, with length 1.
    """
    return np.linalg.norm(np.asarray(x), ord, axis, keepdims)


def one_hot(
    x: ArrayLike, num_classes: int, axis: int = -1, dtype: DTypeLike | None = None, sparse: bool = False
) -> NDArray[Any]:
    """A row of zeros for each index in `x`, with a 1 at its place; of zeros alone where it isn't in [0, num_classes).

    Args:
        x: whole numbers.
        num_classes: the length of a row.
        axis: of the result along which rows lie.
        dtype: of the result, default float32.
        sparse: False; there are no sparse arrays here.
    """
    choice(sparse, "sparse", (False,))
    rows = np.asarray(x)[..., np.newaxis] == np.arange(num_classes)
    wanted = dtype_of(np.float32 if dtype is None else dtype, "dtype", NUMBERS)
    return np.asarray(np.moveaxis(rows, -1, axis), wanted)


def top_k(x: ArrayLike, k: int, sorted: bool = True) -> tuple[NDArray[Any], NDArray[Any]]:
    """The `k` largest numbers along the last axis of `x`, the largest first, and where they are.

    Args:
        x: an array.
        k: how many.
        sorted: of no account: they are.

    Raises:
        ValueError: for more than there are.
    """
    del sorted
    array = np.asarray(x)
    integer(k, "k", 0, array.shape[-1])
    # The first of equal numbers first; what is unsigned can't be turned around by its sign.
    places = array.shape[-1] - 1 - np.argsort(array[..., ::-1], axis=-1, kind="stable")[..., ::-1][..., :k]
    return np.take_along_axis(array, places, -1), places


def logsumexp(x: ArrayLike, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """`log(sum(exp(x)))`, without overflow.

    Args:
        x: an array.
        axis: along which to sum; None is all.
        keepdims: whether the axes stay, with length 1.
    """
    array = np.asarray(x)
    largest = np.max(array, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):  # log(0) is what it should be
        total = np.log(np.sum(np.exp(array - shift), axis=axis, keepdims=True)) + shift
    return total if keepdims else np.squeeze(total, axis)


def normalize(x: ArrayLike, axis: int = -1, order: float = 2, epsilon: float = EPSILON) -> NDArray[Any]:
    """`x` by its norms.

    Args:
        x: an array.
        axis: along which norms are taken.
        order: of the norms; 2 is the Euclidean one.
        epsilon: what a norm is at least.
    """
    array = np.asarray(x)
    return np.asarray(array / np.maximum(np.linalg.norm(array, order, axis, keepdims=True), epsilon))


def divide_no_nan(x1: ArrayLike, x2: ArrayLike) -> Any:
    """`x1 / x2`, and 0 where `x2` is 0."""
    divisor = np.asarray(x2)
    return np.where(divisor == 0, 0, x1 / np.where(divisor == 0, 1, divisor))


def erf(x: ArrayLike) -> NDArray[Any]:
    """The error function of `x`, an array."""
    array = np.asarray(x)
    found = np.array([math.erf(value) for value in array.ravel().tolist()])
    return found.reshape(array.shape).astype(array.dtype if array.dtype.kind == "f" else np.float32)


def gelu(x: ArrayLike, approximate: bool = True) -> Any:
    """`activations.gelu`, by default the approximate one.

    Args:
        x: an array.
        approximate: whether it is computed by tanh.
    """
    return activations.gelu(x, approximate)


def in_top_k(targets: ArrayLike, predictions: ArrayLike, k: int) -> NDArray[np.bool_]:
    """Whether fewer than `k` numbers are larger than that of the target.

    Args:
        targets: class indices (n,).
        predictions: numbers (n, classes).
        k: how many count.
    """
    rows = np.asarray(predictions)
    own = np.take_along_axis(rows, np.asarray(targets)[..., np.newaxis], axis=-1)
    return np.asarray((rows > own).sum(axis=-1) < k)


def moments(
    x: ArrayLike, axes: int | Sequence[int], keepdims: bool = False, synchronized: bool = False
) -> Any:
    """Mean and variance of `x`.

    Args:
        x: an array.
        axes: over which they are taken.
        keepdims: whether these stay, with length 1.
        synchronized: False: there is one process.
    """
    choice(synchronized, "synchronized", (False,))
    over = axes if isinstance(axes, int) else tuple(axes)
    array: Any = np.asarray(x)  # NumPy 2.5 types `keepdims` as a literal, which an argument is not
    return array.mean(over, keepdims=keepdims), array.var(over, keepdims=keepdims)


def rsqrt(x: ArrayLike) -> Any:
    """`1 / sqrt(x)`."""
    return 1 / np.sqrt(x)


def stop_gradient(variable: ArrayLike) -> NDArray[Any]:
    """`variable` as it is: nothing here derives what it is used in."""
    return np.asarray(variable)


def __getattr__(name: str) -> Any:
    if name in _OF_NUMPY:
        return getattr(np, name)
    if name in _OF_LINALG:
        return getattr(np.linalg, name)
    if name in _ACTIVATIONS:
        return getattr(activations, name)
    note, known = (
        "arrays are NumPy's, so NumPy's own functions take them",
        (*_OF_NUMPY, *_OF_LINALG, *_ACTIVATIONS),
    )
    raise no_attribute(__name__, name, note, known)


def __dir__() -> list[str]:
    return sorted({*__all__, *_OF_NUMPY, *_OF_LINALG, *_ACTIVATIONS})
