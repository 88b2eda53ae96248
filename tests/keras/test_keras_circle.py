"""Compares the circle loss, in which samples depend on each other, with Keras: values, gradient, training."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from twins import assert_same_histories, twins

import engine

Array = NDArray[Any]

ROWS, FEATURES = 12, 5
# The loss multiplies cosines, which are rounded differently, by `gamma`.
RTOL, ATOL = 2e-4, 2e-4
CONFIGS: list[dict[str, Any]] = [
    {},
    {"gamma": 3.0},
    {"gamma": 8.0, "margin": 0.25, "remove_diagonal": False},
    {"gamma": 2.0, "margin": -0.3},
]
WEIGHT = np.random.default_rng(5).uniform(0.2, 2, ROWS).astype(np.float32)


def embeddings(seed: int = 0, rows: int = ROWS) -> Array:
    e = np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype(np.float32)
    return e / np.sqrt((e * e).sum(axis=1, keepdims=True))


LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 7, 1])  # 7 occurs once


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"]
)
def test_alone(config: dict[str, Any], reduction: str) -> None:
    theirs, ours = (api.losses.Circle(**config, reduction=reduction) for api in (keras, engine))
    assert ours.get_config() == theirs.get_config()
    for weight in (None, WEIGHT):
        for labels in (LABELS, LABELS[:, np.newaxis]):
            got, want = (np.asarray(loss(labels, embeddings(), weight)) for loss in (ours, theirs))
            np.testing.assert_allclose(got, want, rtol=RTOL, atol=ATOL)


def test_with_references() -> None:
    references, labels = embeddings(1, 9), LABELS[:9]
    results = [
        np.asarray(
            api.losses.circle(
                LABELS, embeddings(), labels, references, remove_diagonal=remove, gamma=5.0, margin=0.3
            )
        )
        for api in (engine, keras)
        for remove in (False, True)
    ]
    np.testing.assert_allclose(results[:2], results[2:], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_gradient(config: dict[str, Any]) -> None:
    """The gradient is compared with that of JAX."""
    labels, e = LABELS, embeddings()
    function = lambda p: (keras.losses.circle(labels, p, **config) * WEIGHT).sum()  # noqa: E731
    want = np.asarray(jax.grad(function)(e))
    got = engine.losses.Circle(**config)._gradient_of_sum(labels, e, WEIGHT)
    np.testing.assert_allclose(got, want, rtol=5e-4, atol=5e-4 * np.abs(want).max())


@pytest.mark.parametrize("config", CONFIGS[1:], ids=str)
def test_gradient_by_central_differences(config: dict[str, Any]) -> None:
    loss, e, step = engine.losses.Circle(**config), embeddings().astype(float), 1e-3

    def total(values: Array) -> float:
        return float((loss.call(LABELS, values).astype(float) * WEIGHT).sum())

    got = loss._gradient_of_sum(LABELS, e, WEIGHT)
    for index in np.ndindex(e.shape):
        moved = np.zeros_like(e)
        moved[index] = step
        slope = (total(e + moved) - total(e - moved)) / (2 * step)
        assert abs(got[index] - slope) <= 2e-2 * np.abs(got).max()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_in_training(reduction: str, weighted: bool) -> None:
    x = np.random.default_rng(1).normal(size=(24, 6)).astype(np.float32)
    y = np.tile([0, 1, 2, 0, 1, 2, 1, 0], 3)
    options = {"sample_weight": np.resize(WEIGHT, 24)} if weighted else {}

    def make(api: Any) -> Any:
        layers = [api.Input((6,)), api.layers.Dense(FEATURES), api.layers.UnitNormalization()]
        model = api.Sequential(layers)
        loss = api.losses.Circle(gamma=4.0, reduction=reduction)
        model.compile(api.optimizers.SGD(0.01), loss, run_eagerly=True)
        return model

    pair = twins(make)
    assert_same_histories(*pair.fit(x, y, batch_size=8, epochs=3, **options), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-3, atol=1e-5)
    theirs, ours = (model.evaluate(x, y, batch_size=8, verbose=0, **options) for model in pair)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_a_sample_without_others_of_its_class_has_no_loss_and_no_gradient() -> None:
    loss = engine.losses.Circle(gamma=4.0)
    assert loss.call(LABELS, embeddings())[10] == 0
    only = np.zeros(ROWS)
    only[10] = 1
    assert not loss._gradient_of_sum(LABELS, embeddings(), only).any()
    assert loss(LABELS, embeddings()) == pytest.approx(loss.call(LABELS, embeddings()).sum() / (ROWS - 1))


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="`y_true` must hold one label per embedding"):
        engine.losses.circle(LABELS[:3], embeddings())
    with pytest.raises(ValueError, match="`y_pred` must hold one embedding per sample"):
        engine.losses.circle(LABELS, embeddings()[None])
