"""Compares outputs and gradients of normalization, column and embedding layers with float64, for many widths and threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from bits_worker import SGD, dense
from numerics import U
from numpy.typing import NDArray

from engine import _core

Array = NDArray[Any]
Spec = dict[str, Any]
Forward = Callable[[Array, Sequence[Array]], Array]

INPUTS, ROWS, EPSILON = 5, 40, 1e-3
WIDTHS = (1, 2, 15, 16, 17, 33, 65)
rng = np.random.default_rng(0)


def scaled(x: Array, variables: Sequence[Array]) -> Array:
    return x * variables[0] + variables[1]


def leaky(x: Array, variables: Sequence[Array]) -> Array:
    return np.where(x > 0, x, x * variables[0])


def standardized(x: Array, axis: int, epsilon: float = EPSILON) -> Array:
    return (x - x.mean(axis=axis, keepdims=True)) / np.sqrt(x.var(axis=axis, keepdims=True) + epsilon)


def batch_normalization(x: Array, variables: Sequence[Array]) -> Array:
    return scaled(standardized(x, 0), variables)


def moving_normalization(x: Array, variables: Sequence[Array]) -> Array:
    gamma, beta, mean, variance = variables
    return gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta


def root_mean_square(x: Array, variables: Sequence[Array]) -> Array:
    del variables
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + EPSILON)


BATCH = {"kind": "batch_normalization", "momentum": 0.9, "epsilon": EPSILON}
ROW = {"kind": "row_normalization", "epsilon": EPSILON}
LAYERS: dict[str, tuple[Spec, Forward]] = {
    "scaled": ({"kind": "column_scale"}, scaled),
    "leaky": ({"kind": "column_scale", "rule": "leaky", "use_shift": False}, leaky),
    "batch_normalization": (BATCH, batch_normalization),
    "frozen": (BATCH | {"trainable": False}, moving_normalization),
    "rows": (ROW | {"centred": True}, lambda x, _: standardized(x, 1)),
    "root_mean_square": (ROW | {"centred": False}, root_mean_square),
    "unit": (
        ROW | {"centred": False, "unit": True},
        lambda x, _: x / np.sqrt((x**2).sum(axis=1, keepdims=True)),
    ),
}


def central_differences(loss: Callable[[], float], variables: Sequence[Array]) -> list[Array]:
    found = []
    for variable in variables:
        gradient = np.zeros_like(variable)
        for i in np.ndindex(variable.shape):
            kept, step = variable[i], 1e-5
            variable[i] = kept + step
            above = loss()
            variable[i] = kept - step
            gradient[i] = (above - loss()) / (2 * step)
            variable[i] = kept
        found.append(gradient)
    return found


def stepped(
    layers: Sequence[Spec], variables: Sequence[Array], x: Array, y: Array, rate: float
) -> list[Array]:
    """Returns the variables after a step of gradient descent, after checking that no number of threads changes them."""
    found = []
    for threads in (1, 2, 3):
        _core.set_threads(threads)
        program = _core.Program(x.shape[1], layers)
        program.write_variables(variables)
        program.compile({"kind": "mean_squared_error"}, SGD, [])
        run = program.begin("train", _core.Dataset(x, y), len(x))
        run.advance(0, 1, np.array([rate]))
        found.append(program.variables)
    _core.set_threads(0)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
    return found[0]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients(name: str, width: int) -> None:
    spec, forward = LAYERS[name]
    x = rng.normal(1, 2, (ROWS, INPUTS)).astype(np.float32)
    y = rng.normal(size=(ROWS, width)).astype(np.float32)
    layers = [dense(width, "linear"), spec]
    shapes = [variable.shape for variable in _core.Program(INPUTS, layers).variables]
    variables = [rng.uniform(0.4, 1.6, shape).astype(np.float32) for shape in shapes]
    kernel, bias, *own = exact = [variable.astype(float) for variable in variables]

    def output() -> Array:
        return forward(x @ kernel + bias, own)

    def loss() -> float:
        return float(((output() - y) ** 2).mean())

    if name != "batch_normalization":  # its predictions differ from its outputs in training
        program = _core.Program(INPUTS, layers)
        program.write_variables(variables)
        np.testing.assert_allclose(program.predict(x), output(), rtol=1e-5, atol=1e-5)
    rate = 64.0
    after = stepped(layers, variables, x, y, rate)
    learned = exact[:2] if name == "frozen" else exact[:4]
    gradients = central_differences(loss, learned)
    # Sums over 40 rows may cancel; the largest of all tells how large their terms are. Where all gradients vanish,
    # as behind a norm of one number, what goes into the sums is rounded still.
    terms = float((np.abs(x.T) @ np.abs(2 * (output() - y) / y.size)).max())
    atol = 2e-5 * max(float(np.abs(gradient).max()) for gradient in gradients) + U * terms
    for before, now, gradient in zip(variables, after, gradients, strict=False):
        np.testing.assert_allclose((before.astype(float) - now) / rate, gradient, rtol=1e-4, atol=atol)
    z = x @ kernel + bias
    if name == "batch_normalization":
        for before, now, batch in zip(variables[4:], after[4:], (z.mean(axis=0), z.var(axis=0)), strict=True):
            np.testing.assert_allclose(now, 0.9 * before.astype(float) + 0.1 * batch, rtol=1e-5)
    elif name == "frozen":
        assert all(np.array_equal(a, b) for a, b in zip(variables[2:], after[2:], strict=True))


@pytest.mark.parametrize(("tokens", "units"), [*((7, units) for units in WIDTHS), (210, 41)])
def test_embedding(tokens: int, units: int) -> None:
    count = 3
    layers: list[Spec] = [{"kind": "embedding", "tokens": tokens, "units": units}]
    table = rng.normal(size=(tokens, units)).astype(np.float32)
    x = rng.integers(0, tokens - 1, (ROWS, count)).astype(np.float32)  # never the last row of the table
    y = rng.normal(size=(ROWS, count * units)).astype(np.float32)
    program = _core.Program(count, layers)
    program.write_variables([table])
    want = table[x.astype(int)].reshape(ROWS, -1)
    assert np.array_equal(program.predict(x), want)
    gradient = np.zeros((tokens, units))
    np.add.at(gradient, x.astype(int), (2 * (want - y) / y.size).reshape(ROWS, count, units))
    (after,) = stepped(layers, [table], x, y, 64.0)
    np.testing.assert_allclose((table.astype(float) - after) / 64, gradient, rtol=1e-4, atol=1e-6)
    assert np.array_equal(after[-1], table[-1])


def test_encoding() -> None:
    x = np.array([[0, 2, 2], [1, 1, 1]], np.float32)
    for counts, want in ((True, [[1, 0, 2, 0], [0, 3, 0, 0]]), (False, [[1, 0, 1, 0], [0, 1, 0, 0]])):
        program = _core.Program(3, [{"kind": "encoding", "tokens": 4, "counts": counts}])
        assert program.predict(x).tolist() == want


def test_a_layer_that_learns_must_come_after_tokens() -> None:
    with pytest.raises(ValueError, match="can't come before one that takes tokens"):
        _core.Program(3, [dense(3, "linear"), {"kind": "encoding", "tokens": 4, "counts": True}])


def noise(**fields: Any) -> Array:
    program = _core.Program(250, [{"kind": "noise", "rate": 0.0, "seed": 3, "scale": 1.0} | fields])
    return program.predict(np.ones((400, 250), np.float32), training=True, seed=1)


def test_normal_noise() -> None:
    y = noise(distribution="normal", combination="add", mean=1.0, scale=2.0)
    z = np.sort(((y - 2) / 2).astype(float).reshape(-1))
    # 100,000 draws: five standard deviations of each moment
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / z.size)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / z.size)
    assert np.array_equal(noise(distribution="normal", mean=1.0, scale=2.0) + 1, y)


def test_masks_shared_along_axes() -> None:
    y = noise(rate=0.25, scale=4 / 3, shared=True)
    assert np.array_equal(y, np.broadcast_to(y[0], y.shape))
    assert set(np.unique(y)) == {np.float32(0), np.float32(4 / 3)}
    rows = noise(rate=0.25, scale=4 / 3, shape=[250], noise_shape=[1])
    assert np.array_equal(rows, np.broadcast_to(rows[:, :1], rows.shape))
    assert len(np.unique(rows)) == 2
    alpha = noise(rate=0.25, combination="alpha", scale=0.5, kept=2.0, dropped=-1.0)
    assert set(np.unique(alpha)) == {np.float32(-1.0), np.float32(2.5)}
