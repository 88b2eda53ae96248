"""Compares operations that custom functions often use, and a metric made of them, with Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine
from engine import ops

X = np.random.default_rng(3).uniform(0.2, 0.9, (3, 4)).astype(np.float32)
Y = X[::-1].copy()
UNARY = """
    abs absolute all any arccos arcsin arcsinh arctan arctanh argmax argmin argsort average ceil copy cos cosh
    count_nonzero diff exp expm1 flip floor isfinite isinf isnan log log10 log1p log2 logical_not max mean median min
    amax amin cbrt corrcoef deg2rad exp2 fliplr flipud nanmax nanmean nansum nanstd ptp rad2deg rot90 rsqrt trunc
    nan_to_num ndim negative ones_like prod ravel reciprocal round sign sin sinh size sort sqrt square squeeze std sum tan
    tanh trace transpose tril triu var zeros_like norm shape convert_to_numpy convert_to_tensor sigmoid softmax relu
    softplus log_softmax silu elu selu"""
BINARY = """
    add arctan2 divide equal floor_divide greater greater_equal isclose less less_equal logaddexp logical_and logical_or
    logical_xor maximum minimum mod multiply not_equal outer power subtract true_divide vdot"""
ALONG_AN_AXIS = (
    "all any argmax argmin cumsum cumprod expand_dims flip max mean median min norm prod sort std sum var"
)
CALLS: dict[str, Any] = {
    "cast": lambda api: api.ops.cast(X > 0.5, "float32"),
    "where": lambda api: api.ops.where(X > 0.5, X, 0.0),
    "clip": lambda api: api.ops.clip(X, 0.3, 0.6),
    "concatenate": lambda api: api.ops.concatenate([X, Y], axis=1),
    "stack": lambda api: api.ops.stack([X, Y], axis=-1),
    "reshape": lambda api: api.ops.reshape(X, (2, 6)),
    "transpose": lambda api: api.ops.transpose(X, (1, 0)),
    "tile": lambda api: api.ops.tile(X, (2, 1)),
    "repeat": lambda api: api.ops.repeat(X, 2, axis=0),
    "take": lambda api: api.ops.take(X, [2, 0], axis=1),
    "take_along_axis": lambda api: api.ops.take_along_axis(X, api.ops.argmax(X, axis=1)[:, None], axis=1),
    "dot": lambda api: api.ops.dot(X, Y.T),
    "einsum": lambda api: api.ops.einsum("ij,kj->ik", X, Y),
    "tensordot": lambda api: api.ops.tensordot(X, Y, axes=[[1], [1]]),
    "linspace": lambda api: api.ops.linspace(0.0, 1.0, 5),
    "arange": lambda api: api.ops.arange(2, 8, 2),
    "eye": lambda api: api.ops.eye(3),
    "full": lambda api: api.ops.full((2, 2), 3.0),
    "zeros": lambda api: api.ops.zeros((2, 3)),
    "broadcast_to": lambda api: api.ops.broadcast_to(X[:1], (3, 4)),
    "split": lambda api: api.ops.split(X, 2, axis=1)[1],
    "swapaxes": lambda api: api.ops.swapaxes(X, 0, 1),
    "one_hot": lambda api: api.ops.one_hot(np.array([[0, 2], [-1, 5]]), 3),
    "one_hot along the first axis": lambda api: api.ops.one_hot(np.array([0, 2]), 3, axis=0, dtype="int32"),
    "top_k": lambda api: api.ops.top_k(X, 2)[0],
    "places of top_k": lambda api: api.ops.top_k(np.round(3 * X), k=3)[1],
    "top_k of bytes": lambda api: api.ops.top_k(np.array([[0, 255, 3, 255]], np.uint8), 3)[1],
    "logsumexp of nothing": lambda api: api.ops.logsumexp(np.array([[-np.inf, -np.inf], [0.0, 1.0]]), axis=1),
    "logsumexp": lambda api: api.ops.logsumexp(100 * X),
    "logsumexp along an axis": lambda api: api.ops.logsumexp(100 * X, axis=1, keepdims=True),
    "normalize": lambda api: api.ops.normalize(X),
    "divide_no_nan": lambda api: api.ops.divide_no_nan(X, np.where(X > 0.5, Y, 0)),
    "erf": lambda api: api.ops.erf(4 * X - 2),
    "gelu": lambda api: api.ops.gelu(4 * X - 2),
    "exact gelu": lambda api: api.ops.gelu(4 * X - 2, approximate=False),
    "in_top_k": lambda api: api.ops.in_top_k(np.array([0, 3, 1]), X, 2),
    "means of moments": lambda api: api.ops.moments(X, axes=[0])[0],
    "variances of moments": lambda api: api.ops.moments(X, axes=[0, 1], keepdims=True)[1],
    "allclose": lambda api: api.ops.allclose(X, X),
    "det": lambda api: api.ops.det(X[:, :3]),
    "inv": lambda api: api.ops.inv(X[:, :3] + 2 * np.eye(3, dtype=np.float32)),
    "pinv": lambda api: api.ops.pinv(X),
    "solve": lambda api: api.ops.solve(X[:, :3] + 2 * np.eye(3, dtype=np.float32), X),
    "cholesky": lambda api: api.ops.cholesky(X @ X.T + np.eye(3, dtype=np.float32)),
    "singular values": lambda api: api.ops.svd(X, compute_uv=False),
    "eigh": lambda api: api.ops.eigh(X @ X.T)[0],
    "normalize by another norm": lambda api: api.ops.normalize(X, axis=0, order=1),
    "stop_gradient": lambda api: api.ops.stop_gradient(X),
    "pad": lambda api: api.ops.pad(X, ((1, 0), (0, 2))),
    "percentile": lambda api: api.ops.percentile(X, 30, axis=1),
    "digitize": lambda api: api.ops.digitize(X, np.array([0.3, 0.6])),
    "isin": lambda api: api.ops.isin(np.round(3 * X), [1, 2]),
    "inner": lambda api: api.ops.inner(X, Y),
    "keepdims": lambda api: api.ops.sum(X, axis=1, keepdims=True),
}


def assert_same(theirs: Any, ours: Any) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", UNARY.split())
def test_of_an_array(name: str) -> None:
    assert_same(getattr(keras.ops, name)(X), getattr(ops, name)(X))


@pytest.mark.parametrize("name", BINARY.split())
def test_of_two_arrays(name: str) -> None:
    assert_same(getattr(keras.ops, name)(X, Y), getattr(ops, name)(X, Y))


@pytest.mark.parametrize("name", ALONG_AN_AXIS.split())
def test_along_an_axis(name: str) -> None:
    assert_same(getattr(keras.ops, name)(X, axis=1), getattr(ops, name)(X, axis=1))


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    assert_same(CALLS[name](keras), CALLS[name](engine))


def test_a_metric_written_with_them() -> None:
    def make(api: Any) -> Any:
        def relative(y_true: Any, y_pred: Any) -> Any:
            distance = api.ops.abs(api.ops.subtract(y_true, y_pred))
            return api.ops.mean(distance / api.ops.maximum(api.ops.abs(y_true), 0.1), axis=-1)

        layers = [api.Input((4,)), api.layers.Dense(4, kernel_initializer="ones")]
        model = api.Sequential(layers)
        model.compile("sgd", "mse", metrics=[relative])
        return model.evaluate(X, Y, verbose=0, return_dict=True)

    theirs, ours = make(keras), make(engine)
    assert list(ours) == list(theirs)
    assert_same(list(theirs.values()), list(ours.values()))
