"""One optimizer for several models, as scripts of generative adversarial networks for Keras 2 have it."""

from __future__ import annotations

import numpy as np
import pytest
from common import assert_all_equal, compiled

import engine
from engine import layers

REAL, FAKE = np.ones((8, 1)), np.zeros((8, 1))
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
NOISE = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")


def networks(shared: bool) -> tuple[engine.Model, engine.Model]:
    """A discriminator, and the generator with the discriminator, which is frozen there."""
    engine.utils.set_random_seed(0)
    first = engine.optimizers.Adam(0.01, 0.5)
    second = first if shared else engine.optimizers.Adam(0.01, 0.5)
    discriminator = engine.Sequential(
        [engine.Input((4,)), layers.Dense(3, "relu"), layers.Dense(1, "sigmoid")]
    )
    discriminator.compile(first, "binary_crossentropy", metrics=["accuracy"])
    generator = engine.Sequential([engine.Input((2,)), layers.Dense(4)])
    start = engine.Input((2,))
    discriminator.trainable = False
    both = compiled(engine.Model(start, discriminator(generator(start))), second, "binary_crossentropy")
    return discriminator, both


def test_each_model_has_a_state_of_its_own() -> None:
    found = []
    for shared in (False, True):
        discriminator, both = networks(shared)
        for _ in range(3):
            discriminator.train_on_batch(X, REAL)
            discriminator.train_on_batch(-X, FAKE)
            both.train_on_batch(NOISE, REAL)
        discriminator.fit(X, REAL, batch_size=4, epochs=2, verbose=0)
        both.fit(NOISE, REAL, batch_size=4, epochs=2, verbose=0)
        found.append([*discriminator.get_weights(), *both.get_weights()])
    assert_all_equal(*found)


def test_the_learning_rate_is_that_of_all() -> None:
    discriminator, both = networks(True)
    discriminator.optimizer.learning_rate = 0.0
    before = both.get_weights()
    both.train_on_batch(NOISE, REAL)
    assert_all_equal(before, both.get_weights())


def test_samples_of_another_length() -> None:
    """The state of a model moves between its programs, and doesn't come from another model."""
    optimizer = engine.optimizers.Adam(0.01)
    lengths = engine.Sequential([engine.Input((None, 3)), layers.Dense(2), layers.GlobalAveragePooling1D()])
    lengths.compile(optimizer, "mse")
    other = compiled(engine.Sequential([engine.Input((4,)), layers.Dense(1)]), optimizer, "mse")
    for length in (2, 5, 2):
        loss = lengths.train_on_batch(np.ones((3, length, 3)), np.ones((3, 2)))
        other.train_on_batch(X, REAL)
        assert loss == pytest.approx(loss)
    assert optimizer.iterations == 3
