"""Helpers of the scripts in `scripts_*.py`: data, and the first layers of models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Script = Callable[[Any, Path], Any]

SCRIPTS: list[Script] = []
RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, 60)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
BINARY = (X[:, 0] + X[:, 1] > 0).astype(np.float32)
TARGETS = (X @ RNG.normal(size=(6, 2))).astype(np.float32)
QUIET: dict[str, Any] = {"verbose": 0, "shuffle": False}


def script(run: Script) -> Script:
    SCRIPTS.append(run)
    return run


def begin(model: Any) -> Any:
    """Gives a model the same initial weights in both libraries."""
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(-0.5, 0.5, np.shape(w)).astype(np.float32) for w in model.get_weights()])
    return model


def begin_dense(model: Any) -> Any:
    """Gives only the dense layers the same initial weights."""
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if type(layer).__name__ == "Dense":
            layer.set_weights([rng.uniform(-0.5, 0.5, w.shape) for w in layer.get_weights()])
    return model


def mlp(api: Any, outputs: int = 3, activation: str | None = "softmax", units: int = 8) -> Any:
    layers = [api.layers.Dense(units, activation="relu"), api.layers.Dense(outputs, activation=activation)]
    return begin(api.Sequential([api.Input((6,)), *layers]))


def build(api: Any, *layers: Any, shape: Any = (6,)) -> Any:
    return begin(api.Sequential([api.Input(shape), *layers]))


def end(model: Any, *found: Any, x: Array = X) -> list[Any]:
    return [*found, model.predict(x, verbose=0), *model.get_weights()]
