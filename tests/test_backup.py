"""A training that is killed repeatedly and restored ends with the same bits as one that is not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backup_worker import CASES, EPOCHS, Slow, data, digest, network
from common import CrashError, Crashing
from conftest import Blobs, classifier, same_weights

import engine as keras
from engine.callbacks import BackupAndRestore, Callback, EarlyStopping, LambdaCallback

WORKER = Path(__file__).with_name("backup_worker.py")


@pytest.mark.parametrize("name", CASES)
def test_crashes_change_no_bit(name: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "backup")
    expected, whole = digest(name, None, [])
    batches = iter([3, 11, 12, 2, 9, 1, 14])
    for _ in range(20):
        left = next(batches, 10**9)
        try:
            found, history = digest(name, folder, [Crashing(left)])
        except CrashError:
            continue
        break
    assert found == expected
    assert not (tmp_path / "backup").exists()
    for key, values in history.history.items():
        assert np.array_equal(values, whole.history[key][-len(values) :]), key
    assert history.epoch == whole.epoch[-len(history.epoch) :]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["epochs", "batches", "generator"])
def test_sigkill_changes_no_bit(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    expected, _ = digest(name, None, [Slow()])
    for kills in range(30):
        command = [sys.executable, str(WORKER), name, str(tmp_path / "backup")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            # Processes are killed at random moments until one completes the training.
            output, _ = process.communicate(timeout=rng.uniform(0.0, 0.15) if kills < 8 else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            continue
        assert process.returncode == 0
        break
    assert output.strip() == expected


def test_what_is_told(tmp_path: Path, blobs: Blobs) -> None:
    told: list[int] = []
    tell = LambdaCallback(on_epoch_begin=lambda epoch, logs: told.append(epoch))
    for crash in (8, 8, 10**6):
        model = classifier()
        try:
            history = model.fit(
                blobs.x,
                blobs.y,
                epochs=4,
                verbose=0,
                callbacks=[BackupAndRestore(tmp_path / "b"), tell, Crashing(crash)],
            )
        except CrashError:
            assert [file.name for file in (tmp_path / "b").iterdir()] == ["latest.npz"]
    assert told == [0, 1, 1, 2, 2, 3]
    assert history.epoch == [2, 3]
    assert len(history.history["loss"]) == 2


def test_a_training_that_is_over_stays_over(tmp_path: Path, blobs: Blobs) -> None:
    def train(folder: Path, *extra: Callback) -> keras.Sequential:
        keras.utils.set_random_seed(3)
        model = classifier()
        backup = BackupAndRestore(folder, delete_checkpoint=False)
        stop = EarlyStopping("loss", min_delta=10.0, patience=1, restore_best_weights=True)
        model.fit(blobs.x, blobs.y, epochs=9, verbose=0, callbacks=[backup, stop, *extra])
        return model

    def fail(logs: Any) -> None:
        raise CrashError

    whole = train(tmp_path / "a")
    with pytest.raises(CrashError):  # after the last epoch, before anything else
        train(tmp_path / "b", LambdaCallback(on_train_end=fail))
    again = train(tmp_path / "b")
    assert same_weights(again, whole)
    assert again.history.epoch == []


def test_the_one_before_stands_in(tmp_path: Path, blobs: Blobs) -> None:
    def train(*extra: Callback) -> keras.Sequential:
        keras.utils.set_random_seed(3)
        model = classifier()
        backup = BackupAndRestore(tmp_path / "b", save_freq=2, double_checkpoint=True)
        model.fit(blobs.x, blobs.y, epochs=3, verbose=0, callbacks=[backup, *extra])
        return model

    whole = train()
    with pytest.raises(CrashError):
        train(Crashing(9))
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == ["latest.npz", "previous.npz"]
    (tmp_path / "b" / "latest.npz").write_bytes(b"PK")
    assert same_weights(train(), whole)


def test_damaged_and_foreign_backups(tmp_path: Path, blobs: Blobs) -> None:
    folder = tmp_path / "b"

    def train(model: keras.Sequential, *extra: Callback, **options: Any) -> None:
        callbacks = [BackupAndRestore(folder), *extra]
        model.fit(blobs.x, blobs.y, epochs=2, verbose=0, callbacks=callbacks, **options)

    with pytest.raises(CrashError):
        train(classifier(), Crashing(7))
    model = classifier(keras.layers.Dense(5))
    before = model.get_weights()
    for other, extra in (
        (model, Crashing(99)),
        (classifier(optimizer="sgd"), Crashing(99)),
        (classifier(), EarlyStopping("loss")),
    ):
        with pytest.raises(ValueError, match=r"latest\.npz: this is the backup of another training"):
            train(other, extra)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    with zipfile.ZipFile(folder / "latest.npz") as archive:
        names = archive.namelist()
    assert "training.json" in names
    whole = (folder / "latest.npz").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole.replace(b'"epoch"', b'"epach"')):
        (folder / "latest.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"latest\.npz"):
            train(classifier(), Crashing(99))


def test_seeds_of_layers_come_back(tmp_path: Path, blobs: Blobs) -> None:
    """The script sets no seed. The restored training must continue with the random numbers of the first one."""

    def train(seed: int, *extra: Callback) -> keras.Sequential:
        keras.utils.set_random_seed(seed)
        model = network("adam")
        backup = BackupAndRestore(tmp_path / "b")
        model.fit(blobs.x, blobs.y, epochs=3, verbose=0, callbacks=[backup, *extra])
        return model

    whole = train(1)
    with pytest.raises(CrashError):
        train(1, Crashing(8))
    assert same_weights(train(2), whole)


class Noisy(keras.Model):  # type: ignore[misc] # the public class is typed as Any
    """Its step draws from a layer, from a seed generator and from the global stream."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.drop = keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3)
        self.out = keras.layers.Dense(3, "softmax")
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.out(self.drop(self.hidden(x), training=training))

    def train_step(self, data: Any) -> Any:
        x, y = data
        shape = keras.ops.shape(x)
        noise = keras.random.normal(shape, seed=self.seeds) + keras.random.normal(shape)
        return super().train_step((x + 0.1 * noise, y))

    @classmethod
    def compiled(cls, eager: bool) -> Any:
        model = cls()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
        return model


class Pair(keras.Model):  # type: ignore[misc]
    """Two networks, each with an optimizer in an attribute, and a variable that is assigned."""

    def __init__(self) -> None:
        super().__init__()
        self.first = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, "tanh")])
        self.second = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
        self.mean, self.hits = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy(name="hits")
        self.seen = self.add_weight((), "zeros", trainable=False)

    def train_step(self, data: Any) -> Any:
        x, y = data
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        for part, optimizer in zip((self.first, self.second), self.optimizers, strict=True):
            with keras.GradientTape() as tape:
                logits = self.second(self.first(x))
                loss = loss_of(y, logits)
            optimizer.apply_gradients(
                zip(tape.gradient(loss, part.trainable_weights), part.trainable_weights, strict=True)
            )
        self.seen.assign(self.seen + 1)
        self.mean.update_state(loss)
        self.hits.update_state(y, logits)
        return {"mean": self.mean.result(), "hits": self.hits.result()}

    @classmethod
    def compiled(cls, eager: bool) -> Any:
        model = cls()
        model.compile(run_eagerly=eager)
        model.optimizers = [keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1, momentum=0.9)]
        return model


@pytest.mark.parametrize("frequency", ["epoch", 3])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("kind", [Noisy, Pair])
def test_crashes_of_trainings_by_steps_change_no_bit(
    kind: Any, eager: bool, frequency: Any, tmp_path: Path
) -> None:
    """The last batch of an epoch is smaller, so that a step is recorded twice, perhaps in different runs."""
    x, y = data()

    def trained(*callbacks: Callback) -> tuple[list[Any], Any]:
        keras.utils.set_random_seed(4)
        model = kind.compiled(eager)
        history = model.fit(x, y, batch_size=64, epochs=5, verbose=0, callbacks=[*callbacks])
        assert not model._eager_steps
        state = [variable.numpy() for each in model._optimizers for variable in each.variables]
        return [*model.get_weights(), *state], history

    expected, whole = trained()
    batches = iter([5, 3, 7, 1, 6])
    for _ in range(20):
        backup = BackupAndRestore(tmp_path / "b", save_freq=frequency)
        try:
            found, history = trained(backup, Crashing(next(batches, 10**9)))
        except CrashError:
            continue
        break
    assert len(found) == len(expected)
    assert all(map(np.array_equal, found, expected))
    assert history.epoch == whole.epoch[-len(history.epoch) :] != whole.epoch
    for key, values in history.history.items():
        assert np.array_equal(values, whole.history[key][-len(values) :]), key


def test_backups_of_steps_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    x, y = data()
    model = Pair.compiled(False)
    model.fit(x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path / "b", delete_checkpoint=False)])
    fewer = Pair.compiled(False)
    del fewer.optimizers[1]
    for other in (fewer, Noisy.compiled(False)):
        with pytest.raises(ValueError, match="backup of another training"):
            other.fit(x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path / "b")])

    class Unbuilt(Noisy):
        @classmethod
        def compiled(cls, eager: bool) -> Any:
            model = cls()
            model.compile("adam", run_eagerly=eager)
            return model

    with pytest.raises(ValueError, match=r"no weights yet.*call build\(\) before fit\(\)"):
        Unbuilt.compiled(False).fit(x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path / "b")])
    outside = keras.Variable(np.zeros(3, np.float32))
    model = Pair.compiled(False)
    model.other = keras.optimizers.SGD()
    model.other.build([outside])
    with pytest.raises(RuntimeError, match="steps variables that are no weights of Pair"):
        model.fit(x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path / "c")])


def test_a_refused_backup_leaves_optimizers_as_they_were(tmp_path: Path) -> None:
    x, y = data()
    Pair.compiled(False).fit(
        x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path / "b", delete_checkpoint=False)]
    )
    other = Pair.compiled(False)
    other.optimizers[1] = keras.optimizers.SGD(0.1)  # without momentum
    with pytest.raises(ValueError, match="backup of another training"):
        other.fit(x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path / "b")])
    assert not any(each.built for each in other.optimizers)
    assert [len(each.variables) for each in other.optimizers] == [2, 2]
    other.fit(x, y, batch_size=len(x), epochs=2, verbose=0)
    assert [int(each.iterations) for each in other.optimizers] == [2, 2]


def test_arguments(tmp_path: Path, blobs: Blobs) -> None:
    with pytest.raises(ValueError, match="Empty `backup_dir` argument passed"):
        BackupAndRestore("")
    wrong: Any
    for wrong in (0, 2.5, "batch", True, None):
        with pytest.raises(ValueError, match="Unrecognized save_freq"):
            BackupAndRestore("b", save_freq=wrong)
    backup = BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
    model = classifier()
    model.fit(blobs.x, blobs.y, epochs=EPOCHS, verbose=0, callbacks=[backup])
    assert (tmp_path / "b" / "latest.npz").exists()
    again = classifier()
    again.fit(blobs.x, blobs.y, epochs=EPOCHS, verbose=0, callbacks=[backup])
    assert same_weights(again, model)
