"""`save_weights("model.h5")`, as scripts for Keras 2 call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine import layers

X = np.ones((3, 4), "float32")


def sequential() -> engine.Model:
    hidden = layers.Dense(3, name="hidden")
    return engine.Sequential([engine.Input((4,)), hidden, layers.BatchNormalization(), layers.Dense(1)])


class Network(engine.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(3), layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))


def nested() -> engine.Model:
    inputs = engine.Input((4,))
    return engine.Model(inputs, layers.Dense(2)(sequential()(inputs)))


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
@pytest.mark.parametrize("make", [sequential, Network, nested])
def test_saved_and_loaded(tmp_path: Path, make: Any, suffix: str) -> None:
    model, other = make(), make()
    expected = model.predict(X, verbose=0)
    other.predict(X, verbose=0)
    path = tmp_path / f"model{suffix}"
    model.save_weights(path)
    other.load_weights(path)
    np.testing.assert_array_equal(other.predict(X, verbose=0), expected)


def test_such_files_are_those_of_keras_3_by_another_name(tmp_path: Path) -> None:
    model, other = sequential(), sequential()
    model.save_weights(tmp_path / "model.h5")
    (tmp_path / "model.h5").rename(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for saved, loaded in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, saved)


def test_weights_are_no_model(tmp_path: Path) -> None:
    model = sequential()
    model.save_weights(tmp_path / "model.h5")
    with pytest.raises(ValueError, match=r"has no|no config|No model"):
        engine.models.load_model(tmp_path / "model.h5")
