"""Any number of layers may read one input, whatever is special about it: zeros, bytes, compressed rows, augmentation.

Zeros are skipped where one team of threads computes a whole batch. A metric that NumPy computes stops the team in every
batch, so that the same training reads its input as it is: it is the reference, and skipping a zero changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numerics import same_bits
from numpy.typing import NDArray

import engine as keras
from engine import layers, ops

Array = NDArray[Any]
CLASSES, ROWS = 10, 1000

pytestmark = pytest.mark.usefixtures("threads_as_before")


@pytest.fixture(scope="module", name="images")
def _images() -> tuple[Array, Array]:
    """Images of MNIST, as bytes (n, 784), and their classes. One batch in their order has nothing but zeros."""
    (x, y), _ = keras.datasets.mnist.load_data()
    x, y = x[:ROWS].reshape(ROWS, 784).copy(), y[:ROWS]
    x[64:96] = 0
    return x, y


def two(x: Any) -> Any:
    return layers.Concatenate()([layers.Dense(128, activation="relu")(x), layers.Dense(128)(x)])


def three_widths(x: Any) -> Any:
    return layers.Concatenate()([layers.Dense(units)(x) for units in (130, 96, 256)])


def called_twice(x: Any) -> Any:
    layer = layers.Dense(128)
    return layers.Concatenate()([layers.Dense(20)(layer(x)), layers.Activation("tanh")(layer(x))])


def frozen_first(x: Any) -> Any:
    frozen = layers.Dense(128)
    frozen.trainable = False
    return layers.Concatenate()([frozen(x), layers.Dense(128)(x)])


def frozen_last(x: Any) -> Any:
    frozen = layers.Dense(128)
    trained = layers.Dense(128)(x)
    frozen.trainable = False
    return layers.Concatenate()([trained, frozen(x)])


def frozen_alone(x: Any) -> Any:
    frozen = layers.Dense(128)
    frozen.trainable = False
    return layers.Dense(128)(frozen(x))


def beside_others(x: Any) -> Any:
    total = layers.Lambda(lambda each: ops.sum(each, axis=1, keepdims=True))(x)
    return layers.Concatenate()([layers.Dense(128)(x), total, layers.Dense(128)(x)])


READERS: list[Callable[[Any], Any]] = [
    two, three_widths, called_twice, frozen_first, frozen_last, frozen_alone, beside_others,
]  # fmt: skip


def by_bytes(x: Array) -> tuple[Array, Callable[[Any], Any]]:
    return x, layers.Rescaling(1 / 255)


def by_floats(x: Array) -> tuple[Array, Callable[[Any], Any]]:
    return (x / 255).astype(np.float32), lambda each: each


def augmented(x: Array) -> tuple[Array, Callable[[Any], Any]]:
    def change(each: Any) -> Any:
        image = layers.Reshape((28, 28, 1))(layers.Rescaling(1 / 255)(each))
        return layers.Flatten()(layers.RandomTranslation(0.1, 0.1, fill_mode="constant", seed=3)(image))

    x = x.copy()
    x[128:160] = 7  # a batch without zeros
    return x, change


def trained(
    x: Any, y: Array, read: Callable[[Any], Any], before: Callable[[Any], Any], skips: bool, **options: Any
) -> list[Array]:
    """Returns the weights after two epochs; without `skips` zeros are not skipped."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((784,))
    model = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(read(before(inputs))))
    metrics = [] if skips else [keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False)]
    model.compile(keras.optimizers.Adam(0.01, **options), "sparse_categorical_crossentropy", metrics=metrics)
    start = model.get_weights()
    model.fit(x, y, batch_size=32, epochs=2, shuffle="batch", verbose=0)
    changed = [not same_bits(a, b) for a, b in zip(start, model.get_weights(), strict=True)]
    learning = {weight.path for weight in model.trainable_weights}
    assert changed == [weight.path in learning for weight in model.weights]
    return model.get_weights()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("read", READERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("form", [by_bytes, by_floats, augmented], ids=lambda each: each.__name__)
def test_every_reader_learns_as_from_an_input_of_its_own(
    form: Any, read: Any, threads: int, images: tuple[Array, Array]
) -> None:
    keras.config.set_threads(threads)
    x, y = images
    rows, _ = form(x)
    found, wanted = (trained(rows, y, read, form(x)[1], skips) for skips in (True, False))
    assert all(same_bits(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("read", READERS, ids=lambda each: each.__name__)
def test_compressed_rows(read: Any, threads: int, images: tuple[Array, Array]) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    keras.config.set_threads(threads)
    x, y = images
    rows, before = by_floats(x)
    found = trained(scipy.csr_matrix(rows), y, read, before, skips=True)
    wanted = trained(rows, y, read, before, skips=False)
    assert all(same_bits(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("options", [{"global_clipnorm": 0.5}, {"gradient_accumulation_steps": 3}])
@pytest.mark.parametrize("form", [by_bytes, augmented], ids=lambda each: each.__name__)
def test_gradients_that_are_stored_before_a_step(
    options: dict[str, Any], form: Any, images: tuple[Array, Array]
) -> None:
    x, y = images
    found, wanted = (trained(form(x)[0], y, two, form(x)[1], skips, **options) for skips in (True, False))
    assert all(same_bits(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_of_two_readers_in_float64(threads: int, images: tuple[Array, Array]) -> None:
    keras.config.set_threads(threads)
    x = (images[0][:32] / 255).astype(np.float32)
    y = np.random.default_rng(0).normal(size=(32, 224)).astype(np.float32)
    inputs = keras.Input((784,))
    a, b = layers.Dense(128, use_bias=False), layers.Dense(96, use_bias=False)
    model = keras.Model(inputs, layers.Concatenate()([a(inputs), b(inputs)]))
    model.compile(keras.optimizers.SGD(0.5), "mse")
    kernel = np.concatenate(model.get_weights(), axis=1).astype(np.float64)
    model.fit(x, y, batch_size=32, verbose=0)
    wide = x.astype(np.float64)
    gradient = wide.T @ (2 / y.size * (wide @ kernel - y))
    np.testing.assert_allclose(
        np.concatenate(model.get_weights(), axis=1), kernel - 0.5 * gradient, rtol=0, atol=1e-6
    )


def test_a_step_of_ones_own_that_calls_the_model_twice(images: tuple[Array, Array]) -> None:
    class Twice(keras.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with keras.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x)) + self.compute_loss(y=y, y_pred=self(x))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    x, y = (images[0] / 255).astype(np.float32), images[1]
    found = []
    for kind, rate in ((Twice, 0.1), (keras.Model, 0.2)):
        keras.utils.set_random_seed(3)
        inputs = keras.Input((784,))
        model = kind(inputs, layers.Dense(CLASSES, activation="softmax")(layers.Dense(64)(inputs)))
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for own, built_in in zip(*found, strict=True):
        np.testing.assert_allclose(own, built_in, rtol=1e-4, atol=1e-5)
