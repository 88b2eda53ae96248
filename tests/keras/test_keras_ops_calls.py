"""Compares every function of `ops` with Keras: arguments, values and dtypes. No function may write into arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import keras
import numpy as np
import pytest

import engine
from engine import ops
from engine._base.left_out import NAMES, names_of

RNG = np.random.default_rng(5)
F = RNG.uniform(0.1, 0.9, (3, 4)).astype(np.float32)
G = RNG.uniform(0.1, 0.9, (3, 4)).astype(np.float32)
CUBE = RNG.normal(size=(2, 3, 4)).astype(np.float32)
K = np.array([[3, -1, 2, 0], [5, 4, -7, 1]], np.int32)
J = np.array([[1, 2, 3, 4], [2, -2, 3, 1]], np.int32)
B = np.array([[True, False, True, False], [False, False, True, True]])
NAN = np.array([[1, np.nan, 3], [np.nan, np.nan, np.nan], [-np.inf, np.inf, 0]], np.float32)
SQUARE = (RNG.normal(size=(2, 3, 3)) + 3 * np.eye(3)).astype(np.float32)
POSITIVE = (SQUARE @ SQUARE.swapaxes(1, 2)).astype(np.float32)
VECTOR = np.array([1.5, -2.0, 0.25, 3.0], np.float32)
PAIR = (CUBE, CUBE[:, ::-1].copy())

Call = tuple[tuple[Any, ...], dict[str, Any]]


def call(*args: Any, **kwargs: Any) -> Call:
    return args, kwargs


def each(names: str, *calls: Call) -> dict[str, list[Call]]:
    return {name: list(calls) for name in names.split()}


CALLS: dict[str, list[Call]] = {
    **each(
        """arcsinh arctan cbrt ceil cos cosh deg2rad exp exp2 expm1 fabs floor log1p rad2deg sin sinc sinh sqrt tan tanh
        i0 angle isfinite isinf isnan isreal logical_not ravel zeros_like ones_like ndim size convert_to_numpy convert_to_tensor copy array real conj conjugate square""",
        call(F),
        call(np.abs(K)),
        call(B),
        call(0.5),
        call(np.zeros((0, 3), np.float32)),
        call(F.astype(np.float16)),
    ),
    **each("shape nonzero stop_gradient", call(F), call(K)),
    **each("arccos arcsin arctanh erfinv", call(F), call(2 * F - 1), call(np.float32(2.0))),
    **each("arccosh log log2 log10 reciprocal rsqrt", call(F + 1), call(np.zeros(2, np.float32))),
    **each("abs absolute negative sign trunc signbit isneginf isposinf fliplr flipud", call(F - 0.5), call(K), call(NAN)),
    "imag": [call(F), call(F + 1j * G)],
    "fabs": [call(K), call(-F)],
    **each("erf erfc", call(4 * F - 2)),
    **each(
        "add subtract multiply maximum minimum fmax fmin mod fmod floor_divide divide true_divide divide_no_nan",
        call(F, G),
        call(np.abs(K), J),
        call(K, F[:2]),
        call(F, 2),
        call(J, 0.5),
        call(2, F),
        call(F, F[0]),
        call(np.abs(K).astype(np.uint8), np.int16(3)),
        call(F.astype(np.float16), G),
    ),
    "power": [call(F, G), call(np.abs(K), np.abs(J)), call(F, 2), call(J, 0.5), call(2, F), call(K, F[:2] + 2)],
    **each("arctan2 hypot logaddexp logaddexp2 nextafter heaviside", call(F, G), call(K, J), call(F - 0.5, 2)),
    **each("equal not_equal greater greater_equal less less_equal isclose", call(F, G), call(K, J), call(K, 2), call(NAN, NAN)),
    "allclose": [call(F, F), call(F, G), call(NAN, NAN, equal_nan=True)],
    **each("logical_and logical_or logical_xor", call(B, ~B), call(K, J), call(F, 0)),
    **each("bitwise_and bitwise_or bitwise_xor", call(K, J), call(B, True)),
    **each("bitwise_invert bitwise_not", call(K), call(B)),
    **each("bitwise_left_shift left_shift bitwise_right_shift right_shift", call(K, np.abs(J)), call(K, 2)),
    **each("gcd lcm", call(K, J)),
    "ldexp": [call(F, J[:1])],
    **each(
        "sum prod max min amax amin mean var std all any",
        call(F),
        call(K),
        call(B),
        call(F, 1),
        call(CUBE, axis=(0, 2), keepdims=True),
        call(K.astype(np.int8), axis=0),
        call(np.abs(K).astype(np.uint16)),
    ),
    "ptp": [call(F), call(K, 1), call(CUBE, (0, 2), True)],
    "median": [call(F), call(K, 1), call(CUBE, axis=[0, 2], keepdims=True)],
    "nanmedian": [call(F), call(NAN, 1), call(CUBE, axis=(0, 2), keepdims=True)],
    **each(
        "nansum nanprod nanmax nanmin nanmean nanvar nanstd", call(NAN), call(NAN, 1), call(F, 0, True), call(NAN[:2], axis=(0, 1))
    ),
    **each("nanargmax nanargmin", call(NAN, 0), call(F), call(NAN[:2], 1)),
    **each("cumsum cumprod nancumsum nancumprod", call(F), call(B, 1), call(K.astype(np.int8), axis=0), call(F, dtype="float16")),
    **each("argmax argmin", call(F), call(K, 1), call(np.array([0.0, -0.0, 0.0], np.float32)), call(F, axis=0, keepdims=True)),
    **each("argsort sort", call(F), call(K, 0), call(NAN)),
    "average": [call(F), call(F, 1, VECTOR), call(F, weights=G), call(K, 0)],
    **each("quantile nanquantile", call(F, 0.3), call(F, [0.1, 0.9], 1), call(K, 0.5, 0, "nearest", True)),
    **each("percentile nanpercentile", call(F, 30), call(F, [10.0, 90.0], 1), call(K, 50, 0, "lower")),
    "count_nonzero": [call(K), call(K, 1), call(F, (0, 1))],
    "argpartition": [call(np.array([3, 1, 2], np.int32), 1)],
    "searchsorted": [call(np.sort(VECTOR), F), call(np.array([1, 2, 2, 3]), [2, 5], side="right")],
    "digitize": [call(F, np.array([0.3, 0.6], np.float32))],
    "unravel_index": [call(np.array([3, 7], np.int32), (3, 4))],
    "isin": [call(K, [1, 2]), call(K, J, invert=True)],
    "unique": [
        call(J),
        call(J, return_counts=True),
        call(J, True, True, True, True),
        call(J, size=6, fill_value=9),
        call(np.array([[1, 2], [1, 2], [0, 1]]), axis=0),
    ],
    "bincount": [call(np.array([1, 2, 2, 5])), call(np.array([[1, 2], [0, 0]]), minlength=4), call(np.array([1, 2, 2]), VECTOR[:3])],
    "histogram": [call(F.ravel()), call(VECTOR, 4, (0.0, 1.0))],
    "dot": [call(F, G.T), call(K, J.T), call(F, VECTOR)],
    **each("inner vdot outer", call(F, G), call(K, J), call(VECTOR, VECTOR)),
    "matmul": [call(F, G.T), call(K, J.T), call(K.astype(np.int8), J.T.astype(np.int8)), call(F, J.T), call(CUBE, VECTOR)],
    "tensordot": [call(F, G.T, 1), call(CUBE, CUBE, [[1, 2], [1, 2]]), call(K, J, axes=2)],
    "kron": [call(F, G), call(K, J)],
    "einsum": [call("ij,kj->ik", F, G), call("ij,ij", K.astype(np.int8), J.astype(np.int8)), call("ii->i", SQUARE[0])],
    "cross": [call(F[:, :3], G[:, :3]), call(F[:, :2], G[:, :2]), call(F[:, :2], G[:, :3]), call(F[:3], G[:3], axis=0)],
    "corrcoef": [call(F)],
    "correlate": [call(VECTOR, VECTOR[:2]), call(VECTOR, VECTOR[:2], "full"), call(VECTOR, VECTOR, mode="same")],
    "trace": [call(F), call(CUBE, 1, 1, 2)],
    "trapezoid": [call(F), call(F, VECTOR), call(F, dx=0.5, axis=0)],
    "diff": [call(F), call(K, 2, 1), call(B)],
    **each("zeros ones", call((2, 3)), call((2,), "int32"), call([2, 1], dtype="bool")),
    "full": [call((2, 3), 7), call((2,), 1.5, "float16")],
    "full_like": [call(K, 2.7), call(F, 3, "int32")],
    **each("eye tri", call(3), call(3, 4, 1), call(2, dtype="int32")),
    "identity": [call(3)],
    "arange": [call(5), call(2, 8, 2), call(0.0, 1.0, 0.25), call(3, dtype="float32"), call(5, 0, -2)],
    "linspace": [call(0, 1, 5), call(F, G, 3, False), call(0.0, 10.0, 5, dtype="int32"), call(0, 1, 4, retstep=True)],
    "logspace": [call(0.0, 2.0, 4), call(0, 3, 4, base=2)],
    "geomspace": [call(1.0, 100.0, 4), call(1, 8, 4)],
    **each("bartlett blackman hamming hanning", call(6)),
    "kaiser": [call(6, 3.0)],
    "vander": [call(VECTOR), call(np.array([1, 2, 3]), 2, True)],
    "view": [call(F, "int32"), call(K)],
    "get_item": [call(F, (slice(1, 3), 0)), call(F, 1)],
    "reshape": [call(F, (2, 6)), call(F, -1)],
    "transpose": [call(F), call(CUBE, (2, 0, 1))],
    "swapaxes": [call(CUBE, 0, 2)],
    "moveaxis": [call(CUBE, 0, -1), call(CUBE, [0, 1], [1, 2])],
    "expand_dims": [call(F, 1), call(F, (0, 2))],
    "squeeze": [call(F[None, :, None]), call(F[None], 0)],
    "broadcast_to": [call(VECTOR, (2, 4))],
    **each("concatenate vstack hstack dstack stack", call([F, G]), call([K, F[:2]]), call([K, J.astype(np.int8)])),
    "append": [call(F, G), call(K, F[:2], 0)],
    "split": [call(F, 2, 1), call(F, [1], axis=0)],
    "array_split": [call(F, 3, 1)],
    "hsplit": [call(F, 2)],
    "vsplit": [call(F, [1])],
    "dsplit": [call(CUBE, 2)],
    "meshgrid": [call(VECTOR, K[0]), call(VECTOR, K[0], indexing="ij")],
    "tile": [call(F, 2), call(F, (2, 1))],
    "repeat": [call(F, 2), call(F, np.array([1, 0, 2]), axis=0)],
    "roll": [call(F, 1), call(F, [1, -1], axis=(0, 1))],
    "flip": [call(F), call(F, 1)],
    "rot90": [call(F), call(CUBE, 3, (1, 2))],
    **each("diag diagflat", call(VECTOR), call(VECTOR, 1)),
    "diagonal": [call(F), call(CUBE, 1, 1, 2)],
    **each("tril triu", call(F), call(CUBE, 1)),
    "take": [call(F, [2, 0], 1), call(F, np.array([[1, 5]])), call(F, -1, axis=0)],
    "take_along_axis": [call(F, np.argsort(F, 1).astype(np.int32), 1)],
    "pad": [call(F, ((1, 0), (0, 2))), call(F, 1, "reflect"), call(F, 1, constant_values=3.0)],
    "nan_to_num": [call(NAN), call(NAN, 7.0), call(NAN, 0.0, 1.0, -1.0)],
    "clip": [call(F, 0.3, 0.6), call(K, 0, 2), call(B, 0, 1)],
    "round": [call(10 * F), call(F, 1), call(17 * K, -1)],
    "where": [call(B, K, J), call(B, F[:2], 0.0), call(B)],
    "select": [call([B, ~B], [K, J]), call([B], [F[:2]], 9.0)],
    "slogdet": [call(SQUARE)],
    "dtype": [call(F)],
    "cast": [call(F, "int32"), call(K, "bool"), call(K, None)],
    "saturate_cast": [call(300 * F, "uint8"), call(K, "uint8"), call(1e10 * F, "int32")],
    "scatter": [call(np.array([[0, 1], [2, 0]]), VECTOR[:2], (3, 2)), call(np.array([[1], [1]]), F[:2], (3, 4))],
    "scatter_update": [
        call(F, np.array([[0, 1], [2, 3]]), VECTOR[:2]),
        call(F, np.array([[1], [1]]), G[:2], "add"),
        call(F, np.array([[1, 1]]), VECTOR[:1], "max"),
    ],
    "slice": [call(F, [1, 2], [2, 1]), call(F, (0, 1), (3, -1)), call(F, (2, 3), (2, 2))],
    "slice_update": [call(F, [1, 1], G[:2, :2]), call(F, [2, 3], G[:2, :2])],
    "unstack": [call(F), call(F, axis=1)],
    **each("cholesky", call(POSITIVE), call(POSITIVE, True)),
    "cholesky_inverse": [call(np.linalg.cholesky(POSITIVE[0]))],
    **each("det inv", call(SQUARE)),
    "lstsq": [call(F.T, VECTOR), call(F, G)],
    "lu_factor": [call(SQUARE), call(SQUARE[0])],
    "matrix_rank": [call(SQUARE), call(np.ones((3, 3), np.float32))],
    "norm": [call(F), call(F, 1, 0), call(F, "fro"), call(K, np.inf, axis=1, keepdims=True), call(SQUARE, "nuc", (1, 2))],
    "pinv": [call(F), call(CUBE)],
    "solve": [call(SQUARE, SQUARE), call(SQUARE[0], VECTOR[:3])],
    "solve_triangular": [call(SQUARE, SQUARE), call(SQUARE[0], VECTOR[:3], lower=True)],
    **each("logdet", call(POSITIVE)),
    **each(
        """celu elu gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid log_softmax relu
        relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid squareplus swish
        tanh_shrink""",
        call(4 * F - 2),
        call(8 * CUBE),
        call((4 * F - 2).astype(np.float16)),
    ),
    "threshold": [call(F, 0.5, 7.0), call(K, 1, 20)],
    "one_hot": [call(np.array([[0, 2], [-1, 5]]), 3), call(np.array([0, 2]), 3, 0, "int32")],
    "multi_hot": [call(np.array([0, 2]), 4), call(np.array([[0, 2], [1, 1]]), 3)],
    "binary_crossentropy": [call(B, F[:2]), call(B.astype(np.float32), CUBE[0, :2], True)],
    "categorical_crossentropy": [call(G, F), call(G, CUBE[0], True), call(G, F, axis=0)],
    "sparse_categorical_crossentropy": [call(np.array([0, 3, 1]), F), call(np.array([[0], [3], [1]]), CUBE[0], True)],
    "psnr": [call(F, G, 1.0)],
    "moments": [call(F, 0), call(CUBE, [0, 1], True), call(F.astype(np.float16), (1,))],
    "batch_normalization": [call(F, VECTOR, VECTOR**2, 1), call(F, VECTOR, VECTOR**2, -1, VECTOR, 2 * VECTOR, 0.1)],
    "layer_normalization": [call(F), call(F, VECTOR, 2 * VECTOR), call(CUBE, axis=[1, 2], epsilon=0.1)],
    "rms_normalization": [call(F), call(F, VECTOR, -1, 0.1)],
    "normalize": [call(F), call(F, 0, 1), call(CUBE, order=3)],
    "polar": [call(F, G)],
    "dot_product_attention": [
        call(*RNG.normal(size=(3, 2, 5, 4, 3)).astype(np.float32)),
        call(*RNG.normal(size=(3, 2, 5, 4, 3)).astype(np.float32), is_causal=True, scale=0.3),
        call(*RNG.normal(size=(3, 2, 5, 4, 3)).astype(np.float32), mask=np.tri(5, dtype=bool)[None, None]),
    ],
    **each(
        "segment_sum segment_max segment_min segment_prod",
        call(F, np.array([0, 2, 0]), 4),
        call(K, np.array([1, 1]), num_segments=2),
        call(VECTOR, np.array([0, 7, 1, 1]), 2),
    ),
    "top_k": [call(F, 2), call(np.array([[0, 255, 3, 255]], np.uint8), 3)],
    "in_top_k": [call(np.array([0, 3, 1]), F, 2)],
    "logsumexp": [call(F), call(100 * F, 1, True), call(np.full((2, 2), -np.inf, np.float32), axis=0)],
    "cdist": [call(F, G), call(CUBE, CUBE)],
    "extract_sequences": [call(F, 2, 1), call(VECTOR, 3, 2)],
    **each("fft fft2 ifft2", call(PAIR)),
    "rfft": [call(F), call(F, 6)],
    "irfft": [call(PAIR), call(PAIR, 5)],
    "stft": [call(np.sin(np.arange(40, dtype=np.float32)), 8, 4, 16), call(np.arange(40, dtype=np.float32), 8, 4, 8, None, False)],
    "istft": [call(PAIR, 6, 2, 6), call(PAIR, 4, 3, 6, 9, "hamming", False), call(PAIR, 6, 3, 6, window=None)],
    "view_as_complex": [call(F[:, :2])],
    "view_as_real": [call(F + 1j * G)],
    "rearrange": [call(CUBE, "a b (c d) -> (a c) d b", c=2), call(F, "a b -> b a")],
}  # fmt: skip

# Other tests compare these: their results are not unique, or they take functions.
ELSEWHERE = {
    "sparsemax",
    "eig",
    "eigh",
    "qr",
    "svd",
    "empty",
    "empty_like",
    "is_tensor",
    "custom_gradient",
    "cond",
    "switch",
    "while_loop",
    "fori_loop",
    "scan",
    "associative_scan",
    "map",
    "vectorized_map",
    "vectorize",
}
# Arguments that the function of Keras does not have: that of `top_k` comes with Keras 3.16.
OWN_ARGUMENTS = {
    "matmul": {"bias", "activation", "transpose_a", "transpose_b", "out"},
    "top_k": {"is_stable"},
}


def functions() -> list[str]:
    return [name for name in dir(ops) if callable(getattr(ops, name))]


def test_every_name_is_there_or_left_out_with_a_reason() -> None:
    theirs = {name for name in dir(keras.ops) if not name.startswith("_")}
    left_out = {name for name, _ in names_of(NAMES["ops"])}
    assert set(dir(ops)) == theirs - left_out
    with pytest.raises(AttributeError, match=r"'engine\.ops' has no attribute 'convolve'(; did|$)"):
        _ = ops.convolve
    for part in ("linalg", "nn", "numpy"):
        inside = {name for name in dir(getattr(keras.ops, part)) if not name.startswith("_")}
        assert set(getattr(ops, part).__all__) == inside - left_out
        for name in getattr(ops, part).__all__:
            assert getattr(getattr(ops, part), name) is getattr(ops, name)


def parameters(function: Callable[..., Any], without: set[str]) -> list[Any]:
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found if each.name not in without]


@pytest.mark.parametrize("name", functions())
def test_arguments(name: str) -> None:
    own = OWN_ARGUMENTS.get(name, set())
    assert parameters(getattr(ops, name), own) == parameters(getattr(keras.ops, name), set())


def test_every_function_is_called() -> None:
    assert set(functions()) == set(CALLS) | ELSEWHERE


def leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def assert_same(theirs: Any, ours: Any, tolerance: float = 2e-5) -> None:
    expected, found = leaves(theirs), leaves(ours)
    assert len(found) == len(expected)
    for want, got in zip(expected, found, strict=True):
        if isinstance(want, (int, str)):
            assert got == want
            continue
        assert (np.shape(got), np.asarray(got).dtype) == (np.shape(want), want.dtype)
        close = 4e-3 if want.dtype == np.float16 else tolerance
        if want.dtype.kind in "fc":
            np.testing.assert_allclose(got, want, rtol=close, atol=close)
        else:
            np.testing.assert_array_equal(got, want)


def frozen(value: Any) -> Any:
    """Returns read-only copies of arrays."""
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
    elif isinstance(value, (list, tuple)):
        value = type(value)(map(frozen, value))
    return value


def narrow(value: Any) -> Any:
    """Returns integers in the default dtype of Keras."""
    if isinstance(value, np.ndarray) and value.dtype == np.int64:
        return value.astype(np.int32)
    return type(value)(map(narrow, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "number"), [(name, at) for name in CALLS for at in range(len(CALLS[name]))])
def test_calls(name: str, number: int) -> None:
    """The arguments are read-only arrays, and the result must have its own memory."""
    args, kwargs = CALLS[name][number]
    args, kwargs = narrow(args), {key: narrow(value) for key, value in kwargs.items()}
    given, given_kwargs = frozen(args), {key: frozen(value) for key, value in kwargs.items()}
    ours = getattr(ops, name)(*given, **given_kwargs)
    theirs = getattr(keras.ops, name)(*args, **kwargs)
    assert_same(theirs, ours)
    for result in leaves(ours):
        if isinstance(result, np.ndarray):
            assert not any(
                np.shares_memory(result, leaf)
                for leaf in leaves((given, *given_kwargs.values()))
                if isinstance(leaf, np.ndarray)
            )


FLOAT64 = """
    add divide exp log sum mean var std cumsum median sigmoid softmax gelu relu selu elu log_softmax softplus erf erfinv
    logsumexp matmul norm inv square maximum normalize layer_normalization silu celu squareplus hard_sigmoid
    log_sigmoid softsign tanh_shrink soft_shrink hard_shrink leaky_relu sparse_plus sparse_sigmoid glu hard_tanh hard_silu
    binary_crossentropy categorical_crossentropy solve pinv det cholesky dot tensordot linspace logaddexp arctan2"""


def doubled(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float16):
        return value.astype(np.float64)
    return value


@pytest.mark.parametrize("name", FLOAT64.split())
def test_float64_stays_float64(name: str) -> None:
    """So does Keras if JAX has 64-bit types, though not in all functions."""
    args, kwargs = CALLS[name][0]
    args = tuple(map(doubled, args))
    ours = np.asarray(leaves(getattr(ops, name)(*args, **kwargs))[0])
    with jax.enable_x64(True):
        theirs = np.asarray(leaves(getattr(keras.ops, name)(*args, **kwargs))[0])
    if any(isinstance(each, np.ndarray) for each in args):
        assert ours.dtype == np.float64
    # Keras computes means in float32.
    tolerance = 1e-12 if theirs.dtype == np.float64 and name not in ("mean", "layer_normalization") else 2e-5
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_int64_stays_int64_and_never_makes_float64() -> None:
    x = np.array([[1, 2], [3, 2**40]])
    assert ops.add(x, 1).dtype == ops.sum(x).dtype == ops.matmul(x, x).dtype == np.int64
    assert ops.sum(x) == 2**40 + 6
    for name in ("exp", "mean", "std", "sqrt", "divide", "matmul"):
        other = [F[:2, :2]] if name in ("divide", "matmul") else []
        assert getattr(ops, name)(x, *other).dtype == np.float32
    assert ops.argmax(x).dtype == np.int32


@pytest.mark.parametrize("kind", ["eig", "eigh", "qr", "svd"])
def test_decompositions(kind: str) -> None:
    matrices = POSITIVE if kind == "eigh" else SQUARE
    ours = getattr(ops, kind)(frozen(matrices))
    theirs = getattr(keras.ops, kind)(matrices)
    assert [(part.shape, part.dtype) for part in ours] == [
        (part.shape, part.dtype) for part in map(np.asarray, theirs)
    ]
    if kind in ("eig", "eigh"):
        values, vectors = ours
        np.testing.assert_allclose(matrices @ vectors, vectors * values[:, None], atol=1e-3)
        np.testing.assert_allclose(np.sort(values), np.sort(np.asarray(theirs[0])), rtol=1e-3)
    elif kind == "qr":
        np.testing.assert_allclose(ours[0] @ ours[1], matrices, atol=1e-4)
    else:
        np.testing.assert_allclose(ours[0] * ours[1][:, None] @ ours[2], matrices, atol=1e-4)
    assert_same(keras.ops.svd(matrices, compute_uv=False), ops.svd(matrices, compute_uv=False), 1e-4)


WITH_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "cond": lambda o: o.cond(np.float32(1) > 0, lambda: o.add(F, 1), lambda: o.add(F, 2)),
    "switch": lambda o: [o.switch(i, [lambda x: x + 1, lambda x: x * 2], VECTOR) for i in (-3, 0, 1, 9)],
    "while_loop": lambda o: o.while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, x * 2), (np.int32(0), VECTOR)),
    "while_loop of one": lambda o: o.while_loop(lambda x: o.sum(x) < 50, lambda x: x * 2, np.abs(VECTOR), maximum_iterations=2),
    "fori_loop": lambda o: o.fori_loop(1, 5, lambda i, x: x * 2 + i, VECTOR),
    "scan": lambda o: o.scan(lambda c, x: (c + o.sum(x), c * 2), np.float32(0), F),
    "scan backwards": lambda o: o.scan(lambda c, x: (c + x["a"], c), np.zeros(4, np.float32), {"a": F}, reverse=True)[0],
    "scan of nothing": lambda o: o.scan(lambda c, x: (c + 1, c), np.float32(0), length=3),
    "associative_scan": lambda o: o.associative_scan(lambda a, b: a + b, F, axis=1),
    "associative_scan backwards": lambda o: o.associative_scan(lambda a, b: a * b, F, reverse=True),
    "map": lambda o: o.map(o.sum, F),
    "map of structures": lambda o: o.map(lambda x: (x[0] + x[1], x[0]), (F, G)),
    "vectorized_map": lambda o: o.vectorized_map(lambda x: x[::-1] * 2, F),
    "vectorize": lambda o: o.vectorize(lambda x, y: x * y + 1)(F, VECTOR),
    "vectorize with a signature": lambda o: o.vectorize(lambda x: x.sum(), signature="(n)->()")(F),
    "custom_gradient": lambda o: o.custom_gradient(lambda x: (x * x, lambda *args, upstream: upstream))(VECTOR),
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_functions_of_functions(name: str) -> None:
    assert_same(WITH_FUNCTIONS[name](keras.ops), WITH_FUNCTIONS[name](ops))


def test_sparsemax_is_that_of_the_activations() -> None:
    """The function of Keras is wrong, so that its results do not sum to 1."""
    x = 3 * CUBE
    np.testing.assert_array_equal(ops.sparsemax(x), engine.activations.sparsemax(x))
    for axis in (0, 1, -1):
        found = ops.sparsemax(x.astype(np.float64), axis)
        np.testing.assert_allclose(found, ops.sparsemax(x, axis), atol=1e-6)
        np.testing.assert_allclose(found.sum(axis), 1)


def test_new_arrays_and_what_is_one() -> None:
    assert ops.empty((2, 3)).dtype == np.float32
    assert ops.empty_like(K).shape == K.shape
    assert [ops.is_tensor(value) for value in (F, ops.sum(F), [1.0], 1.0)] == [True, True, False, False]


WRONG: dict[str, Callable[[ModuleType], Any]] = {
    "a positional `out`": lambda api: api.ops.abs(F, G),
    "a shift of bits of floats": lambda api: api.ops.left_shift(F, 1),
    "sections": lambda api: api.ops.split(F, 5, 1),
    "one of two": lambda api: api.ops.where(B, K),
    "constants of another mode": lambda api: api.ops.pad(F, 1, "edge", 3.0),
    "exponent": lambda api: api.ops.ldexp(F, G),
    "shapes": lambda api: api.ops.add(F, np.ones(3, np.float32)),
    "no square": lambda api: api.ops.det(F),
    "not definite": lambda api: api.ops.cholesky(-POSITIVE),
    "mode": lambda api: api.ops.qr(F, "full"),
    "reduction": lambda api: api.ops.scatter_update(F, [[0, 0]], [1.0], "divide"),
    "order": lambda api: api.ops.normalize(F, order=0),
    "classes": lambda api: api.ops.multi_hot(J),
    "crossentropy": lambda api: api.ops.binary_crossentropy(F, G[:2]),
    "dtype": lambda api: api.ops.cast(F, "float33"),
    "sorted_sequence": lambda api: api.ops.searchsorted(F, 1.0),
    "windows": lambda api: api.ops.stft(VECTOR, 4, 2, 2),
    "ranks": lambda api: api.ops.cdist(VECTOR, F),
    "pattern": lambda api: api.ops.rearrange(F, "a b c -> a"),
    "empty": lambda api: api.ops.max(np.zeros((0,), np.float32)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    before = F.copy(), G.copy()
    for api in (keras, engine):
        with pytest.raises((KeyError, TypeError, ValueError)):
            WRONG[name](api)
    assert np.array_equal(before, (F, G))
