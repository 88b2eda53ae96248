"""Steps by given gradients: `optimizer.apply` beside that of Keras, for every optimizer and option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close

import engine

keras = pytest.importorskip("keras")

RNG = np.random.default_rng(11)
STARTS = [RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)]
GRADIENTS = [[RNG.normal(size=each.shape).astype(np.float32) for each in STARTS] for _ in range(6)]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.2}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("Adam", {"learning_rate": 0.05}),
    ("Adam", {"learning_rate": 0.05, "amsgrad": True}),
    ("AdamW", {"learning_rate": 0.05, "weight_decay": 0.1}),
    ("Adamax", {"learning_rate": 0.05}),
    ("Nadam", {"learning_rate": 0.05}),
    ("RMSprop", {"learning_rate": 0.05, "momentum": 0.5, "centered": True}),
    ("Adagrad", {"learning_rate": 0.1}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adafactor", {"learning_rate": 0.1}),
    ("Ftrl", {"learning_rate": 0.1}),
    ("Lion", {"learning_rate": 0.01}),
    ("Lamb", {"learning_rate": 0.05}),
]


def stepped(package: Any, name: str, options: dict[str, Any]) -> list[Any]:
    variables = [package.Variable(each) for each in STARTS]
    optimizer = getattr(package.optimizers, name)(**options)
    for gradients in GRADIENTS:
        optimizer.apply_gradients(
            zip([package.ops.convert_to_tensor(each) for each in gradients], variables, strict=True)
        )
    assert int(optimizer.iterations) == len(GRADIENTS)
    return [np.asarray(each) for each in variables]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_are_those_of_keras(name: str, options: dict[str, Any]) -> None:
    assert_all_close(stepped(engine, name, options), stepped(keras, name, options), rtol=2e-4, atol=2e-5)


def test_schedules_and_moving_averages() -> None:
    results = []
    for package in (engine, keras):
        schedule = package.optimizers.schedules.PiecewiseConstantDecay([2, 4], [0.1, 0.05, 0.01])
        results.append(stepped(package, "SGD", {"learning_rate": schedule}))
    assert_all_close(*results, rtol=1e-5, atol=1e-6)


def test_variables_behave_alike() -> None:
    for package in (engine, keras):
        v = package.Variable([[1.0, 2.0], [3.0, 4.0]], name="v")
        v.assign_add(np.ones((2, 2)))
        v.assign_sub(np.full((2, 2), 0.5))
        assert np.asarray(v * 2 + 1).tolist() == [[4.0, 6.0], [8.0, 10.0]]
        assert np.asarray(package.ops.sum(v)) == 12.0
        assert (v.name, tuple(v.shape), v.trainable) == ("v", (2, 2), True)
        with pytest.raises(ValueError, match="must match"):
            v.assign(np.zeros(3))
