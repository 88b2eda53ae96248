"""Tests of damaged backups: an error names the file, and nothing else changes."""

from __future__ import annotations

import copy
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backup_worker import CLASSES, Widest, data
from common import CrashError, Crashing

import engine as keras
from engine import callbacks, layers
from engine._base import random_state
from engine.callbacks import BackupAndRestore, Callback, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

EPOCHS, BATCHES = 4, 8  # 230 samples in batches of 32
WRONG: list[Any] = [None, True, -1, 1.5, float("nan"), 10**30, "text", [], [[1]], {"a": 1}]


class Counting(Callback):
    """Counts epochs, and ends a training that would never end."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        assert 0 <= epoch < EPOCHS


def network() -> keras.Sequential:
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, "relu"), layers.Dropout(0.2), layers.Dense(CLASSES, "softmax")]
    )
    metrics = ["accuracy", Widest()]
    model.compile(
        keras.optimizers.Adam(0.01, use_ema=True), "sparse_categorical_crossentropy", metrics=metrics
    )
    return model


def train(model: Any, folder: Path, crash: int = 0, **options: Any) -> Any:
    listed = [
        BackupAndRestore(folder, save_freq=3),
        EarlyStopping("loss", patience=9, restore_best_weights=True),
        ReduceLROnPlateau("loss", patience=9),
        ModelCheckpoint(str(folder) + ".npz", "loss"),
        callbacks.SwapEMAWeights(),
        Counting(),
        *([Crashing(crash)] if crash else []),
    ]
    x, y = data()
    return model.fit(x, y, epochs=EPOCHS, verbose=0, callbacks=listed, **options)


def everything(model: Any) -> list[Any]:
    """Returns everything that must not change, as bits."""
    generator = np.random.get_state(legacy=True)  # noqa: NPY002 # backups contain the state of this generator
    seeds = [layer._seed_in_use for layer in model.layers]
    arrays = (*model.get_weights(), *model.optimizer.variables, generator[1])
    state = [np.asarray(array).tobytes() for array in arrays]
    history = None if model.history is None else (id(model.history), copy.deepcopy(model.history.history))
    numbers = [repr(generator[2:]), random.getstate(), random_state.position()]
    return [
        state,
        seeds,
        int(model.optimizer.iterations),
        float(model.optimizer.learning_rate),
        history,
        numbers,
    ]


@pytest.fixture(scope="module", name="backup")
def whole_backup(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Returns a backup from the middle of the third epoch."""
    folder = tmp_path_factory.mktemp("whole") / "b"
    keras.utils.set_random_seed(5)
    with pytest.raises(CrashError):
        train(network(), folder, 2 * BATCHES + 5)
    return (folder / "latest.npz").read_bytes()


def rewritten(backup: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """Returns a backup in which `change(name, content)` replaces each member; None removes one."""
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(backup)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return buffer.getvalue()


def with_info(backup: bytes, info: Any) -> bytes:
    text = json.dumps(info).encode()
    return rewritten(backup, lambda name, content: text if name == "training.json" else content)


def info_of(backup: bytes) -> Any:
    with zipfile.ZipFile(BytesIO(backup)) as archive:
        return json.loads(archive.read("training.json"))


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the paths of all values in a JSON, at every depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places_in(each, (*path, key))


def changed(info: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Returns a copy with `value` at a path, or without that entry if `value` is a function."""
    found = copy.deepcopy(info)
    holder = found
    for key in path[:-1]:
        holder = holder[key]
    if callable(value):
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return found


class Tried:
    """Tries backups with one model, which a refused backup must not change."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.refused = folder, 0
        folder.mkdir()
        self._model = self._trained()

    def _trained(self) -> Any:
        model = network()
        x, y = data()
        model.fit(x, y, verbose=0)
        return model

    def __call__(self, backup: bytes, what: object) -> bool:
        """Returns whether the backup is refused."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / "latest.npz").write_bytes(backup)
        before, refusal = everything(self._model), ""
        try:
            train(self._model, self._folder)
        except ValueError as error:
            refusal = str(error)
        if refusal:
            assert "latest.npz" in refusal, what
            assert everything(self._model) == before, what
            self.refused += 1
            return True
        self._model = self._trained()
        return False


def like(one: Any, other: Any) -> bool:
    """Returns whether two values are of the same kind, so that either could be valid at that path."""
    numbers = [isinstance(each, (int, float)) and not isinstance(each, bool) for each in (one, other)]
    return all(numbers) or type(one) is type(other)


@pytest.mark.filterwarnings("ignore:the loss of model", "ignore:save.. of model")
def test_every_field_with_every_wrong_value(backup: bytes, tmp_path: Path) -> None:
    info, tried = info_of(backup), Tried(tmp_path / "b")
    assert not tried(backup, "as it is")
    for path in places_in(info):
        old = info
        for key in path:
            old = old[key]
        for value in (*WRONG, lambda: "left out"):
            refused = tried(with_info(backup, changed(info, path, value)), (path, value))
            if refused or value == old:
                continue
            # Other values of the same kind may be valid. A best value or the cached number of a generator need
            # not be there, nor every name of the logs.
            optional = path[0] in ("facts", "callbacks", "random") and (value is None or old is None)
            assert (
                optional or like(value, old) or (callable(value) and {"logs", "feature_names"} & {*path})
            ), (path, value)
    assert tried.refused > 400


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("epoch",), -(10**9), "`epoch` must be at least 0"),
        (("epoch",), "3", "`epoch` must be an integer, got '3'"),
        (("place", 1), -5, "`place` must be at least 0"),
        (("place", 2), 30, "`place` must have as many batches of its epoch as of its pass, or fewer"),
        (("place",), [[1, 2], 3], "`place` must be a list of 3"),
        (("optimizers", 0, 0), -1, "`iterations` must be at least 0"),
        (("optimizers", 0, 1), None, "`optimizers` must have a learning rate unless it follows a schedule"),
        (("optimizers", 0, 1), float("nan"), "`learning_rate` must be a finite number of at least 0"),
        (("random", 1, 1), 10**6, "`random` must be at most 624"),
        (("random", 1, 0), "PCG64", "PCG64|MT19937"),
        (("facts", "seeds", 1), -1, "`seed` must be at least 0"),
        (("stopped",), "no", "`stopped` must be True or False, got 'no'"),
        (("counts", "model"), 10**9, "`counts` must tell how many arrays there are"),
        (("counts", "totals"), lambda: None, "totals"),
        (("callbacks", 1, 1, "wait"), -3, "`wait` must be at least 0"),
        (("callbacks", 1, 1, "best"), "low", "`best` must be a number or None"),
        (("logs", "loss"), "low", "`logs` must be a number"),
        (("place", 1), 2**31 - 1, "the data has fewer batches than before"),
    ],
)
def test_what_is_said(path: Any, value: Any, message: str, backup: bytes, tmp_path: Path) -> None:
    (tmp_path / "latest.npz").write_bytes(with_info(backup, changed(info_of(backup), path, value)))
    with pytest.raises(ValueError, match=message) as caught:
        train(network(), tmp_path)
    assert "latest.npz" in str(caught.value)


def npy(array: Any) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_every_array_with_every_wrong_content(backup: bytes, tmp_path: Path) -> None:
    tried = Tried(tmp_path / "b")
    with zipfile.ZipFile(BytesIO(backup)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
    assert {name.split("/")[0] for name in names} == {
        "model",
        "optimizer",
        "totals",
        "metrics",
        "random",
        "callbacks",
    }
    contents: list[Any] = [
        lambda old: None,
        lambda old: b"",
        lambda old: npy(np.zeros((3, 1, 2), np.float32)),
        lambda old: npy(old.astype(">i8")),
        lambda old: npy(np.append(old.reshape(-1), old.reshape(-1)[:1])),
        lambda old: npy(old[..., np.newaxis]),
    ]
    for name in names:
        for number, content in enumerate(contents):

            def change(each: str, old: bytes, name: str = name, content: Any = content) -> bytes | None:
                if each != name:
                    return old
                made: bytes | None = content(np.load(BytesIO(old)))
                return made

            assert tried(rewritten(backup, change), (name, number)) or name.startswith(
                ("totals", "metrics")
            ), name


def test_a_backup_of_more_data_changes_nothing(backup: bytes, tmp_path: Path) -> None:
    model = network()
    x, y = data()
    model.fit(x, y, verbose=0)
    (tmp_path / "latest.npz").write_bytes(backup)
    before = everything(model)
    with pytest.raises(ValueError, match=r"fewer batches than before, 1 of 2.*latest\.npz"):
        model.fit(
            x[:20],
            y[:20],
            epochs=EPOCHS,
            verbose=0,
            callbacks=[
                EarlyStopping("loss", patience=9, restore_best_weights=True),
                ReduceLROnPlateau("loss", patience=9),
                ModelCheckpoint(str(tmp_path) + ".npz", "loss"),
                callbacks.SwapEMAWeights(),
                BackupAndRestore(tmp_path, save_freq=3),
            ],
        )
    assert everything(model) == before


def test_the_one_before_is_taken_where_the_latest_is_wrong(backup: bytes, tmp_path: Path) -> None:
    (tmp_path / "previous.npz").write_bytes(backup)
    (tmp_path / "latest.npz").write_bytes(with_info(backup, changed(info_of(backup), ("epoch",), -1)))
    model = network()
    history = train(model, tmp_path)
    assert model.history is history
    assert history.epoch == [2, 3]
