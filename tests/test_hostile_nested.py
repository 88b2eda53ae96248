"""Damaged and malicious configs of nested models are refused before memory is allocated."""

from __future__ import annotations

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
        (twice, "config of model '.*' must have layers"),
        (circle, "config of model '.*' must have layers"),
        (changed(None, "output_layers", ["nobody", 0, 0]), "config of model '.*' must have layers"),
        (changed(None, "output_layers", 7), "config of model '.*' must have layers"),
        (changed(None, "input_layers", []), "config of model '.*' must have layers"),
        (changed("encoder", "output_layers", ["encoder", 0, 0]), "config of model '.*' must have layers"),
        (changed("encoder", "layers", None), "a config of a model must be a dict with 'name' and 'layers'"),
        (changed("decoder", "layers", [7]), "`layer` must be a name"),
        (changed("decoder", "layers", []), "has no layers|shape"),
        (changed("decoder", "trainable", "perhaps"), "`trainable` must be True or False"),
        (lambda config: config["config"]["layers"][1].pop("config"), ""),
        (
            lambda config: config["config"]["layers"][1].update(inbound_nodes=[[]]),
            "config of model '.*' must have layers",
        ),
        (
            lambda config: config["config"]["layers"][1].update(inbound_nodes=[{"args": 7}]),
            "config of model '.*' must have layers",
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
