"""Threads that a callback starts and waits for may use the model, without a deadlock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import OwnStep, compiled

import engine as keras
from engine.callbacks import LambdaCallback
from engine.models import lock

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)
HOOKS = [
    "on_train_begin",
    "on_train_batch_end",
    "on_epoch_end",
    "on_test_begin",
    "on_test_batch_end",
    "on_train_end",
]


def model() -> keras.Sequential:
    keras.utils.set_random_seed(1)
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    return compiled(made, keras.optimizers.SGD(0.1), "mse", metrics=["mae"])


def in_a_thread(work: Callable[[], Any]) -> Any:
    """Calls `work` in a new thread, which must end. Returns its result, or the exception."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # the test checks it
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return found[0]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_waits_for_an_evaluation(hook: str, tmp_path: Path) -> None:
    net, plain, found = model(), model(), []

    def look(*_: object) -> None:
        here = net.evaluate(X, Y)
        found.append((here, in_a_thread(lambda: net.evaluate(X, Y))))
        in_a_thread(lambda: net.save(tmp_path / "model.npz"))
        assert in_a_thread(lambda: net.predict(X[:1])).shape == (1, 1)

    options: dict[str, Any] = {"epochs": 2, "validation_data": (X, Y), "verbose": 0, "shuffle": False}
    seen = LambdaCallback(**{hook: look})
    inner = threading.Thread(target=lambda: net.fit(X, Y, callbacks=[seen], **options), daemon=True)
    inner.start()
    inner.join(60)
    assert not inner.is_alive()
    assert found
    assert all(here == there for here, there in found)
    plain.fit(X, Y, **options)
    assert all(map(np.array_equal, net.get_weights(), plain.get_weights()))
    assert net.history.history == plain.history.history
    net.evaluate(X, Y, callbacks=[seen])
    net.compile("sgd", "mse")


class Steps(OwnStep):
    def test_step(self, data: Any) -> Any:
        return super().test_step(data)


def by_steps(rate: float, eagerly: bool) -> Any:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    made = Steps(inputs, keras.layers.Dense(1)(inputs))
    return compiled(made, keras.optimizers.SGD(rate), "mse", metrics=["mae"], run_eagerly=eagerly)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("verb", ["train_on_batch", "test_on_batch", "evaluate"])
def test_steps_of_a_class_take_turns(verb: str, eagerly: bool) -> None:
    """Without changes of the weights each pass has the same loss, whatever other threads do meanwhile."""
    net, stop, found = by_steps(0.0, eagerly), threading.Event(), []
    expected = [net.evaluate(X, Y, batch_size=8, verbose=0), net.test_on_batch(X[:8], Y[:8])]

    def other() -> None:
        while not stop.is_set():
            if verb == "evaluate":
                found.append(net.evaluate(X, Y, batch_size=8, verbose=0))
            else:
                found.append(getattr(net, verb)(X[:8], Y[:8]))

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    history = [
        net.fit(X, Y, batch_size=8, verbose=0, shuffle=False, validation_data=(X, Y)).history
        for _ in range(20)
    ]
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert all(each == history[0] for each in history)
    np.testing.assert_allclose(history[0]["loss"], expected[0][0], rtol=1e-6)
    np.testing.assert_allclose(history[0]["val_mae"], expected[0][1], rtol=1e-6)
    assert found
    np.testing.assert_allclose(
        found, np.broadcast_to(expected[verb != "evaluate"], (len(found), 2)), rtol=1e-6
    )


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_end", "on_train_end"])
def test_a_callback_waits_for_an_evaluation_by_steps(hook: str, tmp_path: Path) -> None:
    net, found = by_steps(0.1, eagerly=False), []

    def look(*_: object) -> None:
        found.append((net.evaluate(X, Y), in_a_thread(lambda: net.evaluate(X, Y))))
        in_a_thread(lambda: net.save_weights(tmp_path / "weights.npz"))

    net.fit(X, Y, epochs=2, callbacks=[LambdaCallback(**{hook: look})], verbose=0)
    assert found
    assert all(here == there for here, there in found)


def test_evaluations_within_evaluations() -> None:
    net = model()
    depth = iter(range(3))

    def look(*_: object) -> None:
        if next(depth, None) is not None:
            assert in_a_thread(lambda: net.evaluate(X, Y, callbacks=[seen], return_dict=True)) == expected

    expected = net.evaluate(X, Y, return_dict=True)
    seen = LambdaCallback(on_test_batch_end=look)
    assert net.evaluate(X, Y, callbacks=[seen], return_dict=True) == expected


def test_what_changes_the_model_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    net, found = model(), []
    change = LambdaCallback(
        on_epoch_end=lambda *_: found.append(in_a_thread(lambda: net.train_on_batch(X, Y)))
    )
    net.fit(X, Y, callbacks=[change], verbose=0)
    assert isinstance(found[0], RuntimeError)
    assert "let threads that callbacks start evaluate or predict, but not change the model" in str(found[0])
    net.train_on_batch(X, Y)


def test_others_wait_for_the_end_of_a_training() -> None:
    net, begun, order = model(), threading.Event(), []

    def first() -> None:
        begin = LambdaCallback(
            on_epoch_begin=lambda *_: begun.set(), on_train_end=lambda *_: order.append("first")
        )
        net.fit(X, Y, epochs=300, callbacks=[begin], verbose=0)

    def second() -> None:
        begun.wait()
        net.fit(X, Y, callbacks=[LambdaCallback(on_train_begin=lambda *_: order.append("second"))], verbose=0)

    threads = [threading.Thread(target=work, daemon=True) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert order == ["first", "second"]


def test_an_exception_gives_the_model_back() -> None:
    net = model()

    def fail(*_: object) -> None:
        in_a_thread(lambda: net.evaluate(X, Y))
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            net.fit(X, Y, callbacks=[LambdaCallback(on_epoch_end=fail)], verbose=0)
    assert in_a_thread(lambda: net.train_on_batch(X, Y))


def test_evaluations_one_after_the_other_do_not_keep_a_training_from_going_on() -> None:
    net, over = model(), threading.Event()

    def evaluate() -> None:
        while not over.is_set():
            net.evaluate(X, Y)

    threads = [threading.Thread(target=evaluate, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    training = threading.Thread(target=lambda: net.fit(X, Y, epochs=10, verbose=0), daemon=True)
    training.start()
    training.join(60)
    over.set()
    assert not training.is_alive()
    for thread in threads:
        thread.join(20)
