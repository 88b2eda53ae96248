"""Layers of one's own that derive from a built-in one and override its `call`, as books do for Monte Carlo dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine import layers

X = np.ones((16, 8), "float32")


@engine.saving.register_keras_serializable("tests")
class MCDropout(layers.Dropout):
    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs, training=True)


class Halved(layers.LeakyReLU):
    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / 2


def test_dropout_in_prediction(tmp_path: Path) -> None:
    model = engine.Sequential(
        [engine.Input((8,)), MCDropout(0.5), layers.Dense(1, kernel_initializer="ones")]
    )
    model.compile("sgd", "mse")
    first, second = (model.predict(X, verbose=0) for _ in range(2))
    assert (first != second).any()
    assert np.isin(np.round(first), 2 * np.arange(9)).all()  # what is left counts twice
    model.fit(X, np.ones((16, 1)), verbose=0)
    assert model.layers[0].get_config()["rate"] == 0.5
    model.save(tmp_path / "model.keras")
    loaded = engine.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is MCDropout
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_called_alone_and_on_symbols() -> None:
    assert (MCDropout(0.5)(X) == 0).any()
    inputs = engine.Input((2,))
    model = engine.Model(inputs, Halved(negative_slope=0.5)(inputs))
    np.testing.assert_allclose(model.predict(np.array([[2.0, -2.0]]), verbose=0), [[1.0, -0.5]])
    with engine.GradientTape() as tape:
        x = engine.ops.convert_to_tensor(np.array([[2.0, -2.0]], "float32"))
        tape.watch(x)
        y = Halved(negative_slope=0.5)(x)
    np.testing.assert_allclose(tape.gradient(y, x), [[0.5, 0.25]])


def test_a_class_derived_once_more() -> None:
    class Twice(MCDropout):
        def call(self, inputs: Any, training: Any = None) -> Any:
            return super().call(inputs) * 0 + 3

    np.testing.assert_array_equal(Twice(0.5)(X), np.full_like(X, 3))


def test_layers_with_weights_are_refused() -> None:
    with pytest.raises(TypeError, match="can't override `call` of Dense"):
        type("Mine", (layers.Dense,), {"call": lambda self, inputs: inputs})


def test_a_build_of_its_own() -> None:
    built = []

    class Noted(layers.ReLU):
        def build(self, input_shape: Any) -> None:
            built.append(input_shape)

    layer = Noted(negative_slope=0.5)
    assert not layer.built
    model = engine.Sequential([engine.Input((2,)), layer])
    assert layer.built
    assert built == [(None, 2)]
    np.testing.assert_array_equal(model.predict(np.array([[2.0, -2.0]]), verbose=0), [[2.0, -1.0]])
    model.compile("sgd", "mse")
    assert model.evaluate(np.array([[2.0, -2.0]]), np.zeros((1, 2)), verbose=0) == 2.5

    class NotedDropout(layers.Dropout):
        def build(self, input_shape: Any) -> None:
            built.append(input_shape)

    dropout = NotedDropout(0.5)
    assert (dropout(X, training=True) == 0).any()
    assert (dropout(X) == X).all()


def test_a_build_of_its_own_for_a_layer_with_weights_is_refused() -> None:
    with pytest.raises(TypeError, match="can't override `build` of Dense"):
        type("Mine", (layers.Dense,), {"build": lambda self, input_shape: None})


def test_a_call_that_a_class_gets_after_its_definition() -> None:
    class Late(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight((1,), initializer="ones")

    with pytest.raises(NotImplementedError, match="Late has no `call`"):
        Late()(X)

    def call(self: Any, inputs: Any, training: bool = True) -> Any:
        return inputs * self.factor * (2 if training else 3)

    Late.call = call  # type: ignore[method-assign] # as decorators do
    layer = Late()
    np.testing.assert_array_equal(layer(X), 2 * X)
    np.testing.assert_array_equal(layer(X, training=False), 3 * X)
    with engine.GradientTape() as tape:
        outputs = layer(X, training=False)
    np.testing.assert_array_equal(tape.gradient(outputs, layer.factor), [3 * X.sum()])
    model = engine.Sequential([engine.Input((8,)), layer])
    np.testing.assert_array_equal(model.predict(X, verbose=0), 3 * X)
    np.testing.assert_array_equal(model(X), 2 * X)


@pytest.mark.parametrize("kind", [MCDropout, layers.Dropout, layers.RandomFlip])
def test_a_call_that_is_replaced_for_a_while(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.ones((2, 3, 3, 1), "float32")
    layer = kind() if kind is layers.RandomFlip else kind(0.5)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "call", lambda self, inputs: inputs * 5)
        np.testing.assert_array_equal(layer(images), images * 5)
        with engine.GradientTape():
            np.testing.assert_array_equal(layer(images), images * 5)
        inputs = engine.Input((3, 3, 1))
        model = engine.Model(inputs, kind.from_config(layer.get_config())(inputs))
        np.testing.assert_array_equal(model.predict(images, verbose=0), images * 5)
    assert set(np.unique(layer(images))) <= {0, 1, 2}
