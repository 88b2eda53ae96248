"""Fixtures and helpers for the tests of the Python API."""

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

pytest_plugins = ["chromium", "drawings", "packed", "web"]  # modules with fixtures

# The real Keras reads these variables when a test in `tests/keras` imports it.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# XLA compiles faster with fewer optimizations. Compiling takes most of the time of these tests. AVX has no fused
# multiplication and addition: with it, what XLA computes twice may be rounded in two ways, so that the largest of some
# numbers equals none of them, and JAX passes no gradient on.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_max_isa=AVX",
)

# Only every n-th of the tests in these folders runs, where the environment says so: Keras compiles each network, and the
# emulated GPU checks each access to memory, which takes long.
EVERY = {"keras": int(os.environ.get("KERAS_EVERY", "1")), "cuda": int(os.environ.get("CUDA_EVERY", "1"))}

FEATURES, CLASSES = 6, 3


class Blobs(NamedTuple):
    """Samples around three points, one for each class, which a small network can learn to classify."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    one_hot: NDArray[np.float64]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests that `EVERY` says. In those beside Keras, warnings are no errors: Keras causes some."""
    left_out = set[pytest.Item]()
    for folder, every in EVERY.items():
        within = [item for item in items if Path(__file__).parent / folder in item.path.parents]
        left_out |= set(within) - set(within[::every])
        for item in within if folder == "keras" else ():
            item.add_marker(pytest.mark.filterwarnings("default"))
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.set_random_seed(1)


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    """Restores the default number of threads after a test that changes it."""
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
    """Returns a compiled network for `blobs`, with `extra` layers before the last one."""
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
    """Returns a decorator that sets `gradient`, the attribute with the derivative of a function."""

    def add(function: Any) -> Any:
        function.gradient = gradient
        return function

    return add


def same_weights(left: keras.Sequential, right: keras.Sequential) -> bool:
    """Returns whether the weights of both models have the same bits."""
    pairs = zip(left.get_weights(), right.get_weights(), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def trained(x: Any, y: Any = None, **options: Any) -> keras.Sequential:
    """Builds a model with the same initial weights in every call, and returns it after `fit`."""
    keras.utils.set_random_seed(5)
    model = classifier()
    model.fit(x, y, **({"verbose": 0, "epochs": 2} | options))
    return model
