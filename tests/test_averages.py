"""Tests of predictions with averaged weights, and of exceptions while these replace the weights."""

from __future__ import annotations

import numpy as np
import pytest

import engine as keras
from engine import callbacks


@pytest.mark.parametrize(
    "hook", ["on_test_begin", "on_test_batch_end", "on_predict_batch_end", "on_predict_begin"]
)
def test_weights_come_back_from_their_means_where_a_callback_raises(hook: str) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    x, y = np.ones((8, 3)), np.zeros((8, 1))
    for _ in range(3):
        model.train_on_batch(x, y)
    weights, swap = model.get_weights(), callbacks.SwapEMAWeights()
    verb, data = (model.evaluate, (x, y)) if "test" in hook else (model.predict, (x,))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            verb(*data, callbacks=[swap, callbacks.LambdaCallback(**{hook: fail})])
        assert all(map(np.array_equal, model.get_weights(), weights))
    means = model.evaluate(x, y, callbacks=[swap])
    assert means != model.evaluate(x, y)
    assert all(map(np.array_equal, model.get_weights(), weights))


@pytest.mark.parametrize("hook", ["on_test_batch_end", "on_epoch_end"])
def test_a_training_that_ends_in_an_exception_ends_with_the_means(hook: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    x, y = np.ones((8, 3)), np.zeros((8, 1))
    found = []
    for failing in (False, True):
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, "linear", kernel_initializer="ones")]
        )
        model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
        options = {"batch_size": 4, "validation_data": (x, y), "verbose": 0, "shuffle": False}
        if failing:
            last = callbacks.LambdaCallback(**{hook: fail})
            with pytest.raises(ZeroDivisionError):
                model.fit(x, y, callbacks=[callbacks.SwapEMAWeights(swap_on_epoch=True), last], **options)
        else:
            model.fit(x, y, **options)
        found.append(model.get_weights())
    assert all(map(np.array_equal, *found))
