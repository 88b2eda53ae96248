"""Times the engine alone, with pytest-benchmark: `python -m pytest bench`. No time makes a test fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from engine import layers
from engine.datasets import mnist

BATCHES = [32, 128, 512]
KINDS = ["uint8", "float32"]

Arrays = tuple[NDArray[Any], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    (x, y), _ = mnist.load_data()
    return x.reshape(len(x), 784), y


def rows(x: NDArray[Any], kind: str) -> NDArray[Any]:
    return x if kind == "uint8" else x.astype(np.float32) / np.float32(255)


def network(kind: str) -> engine.Sequential:
    engine.utils.set_random_seed(7)
    scaling = [layers.Rescaling(1 / 255)] if kind == "uint8" else []
    model = engine.Sequential(
        [
            engine.Input((784,)),
            *scaling,
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("kind", KINDS)
def test_step(benchmark: BenchmarkFixture, digits: Arrays, kind: str) -> None:
    model = network(kind)
    x, y = rows(digits[0][:32], kind), digits[1][:32]
    benchmark(model.train_on_batch, x, y)


@pytest.mark.benchmark(group="epoch")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", BATCHES)
def test_epoch(benchmark: BenchmarkFixture, digits: Arrays, kind: str, batch: int) -> None:
    model = network(kind)
    x, y = rows(digits[0], kind), digits[1]
    options = {"batch_size": batch, "verbose": 0}
    benchmark.pedantic(model.fit, (x, y), options, rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="predict")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 10_000])
def test_predict(benchmark: BenchmarkFixture, digits: Arrays, kind: str, samples: int) -> None:
    model = network(kind)
    x = rows(digits[0][:samples], kind)
    benchmark(model.predict, x)


@pytest.mark.benchmark(group="load_data")
def test_load_data_cached(benchmark: BenchmarkFixture, digits: Arrays) -> None:
    benchmark(mnist.load_data)


@pytest.mark.benchmark(group="load_data")
def test_load_data_first_time(
    benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def new_cache() -> None:
        monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / str(len(list(tmp_path.iterdir())))))

    benchmark.pedantic(mnist.load_data, setup=new_cache, rounds=3)


@pytest.mark.benchmark(group="import")
@pytest.mark.parametrize("statement", ["import numpy", "import numpy, engine"])
def test_import(benchmark: BenchmarkFixture, statement: str) -> None:
    """The difference between the two statements is the time that the engine adds to an import of NumPy."""
    command = [sys.executable, "-c", statement]
    benchmark.pedantic(subprocess.run, (command,), {"check": True}, rounds=10, warmup_rounds=1)
