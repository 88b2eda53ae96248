"""Compares the configs of every class with Keras. Each library can make an object from the config of the other."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
from test_keras_names import NAMES, find

import engine

# Values for arguments without a default.
NEEDED: dict[str, dict[str, Any]] = {
    "Dense": {"units": 3},
    "Reshape": {"target_shape": (2, 3)},
    "Permute": {"dims": (2, 1)},
    "RepeatVector": {"n": 2},
    "Dropout": {"rate": 0.1},
    "AlphaDropout": {"rate": 0.1},
    "GaussianDropout": {"rate": 0.1},
    "GaussianNoise": {"stddev": 0.1},
    "Activation": {"activation": "relu"},
    "Embedding": {"input_dim": 3, "output_dim": 2},
    "Rescaling": {"scale": 2.0},
    "CategoryEncoding": {"num_tokens": 3},
    "Discretization": {"num_bins": 4},
    "RandomTranslation": {"height_factor": (-0.1, 0.2), "width_factor": (-0.1, 0.1)},
    "RandomRotation": {"factor": 0.1},
    "RandomZoom": {"height_factor": (-0.1, 0.1)},
    "InputLayer": {"shape": (3,)},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9},
    "PiecewiseConstantDecay": {"boundaries": [1, 2], "values": [1.0, 2.0, 3.0]},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9},
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 10},
}
ABSTRACT = {
    *("Input", "Lambda", "Layer", "Loss", "Metric", "Optimizer", "Initializer", "Regularizer", "Constraint"),
    *("LearningRateSchedule", "MeanMetricWrapper"),
}
MODULES = [
    "layers",
    "initializers",
    "regularizers",
    "constraints",
    "losses",
    "metrics",
    "optimizers",
    "optimizers.schedules",
]
CLASSES = [
    (path, name)
    for path in MODULES
    for name in NAMES[path].split()
    if name not in ABSTRACT and inspect.isclass(getattr(find(engine, path), name))
]


def plain(config: Any) -> Any:
    """Returns the contents of a config in a common form."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "DTypePolicy":
            return config["config"]["name"]
        return {
            key: plain(value)
            for key, value in config.items()
            if key not in ("module", "registered_name", "build_config", "name")
        }
    if isinstance(config, (list, tuple, np.ndarray)):
        return [plain(value) for value in config]
    return round(config, 6) if isinstance(config, float) else config


@pytest.mark.parametrize(("path", "name"), CLASSES)
def test_config(path: str, name: str) -> None:
    modules = find(keras, path), find(engine, path)
    theirs, ours = (getattr(module, name)(**NEEDED.get(name, {})) for module in modules)
    expected, found = plain(theirs.get_config()), plain(ours.get_config())
    # In the engine, metrics have only one dtype.
    assert {key: found.get(key, "float32") if key == "dtype" else found[key] for key in expected} == expected
    assert plain(type(ours).from_config(theirs.get_config()).get_config()) == found
    assert plain(type(theirs).from_config(ours.get_config()).get_config()) == expected
    written = modules[1].serialize(ours)
    assert plain(modules[1].deserialize(written).get_config()) == found
    if name != "Lamb":  # Keras cannot read its own config of it
        assert type(modules[0].deserialize(written)) is type(theirs)
    if hasattr(modules[1], "get"):
        assert type(modules[1].get(written)) is type(ours)
        assert name in NEEDED or type(modules[1].get(type(ours))) is type(ours)
