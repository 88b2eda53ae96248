"""Compares learning rate schedules with Keras, step by step and in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import compiled
from twins import twins

import engine

CASES: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5}),
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
    ),
    ("PiecewiseConstantDecay", {"boundaries": [3, 7], "values": [0.1, 0.05, 0.01]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 8}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "power": 2.0, "cycle": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5}),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
    ),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 8}),
    (
        "CosineDecay",
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 8,
            "alpha": 0.1,
            "warmup_target": 0.1,
            "warmup_steps": 3,
        },
    ),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 4}),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "t_mul": 1.5, "m_mul": 0.7, "alpha": 0.05},
    ),
]
X = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 80)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_step(name: str, options: dict[str, Any]) -> None:
    import keras

    theirs = getattr(keras.optimizers.schedules, name)(**options)
    ours = getattr(engine.optimizers.schedules, name)(**options)
    # Keras computes in float32, in which the small rates at the end of a cosine lose their digits.
    for step in range(20):
        np.testing.assert_allclose(ours(step), float(theirs(step)), rtol=1e-5, atol=1e-8)
    assert ours.get_config().keys() == theirs.get_config().keys()


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_training(name: str, options: dict[str, Any]) -> None:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((12,)), api.layers.Dense(4, "softmax")])
        rate = getattr(api.optimizers.schedules, name)(**options)
        return compiled(model, api.optimizers.SGD(rate), "sparse_categorical_crossentropy")

    pair = twins(make)
    pair.fit(X, Y, batch_size=8, epochs=2)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_accumulation_counts_batches() -> None:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((12,)), api.layers.Dense(4, "softmax")])
        rate = api.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
        optimizer = api.optimizers.Adam(rate, gradient_accumulation_steps=2)
        return compiled(model, optimizer, "sparse_categorical_crossentropy")

    pair = twins(make)
    pair.fit(X, Y, batch_size=8, epochs=2)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    assert pair.engine.optimizer.iterations == int(pair.keras.optimizer.iterations) == 10


def test_a_schedule_of_ones_own() -> None:
    def make(api: Any) -> Any:
        class Steps(api.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc] # of either library
            def __call__(self, step: Any) -> Any:
                return 0.1 / (1.0 + 0.5 * step)

            def get_config(self) -> dict[str, Any]:
                return {}

        model = api.Sequential([api.Input((12,)), api.layers.Dense(4, "softmax")])
        return compiled(model, api.optimizers.SGD(Steps()), "sparse_categorical_crossentropy")

    pair = twins(make)
    pair.fit(X, Y, batch_size=8, epochs=2)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
