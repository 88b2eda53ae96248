"""Tests of callbacks: when hooks are called, their arguments, and what they may do."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from common import OwnStepOfChain, compiled
from conftest import Blobs, classifier, same_weights

import engine as keras
from engine.callbacks import Callback, History, LambdaCallback
from engine.callbacks.base import Logs


class Recorder(Callback):
    """Records the hooks of epochs, and those of batches if it has any."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.logs: list[Logs] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.calls.append("train")

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.calls.append("trained")

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.calls.append(f"epoch {epoch}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.calls.append(f"epoch {epoch} over")
        self.logs.append(dict(logs or {}))

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self.calls.append("test")

    def on_test_end(self, logs: Logs | None = None) -> None:
        self.calls.append("tested")

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self.calls.append("predict")

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self.calls.append("predicted")


class BatchRecorder(Recorder):
    """Records all hooks."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.calls.append(f"batch {batch}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.calls.append(f"batch {batch} over")
        self.logs.append(dict(logs or {}))

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.calls.append(f"test batch {batch} over")

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.calls.append(f"predict batch {batch} over {logs['outputs'].shape}")


def test_order_of_hooks(blobs: Blobs) -> None:
    recorder, model = Recorder(), classifier()
    model.fit(blobs.x, blobs.y, epochs=2, validation_split=0.5, callbacks=[recorder], verbose=0)
    model.evaluate(blobs.x, blobs.y, callbacks=[recorder])
    model.predict(blobs.x, callbacks=recorder)
    epochs = [call for n in (0, 1) for call in (f"epoch {n}", "test", "tested", f"epoch {n} over")]
    assert recorder.calls == ["train", *epochs, "trained", "test", "tested", "predict", "predicted"]
    assert list(recorder.logs[0]) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert recorder.model is model


def test_order_of_batch_hooks(blobs: Blobs) -> None:
    recorder, model = BatchRecorder(), classifier()
    model.fit(blobs.x, blobs.y, batch_size=75, validation_split=0.4, callbacks=[recorder], verbose=0)
    model.predict(blobs.x, batch_size=100, callbacks=[recorder])
    assert recorder.calls == [
        "train", "epoch 0", "batch 0", "batch 0 over", "batch 1", "batch 1 over",
        "test", "test batch 0 over", "tested", "epoch 0 over", "trained",
        "predict", "predict batch 0 over (100, 3)", "predict batch 1 over (50, 3)", "predicted",
    ]  # fmt: skip


def test_batch_hooks_do_not_change_training(blobs: Blobs) -> None:
    recorder = BatchRecorder()
    keras.utils.set_random_seed(2)
    watched = classifier()
    watched.fit(blobs.x, blobs.y, epochs=2, callbacks=[recorder], verbose=0)
    keras.utils.set_random_seed(2)
    alone = classifier()
    history = alone.fit(blobs.x, blobs.y, epochs=2, verbose=0)
    assert same_weights(watched, alone)
    assert watched.history.history == history.history
    # The logs of a batch are the means since the epoch began
    assert (
        recorder.logs[4] == recorder.logs[5] == {name: values[0] for name, values in history.history.items()}
    )
    assert recorder.logs[0] != recorder.logs[1]


def test_stop_training_after_an_epoch(blobs: Blobs) -> None:
    class Stop(Callback):
        def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
            self.model.stop_training = epoch == 1

    model = classifier()
    assert model.fit(blobs.x, blobs.y, epochs=9, callbacks=[Stop()], verbose=0).epoch == [0, 1]
    assert model.fit(blobs.x, blobs.y, epochs=1, verbose=0).epoch == [0]


def test_stop_training_after_a_batch(blobs: Blobs) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
            self.model.stop_training = batch == 1

    model = classifier()
    history = model.fit(blobs.x, blobs.y, epochs=9, validation_split=0.1, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0]
    assert len(history.history["val_loss"]) == 1
    assert model.optimizer.iterations == 2


def test_logs_may_be_added_to(blobs: Blobs) -> None:
    def add(epoch: int, logs: Logs) -> None:
        logs["extra"] = float(epoch)

    history = classifier().fit(
        blobs.x, blobs.y, epochs=2, callbacks=[LambdaCallback(on_epoch_end=add)], verbose=0
    )
    assert history.history["extra"] == [0.0, 1.0]


def test_ones_own_history_is_used(blobs: Blobs) -> None:
    mine, model = History(), classifier()
    assert model.fit(blobs.x, blobs.y, callbacks=[mine], verbose=0) is mine
    assert model.history is mine
    model.fit(blobs.x, blobs.y, epochs=2, initial_epoch=1, callbacks=[mine], verbose=0)
    assert mine.epoch == [1]
    assert len(mine.history["loss"]) == 2


def test_params_and_old_batch_hooks(blobs: Blobs) -> None:
    class Old(Callback):
        seen = 0

        def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
            self.seen += 1

    old = Old()
    classifier().fit(blobs.x, blobs.y, epochs=2, callbacks=[old], verbose=0)
    assert (old.seen, old.params) == (10, {"verbose": 0, "epochs": 2, "steps": 5})
    classifier().fit(blobs.x, blobs.y, batch_size=32, steps_per_epoch=2, callbacks=[old], verbose=0)
    assert (old.seen, old.params) == (12, {"verbose": 0, "epochs": 1, "steps": 2})


def test_learning_rate_assigned_in_a_hook_counts_from_the_next_step(blobs: Blobs) -> None:
    snapshots: list[np.ndarray[Any, Any]] = []
    model = classifier(optimizer=keras.optimizers.SGD(0.1))
    optimizer = model.optimizer

    def freeze_after(batch: int, logs: Logs) -> None:
        snapshots.append(model.get_weights()[0])
        if batch == 1:
            optimizer.learning_rate = 0.0

    model.fit(blobs.x, blobs.y, callbacks=[LambdaCallback(on_train_batch_end=freeze_after)], verbose=0)
    changes = [not np.array_equal(a, b) for a, b in pairwise(snapshots)]
    assert changes == [True, False, False, False]

    def halve(epoch: int, logs: Logs) -> None:
        optimizer.learning_rate = optimizer.learning_rate / 2

    optimizer.learning_rate = 0.1
    model.fit(blobs.x, blobs.y, epochs=3, callbacks=[LambdaCallback(on_epoch_begin=halve)], verbose=0)
    assert optimizer.learning_rate == 0.1 / 8


def test_hooks_may_use_the_model(blobs: Blobs) -> None:
    seen: list[tuple[float, float]] = []
    model = classifier()

    def compare(epoch: int, logs: Logs) -> None:
        model.set_weights([0 * array for array in model.get_weights()])
        seen.append((model.evaluate(blobs.x, blobs.y)[0], float(model.predict(blobs.x).std())))

    model.fit(blobs.x, blobs.y, callbacks=[LambdaCallback(on_epoch_end=compare)], verbose=0)
    assert seen == [(pytest.approx(np.log(3)), pytest.approx(0, abs=1e-6))]


HOOKS = [
    "on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_test_begin",
    "on_test_batch_begin", "on_test_batch_end", "on_test_end", "on_epoch_end", "on_train_end",
]  # fmt: skip


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_leaves_a_usable_model(hook: str, error: type[BaseException], blobs: Blobs) -> None:
    def fail(*_: object) -> None:
        raise error

    model = classifier()
    with pytest.raises(error):
        model.fit(
            blobs.x, blobs.y, validation_split=0.2, callbacks=[LambdaCallback(**{hook: fail})], verbose=0
        )
    expected = {"on_train_begin": 0, "on_epoch_begin": 0, "on_train_batch_begin": 0, "on_train_batch_end": 1}
    assert model.optimizer.iterations == expected.get(hook, 4)
    assert np.isfinite(model.predict(blobs.x)).all()
    model.fit(blobs.x, blobs.y, verbose=0)
    model.add(keras.layers.Activation("linear"))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_keeps_the_history_of_epochs_that_ended(
    error: type[BaseException], blobs: Blobs
) -> None:
    def fail(epoch: int, logs: Logs | None = None) -> None:
        if epoch == 2:
            raise error

    model = classifier()
    with pytest.raises(error):
        model.fit(blobs.x, blobs.y, epochs=4, callbacks=[LambdaCallback(on_epoch_begin=fail)], verbose=0)
    assert model.history.epoch == [0, 1]
    assert len(model.history.history["loss"]) == len(model.history.epoch)


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ([1], r"`callbacks` must hold objects of engine\.callbacks\.Callback, got 1"),
        ([History], r"History'>; make an object of it: add \(\)"),
        ("early", "`callbacks` must hold objects"),
    ],
)
def test_callbacks_must_be_callbacks(callbacks: object, message: str, blobs: Blobs) -> None:
    with pytest.raises(TypeError, match=message):
        classifier().fit(blobs.x, blobs.y, callbacks=callbacks)


def test_lambda_callback_takes_hooks_alone() -> None:
    with pytest.raises(TypeError, match="no hook `on_epoch_ends`; did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="`on_epoch_end` must be a function, got 1"):
        LambdaCallback(on_epoch_end=1)
    LambdaCallback(on_epoch_end=None).on_epoch_end(0)


def test_lambda_callback_takes_the_common_hooks_in_keras_order(blobs: Blobs) -> None:
    seen: list[int] = []
    began = LambdaCallback(lambda epoch, logs: seen.append(epoch), lambda epoch, logs: seen.append(-1))
    classifier().fit(blobs.x, blobs.y, epochs=2, callbacks=[began], verbose=0)
    assert seen == [0, -1, 1, -1]


class Change(Callback):
    """Changes an array in place at the hook of an epoch."""

    def __init__(self, hook: str, array: Any, function: Any) -> None:
        self._array, self._function = array, function
        setattr(self, hook, self.change)

    def change(self, epoch: int, logs: Any = None) -> None:
        self._array[:] = self._function(self._array)


def mostly_zero(dtype: str) -> Any:
    """Rows of which the core keeps records of what is not zero."""
    rng = np.random.default_rng(0)
    return (rng.integers(1, 9, (512, 100)) * (rng.random((512, 100)) < 0.1)).astype(dtype)


def network(loss: str = "mse") -> keras.Sequential:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(64), keras.layers.Dense(1)])
    return compiled(model, keras.optimizers.SGD(1e-5), loss)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_each_epoch_reads_the_data_as_they_are_then(dtype: str, hook: str) -> None:
    x, y = mostly_zero(dtype), np.random.default_rng(1).random((512, 1)).astype(np.float32)
    model, stepwise = network(), network()
    options: dict[str, Any] = {"batch_size": 64, "shuffle": False, "verbose": 0}
    changes = [3, 9, 27] if hook == "on_epoch_begin" else [1, 3, 9]
    for factor in changes:
        stepwise.fit(x * np.asarray(factor, dtype), y, **options)
    model.fit(x, y, epochs=3, callbacks=[Change(hook, x, lambda each: each * 3)], **options)
    assert same_weights(model, stepwise)


def test_an_epoch_goes_on_in_a_pass_with_the_data_as_they_are_then() -> None:
    x, y = mostly_zero("float32"), np.random.default_rng(1).random((512, 1)).astype(np.float32)
    model, stepwise = network(), network()
    options: dict[str, Any] = {"batch_size": 64, "shuffle": False, "verbose": 0}
    for rows, factor in ((slice(0, 256), 1), (slice(256, 512), 2)):
        stepwise.fit(x[rows] * np.float32(factor), y[rows], **options)
    model.fit(
        x,
        y,
        epochs=2,
        steps_per_epoch=4,
        callbacks=[LambdaCallback(on_epoch_end=Change("_", x, lambda each: each * 2).change)],
        **options,
    )
    assert same_weights(model, stepwise)


def test_targets_and_validation_data_may_change_between_epochs() -> None:
    """Hinge losses read targets of 0 and 1 as -1 and 1, which is found out for all of them."""
    x, y = mostly_zero("float32"), np.random.default_rng(1).integers(0, 2, (512, 1)).astype(np.float32)
    model, stepwise = network("hinge"), network("hinge")
    options: dict[str, Any] = {"batch_size": 64, "shuffle": False, "verbose": 0}
    wanted = [stepwise.fit(x, each, validation_data=(x, each), **options).history for each in (y, 2 * y - 1)]
    found = model.fit(
        x,
        y,
        epochs=2,
        validation_data=(x, y),
        callbacks=[Change("on_epoch_end", y, lambda each: 2 * each - 1)],
        **options,
    ).history
    assert same_weights(model, stepwise)
    assert found == {name: [each[name][0] for each in wanted] for name in ("loss", "val_loss")}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_steps_of_a_class_read_labels_as_they_are_then(dtype: str, eager: bool) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    y = (np.arange(60) % 3).astype(dtype)

    def made() -> keras.Sequential:
        keras.utils.set_random_seed(0)
        model = OwnStepOfChain([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
        return compiled(model, "sgd", "sparse_categorical_crossentropy", run_eagerly=eager)

    model, stepwise = made(), made()
    for number in range(3):
        stepwise.fit(x, (y + number) % 3, shuffle=False, verbose=0)
    change = Change("on_epoch_end", y, lambda each: (each + 1) % 3)
    model.fit(x, y, epochs=3, shuffle=False, verbose=0, callbacks=[change])
    assert same_weights(model, stepwise)


def test_callbacks_of_the_library_run_no_code_of_users() -> None:
    class Own(keras.callbacks.EarlyStopping):
        pass

    def runs(*callbacks: Callback) -> bool:
        return keras.callbacks.CallbackList(callbacks, add_history=True).run_code_of_users

    assert not runs(keras.callbacks.EarlyStopping(), keras.callbacks.TerminateOnNaN())
    assert runs(keras.callbacks.LearningRateScheduler(lambda epoch: 0.1))
    assert runs(History(), Own())
    assert runs(LambdaCallback())
