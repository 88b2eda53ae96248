"""Damaged and malicious configs of nested models are refused before memory is allocated."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged import refused, with_config

import engine as keras
from engine import layers

HUGE = 2**23


@pytest.fixture(scope="module", name="saved")
def nested_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns the file of a Functional model that contains an encoder, a Functional, and a decoder, a Sequential."""
    code = keras.Input((6,))
    encoder = keras.Model(code, layers.Dense(2)(layers.Dense(4)(code)), name="encoder")
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(6)], name="decoder")
    x = keras.Input((6,))
    model = keras.Model(x, decoder(encoder(x)))
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 6)), np.ones((2, 6)))
    path = tmp_path_factory.mktemp("saved") / "m.npz"
    model.save(path)
    return {".npz": path.read_bytes()}


def inner(config: Any, name: str) -> Any:
    return next(layer for layer in config["config"]["layers"] if layer["name"] == name)["config"]


def changed(name: str | None, key: str, value: Any) -> Callable[[Any], None]:
    """Returns a function that sets an entry in the config of the outer model, or of the inner model of that name."""

    def change(config: Any) -> None:
        (config["config"] if name is None else inner(config, name))[key] = value

    return change


def wide(config: Any) -> None:
    for layer in inner(config, "decoder")["layers"]:
        if layer["class_name"] == "InputLayer":
            layer["config"]["batch_shape"] = [None, HUGE]
        else:
            layer["config"]["units"] = HUGE


def units(config: Any) -> None:
    inner(config, "encoder")["layers"][1]["config"]["units"] = HUGE


def unbuilt(config: Any) -> None:
    """Changes the model to a layer of unknown input shape, and a model that would need all memory."""
    config["config"] = {
        "name": "outer",
        "layers": [
            {"class_name": "Dense", "config": {"units": 2}},
            {"class_name": "Sequential", "config": inner(config, "decoder")},
        ],
    }
    config["class_name"], config["build_config"] = "Sequential", None
    for layer in config["config"]["layers"][1]["config"]["layers"]:
        layer["config"] |= (
            {"batch_shape": [None, HUGE]} if layer["class_name"] == "InputLayer" else {"units": HUGE}
        )


def deep(config: Any) -> str:
    sequential = '{"class_name": "Sequential", "config": {"name": "a", "layers": ['
    return sequential * 5000 + "]}}" * 5000


def twice(config: Any) -> None:
    layers_ = config["config"]["layers"]
    layers_[1]["inbound_nodes"] *= 2


def circle(config: Any) -> None:
    _, second, third = config["config"]["layers"]
    second["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = [third["name"], 0, 0]


def one_for_all(config: Any) -> None:
    for layer in config["config"]["layers"]:
        layer["shared_object_id"] = 1


def itself(config: Any) -> None:
    encoder = config["config"]["layers"][1]
    encoder["shared_object_id"] = 3
    encoder["config"]["layers"][1].update(encoder, config={}, inbound_nodes=[])


def models_twice(config: Any) -> None:
    """Changes the model to pairs of models within pairs of models, with far too many layers in all."""
    part: dict[str, Any] = {"class_name": "ReLU", "module": "keras.layers", "config": {"name": "r"}}
    for number in range(40):
        part["shared_object_id"] = number
        inside = {"name": f"m{number}", "layers": [part, {**part, "config": {}}]}
        part = {"class_name": "Sequential", "module": "keras", "config": inside}
    config.update(part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_for_all, "input layer"),
        (itself, "recursion|can't be read|config of model '.*' must have layers"),
        (models_twice, "uses of layers at most"),
        (wide, rf"takes samples of shape \({HUGE},\), but gets \(2,\)"),
        (units, "needs weights of shapes"),
        (unbuilt, "needs weights of shapes|may ask for"),
        (deep, "recursion|can't be read"),
        (twice, "must have layers"),
        (circle, "must have layers"),
        (changed(None, "output_layers", ["nobody", 0, 0]), "must have layers"),
        (changed(None, "output_layers", 7), "must have layers"),
        (changed(None, "input_layers", []), "must have layers"),
        (changed("encoder", "output_layers", ["encoder", 0, 0]), "must have layers"),
        (changed("encoder", "layers", None), "a config of a model must be a dict with 'name' and 'layers'"),
        (changed("decoder", "layers", [7]), "`layer` must be a name"),
        (changed("decoder", "layers", []), "has no layers|shape"),
        (changed("decoder", "trainable", "perhaps"), "`trainable` must be True or False"),
        (lambda config: config["config"]["layers"][1].pop("config"), ""),
        (lambda config: config["config"]["layers"][1].update(inbound_nodes=[[]]), "must have layers"),
        (
            lambda config: config["config"]["layers"][1].update(inbound_nodes=[{"args": 7}]),
            "must have layers",
        ),
        (lambda config: config["config"]["layers"][1].update(inbound_nodes=7), ""),
    ],
)
def test_configs(change: Callable[[Any], Any], message: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    refused(with_config(tmp_path / "m.npz", saved, change), f"(?i){message}")


def test_the_file_itself_is_good(saved: dict[str, bytes], tmp_path: Path) -> None:
    path = with_config(tmp_path / "m.npz", saved, lambda config: None)
    model = keras.models.load_model(path)
    assert [layer.name for layer in model.layers[1:]] == ["encoder", "decoder"]
    assert model.optimizer.iterations == 1


def test_weights_that_fit_only_in_part(saved: dict[str, bytes], tmp_path: Path) -> None:
    model = keras.models.load_model(with_config(tmp_path / "m.npz", saved, lambda config: None))
    encoder = keras.models.clone_model(model.layers[1])
    other = keras.Sequential([keras.models.clone_model(encoder), layers.Dense(3)])
    before = other.get_weights()
    other.save_weights(tmp_path / "w.npz")
    for target in (model, encoder):
        kept = target.get_weights()
        with pytest.raises(ValueError, match="could not be loaded"):
            target.load_weights(tmp_path / "w.npz")
        assert all(np.array_equal(a, b) for a, b in zip(kept, target.get_weights(), strict=True))
    other.load_weights(tmp_path / "w.npz")
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))


@pytest.mark.parametrize("value", [None, 3, "x", [], True, {}])
@pytest.mark.parametrize(
    "place", [("layers", 1), ("layers", 1, "inbound_nodes"), ("layers", 1, "inbound_nodes", 0)]
)
def test_configs_that_are_none_are_refused(place: tuple[Any, ...], value: object) -> None:
    x = keras.Input((4,))
    config = keras.Model(x, layers.Dense(3)(layers.Dense(2)(x))).get_config()
    whole = config
    *way, last = place
    for key in way:
        config = config[key]
    config[last] = value
    with pytest.raises((TypeError, ValueError), match=r"config of model|`config` must"):
        keras.Model.from_config(whole)


@pytest.mark.parametrize(
    "kind", [keras.Model, keras.Sequential, layers.Dense, keras.optimizers.Adam, keras.losses.Huber]
)
@pytest.mark.parametrize("config", [None, 3, "units", ["units"]])
def test_what_is_no_config_is_refused(kind: Any, config: Any) -> None:
    with pytest.raises(TypeError, match="`config` must be a dict of arguments by name, as get_config"):
        kind.from_config(config)


# Operations on symbols, and models that contain each other.


@pytest.fixture(scope="module", name="with_operations")
def models_with_operations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns the file of a Functional model with operations on symbols."""
    x = keras.Input((3,), dtype="int32")
    hot = keras.ops.one_hot(x, 5)
    parts = keras.ops.array_split(keras.ops.reshape(hot, (-1, 15)), 2, axis=1)
    wide = keras.ops.repeat(parts[0], 2, axis=1)
    path = tmp_path_factory.mktemp("saved") / "m.npz"
    keras.Model(x, layers.Dense(2)(wide)).save(path)
    return {".npz": path.read_bytes()}


def set_in(class_name: str, **settings: Any) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        found = [layer for layer in config["config"]["layers"] if layer["class_name"] == class_name]
        found[0]["config"].update(settings)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("Dense", units=HUGE), "needs weights of shapes"),
        (set_in("OneHot", num_classes=10**9), "16777216 numbers at most"),
        (set_in("ArraySplit", indices_or_sections=10**9), "more than a file of this size may ask for"),
        (set_in("Repeat", repeats=10**9), "16777216 numbers at most"),
        (set_in("Repeat", repeats=[10**9, *[1] * 7]), "more than a file of this size may ask for"),
        (set_in("Reshape", newshape=[-1, 10**9]), "can't have the shape"),
    ],
)
def test_models_with_operations_may_not_ask_for_more_either(
    change: Callable[[Any], None], message: str, with_operations: dict[str, bytes], tmp_path: Path
) -> None:
    tracemalloc.start()
    refused(with_config(tmp_path / "m.npz", with_operations, change), message)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26


@keras.saving.register_keras_serializable("hostile")
class OfAnySize(layers.Layer):
    """A layer whose weights only its code knows."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: Any) -> None:
        self.inner = layers.Dense(self.units)

    def call(self, inputs: Any) -> Any:
        return keras.ops.sum(self.inner(inputs), axis=-1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def test_layers_of_users_may_not_make_larger_weights_than_files_hold(tmp_path: Path) -> None:
    x = keras.Input((4,))
    path = tmp_path / "small.npz"
    keras.Model(x, OfAnySize(5)(x)).save(path)
    assert keras.models.load_model(path).count_params() == 25
    tracemalloc.start()
    damaged = with_config(tmp_path / "m.npz", {".npz": path.read_bytes()}, set_in("OfAnySize", units=2**25))
    refused(damaged, "more than a file of this size may ask for")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26


def doubled(depth: int) -> keras.Model:
    """Returns a model that contains one twice, which contains one twice, and so on."""
    x = keras.Input((1,))
    model = keras.Model(x, layers.Dense(1)(x))
    for _ in range(depth):
        x = keras.Input((1,))
        model = keras.Model(x, model(model(x)))
    return model


def deeper(config: Any, levels: int) -> Any:
    """Returns the config of a model that contains the given one twice, and so on."""
    for level in range(levels):
        name = f"level{level}"
        config = {
            **config,
            "build_config": {"input_shape": [None, 1]},
            "config": {
                "name": name,
                "trainable": True,
                "layers": [
                    {
                        "module": "keras.layers",
                        "class_name": "InputLayer",
                        "config": {"batch_shape": [None, 1], "name": f"x{level}"},
                        "name": f"x{level}",
                        "inbound_nodes": [],
                    },
                    {
                        "module": "keras",
                        "class_name": "Functional",
                        "config": config["config"],
                        "name": config["config"]["name"],
                        "inbound_nodes": [
                            {"args": [tensor(f"x{level}", 0)], "kwargs": {}},
                            {"args": [tensor(config["config"]["name"], 0)], "kwargs": {}},
                        ],
                    },
                ],
                "input_layers": [f"x{level}", 0, 0],
                "output_layers": [config["config"]["name"], 2, 0],
            },
        }
    return config


def tensor(name: str, node: int) -> dict[str, Any]:
    config = {"shape": [None, 1], "dtype": "float32", "keras_history": [name, node, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def test_models_that_contain_each_other_many_times(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    model = doubled(3)
    model.save(path)
    assert (keras.models.load_model(path).predict([[2.0]]) == model.predict([[2.0]])).all()
    config = json.loads(doubled(0).to_json())
    assert len(keras.models.model_from_json(json.dumps(deeper(config, 6)))._leaves) == 64
    for levels in (20, 60):
        path = with_config(
            tmp_path / "m.npz",
            {".npz": path.read_bytes()},
            lambda _, levels=levels: json.dumps(deeper(config, levels)),
        )
        refused(path, "uses of layers at most")
        with pytest.raises(ValueError, match="uses of layers at most"):
            keras.models.model_from_json(json.dumps(deeper(config, levels)))
