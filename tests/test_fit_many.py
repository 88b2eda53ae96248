"""Tests of `fit_many`: the bits of each model, own arguments, failures, interruptions, progress."""

from __future__ import annotations

import math
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import callbacks, layers
from engine._many.results import FitManyInterrupt

RNG = np.random.default_rng(20)
X = RNG.normal(size=(97, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 97)


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    keras.config.set_threads(request.param)
    yield request.param
    keras.config.set_threads(None)


def network(
    units: int = 5, rate: float = 0.01, dropout: float = 0.0, depth: int = 1
) -> Callable[[], keras.Model]:
    """Returns a function that makes a classifier."""

    def build() -> keras.Model:
        hidden = [
            layer for _ in range(depth) for layer in (layers.Dense(units, "relu"), layers.Dropout(dropout))
        ]
        model = keras.Sequential([keras.Input((6,)), *hidden, layers.Dense(3, "softmax")])
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def alone(build: Callable[[], keras.Model], seed: int, *data: Any, **arguments: Any) -> tuple[Any, list[Any]]:
    """Returns the history and the weights of a model that is trained alone."""
    keras.utils.set_random_seed(seed)
    model = build()
    history = model.fit(*data, verbose=0, **arguments).history
    return history, model.get_weights()


def assert_same(result: Any, expected: tuple[Any, list[Any]]) -> None:
    history, weights = expected
    assert result.error is None
    assert result.history.history == history
    for ours, theirs in zip(result.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_models_have_the_bits_of_models_trained_alone(threads: int) -> None:
    builds = [network(), network(33, 0.1), network(8, dropout=0.5), network(3, depth=3), network(64, 0.001)]
    results = keras.fit_many(
        builds,
        X,
        Y,
        batch_size=[8, 16, 32, 97, 5],
        epochs=[3, 5, 2, 4, 1],
        validation_split=0.2,
        seeds=range(5),
        verbose=0,
    )
    for number, build in enumerate(builds):
        expected = alone(
            build,
            number,
            X,
            Y,
            batch_size=[8, 16, 32, 97, 5][number],
            epochs=[3, 5, 2, 4, 1][number],
            validation_split=0.2,
        )
        assert_same(results[number], expected)
        assert results[number].number == results[number].seed == number
    assert keras.config.get_threads() == threads


def test_models_that_exist_are_trained_in_place() -> None:
    keras.utils.set_random_seed(7)
    models = [network()() for _ in range(3)]
    copies = [keras.models.clone_model(model) for model in models]
    for copy, model in zip(copies, models, strict=True):
        copy.set_weights(model.get_weights())
    results = keras.fit_many(models, X, Y, epochs=2, seeds=[4, 4, 9], verbose=0)
    assert results.models == models
    for copy, result in zip(copies, results, strict=True):
        keras.utils.set_random_seed(result.seed)
        history = copy.fit(X, Y, epochs=2, verbose=0).history
        assert_same(result, (history, copy.get_weights()))
        assert result.model.history is result.history


def test_training_goes_on_where_it_was() -> None:
    model, other = network()(), network()()
    other.set_weights(model.get_weights())
    keras.fit_many([model], X, Y, epochs=2, seeds=[1], verbose=0)
    keras.fit_many([model], X, Y, epochs=5, initial_epoch=2, seeds=[2], verbose=0)
    keras.utils.set_random_seed(1)
    other.fit(X, Y, epochs=2, verbose=0)
    keras.utils.set_random_seed(2)
    other.fit(X, Y, epochs=5, initial_epoch=2, verbose=0)
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_own_rows_for_folds() -> None:
    mask = np.arange(97) % 3 > 0
    weights = RNG.random(97).astype(np.float32)
    rows = [np.arange(50), mask, None]
    held_out = [np.arange(50, 97), ~mask, np.array([3, 1, 3])]
    results = keras.fit_many(
        [network()] * 3,
        X,
        Y,
        sample_weight=weights,
        epochs=2,
        rows=rows,
        validation_rows=held_out,
        seeds=[5, 5, 5],
        verbose=0,
    )
    for result, train, test in zip(results, rows, held_out, strict=True):
        chosen = slice(None) if train is None else train
        expected = alone(
            network(),
            5,
            X[chosen],
            Y[chosen],
            sample_weight=weights[chosen],
            validation_data=(X[test], Y[test], weights[test]),
            epochs=2,
        )
        assert_same(result, expected)


@pytest.mark.parametrize("rows", [np.arange(40), list(range(40)), range(40), np.arange(97) < 40])
def test_one_selection_for_all(rows: Any) -> None:
    results = keras.fit_many([network()] * 2, X, Y, rows=rows, seeds=[1, 1], verbose=0)
    for result in results:
        assert_same(result, alone(network(), 1, X[:40], Y[:40]))


def test_rows_of_frames_and_of_several_inputs() -> None:
    pandas = pytest.importorskip("pandas")
    rows = np.array([5, 3, 90, 3])
    frame, series = pandas.DataFrame(X, columns=list("abcdef")), pandas.Series(Y)
    (result,) = keras.fit_many([network()], frame, series, rows=[rows], seeds=[1], verbose=0)
    assert_same(result, alone(network(), 1, frame.iloc[rows], series.iloc[rows]))

    def two_inputs() -> keras.Model:
        inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((4,), name="b")}
        model = keras.Model(inputs, layers.Dense(1)(layers.concatenate([inputs["a"], inputs["b"]])))
        model.compile("sgd", "mse")
        return model

    data = {"a": X[:, :2], "b": X[:, 2:]}
    (result,) = keras.fit_many([two_inputs], data, Y, rows=[rows], seeds=[1], verbose=0)
    assert_same(result, alone(two_inputs, 1, {key: array[rows] for key, array in data.items()}, Y[rows]))


def test_own_data_for_each() -> None:
    results = keras.fit_many(
        [network(), network(8)],
        keras.each([X[:40], X.astype(np.float64)]),
        keras.each([Y[:40], Y]),
        validation_data=keras.each([None, (X, Y)]),
        class_weight=keras.each([{0: 2.0, 1: 1.0, 2: 1.0}, None]),
        seeds=[1, 2],
        verbose=0,
    )
    assert_same(results[0], alone(network(), 1, X[:40], Y[:40], class_weight={0: 2.0, 1: 1.0, 2: 1.0}))
    assert_same(results[1], alone(network(8), 2, X.astype(np.float64), Y, validation_data=(X, Y)))


def test_each_model_reads_its_own_batches() -> None:
    def batches(seed: int) -> Iterator[Any]:
        rng = np.random.default_rng(seed)
        while True:
            rows = rng.integers(0, 97, 16)
            yield X[rows], Y[rows]

    results = keras.fit_many(
        [network()] * 2, keras.each([batches(1), batches(2)]), steps_per_epoch=4, seeds=[3, 3], verbose=0
    )
    for result, seed in zip(results, (1, 2), strict=True):
        assert_same(result, alone(network(), 3, batches(seed), steps_per_epoch=4))
    with pytest.raises(
        ValueError, match=r"`x` yields batches, which only one model can read: pass arrays, or keras.each"
    ):
        keras.fit_many([network()] * 2, batches(1), steps_per_epoch=4, verbose=0)


def test_lists_of_numbers_are_data_for_all() -> None:
    results = keras.fit_many([network()] * 2, X.tolist(), Y.tolist(), seeds=[1, 1], verbose=0)
    for result in results:
        assert_same(result, alone(network(), 1, X.tolist(), Y.tolist()))


def test_callbacks_for_all_are_copied() -> None:
    stopping = callbacks.EarlyStopping("loss", patience=0, min_delta=0.5)
    results = keras.fit_many(
        [network()] * 3, X, Y, epochs=9, callbacks=[stopping], seeds=[1, 2, 3], verbose=0
    )
    assert [result.epochs for result in results] == [2, 2, 2]
    assert stopping.model is None
    for result in results:
        expected = alone(
            network(),
            result.seed,
            X,
            Y,
            epochs=9,
            callbacks=[callbacks.EarlyStopping("loss", patience=0, min_delta=0.5)],
        )
        assert_same(result, expected)


def test_own_callbacks_are_used_themselves() -> None:
    first, second = callbacks.EarlyStopping("loss", patience=0, min_delta=0.5), callbacks.History()
    results = keras.fit_many(
        [network()] * 3, X, Y, epochs=3, callbacks=[[first], second, None], seeds=[1, 2, 3], verbose=0
    )
    assert first.stopped_epoch == 1
    assert [result.epochs for result in results] == [2, 3, 3]
    assert results[1].history is second


def test_default_seeds_come_from_the_process() -> None:
    keras.utils.set_random_seed(11)
    first = keras.fit_many([network()] * 3, X, Y, verbose=0)
    keras.utils.set_random_seed(11)
    again = keras.fit_many([network()] * 3, X, Y, verbose=0)
    assert [result.seed for result in first] == [result.seed for result in again]
    assert len({result.seed for result in first}) == 3
    for result in first:
        assert_same(result, alone(network(), result.seed, X, Y))


class _Raising(callbacks.Callback):
    """Raises in an epoch."""

    def __init__(self, epoch: int, error: BaseException) -> None:
        self.epoch, self.error = epoch, error

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise self.error


@pytest.mark.parametrize("error", [KeyError("lost"), SystemExit(3), KeyboardInterrupt()])
def test_a_model_fails_alone(error: BaseException, threads: int) -> None:
    own = [None, [_Raising(1, error)], None]
    with pytest.warns(
        UserWarning, match=rf"1 of 3 models failed; the first is model 1: {type(error).__name__}"
    ):
        results = keras.fit_many([network()] * 3, X, Y, epochs=3, callbacks=own, seeds=[1, 2, 3], verbose=0)
    assert [result.epochs for result in results] == [3, 1, 3]
    assert results[1].error is error
    assert results.failed == [results[1]]
    for number in (0, 2):
        assert_same(results[number], alone(network(), number + 1, X, Y, epochs=3))
    # The model that failed works on.
    results[1].model.fit(X, Y, verbose=0)


def test_a_lost_loss_ends_a_model() -> None:
    def lost() -> keras.Model:
        model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1e30), "mse")
        return model

    with pytest.warns(
        UserWarning,
        match=r"1 of 2 models failed; the first is model 0: FloatingPointError: the loss of epoch",
    ):
        results = keras.fit_many([lost, network()], X, Y, epochs=50, seeds=[1, 2], verbose=0)
    assert isinstance(results[0].error, FloatingPointError)
    assert results[0].epochs < 50
    assert results.best is results[1]


def test_an_error_of_all_models_is_raised() -> None:
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 6\), got \(97, 2\)"):
        keras.fit_many([network()] * 3, X[:, :2], Y, verbose=0)
    with pytest.raises(TypeError, match="a function in `models` must return a model, but"):
        keras.fit_many([lambda: None], X, Y, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"models": []}, ValueError, "`models` must have one model at least"),
        ({"models": ["a"]}, TypeError, "`models` must hold models, or functions that return one, got 'a'"),
        (
            {"models": [keras.Sequential]},
            TypeError,
            "`models` must hold models, or functions that return one, got <class",
        ),
        ({"epochs": [1, 2, 3]}, ValueError, "`epochs` has 3 values for 2 models"),
        ({"seeds": [1]}, ValueError, "`seeds` has 1 value for 2 models"),
        ({"seeds": [1, -1]}, ValueError, "`seeds` must be"),
        ({"seeds": [1, 2**32]}, ValueError, "`seeds` must be"),
        ({"seeds": [1, 1.5]}, TypeError, "`seeds` must be an integer, got 1.5"),
        ({"x": keras.each([X])}, ValueError, "`x` has 1 value for 2 models"),
        ({"rows": np.ones((2, 3))}, TypeError, "`rows` must hold indices of samples or be a mask"),
        ({"rows": [[0.5], [1.0]]}, TypeError, "`rows` must hold indices of samples or be a mask"),
        ({"rows": np.zeros(97, bool)}, ValueError, "`rows` selects no samples"),
        ({"rows": [[96], [97]]}, ValueError, "`rows` must hold indices from 0 to 96, of 97 samples, got 97"),
        ({"rows": [-1, 3]}, ValueError, "`rows` must hold indices from 0 to 96, of 97 samples, got -1"),
        ({"rows": [[], [1]]}, ValueError, "`rows` selects no samples"),
        (
            {"rows": np.ones(50, bool)},
            ValueError,
            "a mask in `rows` must have an entry for each of 97 samples, got 50",
        ),
        ({"rows": [1, 2], "y": Y[:50]}, ValueError, r"the data have the lengths \[97, 50\]"),
        ({"rows": [1, 2], "x": [["a"]] * 97}, TypeError, "`rows` selects from arrays, but the data are"),
        ({"models": network()()}, TypeError, "`models` must be a list of models"),
        ({"models": [keras.Sequential([layers.Dense(1)]), network()]}, (ValueError, RuntimeError), "compile"),
        ({"validation_rows": [1, 2], "validation_data": (X, Y)}, ValueError, "both given: pass one of them"),
        ({"callbacks": [callbacks.History]}, TypeError, "`callbacks` must hold objects"),
        ({"memory_limit": 0}, ValueError, "`memory_limit` must be"),
        ({"verbose": 3}, ValueError, "`verbose`"),
        ({"epochs": -1}, ValueError, "`epochs` must be"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"models": [network()] * 2, "x": X, "y": Y, "verbose": 0, **arguments}
    with pytest.raises(error, match=message):
        keras.fit_many(**given)


def test_models_that_share_weights_are_refused() -> None:
    model = network()()
    with pytest.raises(ValueError, match=r"models 0 and 1 share .*: they can't be trained at once"):
        keras.fit_many([model, model], X, Y, verbose=0)
    shared = layers.Dense(3)
    models = []
    for _ in range(2):
        models.append(keras.Sequential([keras.Input((6,)), shared, layers.Dense(3, "softmax")]))
        models[-1].compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"models 0 and 1 share <Dense"):
        keras.fit_many(models, X, Y, verbose=0)
    optimizer = keras.optimizers.Adam()
    models = [keras.Sequential([keras.Input((6,)), layers.Dense(3, "softmax")]) for _ in range(2)]
    for each in models:
        each.compile(optimizer, "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"models 0 and 1 share .*Adam"):
        keras.fit_many(models, X, Y, verbose=0)


def test_functions_that_return_one_model_are_refused() -> None:
    model = network()()
    with pytest.warns(
        UserWarning, match=r"2 of 3 models failed; the first is model 1: ValueError: models 0 and 1 share"
    ):
        keras.fit_many([lambda: model] * 3, X, Y, verbose=0)
    with pytest.warns(UserWarning, match=r"1 of 2 models failed"):
        keras.fit_many([model, lambda: model], X, Y, verbose=0)


def test_an_unknown_name_of_the_logs_is_told() -> None:
    with pytest.warns(
        UserWarning,
        match="the logs have no 'val_f1', by which models are compared: they have accuracy, loss",
    ):
        keras.fit_many([network()] * 2, X, Y, monitor="val_f1", verbose=0)


def test_an_interrupt_at_the_end_is_not_lost() -> None:
    class Interrupt(callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(FitManyInterrupt) as caught:
        keras.fit_many([network()], X, Y, callbacks=[[Interrupt()]], seeds=[1], verbose=0)
    assert caught.value.results[0].epochs == 1


def test_models_may_share_what_is_not_trained() -> None:
    body = keras.Sequential([keras.Input((6,)), layers.Dense(7, "tanh"), layers.BatchNormalization()])
    body.trainable = False

    def build() -> keras.Model:
        start = keras.Input((6,))
        model = keras.Model(start, layers.Dense(3, "softmax")(body(start)))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    before = body.get_weights()
    keras.utils.set_random_seed(5)
    models = [build() for _ in range(4)]
    results = keras.fit_many(models, X, Y, epochs=5, seeds=[1, 2, 3, 4], verbose=0)
    keras.utils.set_random_seed(5)
    for result, model in zip(results, [build() for _ in range(4)], strict=True):
        keras.utils.set_random_seed(result.seed)
        history = model.fit(X, Y, epochs=5, verbose=0).history
        assert_same(result, (history, model.get_weights()))
    for ours, theirs in zip(body.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_callbacks_that_write_one_file_are_refused(tmp_path: Path) -> None:
    for callback in (
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.ModelCheckpoint(tmp_path / "model.keras"),
        callbacks.BackupAndRestore(tmp_path / "backup"),
        callbacks.TensorBoard(tmp_path / "logs"),
    ):
        with pytest.raises(
            ValueError, match=rf"the {type(callback).__name__} of models 0 and 1 would both write to"
        ):
            keras.fit_many([network()] * 2, X, Y, callbacks=[callback], verbose=0)
    assert list(tmp_path.iterdir()) == []
    keras.fit_many(
        [network()] * 2,
        X,
        Y,
        callbacks=[[callbacks.CSVLogger(tmp_path / f"{n}.csv")] for n in range(2)],
        verbose=0,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv", "1.csv"]
    history = callbacks.History()
    with pytest.raises(
        ValueError, match="models 0 and 1 have the same History in `callbacks`: make one for each"
    ):
        keras.fit_many([network()] * 2, X, Y, callbacks=[[history], [history]], verbose=0)


class _Uncopied(callbacks.Callback):
    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_callbacks_that_can_not_be_copied_are_named() -> None:
    with pytest.raises(TypeError, match="a _Uncopied can't be copied for each model"):
        keras.fit_many([network()] * 2, X, Y, callbacks=_Uncopied(), verbose=0)


class _Counting(callbacks.Callback):
    """Counts the models in training, and the threads of each epoch."""

    now = most = 0
    lock = threading.Lock()

    def __deepcopy__(self, memo: Any) -> _Counting:
        return type(self)()

    def on_train_begin(self, logs: Any = None) -> None:
        cls = type(self)
        with cls.lock:
            cls.now += 1
            cls.most = max(cls.most, cls.now)

    def on_train_end(self, logs: Any = None) -> None:
        with type(self).lock:
            type(self).now -= 1


def test_a_memory_limit_decides_how_many_train_at_a_time() -> None:
    class One(_Counting):
        pass

    keras.config.set_threads(4)
    try:
        keras.fit_many([network(500)] * 6, X, Y, epochs=3, callbacks=One(), memory_limit=50_000, verbose=0)
    finally:
        keras.config.set_threads(None)
    assert One.most == 1


def test_threads_are_shared() -> None:
    seen: dict[int, list[int]] = {}

    def watch(number: int) -> callbacks.Callback:
        def note(epoch: int, logs: Any) -> None:
            seen.setdefault(number, []).append(keras.config.get_threads())

        return callbacks.LambdaCallback(on_epoch_begin=note)

    keras.config.set_threads(4)
    try:
        # The last model has many epochs, and in the last of them all threads.
        own = [[watch(number)] for number in range(5)]
        keras.fit_many([network()] * 5, X, Y, epochs=[1, 1, 1, 1, 300], callbacks=own, verbose=0)
        assert keras.config.get_threads() == 4
    finally:
        keras.config.set_threads(None)
    assert seen[0] == [1]
    assert seen[4][-1] == 4


def test_threads_of_a_block() -> None:
    keras.config.set_threads(3)
    try:
        with keras.config.threads(1):
            assert keras.config.get_threads() == 1
            others: list[int] = []
            thread = threading.Thread(target=lambda: others.append(keras.config.get_threads()))
            thread.start()
            thread.join()
            assert others == [3]
            with keras.config.threads(2):
                assert keras.config.get_threads() == 2
            assert keras.config.get_threads() == 1
        assert keras.config.get_threads() == 3
        with pytest.raises(ValueError, match="`n` must be"), keras.config.threads(0):
            pass
    finally:
        keras.config.set_threads(None)


def test_an_interrupt_keeps_what_is_done() -> None:
    first_is_done = threading.Event()

    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 2:
            first_is_done.wait()
            os.kill(os.getpid(), signal.SIGINT)

    def third() -> keras.Model:  # made on the thread of the first model, when that one has ended
        first_is_done.set()
        return network()()

    keras.config.set_threads(2)
    own = [None, [callbacks.LambdaCallback(on_epoch_begin=interrupt)], None, None]
    try:
        with pytest.raises(
            FitManyInterrupt,
            match=r"interrupted after \d of 4 models: `results` of this exception keeps them",
        ) as caught:
            keras.fit_many(
                [network(), network(), third, network()],
                X,
                Y,
                epochs=[1, 10**7, 10**7, 1],
                callbacks=own,
                seeds=[1, 2, 3, 4],
                verbose=0,
            )
    finally:
        keras.config.set_threads(None)
    results = caught.value.results
    assert isinstance(caught.value, KeyboardInterrupt)
    assert_same(results[0], alone(network(), 1, X, Y))
    for number in (1, 2):
        assert isinstance(results[number].error, KeyboardInterrupt)
        assert results[number].epochs < 10**7
        assert results[number].model is not None
    assert results[3].model is None
    assert str(results[3].error) == "not begun"
    assert results.best is results[0]


def test_results() -> None:
    results = keras.fit_many(
        [network(1), network(30, 0.05)], X, Y, epochs=20, seeds=[1, 2], monitor="accuracy", verbose=0
    )
    last = [history["accuracy"][-1] for history in results.histories]
    assert results.best is results[int(np.argmax(last))]
    assert (
        repr(results)
        == f"<FitResults of 2 models, best accuracy: {max(last):.4g} (model {int(np.argmax(last))})>"
    )
    assert results[:1] == [results[0]]
    assert len(results) == 2
    assert all(result.seconds > 0 for result in results)
    lowest = keras.fit_many([network()] * 3, X, Y, seeds=[3, 1, 3], verbose=0)
    assert lowest.monitor == "loss"
    values = [result.last("loss") for result in lowest]
    assert lowest.best is lowest[int(np.argmin(values))]
    assert math.isnan(lowest[0].last("val_loss"))
    with pytest.warns(UserWarning, match="the logs have no 'auc'"):
        unknown = keras.fit_many([network()], X, Y, monitor="auc", verbose=0)
    with pytest.raises(
        ValueError,
        match="no model has a value of 'auc' that says which one is the best: 0 of 1 model failed, and the",
    ):
        _ = unknown.best


def test_table_of_results() -> None:
    pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = keras.fit_many(
            [network()] * 2,
            X,
            Y,
            epochs=2,
            callbacks=[None, [_Raising(1, KeyError("lost"))]],
            seeds=[1, 2],
            verbose=0,
        )
    frame = results.to_frame()
    assert frame.index.name == "model"
    assert list(frame.columns) == ["seed", "seconds", "epochs", "error", "accuracy", "loss"]
    assert list(frame["epochs"]) == [2, 1]
    assert list(frame["error"].isna()) == [True, False]
    assert frame["error"][1] == "KeyError: 'lost'"
    assert list(frame["loss"]) == [result.last("loss") for result in results]


@pytest.mark.parametrize("verbose", [1, 2])
def test_progress(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    keras.fit_many([network()] * 3, X, Y, seeds=[1, 1, 1], validation_split=0.5, verbose=verbose)
    shown = capsys.readouterr().out
    last = shown.split("\r")[-1] if verbose == 1 else shown
    assert "3/3" in last
    assert "s/model" in last
    assert "best val_loss: " in last
    assert "of model: 0" in last
    assert last.endswith("\n")


def test_gradients_of_many_threads_leave_no_trace() -> None:
    before = threading.active_count()
    keras.fit_many([network()] * 8, X, Y, verbose=0)
    assert threading.active_count() == before
