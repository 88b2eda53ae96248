"""Tests of callbacks that monitor a metric, the learning rate or the loss."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights

from engine import optimizers
from engine.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    SwapEMAWeights,
    TerminateOnNaN,
)
from engine.callbacks.base import Logs


class Script(Callback):
    """Writes given numbers into the logs as `score`."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        logs["score"] = self.scores[epoch]


def run(blobs: Blobs, *callbacks: Callback, epochs: int, **options: Any) -> Any:
    model = classifier(optimizer=optimizers.SGD(0.5))
    model.fit(
        blobs.x,
        blobs.y,
        epochs=epochs,
        callbacks=list(callbacks),
        **({"verbose": 0, "batch_size": 150} | options),
    )
    return model


def test_early_stopping_waits_and_restores(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    saved: list[Any] = []
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: saved.append(stop.model.get_weights()))
    stop = EarlyStopping("score", patience=2, mode="max", restore_best_weights=True, verbose=1)
    model = run(blobs, Script(1, 3, 2, 3, 9), keep, stop, epochs=5)
    assert model.history.epoch == [0, 1, 2, 3]
    assert (stop.stopped_epoch, stop.best_epoch, stop.best) == (3, 1, 3)
    assert all(np.array_equal(a, b) for a, b in zip(saved[1], model.get_weights(), strict=True))
    assert capsys.readouterr().out == (
        "Epoch 4: early stopping\nRestoring model weights from the end of the best epoch: 2.\n"
    )
    model.fit(blobs.x, blobs.y, epochs=2, callbacks=[Script(0, 0), stop], verbose=0)
    assert (stop.stopped_epoch, stop.best) == (0, 0)


@pytest.mark.parametrize(
    ("options", "scores", "epochs"),
    [
        ({"mode": "min"}, (3, 2, 2, 1), 3),
        ({"mode": "min", "min_delta": 1}, (3, 2.5, 1), 2),
        ({"mode": "min", "min_delta": -1}, (3, 2.5, 1), 2),
        ({"mode": "max"}, (5, 4), 2),
        ({"mode": "max", "start_from_epoch": 2}, (5, 4, 3, 2, 1), 4),
        ({"mode": "max", "baseline": 10, "patience": 3}, (1, 2, 3, 2, 5), 4),
        ({"mode": "max", "baseline": 3, "patience": 3}, (1, 2, 4, 2, 5), 5),
        ({"mode": "min"}, (np.nan, np.nan, 1), 2),
    ],
)
def test_when_early_stopping_stops(
    options: dict[str, Any], scores: tuple[float, ...], epochs: int, blobs: Blobs
) -> None:
    stop = EarlyStopping("score", **options)
    assert len(run(blobs, Script(*scores), stop, epochs=len(scores)).history.epoch) == epochs


def test_which_way_is_better_is_asked(blobs: Blobs) -> None:
    stop = EarlyStopping("val_accuracy")
    down = EarlyStopping("loss", patience=99)
    stop.model = down.model = classifier()
    assert stop._improved(2, 1)
    assert down._improved(1, 2)
    assert not stop._improved(1, 1)
    with pytest.raises(ValueError, match="can't tell whether more or less of `monitor`='score' is better"):
        run(blobs, Script(1, 2), EarlyStopping("score"), epochs=2)


def test_a_number_that_is_missing_is_warned_of(blobs: Blobs) -> None:
    with pytest.warns(UserWarning, match="`val_loss` .*not available. Available .* accuracy,loss"):
        run(blobs, EarlyStopping(), epochs=1)
    with pytest.warns(UserWarning, match="Learning rate reduction is conditioned on metric `val_loss`"):
        run(blobs, ReduceLROnPlateau(), epochs=1)


def test_plateaus_reduce_the_learning_rate(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    reduce = ReduceLROnPlateau("score", 0.5, 1, verbose=1, mode="max", cooldown=2, min_lr=0.2)
    model = run(blobs, Script(1, 1, 1, 1, 1), reduce, epochs=5)
    assert model.history.history["learning_rate"] == [0.5, 0.5, 0.25, 0.25, float(np.float32(0.2))]
    assert list(model.history.history)[-1] == "learning_rate"
    assert capsys.readouterr().out == (
        "\nEpoch 2: ReduceLROnPlateau reducing learning rate to 0.25.\n"
        "\nEpoch 4: ReduceLROnPlateau reducing learning rate to 0.2.\n"
    )


@pytest.mark.parametrize(
    "schedule", [lambda epoch: 0.5 / (epoch + 1), lambda epoch, rate: rate / (1 + (epoch > 0))]
)
def test_a_schedule_sets_the_learning_rate(
    schedule: Any, blobs: Blobs, capsys: pytest.CaptureFixture[str]
) -> None:
    model = run(blobs, LearningRateScheduler(schedule, verbose=1), epochs=2)
    assert model.history.history["learning_rate"] == [0.5, 0.25]
    assert model.optimizer.learning_rate == 0.25
    assert capsys.readouterr().out == (
        "\nEpoch 1: LearningRateScheduler setting learning rate to 0.5.\n"
        "\nEpoch 2: LearningRateScheduler setting learning rate to 0.25.\n"
    )


def test_an_error_of_a_schedule_is_its_own(blobs: Blobs) -> None:
    def schedule(epoch: int, rate: float) -> float:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        run(blobs, LearningRateScheduler(schedule), epochs=1)
    with pytest.raises(ValueError, match=r"`schedule` .* should be a float, got None for epoch 0"):
        run(blobs, LearningRateScheduler(lambda epoch: None), epochs=1)
    with pytest.raises(ValueError, match="`learning_rate` must be"):
        run(blobs, LearningRateScheduler(lambda epoch: -1.0), epochs=1)


def test_training_ends_when_the_loss_is_lost(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    def lose(batch: int, logs: Logs) -> None:
        if batch == 2:
            logs["loss"] = float("nan")

    model = run(blobs, LambdaCallback(on_train_batch_end=lose), TerminateOnNaN(), epochs=3, batch_size=32)
    assert (model.history.epoch, model.optimizer.iterations) == ([0], 3)
    assert capsys.readouterr().out == "Batch 2: Invalid loss, terminating training\n"
    with pytest.raises(RuntimeError, match=r"NaN or Inf loss .* nan after batch 2.* learning rate"):
        run(
            blobs,
            LambdaCallback(on_train_batch_end=lose),
            TerminateOnNaN(raise_error=True),
            epochs=3,
            batch_size=32,
        )


def test_csv_logger(blobs: Blobs, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    logger = CSVLogger(file, separator=";")
    run(blobs, Script(0.5, 1), logger, epochs=2)
    head, first, second = file.read_bytes().decode().split("\r\n")[:3]
    assert head == "epoch;accuracy;loss;score;val_accuracy;val_loss;val_score"
    assert first.startswith("0;0.")
    assert second.endswith(";1;NA;NA;NA")
    run(blobs, Script(1, 2), CSVLogger(str(file), ";", append=True), epochs=2, validation_split=0.1)
    assert len(file.read_text(encoding="utf-8").splitlines()) == 5
    run(blobs, Script(1), CSVLogger(file), epochs=1, validation_split=0.1)
    assert (
        file.read_text(encoding="utf-8").splitlines()[0] == "epoch,accuracy,loss,score,val_accuracy,val_loss"
    )


def test_lists_in_a_csv_log(blobs: Blobs, tmp_path: Path) -> None:
    def add(epoch: int, logs: Any) -> None:
        logs |= {"list": [1, 2], "text": "abc", "scalar": np.array(3.0)}

    run(blobs, LambdaCallback(on_epoch_end=add), CSVLogger(tmp_path / "log"), epochs=1, validation_split=0.1)
    assert '"""[1, 2]""",' in (tmp_path / "log").read_text(encoding="utf-8")


def test_watching_does_not_change_training(blobs: Blobs) -> None:
    import engine as keras

    models = []
    for callbacks in ((), (EarlyStopping("loss"), ReduceLROnPlateau("loss"), TerminateOnNaN())):
        keras.utils.set_random_seed(3)
        models.append(run(blobs, *callbacks, epochs=3))
    assert same_weights(*models)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(3), "`monitor` must be a name in the logs, such as 'val_loss', got 3"),
        (lambda: EarlyStopping(patience=1.5), "`patience` must be an integer, got 1.5"),
        (lambda: EarlyStopping(min_delta="0"), "`min_delta` must be a number, got '0'"),
        (lambda: EarlyStopping(verbose=3), "`verbose` must be one of"),
        (lambda: EarlyStopping(baseline="x"), "`baseline` must be a number"),
        (lambda: EarlyStopping(restore_best_weights=2), "`restore_best_weights` must be True or False"),
        (lambda: EarlyStopping(start_from_epoch=-1), "`start_from_epoch` must be at least 0"),
        (lambda: ReduceLROnPlateau(factor=1.0), "`factor` must be less than 1, got 1.0"),
        (lambda: ReduceLROnPlateau(min_lr=-1), "`min_lr` must be a finite number of at least 0"),
        (lambda: ReduceLROnPlateau(cooldown=None), "`cooldown` must be an integer, got None"),
        (lambda: LearningRateScheduler(0.1), "`schedule` must be a function of"),
        (lambda: CSVLogger(None), "`filename` must be a path, got None"),
        (lambda: CSVLogger("x", ", "), "`separator` must be one character, got ', '"),
        (lambda: CSVLogger("x", append="yes"), "`append` must be True or False"),
        (lambda: TerminateOnNaN("yes"), "`raise_error` must be True or False"),
        (lambda: SwapEMAWeights("yes"), "`swap_on_epoch` must be True or False"),
    ],
)
def test_arguments(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_running_means_take_the_place_of_weights_for_a_while(blobs: Blobs) -> None:
    model = classifier(optimizer=optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9))
    swap = SwapEMAWeights()
    before = model.predict(blobs.x, callbacks=[swap])
    assert np.array_equal(before, model.predict(blobs.x))  # without a step there are no averages
    for begin in range(0, 150, 50):
        model.train_on_batch(blobs.x[begin : begin + 50], blobs.y[begin : begin + 50])
    weights = model.get_weights()
    outputs = model.predict(blobs.x)
    means = model.predict(blobs.x, callbacks=[swap])
    assert not np.array_equal(means, outputs)
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    with pytest.raises(ZeroDivisionError):
        model.fit(blobs.x, blobs.y, callbacks=[swap, LambdaCallback(on_test_begin=lambda logs: 1 / 0)],
                  validation_split=0.1, verbose=0)  # fmt: skip
    model.fit(blobs.x, blobs.y, callbacks=[swap], validation_split=0.1, verbose=0)
    assert np.isfinite(model.predict(blobs.x)).all()
    with pytest.raises(ValueError, match=r"make it with SGD\(use_ema=True\)"):
        run(blobs, SwapEMAWeights(), epochs=1, validation_split=0.1)


@pytest.mark.parametrize("make", [EarlyStopping, ReduceLROnPlateau, partial(ModelCheckpoint, "m.keras")])
def test_an_unknown_mode_is_decided_by_the_name_of_the_metric(make: Any) -> None:
    with pytest.warns(UserWarning, match=r"mode 'up' is unknown, fallback to auto .*'min' or 'max'"):
        assert make(mode="up").mode == "auto"


def test_early_stopping_of_what_is_no_model() -> None:
    class Own:
        stop_training = False

    for monitor, values in (("val_loss", (1.0, 2.0)), ("accuracy", (0.5, 0.25))):
        callback = EarlyStopping(monitor, patience=1)
        model = Own()
        callback.set_model(model)
        callback.on_train_begin()
        for epoch, value in enumerate(values):
            callback.on_epoch_end(epoch, {monitor: value})
        assert model.stop_training
