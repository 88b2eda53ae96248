"""Compares callbacks that stop training, evaluation or prediction after a batch with Keras, for arrays and generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from numpy.typing import NDArray
from twins import assert_same_histories, twins

import engine

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
SIZE = 8


def make(api: Any) -> Any:
    return compiled(api.Sequential([api.Input((4,)), api.layers.Dense(1)]), api.optimizers.SGD(0.1), "mse")


def endless() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    while True:
        for begin in range(0, len(X), SIZE):
            yield X[begin : begin + SIZE], Y[begin : begin + SIZE]


def stopping(api: Any, hook: str, flag: str, at: int = 2) -> Any:
    """Returns a callback that sets `flag` of the model in call number `at` of `hook`, and records its calls."""

    class Stopping(api.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seen.append(("epoch", epoch))

        def on_train_end(self, logs: Any = None) -> None:
            self.seen.append("train")

        def on_test_end(self, logs: Any = None) -> None:
            self.seen.append(("test", sorted(logs or {})))

        def on_predict_end(self, logs: Any = None) -> None:
            self.seen.append("predict")

    def hooked(self: Any, number: int = 0, logs: Any = None) -> None:
        self.seen.append((hook, number))
        if number == at:
            setattr(self.model, flag, True)

    def hooked_once(self: Any, logs: Any = None) -> None:
        hooked(self, at)

    without_number = hook in ("on_train_begin", "on_test_begin", "on_predict_begin")
    setattr(Stopping, hook, hooked_once if without_number else hooked)
    return Stopping()


@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize("data", ["arrays", "endless", "steps"])
@pytest.mark.parametrize(
    "hook", ["on_train_batch_end", "on_train_batch_begin", "on_train_begin", "on_epoch_begin"]
)
def test_training(hook: str, data: str, validates: bool) -> None:
    pair, seen, histories = twins(make), [], []
    for api, model in ((keras, pair.keras), (engine, pair.engine)):
        callback = stopping(api, hook, "stop_training", 0 if hook == "on_epoch_begin" else 2)
        given: Any = {"x": X, "y": Y, "batch_size": SIZE} if data == "arrays" else {"x": endless()}
        given |= {"steps_per_epoch": 5} if data == "steps" else {}
        given |= {"validation_data": (X, Y)} if validates else {}
        history = model.fit(**given, shuffle=data != "arrays", epochs=3, verbose=0, callbacks=[callback])
        histories.append(history.history)
        seen.append(callback.seen)
        assert model.stop_training
    assert seen[0] == seen[1]
    assert_same_histories(*histories)
    pair.assert_same_weights()


@pytest.mark.parametrize("data", ["arrays", "endless"])
@pytest.mark.parametrize("hook", ["on_test_batch_end", "on_test_batch_begin", "on_test_begin"])
def test_evaluation(hook: str, data: str) -> None:
    pair, seen, found = twins(make), [], []
    for api, model in ((keras, pair.keras), (engine, pair.engine)):
        callback = stopping(api, hook, "stop_evaluating")
        given: Any = {"x": X, "y": Y, "batch_size": SIZE} if data == "arrays" else {"x": endless()}
        found.append(model.evaluate(**given, verbose=0, callbacks=[callback]))
        seen.append(callback.seen)
        found.append(model.evaluate(X, Y, verbose=0))  # the flag of the call before has no effect
    assert seen[0] == seen[1]
    np.testing.assert_allclose(found[2:], found[:2], rtol=1e-5)


def test_validation() -> None:
    pair, seen, histories = twins(make), [], []
    for api, model in ((keras, pair.keras), (engine, pair.engine)):
        callback = stopping(api, "on_test_batch_end", "stop_evaluating")
        options: Any = {"shuffle": False, "verbose": 0, "callbacks": [callback], "validation_data": (X, Y)}
        histories.append(model.fit(X, Y, batch_size=SIZE, epochs=2, **options).history)
        seen.append(callback.seen)
    assert seen[0] == seen[1]
    assert_same_histories(*histories)


@pytest.mark.parametrize("data", ["arrays", "endless"])
@pytest.mark.parametrize("hook", ["on_predict_batch_end", "on_predict_batch_begin", "on_predict_begin"])
def test_prediction(hook: str, data: str) -> None:
    pair, seen, found = twins(make), [], []
    for api, model in ((keras, pair.keras), (engine, pair.engine)):
        callback = stopping(api, hook, "stop_predicting")
        given: Any = {"x": X, "batch_size": SIZE} if data == "arrays" else {"x": endless()}
        found.append(model.predict(**given, verbose=0, callbacks=[callback]))
        seen.append(callback.seen)
        assert len(model.predict(X, verbose=0)) == len(X)
    assert seen[0] == seen[1]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_the_first_rows_of_an_array_for_the_result() -> None:
    model, out = make(engine), np.full((len(X), 1), 7, np.float32)
    callback = stopping(engine, "on_predict_batch_end", "stop_predicting")
    part = model.predict(X, batch_size=SIZE, verbose=0, callbacks=[callback], out=out)
    assert np.array_equal(part, model.predict(X[: 3 * SIZE]))
    assert np.shares_memory(part, out)
    assert (out[3 * SIZE :] == 7).all()
