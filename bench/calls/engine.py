"""The calls of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engine
from bench.calls import FAMILIES, RATES, WIDTHS, labels, matrices, samples
from engine import layers, losses, metrics, ops, optimizers

RULES = {"sgd": optimizers.SGD, "adam": optimizers.Adam}


class OwnStep(engine.Sequential):
    """A network with a step of its own, as the guides of Keras have it."""

    def __init__(self, parts: Any) -> None:
        super().__init__(parts)
        self.loss_tracker, self.error = metrics.Mean(name="loss"), metrics.MeanAbsoluteError(name="mae")

    @property
    def metrics(self) -> list[Any]:
        return [self.loss_tracker, self.error]

    def train_step(self, data: Any) -> Any:
        x, y = data
        with engine.GradientTape() as tape:
            outputs = self(x, training=True)
            loss = ops.mean(ops.square(outputs - y))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.loss_tracker.update_state(loss)
        self.error.update_state(y, outputs)
        return {metric.name: metric.result() for metric in self.metrics}


def network(kind: Any = engine.Sequential) -> Any:
    hidden = [layers.Dense(width, activation="relu") for width in WIDTHS[1:-1]]
    return kind([engine.Input((WIDTHS[0],)), *hidden, layers.Dense(WIDTHS[-1])])


def compiled(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    function = engine.function(lambda x, y: ops.tanh(x) * y)
    return lambda: function(x, y)


def eager(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    return lambda: ops.sum(ops.add(ops.tanh(x), y))


def alone(name: str) -> Callable[[int], Callable[[], Any]]:
    def prepared(rows: int) -> Callable[[], Any]:
        x, y = matrices(rows)
        return lambda: FAMILIES[name](ops, x, y)

    return prepared


def predict(rows: int, read_only: bool = False) -> Callable[[], Any]:
    model, (x, _) = network(), samples(rows)
    x.flags.writeable = not read_only
    return lambda: model.predict(x)


def train_on_batch(rows: int) -> Callable[[], Any]:
    model, (x, y) = network(), samples(rows)
    model.compile(optimizers.SGD(RATES["sgd"]), "mse")
    return lambda: model.train_on_batch(x, y)


def train_on_labels(rows: int) -> Callable[[], Any]:
    model, (x, _), y = network(), samples(rows), labels(rows)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.SGD(RATES["sgd"]), loss, metrics=["accuracy"])
    return lambda: model.train_on_batch(x, y)[0]


def own_step(rows: int) -> Callable[[], Any]:
    model, (x, y) = network(OwnStep), samples(rows)
    model.compile(optimizers.SGD(RATES["sgd"]))
    return lambda: model.train_on_batch(x, y)[0]


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
    **{name: alone(name) for name in FAMILIES},
    "predict": predict,
    "predict_read_only": lambda rows: predict(rows, read_only=True),
    "train_on_batch": train_on_batch,
    "train_on_labels": train_on_labels,
    "own_step": own_step,
    "update_sgd": update("sgd"),
    "update_adam": update("adam"),
    "tape": tape,
}
