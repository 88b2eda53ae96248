"""Linear algebra, Fourier transforms and other functions that are recorded: values, gradients, second derivatives of Keras, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
import pytest

import engine

RNG = np.random.default_rng(7)
SQUARE = RNG.normal(size=(3, 3)) + 2 * np.eye(3)
DEFINITE = SQUARE @ SQUARE.T
TALL, WIDE = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 5))
ONE = np.full((1, 1), 1.7)
SQUARES = RNG.normal(size=(2, 4, 3, 3)) + 2 * np.eye(3)
DEFINITES = SQUARES @ np.swapaxes(SQUARES, -1, -2)
TALLS, WIDES = RNG.normal(size=(4, 5, 3)), RNG.normal(size=(4, 3, 5))
ROWS, VECTOR = RNG.normal(size=(4, 6)), RNG.normal(size=6)
WITH_NAN = np.where(RNG.random((4, 6)) < 0.3, np.nan, ROWS)

Function = Callable[..., Any]


def symmetric(ops: Any, x: Any) -> Any:
    return (x + ops.swapaxes(x, -1, -2)) / 2


def of_signs(ops: Any, vectors: Any) -> Any:
    """What doesn't change with the sign of a vector."""
    return ops.square(vectors)


def singular_vectors(ops: Any, x: Any) -> Any:
    u, s, v = ops.svd(x, full_matrices=False)
    return of_signs(ops, u), s, of_signs(ops, v)


# Each function returns one array or several; the arrays after it are its arguments.
CASES: dict[str, tuple[Any, ...]] = {}
for _kind, _square, _definite in (
    ("of one", ONE, ONE),
    ("of a matrix", SQUARE, DEFINITE),
    ("of a stack", SQUARES, DEFINITES),
):
    CASES |= {
        f"inv {_kind}": (lambda ops, x: ops.inv(x), _square),
        f"det {_kind}": (lambda ops, x: ops.det(x), _square),
        f"slogdet {_kind}": (lambda ops, x: ops.slogdet(x)[1], _square),
        f"logdet {_kind}": (lambda ops, x: ops.logdet(x), _definite),
        f"cholesky {_kind}": (lambda ops, x: ops.cholesky(x), _definite),
        f"upper cholesky {_kind}": (lambda ops, x: ops.cholesky(x, upper=True), _definite),
        f"eigenvalues {_kind}": (lambda ops, x: ops.eigh(symmetric(ops, x))[0], _definite),
        f"eigenvectors {_kind}": (lambda ops, x: of_signs(ops, ops.eigh(symmetric(ops, x))[1]), _definite),
        f"solve {_kind}": (lambda ops, a, b: ops.solve(a, b), _square, _definite[..., :2]),
        f"lower solve_triangular {_kind}": (
            lambda ops, a, b: ops.solve_triangular(a, b, lower=True), _square, _definite[..., :2],
        ),
        f"upper solve_triangular {_kind}": (lambda ops, a, b: ops.solve_triangular(a, b), _square, _definite[..., :2]),
        f"lu_factor {_kind}": (lambda ops, x: ops.lu_factor(x)[0], _square),
    }  # fmt: skip
for _kind, _matrices in (
    ("one", ONE), ("square", SQUARE), ("tall", TALL), ("wide", WIDE), ("stacked tall", TALLS), ("stacked wide", WIDES),
):  # fmt: skip
    CASES |= {
        f"singular values {_kind}": (lambda ops, x: ops.svd(x, compute_uv=False), _matrices),
        f"singular vectors {_kind}": (singular_vectors, _matrices),
        f"pinv {_kind}": (lambda ops, x: ops.pinv(x), _matrices),
    }
    if "wide" not in _kind:  # JAX has no derivative
        CASES[f"qr {_kind}"] = (lambda ops, x: tuple(map(ops.abs, ops.qr(x))), _matrices)
        CASES[f"complete qr {_kind}"] = (lambda ops, x: ops.abs(ops.qr(x, mode="complete")[1]), _matrices)
CASES |= {
    "inv of a product": (lambda ops, x: ops.inv(x @ x + 1.0), SQUARES),
    "solve for a vector": (lambda ops, a, b: ops.solve(a, b), SQUARE, VECTOR[:3]),
    "solve with itself": (lambda ops, a: ops.solve(a, a * a), SQUARE),
    "lstsq": (lambda ops, a, b: ops.lstsq(a, b), TALL, TALL[:, :2] + 1),
    "lstsq for a vector": (lambda ops, a, b: ops.lstsq(a, b), TALL, TALL[:, 0] + 1),
    "lu_factor of a tall matrix": (lambda ops, x: ops.lu_factor(x)[0], TALL),
    "lu_factor of wide matrices": (lambda ops, x: ops.lu_factor(x)[0], WIDES),
    "det of a singular matrix": (lambda ops, x: ops.det(x), np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0]) + np.diag([0.0, 1.0, 0.0])),
    "fft": (lambda ops, x, y: ops.fft((x, y)), ROWS, ROWS[::-1].copy()),
    "fft2": (lambda ops, x, y: ops.fft2((x, y)), TALLS, TALLS[::-1].copy()),
    "ifft2": (lambda ops, x, y: ops.ifft2((x, y)), TALLS, TALLS[::-1].copy()),
    "rfft": (lambda ops, x: ops.rfft(x), ROWS),
    "shorter rfft": (lambda ops, x: ops.rfft(x, fft_length=5), ROWS),
    "longer rfft": (lambda ops, x: ops.rfft(x, fft_length=9), ROWS),
    "irfft": (lambda ops, x, y: ops.irfft((x, y)), ROWS, ROWS[::-1].copy()),
    "irfft of an odd length": (lambda ops, x, y: ops.irfft((x, y), fft_length=9), ROWS, ROWS[::-1].copy()),
    "stft": (lambda ops, x: ops.stft(x, 4, 2, 4), np.sin(np.arange(24.0)).reshape(2, 12)),
    "stft and back": (
        lambda ops, x: ops.istft(ops.stft(x, 4, 2, 6), 4, 2, 6), np.sin(np.arange(24.0)).reshape(2, 12),
    ),
    "extract_sequences": (lambda ops, x: ops.extract_sequences(x, 3, 2), ROWS),
    "correlate": (lambda ops, x, y: ops.correlate(x, y, mode="full"), VECTOR, VECTOR[:4] + 1),
    "cdist": (lambda ops, x, y: ops.cdist(x, y), TALL, TALL[:2] + 0.5),
    "corrcoef": (lambda ops, x: ops.corrcoef(x), ROWS),
    "vander": (lambda ops, x: ops.vander(x), VECTOR),
    "logspace": (lambda ops, x, y: ops.logspace(x, y, num=4), VECTOR / 4, VECTOR[::-1] / 4),
    "geomspace": (lambda ops, x, y: ops.geomspace(x, y, num=4), np.abs(VECTOR), np.abs(VECTOR[::-1])),
    "diagflat": (lambda ops, x: ops.diagflat(x, k=-1), ROWS[:2, :2]),
    "ldexp": (lambda ops, x: ops.ldexp(x, np.array([3, -2, 0, 1, 9, -9], np.int32)), VECTOR),
    "i0": (lambda ops, x: ops.i0(x * 3), VECTOR),
    "nanmedian": (lambda ops, x: ops.nanmedian(x, axis=1), WITH_NAN),
    "nanquantile": (lambda ops, x: ops.nanquantile(x, [0.2, 0.7], axis=1), WITH_NAN),
    "nanpercentile": (lambda ops, x: ops.nanpercentile(x, 30, axis=1, keepdims=True), WITH_NAN),
    "scatter": (lambda ops, x: ops.scatter(np.array([[0, 1], [1, 2], [0, 1]]), x, (2, 3)), VECTOR[:3]),
    "scatter_update": (
        lambda ops, x, y: ops.scatter_update(x, np.array([[0], [2]], np.int32), y), ROWS, ROWS[2:] * 2,
    ),
    "slice_update": (lambda ops, x, y: ops.slice_update(x, (1, 2), y), ROWS, ROWS[:2, :3] * 2),
    "attention": (
        lambda ops, q, k, v: ops.dot_product_attention(q, k, v, is_causal=True),
        *(RNG.normal(size=(2, 3, heads, 4)) for heads in (4, 2, 2)),
    ),
    "attention with a mask and a bias": (
        lambda ops, q, bias: ops.dot_product_attention(q, q, q, bias=bias, mask=np.eye(3)[::-1] + np.eye(3) > 0),
        RNG.normal(size=(2, 3, 2, 4)), RNG.normal(size=(2, 2, 3, 3)),
    ),
}  # fmt: skip
# The second derivative of a determinant needs an inverse, and JAX has none of these.
WITHOUT_SECOND = {"det of a singular matrix"}


def parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def loss(ops: Any, function: Function, arguments: Any) -> Any:
    """A number that depends on each element of each result in another way."""
    total = 0.0
    for number, part in enumerate(parts(function(ops, *arguments))):
        size = int(np.prod(part.shape))
        weights = np.cos(np.arange(size, dtype=np.float32) + number).reshape(part.shape)
        total = total + ops.sum(part * weights)
    return total


def in_keras(name: str) -> tuple[Any, list[Any], list[Any]]:
    """The results, the gradients, and the gradients of the sum of the squares of these."""
    function, *arrays = CASES[name]
    with jax.enable_x64(True):
        inputs = [jax.numpy.asarray(each, jax.numpy.float64) for each in arrays]
        places = tuple(range(len(inputs)))

        def first(*arguments: Any) -> Any:
            return jax.grad(lambda *a: loss(keras.ops, function, a), places)(*arguments)

        def squares(*arguments: Any) -> Any:
            return sum((each * each).sum() for each in first(*arguments))

        def all_of(*arguments: Any) -> Any:
            second = [] if name in WITHOUT_SECOND else jax.grad(squares, places)(*arguments)
            return parts(function(keras.ops, *arguments)), first(*arguments), second

        values, slopes, second = jax.tree.map(np.asarray, jax.jit(all_of)(*inputs))
        return list(values), list(slopes), list(second)


def in_engine(name: str) -> tuple[Any, list[Any], list[Any]]:
    function, *arrays = CASES[name]
    inputs = [engine.ops.convert_to_tensor(each.astype(np.float32)) for each in arrays]
    with engine.GradientTape() as outer:
        outer.watch(inputs)
        with engine.GradientTape() as inner:
            inner.watch(inputs)
            total = loss(engine.ops, function, inputs)
        first = inner.gradient(total, inputs)
        squares = sum(engine.ops.sum(each * each) for each in first)
    second = [] if name in WITHOUT_SECOND else outer.gradient(squares, inputs)
    values = parts(engine.function(lambda *a: function(engine.ops, *a))(*inputs))
    zeros = [np.zeros_like(each) for each in arrays]
    second = [zero if each is None else each for each, zero in zip(second, zeros, strict=False)]
    return (
        [np.asarray(each) for each in values],
        [np.asarray(each) for each in first],
        list(map(np.asarray, second)),
    )


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str) -> None:
    for what, found, wanted in zip(
        ("values", "gradients", "second derivatives"), in_engine(name), in_keras(name), strict=True
    ):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            size = np.abs(other[np.isfinite(other)]).max(initial=0.1)
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5 * size, err_msg=what)
