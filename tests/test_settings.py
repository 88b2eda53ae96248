"""Tests of settings, and of tracebacks without frames of the package."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras

X, Y = np.ones((100, 3), np.float32), np.zeros((100, 1), np.float32)


@pytest.fixture
def model() -> Iterator[keras.Sequential]:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    yield made
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    keras.config.enable_traceback_filtering()


class Counted(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1

    on_test_batch_end = on_predict_batch_end = on_train_batch_end


def batches() -> Iterator[Any]:
    while True:
        yield X[:10], Y[:10]


def test_at_most_so_many_epochs(model: keras.Sequential) -> None:
    assert keras.config.max_epochs() is None
    keras.config.set_max_epochs(2)
    assert keras.config.max_epochs() == 2
    with pytest.warns(UserWarning, match="Limiting epochs to 2"):
        assert len(model.fit(X, Y, epochs=5, verbose=0).epoch) == 2
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2
    keras.config.set_max_epochs(0)
    assert len(model.fit(X, Y, epochs=3, verbose=0).epoch) == 3


def test_at_most_so_many_batches(model: keras.Sequential) -> None:
    keras.config.set_max_steps_per_epoch(3)
    assert keras.config.max_steps_per_epoch() == 3

    def batches_of(verb: Any, *arguments: Any, **options: Any) -> int:
        counted = Counted()
        with pytest.warns(UserWarning, match="Limiting steps_per_epoch to 3"):
            verb(*arguments, **options, verbose=0, callbacks=[counted])
        return counted.batches

    assert batches_of(model.fit, X, Y, batch_size=10, epochs=2) == 6
    assert batches_of(model.fit, batches(), epochs=2, steps_per_epoch=50) == 6
    assert batches_of(model.evaluate, X, Y, batch_size=10) == 3
    assert batches_of(model.predict, X, batch_size=10) == 3
    assert batches_of(model.predict, (x for x, _ in batches())) == 3
    assert batches_of(model.fit, X, Y, 50, validation_data=(X, Y), validation_batch_size=5) == 2 + 3
    with pytest.warns(UserWarning, match="Limiting"):
        assert model.predict(X, batch_size=10, verbose=0).shape == (30, 1)
    assert model.predict(X, batch_size=50, verbose=0).shape == (100, 1)


def test_limits_of_the_environment() -> None:
    code = "import engine; print(engine.config.max_epochs(), engine.config.max_steps_per_epoch())"

    def printed(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | variables
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )

    assert printed().stdout == "None None\n"
    assert printed(KERAS_MAX_EPOCHS="4", KERAS_MAX_STEPS_PER_EPOCH="7").stdout == "4 7\n"
    assert "KERAS_MAX_EPOCHS must be a whole number, got 'x'" in printed(KERAS_MAX_EPOCHS="x").stderr


@pytest.mark.parametrize("setting", [keras.config.set_max_epochs, keras.config.set_max_steps_per_epoch])
@pytest.mark.parametrize("value", [-1, 1.5, "2"])
def test_limits_are_whole_numbers(setting: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="must be"):
        setting(value)
    assert keras.config.max_epochs() is keras.config.max_steps_per_epoch() is None


def inside(error: BaseException) -> list[str]:
    """Returns the functions of the package in the traceback."""
    package = str(Path(keras.__file__).parent)
    return [
        frame.name
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(package)
    ]


@pytest.mark.parametrize(
    "verb", ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"]
)
def test_tracebacks(model: keras.Sequential, verb: str) -> None:
    """A traceback has one frame of the package, and those of the user's functions that it calls."""
    arguments = [np.ones((4, 7))] + ([] if "predict" in verb else [Y[:4]])
    assert keras.config.is_traceback_filtering_enabled()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # only where it comes from
        getattr(model, verb)(*arguments)
    assert inside(caught.value) == ["filtered"]
    keras.config.disable_traceback_filtering()
    assert not keras.config.is_traceback_filtering_enabled()
    with pytest.raises(ValueError) as whole:  # noqa: PT011 # only where it comes from
        getattr(model, verb)(*arguments)
    assert len(inside(whole.value)) > 1
    assert str(whole.value) == str(caught.value)


def test_frames_of_callbacks_stay(model: keras.Sequential) -> None:
    def broken(epoch: int, logs: Any) -> None:
        msg = "broken"
        raise RuntimeError(msg) from KeyError("cause")

    with pytest.raises(RuntimeError, match="broken") as caught:
        model.fit(X, Y, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=broken)])
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][-1] == "broken"
    assert inside(caught.value) == ["filtered"]
    assert isinstance(caught.value.__cause__, KeyError)
