"""Tests of ModelCheckpoint: when it saves, what it saves, file names, and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights

from engine import models
from engine.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    LambdaCallback,
    ModelCheckpoint,
    TensorBoard,
)


def train(blobs: Blobs, *callbacks: Callback, **options: Any) -> Any:
    model = classifier()
    options = {"epochs": 3, "verbose": 0, "validation_split": 0.2} | options
    model.fit(blobs.x, blobs.y, callbacks=list(callbacks), **options)
    return model


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def scripted(*values: float) -> Callback:
    """Returns a callback that writes given numbers into the logs."""
    return LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=values[epoch]))


def test_after_every_epoch(tmp_path: Path, blobs: Blobs, capsys: Any) -> None:
    path = tmp_path / "deep" / "{epoch:02d}-{val_loss:.2f}.npz"
    model = train(blobs, scripted(0.5, 0.25, 0.125), ModelCheckpoint(path, verbose=1))
    assert names(tmp_path / "deep") == ["01-0.50.npz", "02-0.25.npz", "03-0.12.npz"]
    again = models.load_model(tmp_path / "deep" / "03-0.12.npz")
    assert same_weights(again, model)
    assert again.optimizer.iterations == 12
    first = str(path).format(epoch=1, val_loss=0.5)
    lines = f"\nEpoch 1: saving model to {first}\n\nEpoch 1: finished saving model to {first}\n"
    assert capsys.readouterr().out.startswith(lines)


@pytest.mark.parametrize("suffix", [".weights.h5", ".npz", ".safetensors"])
def test_weights_alone(suffix: str, tmp_path: Path, blobs: Blobs) -> None:
    model = train(blobs, ModelCheckpoint(tmp_path / f"w{suffix}", save_weights_only=True))
    again = classifier()
    again.load_weights(tmp_path / f"w{suffix}")
    assert same_weights(again, model)


@pytest.mark.parametrize(
    ("options", "values", "saved"),
    [
        ({}, (3.0, 2.0, 4.0, 1.0), [1, 2, 4]),
        ({"mode": "max"}, (3.0, 2.0, 4.0, 1.0), [1, 3]),
        ({"initial_value_threshold": 2.5}, (3.0, 2.0, 4.0, 1.0), [2, 4]),
        ({"initial_value_threshold": 0.5}, (3.0, 2.0, 4.0, 1.0), []),
        ({}, (float("nan"), 2.0, 2.0, 1.0), [1]),  # as in Keras, no number is better than nan
    ],
)
def test_only_the_best(
    options: dict[str, Any], values: tuple[float, ...], saved: list[int], tmp_path: Path, blobs: Blobs
) -> None:
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}.npz", save_best_only=True, **options)
    train(blobs, scripted(*values), checkpoint, epochs=4)
    assert names(tmp_path) == [f"{epoch}.npz" for epoch in saved]


def test_what_it_says_of_the_best(tmp_path: Path, blobs: Blobs, capsys: Any) -> None:
    path = tmp_path / "m.npz"
    train(blobs, scripted(3.0, 4.0, 2.0), ModelCheckpoint(path, save_best_only=True, verbose=1))
    assert capsys.readouterr().out == (
        f"\nEpoch 1: val_loss improved from None to 3.00000, saving model to {path}\n"
        f"\nEpoch 1: finished saving model to {path}\n"
        "\nEpoch 2: val_loss did not improve from 3.00000\n"
        f"\nEpoch 3: val_loss improved from 3.00000 to 2.00000, saving model to {path}\n"
        f"\nEpoch 3: finished saving model to {path}\n"
    )


def test_after_batches(tmp_path: Path, blobs: Blobs) -> None:
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}-{batch}.npz", save_freq=3)
    train(blobs, checkpoint, epochs=2, batch_size=30)  # four batches per epoch
    assert names(tmp_path) == ["1-3.npz", "2-2.npz"]
    assert models.load_model(tmp_path / "2-2.npz").optimizer.iterations == 6


def test_one_call_per_epoch_where_nothing_needs_more(tmp_path: Path, blobs: Blobs) -> None:
    from engine.callbacks import CallbackList

    assert not CallbackList(ModelCheckpoint(tmp_path / "m.npz")).per_batch("train")
    assert CallbackList(ModelCheckpoint(tmp_path / "m.npz", save_freq=2)).per_batch("train")
    assert not CallbackList(ModelCheckpoint(tmp_path / "m.npz", save_freq=2)).per_batch("test")


def test_a_number_that_is_missing_or_none(tmp_path: Path, blobs: Blobs) -> None:
    path = tmp_path / "m.npz"
    with pytest.warns(UserWarning, match="Can save best model only with nothing available"):
        train(blobs, ModelCheckpoint(path, "nothing", save_best_only=True), epochs=1)
    assert path.exists()
    several = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(several=np.ones(2)))
    with pytest.warns(UserWarning, match="only when `monitor` is a scalar value"):
        train(blobs, several, ModelCheckpoint(path, "several", save_best_only=True), epochs=1)
    with pytest.raises(KeyError, match="Failed to format this callback filepath"):
        train(blobs, ModelCheckpoint(tmp_path / "{nothing}.npz"))
    own = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(own=1.0))
    with pytest.raises(ValueError, match="can't tell whether more or less of `monitor`='own' is better"):
        train(blobs, own, ModelCheckpoint(path, "own", save_best_only=True))


def test_wrong_arguments(tmp_path: Path, blobs: Blobs) -> None:
    with pytest.raises(ValueError, match=r"must end in `\.weights\.h5` \(Keras weights format\)"):
        ModelCheckpoint("m.keras", save_weights_only=True)
    with pytest.raises(ValueError, match=r"must end in `\.keras` \(Keras model format\)"):
        ModelCheckpoint("m.tf")
    wrong: Any
    for wrong in (0, 1.5, "batch", True):
        with pytest.raises(ValueError, match="Unrecognized save_freq"):
            ModelCheckpoint("m.keras", save_freq=wrong)
    (tmp_path / "m.npz").mkdir()
    with pytest.raises(OSError, match="Please specify a non-directory filepath for ModelCheckpoint"):
        train(blobs, ModelCheckpoint(tmp_path / "m.npz"))


def test_the_folder_of_each_callback(tmp_path: Path, blobs: Blobs) -> None:
    """As in Keras, callbacks create missing folders, except CSVLogger."""
    there = [tmp_path / f"none{number}" / "deep" for number in range(3)]
    train(blobs, ModelCheckpoint(there[0] / "m.keras"))
    train(blobs, BackupAndRestore(there[1], delete_checkpoint=False))
    train(blobs, TensorBoard(there[2]))
    assert all(folder.is_dir() for folder in there)
    with pytest.raises(FileNotFoundError, match=r"'.*log\.csv': there is no folder '.*nothing'"):
        train(blobs, CSVLogger(tmp_path / "nothing" / "log.csv"))
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"can't make the folder '.*deep', as '.*file' is a file"):
        train(blobs, ModelCheckpoint(tmp_path / "file" / "deep" / "m.keras"))


def test_the_folder_of_a_model(tmp_path: Path) -> None:
    """As in Keras, saving with `.h5` and with `zipped=False` creates the folder."""
    model = classifier()
    model.save(tmp_path / "a" / "b" / "m.h5")
    model.save(tmp_path / "c" / "d", zipped=False)
    for name in ("m.keras", "m.npz", "m.safetensors"):
        with pytest.raises(FileNotFoundError, match=r"there is no folder '.*none': make it first"):
            model.save(tmp_path / "none" / name)
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*none': make it first"):
        model.save_weights(tmp_path / "none" / "m.weights.h5")
    assert names(tmp_path) == ["a", "c"]


def test_weights_under_the_names_of_checkpoints_of_tensorflow(tmp_path: Path, blobs: Blobs) -> None:
    with pytest.warns(DeprecationWarning, match="of a file of weights"):
        train(blobs, ModelCheckpoint(tmp_path / "cp-{epoch:04d}.ckpt", save_weights_only=True), epochs=2)
    assert names(tmp_path) == ["cp-0001.ckpt.weights.h5", "cp-0002.ckpt.weights.h5"]
