"""Trainings that go on from files: the state of the optimizer of layers within layers, from Keras and to Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled

import engine

RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(24, width)).astype(np.float32) for width in (4, 2))


def block_of(api: Any) -> Any:
    """Returns the class of a layer with layers within, whose order is not that of their calls."""
    layers = api.layers

    @api.saving.register_keras_serializable("continued")
    class Block(layers.Layer):  # type: ignore[misc, name-defined] # one of two classes
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = units
            self.second = layers.Dense(units, name="second")
            self.first = layers.Dense(units, name="first", activation="tanh")
            self.norm = layers.BatchNormalization()

        def build(self, shape: Any) -> None:
            self.gain = self.add_weight(shape=(self.units,), initializer="ones", name="gain")
            self.first.build(shape)
            self.second.build((None, self.units))
            self.norm.build((None, self.units))

        def call(self, x: Any, training: bool = False) -> Any:
            return self.norm(self.second(self.first(x)), training=training) * self.gain

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    return Block


def a_layer_with_layers(api: Any) -> Any:
    return api.Sequential([api.Input((4,)), block_of(api)(3), api.layers.Dense(2)])


def branches(api: Any) -> Any:
    k, x = api.layers, api.Input((4,))
    joined = k.Add()([block_of(api)(3, name="a")(x), k.Dense(3, name="b")(x)])
    return api.Model(x, k.Dense(2, name="c")(joined))


def models_in_a_model(api: Any) -> Any:
    k, x, y = api.layers, api.Input((4,)), api.Input((4,))
    one = api.Sequential([api.Input((4,)), block_of(api)(3, name="a"), k.Dense(3, name="b")], name="one")
    other = api.Model(y, k.Dense(3, name="d")(k.Dense(5, name="c")(y)), name="other")
    return api.Model(x, k.Dense(2, name="last")(k.Add()([other(x), one(x)])))


def a_frozen_model_in_a_model(api: Any) -> Any:
    model = models_in_a_model(api)
    model.get_layer("other").trainable = False
    return model


def shared_layers(api: Any) -> Any:
    k, x = api.layers, api.Input((4,))
    shared = k.Dense(4, name="shared")
    between = k.Dense(4, name="between")(shared(x))
    return api.Model(x, k.Dense(2, name="last")(k.PReLU(name="prelu")(shared(between))))


def a_model_with_a_call(api: Any) -> Any:
    k, block = api.layers, block_of(api)

    @api.saving.register_keras_serializable("continued")
    class Network(api.Model):  # type: ignore[misc, name-defined] # one of two classes
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.head = k.Dense(2, name="head")
            self.blocks = [block(3, name="first"), block(3, name="second")]
            self.starts = {"x": k.Dense(4, name="start")}

        def call(self, x: Any, training: bool = False) -> Any:
            x = self.starts["x"](x)
            for each in self.blocks:
                x = each(x, training=training)
            return self.head(x)

    model = Network()
    model(X[:1])
    return model


MODELS = [
    a_layer_with_layers,
    branches,
    models_in_a_model,
    a_frozen_model_in_a_model,
    shared_layers,
    a_model_with_a_call,
]
Build = Callable[[Any], Any]


def trained(model: Any) -> list[float]:
    history = model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return [float(loss) for loss in history["loss"]]


def read_by(api: Any, build: Build, optimizer: Any, *, suffix: str, model: Any, folder: Path) -> Any:
    """Saves a model, and returns what the other library reads."""
    if suffix == ".keras":
        build(api)  # which registers its classes
        model.save(folder / "m.keras")
        return api.models.load_model(folder / "m.keras")
    model.save_weights(folder / "m.weights.h5")
    again = compiled(build(api), optimizer(api), loss="mse")
    if api is keras:
        again.optimizer.build(again.trainable_variables)
    again.load_weights(folder / "m.weights.h5")
    return again


def assert_continues(
    build: Build, optimizer: Any, suffix: str, *, source: Any, target: Any, folder: Path
) -> None:
    keras.utils.set_random_seed(0)
    engine.utils.set_random_seed(0)
    model = compiled(build(source), optimizer(source), loss="mse")
    trained(model)
    read = read_by(target, build, optimizer, suffix=suffix, model=model, folder=folder)
    np.testing.assert_allclose(trained(read), trained(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "target"), [(keras, engine), (engine, keras)], ids=["from_keras", "to_keras"]
)
@pytest.mark.parametrize("build", MODELS, ids=[build.__name__ for build in MODELS])
def test_models(build: Build, source: Any, target: Any, tmp_path: Path) -> None:
    assert_continues(
        build, lambda api: api.optimizers.Adam(0.01), ".keras", source=source, target=target, folder=tmp_path
    )


@pytest.mark.parametrize(
    ("source", "target"), [(keras, engine), (engine, keras)], ids=["from_keras", "to_keras"]
)
@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True}), ("RMSprop", {"centered": True}),
     ("Adafactor", {}), ("Muon", {}), ("Lion", {"gradient_accumulation_steps": 2})],
)  # fmt: skip
def test_optimizers_in_files_of_weights(
    name: str, options: dict[str, Any], source: Any, target: Any, tmp_path: Path
) -> None:
    def optimizer(api: Any) -> Any:
        return getattr(api.optimizers, name)(0.01, **options)

    assert_continues(
        models_in_a_model, optimizer, ".weights.h5", source=source, target=target, folder=tmp_path
    )


@pytest.mark.parametrize("build", MODELS, ids=[build.__name__ for build in MODELS])
def test_shapes_of_the_state(build: Build) -> None:
    shapes = []
    for api in (keras, engine):
        model = compiled(build(api), "adam", loss="mse")
        model.optimizer.build(model.trainable_variables) if api is keras else None
        trained(model) if api is engine else None
        shapes.append([tuple(variable.shape) for variable in model.optimizer.variables])
    assert shapes[0] == shapes[1]
