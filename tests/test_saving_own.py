"""Tests of custom layers, losses and functions in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights

import engine as keras
from engine import layers, losses, models, saving

# Custom classes


@saving.register_keras_serializable("mine")
class Scaled(layers.Layer):
    """A custom layer with a weight that is not trained between two that are, and with its own data in files."""

    def __init__(self, factor: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor
        self.seen = 0

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.a = self.add_weight(shape=(input_shape[-1],), initializer="ones")
        self.b = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.c = self.add_weight(shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        return inputs * self.a * self.factor + self.c + self.b

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * self.a * self.factor, (upstream * inputs * self.factor).sum(0), upstream.sum(0)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["seen"] = np.array(self.seen)

    def load_own_variables(self, store: Any) -> None:
        self.seen = int(store["seen"])
        super().load_own_variables({name: store[name] for name in store if name != "seen"})


@saving.register_keras_serializable("mine")
def quartic(y_true: Any, y_pred: Any) -> Any:
    return np.mean((y_pred - y_true) ** 4, axis=-1)


quartic.gradient = lambda y_true, y_pred: 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]


class Cube(losses.Loss):
    def __init__(self, scale: float = 1.0, name: str | None = None) -> None:
        super().__init__(name)
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.scale * np.mean(np.abs(y_pred - y_true) ** 3, axis=-1)

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        return self.scale * 3 * (y_pred - y_true) * np.abs(y_pred - y_true) / y_pred.shape[-1]


def spread(y_true: Any, y_pred: Any) -> Any:
    return np.ptp(y_pred, axis=-1)


def halves(shape: Any, dtype: Any = None) -> Any:
    return np.full(shape, 0.5, np.float32)


def positive(w: Any) -> Any:
    return np.maximum(w, 0)


# The older format has no place for what is no weight.
@pytest.mark.parametrize("suffix", [".keras", ".npz", ".safetensors"])
def test_things_of_ones_own(suffix: str, tmp_path: Path, blobs: Blobs) -> None:
    dense = layers.Dense(3, kernel_initializer=halves, kernel_constraint=positive)
    model = classifier(Scaled(3.0), dense, loss=quartic, metrics=[spread])
    model.layers[1].seen = 7
    model.fit(blobs.x, blobs.one_hot, verbose=0)
    path = tmp_path / f"m{suffix}"
    model.save(path)
    own = {"spread": spread, "halves": halves, "positive": positive}
    again = models.load_model(path, custom_objects=own)
    assert (again.layers[1].factor, again.layers[1].seen) == (3.0, 7)
    assert again.evaluate(blobs.x, blobs.one_hot) == model.evaluate(blobs.x, blobs.one_hot)
    with pytest.raises(ValueError, match=r"m\.\w+.*'?positive'?"):
        models.load_model(path, custom_objects={"spread": spread, "halves": halves})
    with keras.utils.custom_object_scope(own):
        assert same_weights(models.load_model(path), model)


def test_losses_of_ones_own(tmp_path: Path, blobs: Blobs) -> None:
    model = classifier(loss=Cube(2.0))
    model.save(tmp_path / "m.keras")
    again = models.load_model(tmp_path / "m.keras", custom_objects={"Cube": Cube})
    assert again.evaluate(blobs.x, blobs.one_hot) == model.evaluate(blobs.x, blobs.one_hot)
    with pytest.raises(ValueError, match=r"m\.keras: unknown class or function 'Cube'"):
        models.load_model(tmp_path / "m.keras")
    assert models.load_model(tmp_path / "m.keras", compile=False).optimizer is None


def test_arrays_as_initializers(tmp_path: Path) -> None:
    start = np.arange(12, dtype=np.float32).reshape(6, 2)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2, kernel_initializer=start)])
    model.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    assert np.array_equal(models.clone_model(again).get_weights()[0], start)


def test_a_lambda_is_no_part_of_a_file(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(2, bias_initializer=lambda shape, dtype=None: np.ones(shape))]
    )
    with pytest.warns(UserWarning, match="includes a `lambda`"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"m\.keras: .*<lambda>"):
        models.load_model(tmp_path / "m.keras")


def test_a_class_that_a_file_names_is_asked_for(tmp_path: Path) -> None:
    class Doubled(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    keras.Sequential([keras.Input((2,)), Doubled()]).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"'Doubled'.*custom_objects=\{'Doubled': Doubled\}"):
        keras.models.load_model(tmp_path / "m.keras")
    keras.models.load_model(tmp_path / "m.keras", custom_objects={"Doubled": Doubled})
