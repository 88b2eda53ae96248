"""Tests of `fit_many(backend=...)`: the bits on joblib, Dask and Ray, workers that end, what travels and comes back."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workers import cluster_of_dask, head_of_ray

import engine as keras
from engine import callbacks, layers
from engine._many.results import FitManyInterrupt, Interrupted

pytest.importorskip("joblib")
RNG = np.random.default_rng(21)
X = RNG.normal(size=(1500, 6)).astype(np.float32)  # large enough to be held by workers
Y = RNG.integers(0, 3, 1500)


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


def network(units: int = 5, dropout: float = 0.2, rate: float = 0.01) -> Callable[[], keras.Model]:
    """Returns a function that makes a classifier with a loss that no file could hold."""

    def build() -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(units, "relu"),
                layers.Dropout(dropout),
                layers.Dense(3, "softmax"),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy()
        model.compile(keras.optimizers.Adam(rate), lambda y, p: 2.0 * loss(y, p), metrics=["accuracy"])
        return model

    return build


def given(units: int = 5, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(units)
    model = keras.Sequential([layers.Dense(units, "tanh"), layers.Dense(3, "softmax")], **options)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def assert_same(ours: Any, theirs: Any) -> None:
    assert [result.error for result in ours] == [None] * len(theirs)
    assert ours.histories == theirs.histories
    for one, other in zip(ours.models, theirs.models, strict=True):
        for weight, expected in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_functions_have_the_bits_of_threads(backend: Any) -> None:
    builds = [network(3), network(16, 0.5), network(8, 0.0, 0.1), network(33)]
    arguments = {
        "batch_size": [8, 16, 32, 64],
        "epochs": [3, 2, 4, 1],
        "seeds": range(4),
        "rows": [np.arange(0, 1500, step) for step in (1, 2, 3, 5)],
        "validation_rows": np.arange(100),
        "verbose": 0,
    }
    assert_same(
        keras.fit_many(builds, X, Y, **arguments, backend=backend), keras.fit_many(builds, X, Y, **arguments)
    )


def test_given_models_are_trained_in_place_and_go_on(backend: Any) -> None:
    ours, theirs = [given(4), given(7)], [given(4), given(7)]
    for place in (backend, None):  # the second training goes on with the state of the optimizer
        results = keras.fit_many(ours, X, Y, epochs=2, seeds=[1, 2], verbose=0, backend=place)
        assert [result.model is model for result, model in zip(results, ours, strict=True)] == [True, True]
        expected = keras.fit_many(theirs, X, Y, epochs=2, seeds=[1, 2], verbose=0)
        assert_same(results, expected)
    assert ours[0].history is results[0].history
    assert results[0].history.model is ours[0]
    np.testing.assert_array_equal(ours[0].predict(X, verbose=0), theirs[0].predict(X, verbose=0))


def test_callbacks_come_back(backend: Any) -> None:
    stopping = [
        callbacks.EarlyStopping("loss", min_delta=10.0, patience=1),
        callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10),
    ]
    expected = [
        callbacks.EarlyStopping("loss", min_delta=10.0, patience=1),
        callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10),
    ]
    results = keras.fit_many(
        [given(4)], X, Y, epochs=9, seeds=[1], callbacks=[stopping], verbose=0, backend=backend
    )
    here = keras.fit_many([given(4)], X, Y, epochs=9, seeds=[1], callbacks=[expected], verbose=0)
    assert_same(results, here)
    assert stopping[0].stopped_epoch == expected[0].stopped_epoch > 0
    assert (
        float(results[0].model.optimizer.learning_rate)
        == float(here[0].model.optimizer.learning_rate)
        < 0.001
    )


class Failing(callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise ValueError(f"enough of epoch {epoch}")


class EndingOnce(callbacks.Callback):
    """Kills the process that trains, the first time."""

    def __init__(self, path: Path, here: int) -> None:
        self.path, self.here = str(path), here

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        assert os.getpid() != self.here
        if epoch == 1 and not Path(self.path).exists():
            Path(self.path).write_text("ended")
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_model_fails_alone_with_its_error(backend: Any) -> None:
    with pytest.warns(
        UserWarning, match="1 of 2 models failed; the first is model 1: ValueError: enough of epoch 0"
    ):
        results = keras.fit_many(
            [network(), network()],
            X,
            Y,
            callbacks=[[], [Failing()]],
            seeds=[1, 2],
            verbose=0,
            backend=backend,
        )
    assert type(results[1].error) is ValueError
    assert "on_epoch_end" in str(results[1].error.__cause__)  # the traceback on the worker
    assert results[0].error is None


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_models_of_a_killed_worker_are_trained_again(backend: Any, tmp_path: Path) -> None:
    builds = [network(3), network(5), network(8), network(9)]
    ending = [EndingOnce(tmp_path / str(number), os.getpid()) for number in range(2)]
    ours = keras.fit_many(
        builds,
        X,
        Y,
        epochs=3,
        seeds=range(4),
        callbacks=[[], [ending[0]], [], [ending[1]]],
        verbose=0,
        backend=backend,
    )
    assert_same(ours, keras.fit_many(builds, X, Y, epochs=3, seeds=range(4), verbose=0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


class CountingThreads(callbacks.Callback):
    def on_train_begin(self, logs: Any = None) -> None:
        self.threads: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.threads.append(keras.config.get_threads())


def test_a_worker_uses_the_threads_that_it_owns() -> None:
    pytest.importorskip("distributed")
    with cluster_of_dask(workers=1, threads=3) as client:
        counts = [[CountingThreads()] for _ in range(3)]
        keras.fit_many([network()], X, Y, epochs=3, callbacks=counts[:1], verbose=0, backend=client)
        assert counts[0][0].threads == [3, 3, 3]
        keras.fit_many([network()] * 3, X, Y, epochs=100, callbacks=counts, verbose=0, backend=client)
        assert 1 in counts[1][0].threads  # while all three are at work
        assert set(counts[1][0].threads) <= {1, 3}


def test_mapped_files_are_read_where_they_lie(backend: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ours = keras.fit_many([network()], mapped, Y, epochs=2, seeds=[1], verbose=0, backend=backend)
    assert_same(ours, keras.fit_many([network()], X, Y, epochs=2, seeds=[1], verbose=0))


def test_settings_travel() -> None:
    keras.config.set_max_epochs(2)
    try:
        results = keras.fit_many([network()], X, Y, epochs=5, seeds=[1], verbose=0, backend="joblib")
    finally:
        keras.config.set_max_epochs(None)
    assert results[0].epochs == 2


def test_what_cannot_travel_says_so() -> None:
    class Watching(callbacks.Callback):
        def __init__(self) -> None:
            self.numbers = (number for number in range(3))

        def __deepcopy__(self, memo: Any) -> Any:
            return self

    with pytest.raises(
        TypeError, match=r"model 0 can't travel to a worker \(TypeError: cannot pickle 'generator'"
    ):
        keras.fit_many([network()], X, Y, callbacks=[Watching()], verbose=0, backend="joblib")
    model = given()
    model.compile("adam", lambda y, p: keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, p)))
    with (
        pytest.warns(UserWarning, match="lambda"),
        pytest.raises(TypeError, match="pass a function that makes it"),
    ):
        keras.fit_many([model], X, Y, verbose=0, backend="joblib")


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        (
            "spark",
            ValueError,
            "`backend` must be None, 'joblib', 'dask', 'ray', a distributed.Client or the address",
        ),
        (3, TypeError, "`backend` must be None, 'joblib'"),
    ],
)
def test_wrong_backends(backend: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        keras.fit_many([network()], X, Y, verbose=0, backend=backend)


def test_a_limit_of_memory_is_that_of_threads() -> None:
    with pytest.raises(ValueError, match="`memory_limit` is that of the threads of this process"):
        keras.fit_many([network()], X, Y, verbose=0, backend="joblib", memory_limit=1 << 30)


def test_other_versions_are_refused_with_both_named(dask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine._cluster.same_versions.__version__", "9.9.9")
    with pytest.raises(
        RuntimeError, match=r"worker tcp://\S+ has engine \d\S+, but this process has engine 9\.9\.9"
    ):
        keras.fit_many([network()], X, Y, verbose=0, backend=dask)


def test_workers_without_the_engine_are_refused() -> None:
    pytest.importorskip("distributed")

    def forget() -> None:
        for name in list(sys.modules):
            if name.partition(".")[0] == "engine":
                del sys.modules[name]
        sys.modules["engine"] = None  # an import of it fails

    with cluster_of_dask(workers=1) as client:
        client.run(forget)
        with pytest.raises(RuntimeError, match=r"workers can't import what this process has, engine \d"):
            keras.fit_many([network()], X, Y, verbose=0, backend=client)


def test_functions_that_make_another_model_elsewhere_are_refused() -> None:
    here = os.getpid()

    def build() -> keras.Model:
        return network(3 if os.getpid() == here else 4)()

    with pytest.raises(ValueError, match="has made another one on the worker than here"):
        keras.fit_many([build], X, Y, verbose=0, backend="joblib")


def test_other_instruction_sets_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_ISA", "baseline")  # of the processes that are begun from now on
    ours = keras.fit_many(
        [network(9), network(17)], X, Y, epochs=2, seeds=[1, 2], verbose=0, backend="joblib"
    )
    assert_same(ours, keras.fit_many([network(9), network(17)], X, Y, epochs=2, seeds=[1, 2], verbose=0))


class InterruptingHere(callbacks.Callback):
    """Sends Ctrl-C to the process that has asked for the training."""

    def __init__(self, to: int) -> None:
        self.to = to

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            os.kill(self.to, signal.SIGINT)


def test_an_interrupt_keeps_what_is_done(backend: Any) -> None:
    with pytest.raises(FitManyInterrupt, match="interrupted after") as caught:
        keras.fit_many(
            [network()] * 9,
            X,
            Y,
            epochs=[1, 100_000, *[100_000] * 7],
            seeds=range(9),
            callbacks=[[], [InterruptingHere(os.getpid())], *[[] for _ in range(7)]],
            verbose=0,
            backend=backend,
        )
    results = caught.value.results
    assert results[0].error is None
    assert all(isinstance(result.error, Interrupted) for result in results[1:])
