"""Tests of `tune(backend=...)`: the same trials as on threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workers import cluster_of_dask, head_of_ray

import engine as keras
from engine import layers

pytest.importorskip("joblib")
RNG = np.random.default_rng(22)
X = RNG.normal(size=(1200, 8)).astype(np.float32)
Y = np.sin(X.sum(axis=1))


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    pytest.importorskip("distributed")
    with cluster_of_dask() as client:
        yield client


@pytest.fixture(scope="module")
def ray() -> Iterator[str]:
    pytest.importorskip("ray")
    with head_of_ray():
        yield "ray"


@pytest.fixture(params=["joblib", "dask", "ray"])
def backend(request: pytest.FixtureRequest) -> Any:
    return "joblib" if request.param == "joblib" else request.getfixturevalue(request.param)


def build(hp: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((8,))])
    for number in range(hp.Int("layers", 1, 2)):
        model.add(layers.Dense(hp.Choice(f"units_{number}", [4, 8, 16]), "relu"))
    model.add(layers.Dense(1))
    model.compile(keras.optimizers.Adam(hp.Float("rate", 1e-4, 1e-1, sampling="log")), "mse")
    return model


def facts(results: Any) -> list[Any]:
    return [
        (
            trial.number,
            trial.values,
            trial.seed,
            trial.stages,
            trial.history,
            trial.scores,
            trial.complete,
            trial.error,
        )
        for trial in results
    ]


@pytest.mark.parametrize("pruner", [None, "halving"])
def test_trials_are_those_of_threads(backend: Any, pruner: str | None) -> None:
    arguments: dict[str, Any] = {
        "max_trials": 6,
        "epochs": 4,
        "pruner": pruner,
        "factor": 2,
        "validation_split": 0.25,
        "seed": 3,
        "verbose": 0,
    }
    ours = keras.tune(build, X, Y, **arguments, backend=backend)
    theirs = keras.tune(build, X, Y, **arguments)
    assert facts(ours) == facts(theirs)
    for weight, expected in zip(ours.best_model.get_weights(), theirs.best_model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_search_goes_on_elsewhere(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"epochs": 2, "seed": 3, "verbose": 0, "file": tmp_path / "search.jsonl"}
    keras.tune(build, X, Y, max_trials=3, **arguments)
    ours = keras.tune(build, X, Y, max_trials=6, **arguments, backend="joblib")
    theirs = keras.tune(build, X, Y, max_trials=6, epochs=2, seed=3, verbose=0)
    assert facts(ours) == facts(theirs)


def test_samplers_of_optuna_learn_from_workers() -> None:
    pytest.importorskip("optuna")
    results = keras.tune(
        build, X, Y, max_trials=5, epochs=2, sampler="tpe", seed=3, verbose=0, backend="joblib"
    )
    assert [trial.error for trial in results] == [None] * 5
    assert results.best_model.predict(X[:3], verbose=0).shape == (3, 1)


def test_pruners_of_optuna_decide_on_workers(backend: Any) -> None:
    optuna = pytest.importorskip("optuna")
    arguments: dict[str, Any] = {
        "max_trials": 6,
        "epochs": 4,
        "sampler": "random",
        "pruner": optuna.pruners.ThresholdPruner(upper=0.6, n_warmup_steps=1),
        "seed": 3,
        "verbose": 0,
    }
    with keras.config.threads(1):
        theirs = keras.tune(build, X, Y, **arguments)
    ours = keras.tune(build, X, Y, **arguments, backend=backend)
    assert {trial.stages[-1] for trial in theirs} == {2, 4}
    assert facts(ours) == facts(theirs)


def test_pruners_of_optuna_compare_with_the_trials_of_workers() -> None:
    optuna = pytest.importorskip("optuna")
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    results = keras.tune(
        build, X, Y, max_trials=12, epochs=8, pruner=pruner, seed=3, verbose=0, backend="joblib"
    )
    assert [trial.error for trial in results] == [None] * 12
    given_up = [trial for trial in results if not trial.complete]
    assert given_up
    assert all(trial.stages[-1] in {2, 3, 5, 8} for trial in given_up)
    assert len(results.best_model.history.epoch) == 8
