"""Tests of `tune`: hyperparameters, samplers, rungs, files of searches, and the bits of trials."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import callbacks, layers
from engine.tuning import HyperParameters, TuneInterrupt

RNG = np.random.default_rng(40)
X = RNG.normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.float32)


def build(hp: HyperParameters) -> keras.Model:
    model = keras.Sequential([keras.Input((4,))])
    for number in range(hp.Int("layers", 1, 2)):
        model.add(
            layers.Dense(hp.Int(f"units_{number}", 4, 16, step=4), hp.Choice("activation", ["relu", "tanh"]))
        )
    if hp.Boolean("dropout"):
        model.add(layers.Dropout(hp.Float("rate", 0.1, 0.5, step=0.1)))
    model.add(layers.Dense(1, "sigmoid"))
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return model


def search(**arguments: Any) -> Any:
    given = {"max_trials": 6, "epochs": 4, "validation_split": 0.25, "seed": 5, "verbose": 0}
    return keras.tune(build, X, Y, **{**given, **arguments})


# Hyperparameters


def test_defaults_without_a_search() -> None:
    hp = HyperParameters()
    assert hp.Int("a", 3, 9) == 3
    assert hp.Float("b", 0.5, 2.0) == 0.5
    assert hp.Choice("c", ["x", "y"]) == "x"
    assert hp.Boolean("d") is False
    assert hp.Fixed("e", 7) == 7
    assert hp.Int("f", 3, 9, default=5) == 5
    assert hp.values == {"a": 3, "b": 0.5, "c": "x", "d": False, "e": 7, "f": 5}
    assert hp.get("a") == hp["a"] == 3
    assert "a" in hp
    assert "z" not in hp
    with pytest.raises(KeyError, match="no hyperparameter 'aa' was asked for before"):
        hp.get("aa")


def drawn(ask: Callable[[HyperParameters], Any], count: int = 2000) -> list[Any]:
    return [
        ask(HyperParameters(choose=lambda parameter, u=u: parameter.at(u))) for u in np.arange(count) / count
    ]


def test_ranges_of_integers() -> None:
    values = drawn(lambda hp: hp.Int("n", -2, 3))
    assert [values.count(n) for n in range(-2, 4)] == pytest.approx([2000 / 6] * 6, abs=1)
    assert set(drawn(lambda hp: hp.Int("n", 1, 10, step=4))) == {1, 5, 9}
    assert set(drawn(lambda hp: hp.Int("n", 8, 64, step=2, sampling="log"))) == {8, 16, 32, 64}
    values = drawn(lambda hp: hp.Int("n", 1, 999, sampling="log"))
    assert (min(values), max(values)) == (1, 996)
    hp = HyperParameters(choose=lambda parameter: parameter.at(np.nextafter(1, 0)))
    assert hp.Int("n", 1, 999, sampling="log") == 999
    assert sum(value < 32 for value in values) == pytest.approx(
        1000, abs=10
    )  # half lies below the root of 1,000
    assert all(isinstance(value, int) for value in values)


def test_ranges_of_floats() -> None:
    values = drawn(lambda hp: hp.Float("x", 2.0, 4.0))
    assert np.mean(values) == pytest.approx(3.0, abs=0.01)
    assert sorted(set(drawn(lambda hp: hp.Float("x", 0.1, 0.5, step=0.1)))) == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5]
    )
    logs = np.log10(drawn(lambda hp: hp.Float("x", 1e-4, 1e-2, sampling="log")))
    assert logs.mean() == pytest.approx(-3, abs=0.01)
    reverse = np.array(drawn(lambda hp: hp.Float("x", 1e-4, 1e-2, sampling="reverse_log")))
    assert (reverse > 0.0091).mean() == pytest.approx(0.5, abs=0.02)
    assert ((reverse >= 1e-4) & (reverse <= 1e-2)).all()


def test_values_that_depend_on_others() -> None:
    def asked(hp: HyperParameters) -> dict[str, Any]:
        hp.Choice("kind", ["a", "b", "c"])
        with hp.conditional_scope("kind", ["b", "c"]):
            hp.Int("depth", 1, 2)
            with hp.conditional_scope("kind", "c"):
                hp.Boolean("deep")
        hp.Float("rate", 0, 1, step=1.0, parent_name="kind", parent_values=["a"])
        with hp.name_scope("first"):
            hp.Int("units", 1, 1)
        return hp.values

    found = {values["kind"]: set(values) for values in drawn(asked, 30)}
    assert found == {
        "a": {"kind", "rate", "first/units"},
        "b": {"kind", "depth", "first/units"},
        "c": {"kind", "depth", "deep", "first/units"},
    }


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda hp: hp.Int("n", 3, 2), ValueError, "`max_value` must be"),
        (lambda hp: hp.Int("n", 0.5, 2), TypeError, "`min_value` must be an integer"),
        (lambda hp: hp.Int("n", 1, 2, step=0), ValueError, "`step` must be"),
        (
            lambda hp: hp.Int("n", 0, 9, sampling="log"),
            ValueError,
            "'n': sampling='log' needs positive numbers",
        ),
        (lambda hp: hp.Int("n", 1, 9, step=1, sampling="log"), ValueError, "the step is a factor above 1"),
        (lambda hp: hp.Int("n", 1, 9, sampling="cubic"), ValueError, "`sampling` must be one of"),
        (lambda hp: hp.Int("n", 1, 9, default=10), ValueError, "'n' can't have the default 10"),
        (
            lambda hp: hp.Choice("n", []),
            ValueError,
            "`values` must be all numbers, all strings or all bools, one at least",
        ),
        (
            lambda hp: hp.Choice("n", [[1]]),
            ValueError,
            "`values` must be all numbers, all strings or all bools",
        ),
        (
            lambda hp: (hp.Int("n", 1, 9), hp.Int("n", 1, 8)),
            ValueError,
            "'n' was asked for before with other values",
        ),
    ],
)
def test_wrong_hyperparameters(
    ask: Callable[[HyperParameters], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ask(HyperParameters())


# Searches


@pytest.mark.parametrize("pruner", [None, "halving", "hyperband"])
def test_the_same_seed_gives_the_same_trials_on_any_number_of_threads(pruner: str | None) -> None:
    found = []
    for threads in (1, 3):
        keras.config.set_threads(threads)
        try:
            found.append(search(pruner=pruner, max_trials=9, epochs=9))
        finally:
            keras.config.set_threads(None)
    first, second = found
    assert [(t.values, t.seed, t.stages, t.history) for t in first] == [
        (t.values, t.seed, t.stages, t.history) for t in second
    ]
    assert first.best.number == second.best.number
    assert len({trial.seed for trial in first}) == 9


def test_a_trial_is_an_ordinary_fit() -> None:
    results = search()
    for trial in results:
        keras.utils.set_random_seed(trial.seed)
        model = build(results.hyperparameters(trial))
        history = model.fit(X, Y, epochs=4, validation_split=0.25, verbose=0).history
        assert trial.history == history
        assert trial.score == history["val_loss"][-1]
        for ours, theirs in zip(results.model(trial).get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert results.best is min(results, key=lambda trial: trial.score)
    assert results.best_values == results.best.values
    assert results.best_model is results.model(results.best)
    assert len(results.best_models(3)) == 3


def test_the_state_of_the_process_is_left_alone() -> None:
    keras.utils.set_random_seed(3)
    expected = keras.random.normal((3,))
    keras.utils.set_random_seed(3)
    search()
    np.testing.assert_array_equal(keras.random.normal((3,)), expected)


def test_halving_trains_the_best_on() -> None:
    results = search(pruner="halving", max_trials=9, epochs=9)
    assert sorted(trial.epochs for trial in results) == [1] * 6 + [3] * 2 + [9]
    by_first = sorted(results, key=lambda trial: trial.history["val_loss"][0])
    assert {trial.number for trial in by_first[:3]} == {trial.number for trial in results if trial.epochs > 1}
    assert [trial.complete for trial in results.ranked] == [True] + [False] * 8
    assert results.best.epochs == 9
    # A model that was not kept is trained again, stretch by stretch, to the same bits.
    best = results.best_model.get_weights()
    results._models.clear()
    for ours, theirs in zip(results.best_model.get_weights(), best, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    second = results.ranked[1]
    assert results.model(second).evaluate(X[90:], Y[90:], verbose=0)[0] == pytest.approx(
        second.score, rel=1e-6
    )


def test_trials_that_callbacks_end_are_not_trained_on() -> None:
    class Ending(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch >= 1 and self.model.layers[0].units in (4, 8):
                self.model.stop_training = True

    results = search(pruner="halving", max_trials=27, epochs=27, callbacks=[Ending()])
    ended = [trial for trial in results if trial.values["units_0"] in (4, 8) and trial.epochs > 1]
    assert ended
    for trial in results:
        assert trial.epochs == trial.stages[-1] == len(trial.history["val_loss"])
        assert trial.epochs == (2 if trial in ended else trial.stages[-1])
        results._models.clear()
        assert results.model(trial).evaluate(X[90:], Y[90:], verbose=0)[0] == pytest.approx(
            trial.score, rel=1e-5
        )


def test_models_are_forgotten() -> None:
    import gc
    import weakref

    made: list[Any] = []

    def noting(hp: HyperParameters) -> keras.Model:
        model = build(hp)
        made.append(weakref.ref(model))
        return model

    results = keras.tune(noting, X, Y, max_trials=9, epochs=2, keep_models=2, seed=1, verbose=0)
    gc.collect()
    assert sum(model() is not None for model in made) == 2
    assert len(results) == 9


def test_one_model_for_all_trials_is_refused() -> None:
    model = build(HyperParameters())
    with pytest.warns(UserWarning, match="models failed"):
        results = keras.tune(
            lambda hp: (hp.Int("n", 1, 9), model)[1], X, Y, max_trials=3, epochs=1, verbose=0
        )
    assert sum(trial.error is None for trial in results) == 1


def test_hyperband_has_brackets() -> None:
    results = search(pruner="hyperband", max_trials=17, epochs=9)
    assert len(results) == 17
    # Li et al. (2018): with 9 epochs and factor 3, brackets of 9, 5 and 3 trials begin with 1, 3 and 9 epochs.
    assert [trial.stages[0] for trial in results] == [1] * 9 + [3] * 5 + [9] * 3
    assert all(trial.epochs == 9 for trial in results if trial.complete)


def test_a_grid_has_all_combinations() -> None:
    def asked(hp: HyperParameters) -> keras.Model:
        hp.Choice("kind", ["a", "b"])
        if hp.get("kind") == "b":
            hp.Int("only_b", 1, 3)
        hp.Boolean("flag")
        model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    results = keras.tune(asked, X, Y, max_trials=100, epochs=1, sampler="grid", verbose=0)
    expected = [{"kind": "a", "flag": flag} for flag in (False, True)]
    expected += [{"kind": "b", "only_b": n, "flag": flag} for n in (1, 2, 3) for flag in (False, True)]
    assert [trial.values for trial in results] == expected
    assert len(keras.tune(asked, X, Y, max_trials=3, epochs=1, sampler="grid", verbose=0)) == 3


@pytest.mark.parametrize("sampler", ["tpe", "object"])
def test_samplers_of_optuna(sampler: str) -> None:
    optuna = pytest.importorskip("optuna")
    chosen = optuna.samplers.RandomSampler(seed=1) if sampler == "object" else sampler
    results = search(sampler=chosen, max_trials=14, objective="val_accuracy")
    assert len(results) == 14
    assert results.more_is_better
    assert results.best.score == max(trial.score for trial in results)
    for trial in results:
        assert trial.values["units_0"] in (4, 8, 12, 16)
        assert 1e-4 <= trial.values["learning_rate"] <= 1e-1
        assert ("rate" in trial.values) == trial.values["dropout"]


@pytest.mark.parametrize("backend", [None, "joblib"])
def test_the_score_is_that_of_the_weights(backend: str | None) -> None:
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    results = search(max_trials=6, epochs=30, callbacks=[stopping], keep_models=6, backend=backend)
    histories = [trial.history["val_loss"] for trial in results]
    assert any(history[-1] > min(history) for history in histories)
    assert [trial.score for trial in results] == [min(history) for history in histories]


def test_pruners_of_optuna() -> None:
    optuna = pytest.importorskip("optuna")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1)
    results = search(pruner=pruner, max_trials=16, epochs=12)
    given_up = [trial for trial in results if not trial.complete]
    assert given_up
    assert all(trial.epochs < 12 and trial.error is None for trial in given_up)
    assert results.best.complete


class Pruner:
    """Gives up every trial at one epoch, counted from 0."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def prune(self, study: Any, trial: Any) -> bool:
        return bool(trial.last_step == self.epoch)


def states_of_optuna(monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> tuple[Any, list[str]]:
    """Returns the trials of a search, and the states in the study of Optuna."""
    optuna = pytest.importorskip("optuna")
    studies, create = list[Any](), optuna.create_study
    with monkeypatch.context() as patched:
        patched.setattr(optuna, "create_study", lambda **given: studies.append(create(**given)) or studies[0])
        results = search(**arguments)
    return results, [trial.state.name for trial in studies[0].trials]


@pytest.mark.parametrize(("epoch", "complete"), [(2, False), (3, True)])
def test_a_trial_pruned_at_its_last_epoch_is_complete(
    monkeypatch: pytest.MonkeyPatch, epoch: int, complete: bool
) -> None:
    results, states = states_of_optuna(monkeypatch, pruner=Pruner(epoch))
    assert [(trial.complete, trial.epochs) for trial in results] == [(complete, epoch + 1)] * 6
    assert states == ["COMPLETE" if complete else "PRUNED"] * 6


def test_optuna_learns_once_what_halving_gives_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    given = {"sampler": "tpe", "pruner": "halving", "max_trials": 9, "epochs": 9, "file": file}
    results, states = states_of_optuna(monkeypatch, **given)
    assert [trial.complete for trial in results] == [state == "COMPLETE" for state in states]
    assert sorted(states) == ["COMPLETE"] + ["PRUNED"] * 8
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:6]) + "\n")  # as if killed in the first rung
    resumed, states = states_of_optuna(monkeypatch, **given)
    assert sorted(states) == ["COMPLETE"] + ["PRUNED"] * 8
    assert len(resumed) == 9


def test_a_message_says_what_installs_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match="pip install optuna"):
        search(sampler="tpe")


def test_callbacks_and_own_rows() -> None:
    stopping = callbacks.EarlyStopping("loss", patience=0, min_delta=10.0)
    rows, held_out = np.arange(80), np.arange(80, 120)
    results = search(
        callbacks=[stopping],
        epochs=9,
        rows=rows,
        validation_rows=held_out,
        validation_split=0.0,
        max_trials=3,
        batch_size=16,
    )
    assert [trial.epochs for trial in results] == [2, 2, 2]
    assert all(trial.complete for trial in results)
    keras.utils.set_random_seed(results[0].seed)
    model = build(results.hyperparameters(results[0]))
    history = model.fit(
        X[:80],
        Y[:80],
        batch_size=16,
        epochs=9,
        validation_data=(X[80:], Y[80:]),
        callbacks=[callbacks.EarlyStopping("loss", patience=0, min_delta=10.0)],
        verbose=0,
    ).history
    assert results[0].history == history


def fails_for_tanh(hp: HyperParameters) -> keras.Model:
    if hp.Choice("activation", ["relu", "tanh"]) == "tanh":
        raise KeyError("no tanh")
    return build(hp)


def test_trials_that_fail() -> None:
    with pytest.warns(UserWarning, match=r"\d of 8 models failed"):
        results = keras.tune(fails_for_tanh, X, Y, max_trials=8, epochs=1, seed=1, verbose=0)
    failed = [trial for trial in results if trial.error is not None]
    assert 0 < len(failed) < 8
    assert all(trial.values["activation"] == "tanh" and math.isnan(trial.score) for trial in failed)
    assert "no tanh" in str(failed[0].error)
    assert results.best.values["activation"] == "relu"

    def never(hp: HyperParameters) -> keras.Model:
        if hp.Boolean("flag") or hp._choose is not None:
            raise KeyError("never")
        return build(hp)

    with pytest.raises(KeyError, match="never"):
        keras.tune(never, X, Y, max_trials=3, epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_trials": 0}, ValueError, "`max_trials` must be"),
        ({"epochs": 0}, ValueError, "`epochs` must be"),
        (
            {"sampler": "best"},
            ValueError,
            "`sampler` must be 'random', 'grid', 'tpe', 'cmaes', 'gp', or a sampler of Optuna",
        ),
        ({"pruner": "median"}, ValueError, "`pruner` must be one of 'halving', 'hyperband'"),
        ({"factor": 1}, ValueError, "`factor` must be"),
        (
            {"objective": "val_auc"},
            ValueError,
            "it is not known whether more or less of `objective` 'val_auc' is better",
        ),
        ({"direction": "up"}, ValueError, "`direction` must be one of"),
        ({"seed": -1}, ValueError, "`seed` must be"),
        ({"keep_models": 0}, ValueError, "`keep_models` must be"),
        ({"batchsize": 3}, TypeError, r"tune\(\) has no argument 'batchsize'; did you mean 'batch_size'"),
        ({"verbose": 7}, ValueError, "`verbose` must be"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(**arguments)


def test_wrong_functions() -> None:
    with pytest.raises(TypeError, match="`build` must return a model, got None"):
        keras.tune(lambda hp: None, X, Y, verbose=0)  # type: ignore[arg-type, return-value]
    with pytest.raises(
        ValueError, match=r"`build` must return a compiled model: call model.compile\(...\) in"
    ):
        keras.tune(lambda hp: keras.Sequential([layers.Dense(1)]), X, Y, verbose=0)


# Files


@pytest.mark.parametrize("pruner", [None, "halving", "hyperband"])
def test_a_search_goes_on_after_each_line_of_its_file(pruner: str | None, tmp_path: Path) -> None:
    arguments = {"pruner": pruner, "max_trials": 9, "epochs": 9}
    keras.config.set_threads(1)  # lines in the order of the trials
    try:
        whole = search(file=tmp_path / "whole.jsonl", **arguments)
        lines = (tmp_path / "whole.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        for kept in (1, 4, len(lines) - 1, len(lines)):
            file = tmp_path / f"{kept}.jsonl"
            file.write_text("".join(lines[:kept]) + '{"trial": {"numb', encoding="utf-8")
            again = search(file=file, **arguments)
            assert [(t.values, t.stages, t.history, t.complete) for t in again] == [
                (t.values, t.stages, t.history, t.complete) for t in whole
            ]
            for ours, theirs in zip(
                again.best_model.get_weights(), whole.best_model.get_weights(), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)
    finally:
        keras.config.set_threads(None)


def test_a_file_takes_more_trials(tmp_path: Path) -> None:
    first = search(file=tmp_path / "a.jsonl", seed=None, max_trials=3)
    more = search(file=tmp_path / "a.jsonl", seed=None, max_trials=5)
    assert [trial.history for trial in more][:3] == [trial.history for trial in first]
    assert len(more) == 5
    assert search(file=tmp_path / "a.jsonl", seed=None, max_trials=2).best.number == more.best.number
    optuna = pytest.importorskip("optuna")
    for most in (4, 8):
        found = search(file=tmp_path / "b.jsonl", sampler=optuna.samplers.TPESampler(seed=1), max_trials=most)
        assert len(found) == most


def test_failures_are_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    with pytest.warns(UserWarning, match="failed"):
        keras.tune(fails_for_tanh, X, Y, max_trials=8, epochs=1, seed=1, file=file, verbose=0)
    again = keras.tune(build, X, Y, max_trials=8, epochs=1, seed=1, file=file, verbose=0)
    assert all(trial.error is None for trial in again)
    with pytest.raises(ValueError, match="is of a search with data="):
        keras.tune(build, X * 2, Y, max_trials=8, epochs=1, seed=1, file=file, verbose=0)


def test_a_failed_search_does_not_spoil_its_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 4\)"):
        keras.tune(build, X[:, :2], Y, max_trials=3, epochs=1, file=tmp_path / "a.jsonl", verbose=0)
    for most in (3, 5):
        results = keras.tune(build, X, Y, max_trials=most, epochs=1, file=tmp_path / "a.jsonl", verbose=0)
        assert [trial.error for trial in results] == [None] * most


def test_equal_values_of_a_choice_count_once() -> None:
    def asked(hp: HyperParameters) -> keras.Model:
        hp.Choice("a", [1, np.int64(1), 2])
        return build(HyperParameters())

    results = keras.tune(asked, X, Y, max_trials=9, epochs=1, sampler="grid", verbose=0)
    assert [trial.values for trial in results] == [{"a": 1}, {"a": 2}]


def test_files_of_other_searches_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    search(file=file)
    before = file.read_bytes()
    with pytest.raises(
        ValueError, match=r"is of a search with epochs=4, not 5: pass another `file`, or the same `epochs`"
    ):
        search(file=file, epochs=5)
    with pytest.raises(ValueError, match="is of a search with seed=5, not 6"):
        search(file=file, seed=6)
    assert file.read_bytes() == before
    for text in ("{}\n", "x\n", '{"search": 3}\n', '{"search": {"seed": 1}}\n{"trial": 3}\n', "no line"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"a.jsonl is no file of a search"):
            search(file=file)
        assert file.read_text(encoding="utf-8") == text


KILLED = """
import os, sys
import numpy as np
sys.path.insert(0, {tests!r})
import test_tuning
from engine import callbacks
class Kill(callbacks.Callback):
    def on_train_begin(self, logs=None):
        with open({file!r}) as file:
            if len(file.readlines()) > 4:
                os.kill(os.getpid(), 9)
test_tuning.search(file={file!r}, max_trials=30, callbacks=[Kill()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_search_goes_on_after_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    code = KILLED.format(tests=str(Path(__file__).parent), file=str(file))
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    done = len(file.read_text(encoding="utf-8").splitlines()) - 1
    assert 4 <= done < 30
    results = search(file=file, max_trials=30)
    assert [trial.history for trial in results] == [trial.history for trial in search(max_trials=30)]


def test_an_interrupt_keeps_the_trials_that_ended(tmp_path: Path) -> None:
    begun = list[int]()

    class Interrupt(callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            begun.append(epoch)
            if len(begun) == 20:
                os.kill(os.getpid(), signal.SIGINT)

    keras.config.set_threads(1)
    try:
        with pytest.raises(
            TuneInterrupt, match=r"interrupted after \d of 100 trials: `results` of this exception"
        ) as caught:
            search(file=tmp_path / "a.jsonl", max_trials=100, callbacks=[Interrupt()])
    finally:
        keras.config.set_threads(None)
    results = caught.value.results
    assert 3 <= len(results) < 100
    assert results.best_model is not None
    entries = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(entries) == len(results) + 1


# Results


def test_table_and_importances() -> None:
    pandas = pytest.importorskip("pandas")
    results = search(max_trials=40, epochs=6, objective="val_loss")
    frame = results.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["val_loss"]) == [trial.score for trial in results]
    assert frame.index.name == "trial"
    found = results.importances()
    assert set(found) == set(frame.columns) - {"val_loss", "epochs", "complete", "seconds", "seed", "error"}
    assert all(0 <= value <= 1 for value in found.values())
    assert next(iter(found)) == "learning_rate"
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_planted_importances() -> None:
    from engine.tuning.results import TuneResults
    from engine.tuning.trials import Trial

    rng = np.random.default_rng(1)
    trials = []
    for number in range(300):
        values = {"strong": float(rng.random()), "weak": str(rng.integers(3)), "none": bool(rng.integers(2))}
        score = 3 * values["strong"] + 0.5 * int(values["weak"]) + 0.1 * rng.normal()
        trials.append(Trial(number, values, score=score, stages=[1], complete=True))
    found = TuneResults(trials, "loss", False, {}, lambda trial: None).importances()
    assert list(found) == ["strong", "weak", "none"]
    assert found["strong"] > 0.7
    assert 0.02 < found["weak"] < 0.4
    assert found["none"] < 0.02


def test_pictures() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    results = search(max_trials=12)
    bars = results.plot_importances()
    assert [text.get_text() for text in bars.get_yticklabels()] == list(results.importances())[::-1]
    curves = results.plot_curves()
    assert len(curves.lines) == 12
    np.testing.assert_array_equal(curves.lines[-1].get_ydata(), results.best.history["val_loss"])
    lines = results.plot_parallel()
    names = [text.get_text() for text in lines.get_xticklabels()]
    assert set(names) == {name for trial in results for name in trial.values}
    from engine import plots

    empty = search(max_trials=1)
    empty._trials[0].score = math.nan
    with pytest.raises(ValueError, match="none of 1 trial has a score of 'val_loss'"):
        plots.importances(empty)


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    search(verbose=2, pruner="halving", max_trials=9, epochs=9)
    shown = capsys.readouterr().out
    assert "9 trials until epoch 1\n9/9 - " in shown
    assert "1 trial until epoch 9\n1/1 - " in shown
    assert "best val_loss: " in shown
