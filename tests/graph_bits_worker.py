"""Trains networks with branches and code of users on several numbers of threads, and prints digests of weights as JSON.

This is a separate process, since the core reads `ENGINE_ISA` when it is imported.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import engine as keras
from engine import layers, ops

THREADS = (1, 2, 3, 8)
ROWS, BATCH = 700, 256
RNG = np.random.default_rng(5)
X = RNG.normal(size=(ROWS, 96)).astype(np.float32)
LABELS = RNG.integers(0, 7, ROWS)
IDS = [RNG.integers(0, count, (ROWS, 1)) for count in (900, 400)]
RATINGS = RNG.normal(size=(ROWS, 1)).astype(np.float32)
MOSTLY_ZERO = X * (RNG.random(X.shape) < 0.2)


class Cross(layers.Layer):
    """x0 · (x w) + b + x, as in cross networks."""

    def build(self, shapes: Any) -> None:
        self.w = self.add_weight(shape=(shapes[0][-1], 1), initializer="glorot_uniform")
        self.b = self.add_weight(shape=(shapes[0][-1],), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        first, x = inputs
        return first * ops.matmul(x, self.w) + self.b + x


class Sampling(layers.Layer):
    """Draws from normal distributions, and adds their divergence from the standard one."""

    def __init__(self) -> None:
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(5)

    def call(self, inputs: Any) -> Any:
        mean, log_var = inputs
        self.add_loss(-0.5 * ops.mean(ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=1)))
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


class Stepped(keras.Model):
    """A `train_step` with a penalty on the slope of the outputs."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            with keras.GradientTape() as inner:
                inner.watch(x)
                total = ops.sum(self(x, training=True))
            slope = inner.gradient(total, x)
            loss = self.compute_loss(y=y, y_pred=self(x, training=True)) + 0.01 * ops.mean(ops.square(slope))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


def focal(y_true: Any, y_pred: Any) -> Any:
    hot = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 7)
    p = ops.clip(y_pred, 1e-7, 1 - 1e-7)
    return ops.sum(-0.25 * (1 - p) ** 2 * hot * ops.log(p), axis=-1)


def fitted(model: Any, x: Any, y: Any, loss: Any) -> list[Any]:
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, y, batch_size=BATCH, epochs=2, verbose=0)
    return list(model.get_weights())


def towers() -> list[Any]:
    ids = [keras.Input((1,), dtype="int32") for _ in range(2)]
    found = [
        layers.Flatten()(layers.Embedding(count, 24)(each))
        for count, each in zip((900, 400), ids, strict=True)
    ]
    return fitted(keras.Model(ids, layers.Dot(axes=1)(found)), IDS, RATINGS, "mse")


def crossed() -> list[Any]:
    inputs = keras.Input((96,))
    deep = layers.Dense(80, activation="relu")(inputs)
    wide = Cross()([inputs, Cross()([inputs, inputs])])
    output = layers.Dense(7, activation="softmax")(layers.Concatenate()([wide, deep]))
    return fitted(keras.Model(inputs, output), X, LABELS, focal)


def residual() -> list[Any]:
    inputs = x = keras.Input((96,))
    for _ in range(3):
        h = layers.Dense(96, activation=lambda z: 0.5 * z * (1 + ops.erf(z * 0.7071)))(x)
        x = layers.Add()([x, h])
    return fitted(
        keras.Model(inputs, layers.Dense(7, activation="softmax")(x)),
        X,
        LABELS,
        "sparse_categorical_crossentropy",
    )


def autoencoder() -> list[Any]:
    inputs = keras.Input((96,))
    h = layers.Dense(80, activation="tanh")(inputs)
    code = Sampling()([layers.Dense(5)(h), layers.Dense(5)(h)])
    return fitted(
        keras.Model(inputs, layers.Dense(96)(layers.Dense(80, activation="relu")(code))), X, X, "mse"
    )


def readers() -> list[Any]:
    """Layers that read one mostly-zero input. A metric that NumPy computes keeps the core from skipping zeros."""
    found = []
    for metrics in ([], [keras.metrics.MeanIoU(7, sparse_y_pred=False)]):
        keras.utils.set_random_seed(2)
        inputs = keras.Input((96,))
        shared, own = layers.Dense(280, activation="relu"), layers.Dense(256)
        h = layers.Concatenate()([shared(inputs), own(inputs), layers.Activation("tanh")(shared(inputs))])
        model = keras.Model(inputs, layers.Dense(7, activation="softmax")(h))
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=metrics)
        model.fit(MOSTLY_ZERO, LABELS, batch_size=BATCH, epochs=2, verbose=0)
        found.append(model.get_weights())
    if any((a != b).any() for a, b in zip(*found, strict=True)):
        sys.exit("skipping zeros changed a weight")
    return found[0]


def stepped() -> list[Any]:
    inputs = keras.Input((96,))
    h = layers.Dense(80, activation="tanh")(inputs)
    return fitted(
        Stepped(inputs, layers.Dense(7, activation="softmax")(h)),
        X,
        LABELS,
        "sparse_categorical_crossentropy",
    )


def function() -> list[Any]:
    model = keras.Sequential([keras.Input((96,)), layers.Dense(80, activation="silu"), layers.Dense(1)])
    optimizer = keras.optimizers.RMSprop(0.01)

    @keras.function
    def update(x: Any, y: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.logaddexp(model(x) - y, y - model(x)))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    for first in (0, BATCH, 0):
        update(X[first : first + BATCH], RATINGS[first : first + BATCH])
    assert update.refusal is None
    return list(model.get_weights())


CASES: list[Callable[[], list[Any]]] = [towers, crossed, residual, autoencoder, readers, stepped, function]


def digest(case: Callable[[], list[Any]], threads: int) -> str:
    keras.config.set_threads(threads)
    keras.utils.set_random_seed(9)
    keras.backend.clear_session()
    weights = case()
    assert all(np.isfinite(each).all() for each in weights)
    return hashlib.sha256(b"".join(np.asarray(each).tobytes() for each in weights)).hexdigest()


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps({case.__name__: [digest(case, threads) for threads in THREADS] for case in CASES})
    )
