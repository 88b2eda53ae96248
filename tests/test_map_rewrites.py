"""What becomes of the maps that functions of a user record: how many there are, and what they compute."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import layers, ops

Array = NDArray[Any]
CLASSES = 10


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + ops.erf(x * 0.70710678))


def focal(y_true: Any, y_pred: Any) -> Any:
    p = ops.clip(y_pred / ops.sum(y_pred, axis=-1, keepdims=True), 1e-7, 1 - 1e-7)
    return ops.sum(-0.25 * (1 - p) ** 2 * y_true * ops.log(p), axis=-1)


def explained(loss: Any, activation: Any = "relu") -> tuple[list[str], str]:
    """Returns the operations of a batch, and its schedule for two threads."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(128),
            layers.Activation(activation),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("sgd", loss=loss)
    model.train_on_batch(np.ones((2, 64)), np.eye(CLASSES)[:2])
    graph, schedule = keras.utils.explain_batch(model, batch_size=32, threads=2).split("\n\nSchedule")
    return [line.strip() for line in graph.splitlines()[2:]], schedule


def maps(operations: list[str]) -> list[str]:
    return [line for line in operations if " = map(" in line]


def test_the_slope_of_a_function_is_computed_with_its_output() -> None:
    operations, _ = explained("categorical_crossentropy", gelu)
    forward, backward = maps(operations)
    outputs, code = forward.split(" = map(")
    assert outputs.count("%") == 2
    assert re.findall("gaussian|erf|exp", code) == ["gaussian", "erf"]
    assert backward.endswith(") multiply")
    assert backward.count(outputs.split(", ")[1]) == 1


def test_a_slope_that_is_quick_is_computed_where_it_is_read() -> None:
    operations, _ = explained("categorical_crossentropy", lambda x: x * x)
    forward, backward = maps(operations)
    assert forward.split(" = ")[0].count("%") == 1
    assert backward.endswith(") multiply add")


def test_predictions_compute_no_slopes() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Activation(gelu)])
    x = np.linspace(-3, 3, 16, dtype=np.float32).reshape(2, 8)
    predicted = model.predict(x, verbose=0)
    np.testing.assert_array_equal(predicted, model(x))
    model.compile("sgd", loss="mse")
    np.testing.assert_array_equal(predicted, model.predict(x, verbose=0))


def test_a_loss_of_rows_has_the_barriers_of_a_built_in_one() -> None:
    operations, own = explained(focal)
    _, built_in = explained(keras.losses.CategoricalFocalCrossentropy())
    assert own.count("---- barrier") == built_in.count("---- barrier")
    # The loss with its slopes by both of its inputs, the part through the sum, and all of the gradient.
    assert len(maps(operations)) == 3
    assert sum(" log" in line for line in maps(operations)) == 1


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("batch", [7, 32, 300])
def test_threads_change_no_bit_of_a_loss_of_rows(reduction: str, batch: int) -> None:
    class Focal(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return focal(y_true, y_pred)

    draw = np.random.default_rng(0)
    x = draw.normal(size=(610, 64)).astype(np.float32)
    y = np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, len(x))]
    weight = draw.uniform(0.2, 2, len(x)).astype(np.float32)

    def trained(threads: int) -> list[Array]:
        keras.utils.set_random_seed(1)
        keras.config.set_threads(threads)
        try:
            model = keras.Sequential([keras.Input((64,)), layers.Dense(CLASSES, activation="softmax")])
            model.compile("sgd", loss=Focal(reduction=reduction))
            model.fit(x, y, sample_weight=weight, batch_size=batch, epochs=2, verbose=0)
            return model.get_weights()
        finally:
            keras.config.set_threads(None)

    one = trained(1)
    for threads in (2, 3):
        for a, b in zip(one, trained(threads), strict=True):
            np.testing.assert_array_equal(a, b)
