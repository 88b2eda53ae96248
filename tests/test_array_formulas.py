"""Tests of the core's formulas on arrays: the same bits as the kernels, long rows, other axes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import KERNELS, place, same_bits
from numpy.typing import NDArray
from reference_activations import CASES as ACTIVATIONS
from reference_losses import CASES as LOSSES
from reference_losses import example

from engine import _core, activations, losses, metrics

Array = NDArray[Any]

ROWS = 1000  # more than the core copies at a time
WIDTH = 19


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).uniform(0.01, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("kind", "parameters"), LOSSES)
def test_losses_of_rows_are_those_of_the_kernels(kind: str, parameters: list[float]) -> None:
    y_pred, y = example(kind, parameters, ROWS, WIDTH)
    spec = {"kind": kind, "parameters": parameters}
    scale, gradient = np.ones(ROWS, np.float32), place(np.zeros((ROWS, WIDTH)))
    want = KERNELS[-1].loss(spec, place(y_pred), y, scale, gradient)
    assert same_bits(_core.row_values(spec, np.ascontiguousarray(y_pred, np.float32), y), want)


@pytest.mark.parametrize(("name", "constants"), ACTIVATIONS)
def test_gradients_of_activations_are_those_of_the_kernels(name: str, constants: tuple[float, ...]) -> None:
    saved, upstream = numbers(ROWS, WIDTH), numbers(ROWS, WIDTH) - np.float32(0.5)
    got = _core.activation_gradient({"activation": name, "parameters": constants}, saved, upstream)
    slope = KERNELS[-1].unary(f"{name}_gradient", saved.reshape(-1), constants).reshape(saved.shape)
    np.testing.assert_allclose(got, slope * upstream, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax"])
def test_gradients_of_row_activations_are_those_of_the_kernels(name: str) -> None:
    x, upstream = numbers(ROWS, WIDTH), numbers(ROWS, WIDTH)
    outputs = getattr(activations, name)(x)
    want = place(np.zeros_like(x))
    KERNELS[-1].row_activation(name, place(upstream), place(outputs), want)
    assert same_bits(_core.activation_gradient({"activation": name}, outputs, upstream), want)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), [2, 1]])
def test_gradients_along_other_axes(name: str, axis: Any) -> None:
    function = getattr(activations, name)
    x, upstream = numbers(3, 4, 5), numbers(3, 4, 5)
    axes = tuple(axis) if isinstance(axis, list) else axis
    shares = np.exp(x) / np.exp(x).sum(axes, keepdims=True)
    if name == "softmax":
        want = shares * (upstream - (upstream * shares).sum(axes, keepdims=True))
    else:
        want = upstream - shares * upstream.sum(axes, keepdims=True)
    np.testing.assert_allclose(function.gradient(x, upstream, axis), want, atol=1e-6)


MEANS = {
    "mean_squared_error": lambda y, p: np.square(y - p),
    "mean_absolute_error": lambda y, p: np.abs(y - p),
    "binary_crossentropy": lambda y, p: -(y * np.log(p) + (1 - y) * np.log(1 - p)),
    "poisson": lambda y, p: p - y * np.log(p + 1e-7),
}


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("size", [1024, 1025, 300_000])
def test_a_mean_of_many_numbers_keeps_its_digits(name: str, size: int) -> None:
    y, p = numbers(size) * np.float32(0.98), numbers(size)[::-1] * np.float32(0.98)
    want = MEANS[name](y.astype(float), p.astype(float)).mean()
    assert getattr(losses, name)(y, p) == pytest.approx(want, rel=2e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_formulas_go_along_other_axes(axis: int) -> None:
    y, p = numbers(4, 5, 6), numbers(6, 5, 4).T
    want = losses.categorical_crossentropy(np.moveaxis(y, axis, -1), np.moveaxis(p, axis, -1))
    assert same_bits(losses.categorical_crossentropy(y, p, axis=axis), want)


def test_no_samples_have_no_losses() -> None:
    assert losses.mean_squared_error(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
    assert metrics.categorical_accuracy(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


def test_a_prediction_that_is_no_number_shows() -> None:
    for loss in ("mean_squared_logarithmic_error", "mean_squared_error", "poisson", "kl_divergence"):
        assert np.isnan(getattr(losses, loss)([[0.5, 0.5]], [[np.nan, 0.5]])).all()


def test_what_the_core_refuses() -> None:
    x, labels = numbers(3, 4), np.zeros(3, np.int32)
    with pytest.raises(ValueError, match="no values by row"):
        _core.row_values({"kind": "confusion"}, x, x)
    with pytest.raises(ValueError, match="must have shape"):
        _core.row_values({"kind": "mean_squared_error"}, x[0], x)
    with pytest.raises(ValueError, match="`y` must be"):
        _core.row_values({"kind": "mean_squared_error"}, x, x[:2])
    with pytest.raises(ValueError, match="not class indices"):
        _core.row_values({"kind": "mean_squared_error"}, x, labels)
    with pytest.raises(ValueError, match="of one shape"):
        _core.activation_gradient({"activation": "sigmoid"}, x, x[:2])
