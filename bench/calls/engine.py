"""The calls of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engine
from bench.calls import RATES, WIDTHS, matrices, samples
from engine import layers, ops, optimizers

RULES = {"sgd": optimizers.SGD, "adam": optimizers.Adam}


def network() -> Any:
    hidden = [layers.Dense(width, activation="relu") for width in WIDTHS[1:-1]]
    return engine.Sequential([engine.Input((WIDTHS[0],)), *hidden, layers.Dense(WIDTHS[-1])])


def compiled(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    function = engine.function(lambda x, y: ops.tanh(x) * y)
    return lambda: function(x, y)


def eager(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    return lambda: ops.sum(ops.add(ops.tanh(x), y))


def predict(rows: int, read_only: bool = False) -> Callable[[], Any]:
    model, (x, _) = network(), samples(rows)
    x.flags.writeable = not read_only
    return lambda: model.predict(x)


def train_on_batch(rows: int) -> Callable[[], Any]:
    model, (x, y) = network(), samples(rows)
    model.compile(optimizers.SGD(RATES["sgd"]), "mse")
    return lambda: model.train_on_batch(x, y)


def step(rule: str) -> Callable[..., Any]:
    model, optimizer = network(), RULES[rule](RATES[rule])
    weights = model.trainable_variables

    def update(x: Any, y: Any) -> Any:
        with engine.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x, training=True) - y))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return update


def update(rule: str) -> Callable[[int], Callable[[], Any]]:
    def prepared(rows: int) -> Callable[[], Any]:
        function, (x, y) = engine.function(step(rule)), samples(rows)
        return lambda: function(x, y)

    return prepared


def tape(rows: int) -> Callable[[], Any]:
    function, (x, y) = step("sgd"), samples(rows)
    return lambda: function(x, y)


CALLS: dict[str, Callable[[int], Callable[[], Any]]] = {
    "compiled": compiled,
    "eager": eager,
    "predict": predict,
    "predict_read_only": lambda rows: predict(rows, read_only=True),
    "train_on_batch": train_on_batch,
    "update_sgd": update("sgd"),
    "update_adam": update("adam"),
    "tape": tape,
}
