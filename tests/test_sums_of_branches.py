"""Sums of branches, such as residual blocks: their values and all gradients in float64, and the bits of several threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import layers

Array = NDArray[np.float64]
U = 2.0**-24
CLASSES = 3

# The branches that are added in a block: a dense layer with this activation, or what the block reads (None).
RESIDUAL = (None, "relu")
BLOCKS: dict[str, tuple[str | None, ...]] = {
    "residual": RESIDUAL,
    "residual, the other way round": ("relu", None),
    "linear residual": (None, "linear"),
    "two branches": ("relu", "relu"),
    "linear and relu": ("linear", "relu"),
    "relu and linear": ("relu", "linear"),
    "three branches": ("relu", "relu", "relu"),
    "an activation that products do not fuse": (None, "tanh"),
}

# Rows, and units of all layers: around tiles of 4, 6, 8 and 16 rows, narrow layers, several panels, packed blocks.
SIZES = [
    (1, 20),
    (3, 16),
    (5, 17),
    (7, 64),
    (9, 10),
    (15, 130),
    (17, 33),
    (65, 3),
    (129, 40),
    (131, 257),
    (300, 256),
]


class Dense(NamedTuple):
    kernel: Array
    bias: Array


class Network:
    """A dense layer, two equal blocks, and a dense layer; in Keras' words, and in float64."""

    def __init__(
        self, branches: Sequence[str | None], units: int, inputs: int | None = None, rate: float = 1.0
    ) -> None:
        self.branches = branches
        self.first = inputs is not None
        keras.utils.set_random_seed(3)
        x = h = keras.Input((inputs if inputs is not None else units,))
        if self.first:
            h = layers.Dense(units, activation="relu")(x)
        for _ in range(2):
            terms = [h if each is None else layers.Dense(units, activation=each)(h) for each in branches]
            h = layers.Add()(terms)
        self.model = keras.Model(x, layers.Dense(CLASSES)(h))
        loss = keras.losses.MeanSquaredError(reduction="sum")
        self.model.compile(keras.optimizers.SGD(rate), loss=loss)
        draw = np.random.default_rng(4)
        for layer in self.model.layers:
            if layer.get_weights():
                kernel, bias = layer.get_weights()
                layer.set_weights([kernel, draw.uniform(-0.3, 0.3, bias.shape)])

    def layers(self, sizes: bool) -> list[Dense]:
        weights = [layer.get_weights() for layer in self.model.layers if layer.get_weights()]
        pairs = [[np.asarray(w, np.float64) for w in pair] for pair in weights]
        return [Dense(*(np.abs(w) if sizes else w for w in pair)) for pair in pairs]

    def outputs_and_gradients(self, x: Any, y: Any, sizes: bool = False) -> tuple[Array, list[Array]]:
        """Returns the outputs, and the gradients of all weights; with `sizes`, the sums of the sizes of their terms."""
        own = iter(self.layers(sizes))
        h = np.abs(x.astype(np.float64)) if sizes else x.astype(np.float64)
        tape: list[tuple[Array, list[tuple[Dense, Array] | None]]] = []

        def slope(z: Array, activation: str | None) -> Array:
            if sizes or activation == "linear":
                return np.ones_like(z)
            if activation == "tanh":
                return np.asarray(1 - np.tanh(z) ** 2)
            return np.asarray(z > 0, np.float64)

        def apply(h: Array, kinds: Sequence[str | None]) -> Array:
            found: list[tuple[Dense, Array] | None] = []
            total: Array = np.zeros(1)
            for kind in kinds:
                if kind is None:
                    found.append(None)
                    total = total + h
                    continue
                layer = next(own)
                z = h @ layer.kernel + layer.bias
                found.append((layer, slope(z, kind)))
                if not sizes:
                    total = total + (
                        np.tanh(z) if kind == "tanh" else np.maximum(z, 0) if kind == "relu" else z
                    )
                else:
                    total = total + z
            tape.append((h, found))
            return total

        for kinds in [*([("relu",)] if self.first else []), self.branches, self.branches, ("linear",)]:
            h = apply(h, kinds)
        dh = 2 / CLASSES * (h + np.abs(y) if sizes else h - y)
        gradients: list[Array] = []
        for x_of_block, found in reversed(tape):
            dx, own_gradients = np.zeros(1), []
            for each in found:
                if each is None:
                    dx = dx + dh
                    continue
                layer, through = each
                dz = dh * through
                own_gradients += [x_of_block.T @ dz, dz.sum(0)]
                dx = dx + dz @ layer.kernel.T
            gradients = own_gradients + gradients
            dh = dx
        return h, gradients


def data(rows: int, inputs: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(rows, inputs)).astype(np.float32), np.zeros((rows, CLASSES), np.float32)


def require_right_values(network: Network, x: Any, y: Any) -> None:
    """Checks predictions, and a step of gradient descent, whose errors are bounded by the sizes of the terms."""
    given = x.astype(np.float64)
    outputs, gradients = network.outputs_and_gradients(given, y)
    outputs_size, sizes = network.outputs_and_gradients(given, y, sizes=True)
    terms = 32 + x.shape[1] + len(x)
    assert (np.abs(network.model.predict(x, verbose=0) - outputs) <= terms * U * outputs_size).all()
    before = network.model.get_weights()
    network.model.fit(x, y, batch_size=len(x), epochs=1, verbose=0)
    after = network.model.get_weights()
    for start, end, gradient, size in zip(before, after, gradients, sizes, strict=True):
        bound = U * (terms * size + 2 * np.abs(start) + 2 * np.abs(end))
        assert (np.abs(end.astype(np.float64) - (start.astype(np.float64) - gradient)) <= bound).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("branches", BLOCKS.values(), ids=BLOCKS)
def test_values(branches: tuple[str | None, ...], size: tuple[int, int]) -> None:
    rows, units = size
    network = Network(branches, units, inputs=7)
    require_right_values(network, *data(rows, 7))


@pytest.mark.parametrize("form", ["float32", "float64", "uint8", "strided", "sparse"])
@pytest.mark.parametrize("units", [10, 40, 256])
def test_the_inputs_of_the_model_are_a_branch(units: int, form: str) -> None:
    """Products read rows of the data set where they lie, or skip their zeros; a sum needs them as floats."""
    x, y = data(150, units)
    network = Network(RESIDUAL, units)
    if form == "uint8":
        x = np.where(x > 1, np.abs(x) * 3, 0).astype(np.uint8)
    elif form == "strided":
        x = np.repeat(x, 2, axis=1)[:, ::2]
    elif form == "float64":
        x = x.astype(np.float64).astype(np.float32).astype(np.float64)
    elif form == "sparse":
        sparse = pytest.importorskip("scipy.sparse")
        x = np.where(np.abs(x) > 2, x, 0).astype(np.float32)
        require_same_weights(units, sparse.csr_matrix(x), x, y)
        return
    require_right_values(network, x, y)


def require_same_weights(units: int, some: Any, others: Any, y: Any) -> None:
    trained = []
    for x in (some, others):
        network = Network(RESIDUAL, units, rate=1e-4)
        network.model.fit(x, y, batch_size=64, epochs=2, shuffle=False, verbose=0)
        trained.append(network.model.get_weights())
    for a, b in zip(*trained, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(7, 64), (40, 300), (131, 257), (300, 256), (2048, 128)], ids=str)
@pytest.mark.parametrize("branches", [RESIDUAL, ("relu", "relu"), ("linear", "relu")], ids=str)
def test_threads_change_no_bit(branches: tuple[str | None, ...], size: tuple[int, int]) -> None:
    rows, units = size
    x, y = data(rows, 30)
    found = []
    for threads in (1, 2, 3):
        keras.config.set_threads(threads)
        try:
            network = Network(branches, units, inputs=30, rate=1e-5)
            network.model.fit(np.tile(x, (2, 1))[:-1], np.tile(y, (2, 1))[:-1], batch_size=rows, verbose=0)
            predicted = network.model.predict(x, verbose=0)
            found.append([*network.model.get_weights(), predicted])
        finally:
            keras.config.set_threads(None)
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("branches", [RESIDUAL, ("relu", None), ("relu", "relu")], ids=str)
def test_no_thread_waits_before_a_sum(branches: tuple[str | None, ...]) -> None:
    """Each thread adds the columns that it has computed itself. What others do to the batch before is another matter."""
    for units in (64, 256):
        model = Network(branches, units).model
        lines = (
            keras.utils.explain_batch(model, batch_size=512, threads=2).partition("Schedule")[2].splitlines()
        )
        sums = [i for i, line in enumerate(lines) if "= map(" in line and line.endswith(" add")]
        assert len(sums) == 2
        for i in sums:
            assert "share n" in lines[i]
            before = lines[i - 1]
            assert "---- barrier" not in before or "in the batch before" in before


def test_a_branch_is_an_output_too() -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((12,))
    branch = layers.Dense(12, activation="relu", name="branch")(x)
    model = keras.Model(x, [branch, layers.Add()([x, branch])])
    given = np.random.default_rng(0).normal(size=(33, 12)).astype(np.float32)
    first, total = model.predict(given, verbose=0)
    kernel, bias = model.get_layer("branch").get_weights()
    np.testing.assert_allclose(first, np.maximum(given @ kernel + bias, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(total, given + first)


def test_a_branch_has_two_readers() -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((12,))
    branch = layers.Dense(12, activation="relu", name="branch")(x)
    model = keras.Model(x, layers.Multiply()([layers.Add()([x, branch]), branch]))
    given = np.random.default_rng(0).normal(size=(33, 12)).astype(np.float32)
    kernel, bias = model.get_layer("branch").get_weights()
    value = np.maximum(given @ kernel + bias, 0)
    np.testing.assert_allclose(model.predict(given, verbose=0), (given + value) * value, rtol=1e-5, atol=1e-6)


def test_a_penalty_on_what_a_branch_gives_counts() -> None:
    """It changes the gradient that two branches have given."""
    found = []
    for penalty in (0.0, 0.5):
        keras.utils.set_random_seed(0)
        x = keras.Input((12,))
        h = layers.Dense(12, activation="relu", activity_regularizer=keras.regularizers.L2(penalty))(x)
        h = layers.Add()([layers.Dense(12, activation="relu")(h), layers.Dense(12, activation="relu")(h)])
        model = keras.Model(x, layers.Dense(1)(h))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        given = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
        model.train_on_batch(given, np.ones((8, 1), np.float32))
        found.append(model.get_weights()[0])
    assert np.abs(found[0] - found[1]).max() > 1e-4
