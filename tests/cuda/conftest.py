"""What the tests of GPUs share: models that are trained on a GPU and on the CPU, from the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine._core_interface.cpp import build_info, cuda_products

# Kernels add in another order than the CPU. Rounding errors of single sums are about 1e-7 of their terms, and a few steps
# of training multiply them by less than 10 where no unit changes its side of a corner.
CLOSE = {"rtol": 1e-5, "atol": 2e-6}


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    """Skips nothing: without a GPU, these tests fail. `make test-cuda` emulates one."""
    with keras.device("cuda"):
        pass


def train_on(device: str, build: Callable[[], keras.Model], *data: Any, **options: Any) -> tuple[Any, Any]:
    """Builds a model on a device, trains it, and returns it with its history."""
    with keras.device(device):
        keras.utils.set_random_seed(3)
        model = build()
        history = model.fit(*data, **{"verbose": 0, "epochs": 2, **options})
    return model, history.history


def flat(results: Any) -> np.ndarray:
    """Returns the numbers of all results of an evaluation, some of which are arrays, side by side."""
    return np.concatenate([np.ravel(each) for each in (results if isinstance(results, list) else [results])])


def assert_close(ours: np.ndarray, expected: np.ndarray) -> None:
    """What is left of large terms that cancel each other has the rounding errors of those."""
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(ours, expected, rtol=CLOSE["rtol"], atol=CLOSE["atol"] * largest)


def assert_same_training(build: Callable[[], keras.Model], x: Any, y: Any, **options: Any) -> Any:
    """Trains on the CPU and on a GPU, and compares histories, weights, predictions and evaluations. Returns the latter model."""
    ours, history = train_on("cuda", build, x, y, **options)
    expected, expected_history = train_on("cpu", build, x, y, **options)
    assert ours.device == "cuda:0"
    assert expected.device == "cpu"
    assert history.keys() == expected_history.keys()
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, **CLOSE, err_msg=name)
    for one, other in zip(ours.get_weights(), expected.get_weights(), strict=True):
        assert_close(one, other)
    assert_close(ours.predict(x, verbose=0), expected.predict(x, verbose=0))
    np.testing.assert_allclose(
        flat(ours.evaluate(x, y, verbose=0)), flat(expected.evaluate(x, y, verbose=0)), **CLOSE
    )
    return ours


@pytest.fixture(name="same_training")
def fixture_same_training() -> Callable[..., Any]:
    return assert_same_training


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def stand_in() -> str:
    """Returns the library that stands in for cuBLASLt: beside the core, or the newest that CMake built."""
    name = "libemulated_cublaslt.so"
    beside = Path(keras.__file__).parent / name
    built = Path(__file__).parents[2].glob(f"build/*/{name}")
    return str(max([beside] if beside.exists() else built, key=lambda file: file.stat().st_mtime))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Lets the library compute products of all sizes."""
    if "Emulated" in build_info()["cuda"]:
        monkeypatch.setenv("ENGINE_CUBLASLT", stand_in())
    elif "cuBLASLt" not in cuda_products().partition(":")[0]:
        pytest.skip(cuda_products())
    monkeypatch.setenv("ENGINE_CUDA_PRODUCTS", "library")
    monkeypatch.setenv("ENGINE_CUDA_EXECUTION", "steps")
    return monkeypatch


@pytest.fixture(scope="session", name="run_program")
def fixture_run_program() -> Callable[..., str]:
    """Returns a function that runs a program in a process of its own, with variables that set up the emulated GPU."""

    def run_program(code: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_program


@pytest.fixture
def execution(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Returns a function that sets how the card runs a training; None: as it chooses."""

    def set_execution(way: str | None) -> None:
        if way is None:
            monkeypatch.delenv("ENGINE_CUDA_EXECUTION", raising=False)
        else:
            monkeypatch.setenv("ENGINE_CUDA_EXECUTION", way)

    set_execution(None)
    return set_execution
