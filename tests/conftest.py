"""Fixtures of the tests of the Python API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import _core

pytest_plugins = ["chromium", "drawings", "packed"]  # its fixtures

# For the tests in `keras`, before one of them imports the real one.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling takes most of their time.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

# 2 takes every other of them: where time is short, as each network is compiled anew in Keras.
KERAS_EVERY = int(os.environ.get("KERAS_EVERY", "1"))

FEATURES, CLASSES = 6, 3


class Blobs(NamedTuple):
    """Samples around three points, so that a small network tells them apart."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    one_hot: NDArray[np.float64]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the tests beside real Keras every KERAS_EVERY-th; its warnings are other people's."""
    beside_keras = [item for item in items if Path(__file__).parent / "keras" in item.path.parents]
    for item in beside_keras:
        item.add_marker(pytest.mark.filterwarnings("default"))
    left_out = set(beside_keras) - set(beside_keras[::KERAS_EVERY])
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.set_random_seed(1)


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    """As many as there were, after a test that sets their number."""
    yield
    _core.set_threads(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture
def blobs(rng: np.random.Generator) -> Blobs:
    y = rng.integers(0, CLASSES, 150)
    centers = rng.normal(0, 2, (CLASSES, FEATURES))
    x = (centers[y] + rng.normal(0, 0.5, (len(y), FEATURES))).astype(np.float32)
    return Blobs(x, y, keras.utils.to_categorical(y, CLASSES))


def classifier(*extra: keras.layers.Layer, **options: Any) -> keras.Sequential:
    """A compiled network for `blobs`, with `extra` layers before the last."""
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(8, activation="relu"),
            *extra,
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(
        **(
            {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
            | options
        )
    )
    return model


def with_gradient(gradient: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorator: a function with its derivative, where the engine looks for it."""

    def add(function: Any) -> Any:
        function.gradient = gradient
        return function

    return add


def same_weights(left: keras.Sequential, right: keras.Sequential) -> bool:
    """Whether the weights have the same bits."""
    pairs = zip(left.get_weights(), right.get_weights(), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def trained(x: Any, y: Any = None, **options: Any) -> keras.Sequential:
    """A fresh model, the same at every call, after `fit`."""
    keras.utils.set_random_seed(5)
    model = classifier()
    model.fit(x, y, **({"verbose": 0, "epochs": 2} | options))
    return model
