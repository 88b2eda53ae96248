"""Tests of damaged files: an error says what is wrong, and nothing else happens."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FEATURES, Blobs, classifier, same_weights
from damaged import FORMATS, refused, saved_models, with_config  # noqa: F401 # saved_models is a fixture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine as keras
from engine import layers, models
from engine._data import lazy_rows

# Damage


@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_files(suffix: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    whole, path = saved[suffix], tmp_path / f"m{suffix}"
    for size in sorted({0, 1, 7, 100, len(whole) - 1, *range(0, len(whole) - 1, max(1, len(whole) // 40))}):
        path.write_bytes(whole[:size])
        refused(path)


@pytest.mark.parametrize("suffix", [".keras", ".npz"])
def test_members_before_the_beginning(suffix: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    damaged, path = bytearray(saved[suffix]), tmp_path / f"m{suffix}"
    # Here the end of a zip archive says where its directory begins.
    directory = damaged.rindex(b"PK\x05\x06") + 16
    struct.pack_into("<I", damaged, directory, struct.unpack_from("<I", damaged, directory)[0] + 2**20)
    path.write_bytes(damaged)
    model = classifier(layers.BatchNormalization())
    for load in (models.load_model, model.load_weights):
        with pytest.raises(ValueError, match=f"m{suffix} can't be read, as it is damaged"):
            load(path)


# This runs in a new process, so that a crash would be noticed.
FLIPPED = """
import random, sys, warnings
from pathlib import Path
import engine as keras
whole, path, seed = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), int(sys.argv[3])
model = keras.models.load_model(sys.argv[1])
weights = [w.tobytes() for w in model.get_weights()]
rng = random.Random(seed)
warnings.simplefilter("ignore")
for _ in range(int(sys.argv[4])):
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    for load in (keras.models.load_model, model.load_weights):
        try:
            load(path)
        except (ValueError, OSError) as error:
            assert str(error)
            if load == model.load_weights:
                assert [w.tobytes() for w in model.get_weights()] == weights, "half loaded"
        else:
            if load == model.load_weights:
                model.load_weights(sys.argv[1])
"""


@pytest.mark.parametrize("suffix", FORMATS)
def test_flipped_bits_in_many_files(suffix: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / f"m{suffix}").write_bytes(saved[suffix])
    paths = [str(tmp_path / f"{name}{suffix}") for name in ("m", "damaged")]
    command = [sys.executable, "-c", FLIPPED, *paths, "1", "150"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits(data: Any, saved: dict[str, bytes], tmp_path: Path) -> None:
    whole = saved[".npz"]
    places = data.draw(st.lists(st.integers(0, len(whole) * 8 - 1), min_size=1, max_size=4))
    damaged = bytearray(whole)
    for place in places:
        damaged[place // 8] ^= 1 << place % 8
    path = tmp_path / "m.npz"
    path.write_bytes(damaged)
    with suppress(ValueError, OSError, UserWarning):
        assert models.load_model(path).built  # if the damage is outside of all contents


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(config: Any) -> list[tuple[Any, Any]]:
    """Returns every container in a config, with each of its keys."""
    keys = list(config) if isinstance(config, dict) else list(range(len(config)))
    inner = [config[key] for key in keys if isinstance(config[key], (dict, list))]
    return [(config, key) for key in keys] + [place for each in inner for place in places(each)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 2**16), value=JSON)
def test_any_value_at_any_place_of_the_config(
    number: int, value: Any, saved: dict[str, bytes], tmp_path: Path
) -> None:
    def change(config: Any) -> None:
        found = places(config)
        inner, key = found[number % len(found)]
        inner[key] = value

    path = with_config(tmp_path / "m.npz", saved, change)
    with suppress(ValueError, OSError, UserWarning):
        models.load_model(path)


def test_a_damaged_list_of_members_hides_no_array(saved: dict[str, bytes], tmp_path: Path) -> None:
    """Without the check of names, the optimizer state was only reset with a warning."""
    path, content = tmp_path / "m.npz", bytearray(saved[".npz"])
    content[content.rindex(b"optimizer/vars/1.npy")] ^= 1
    path.write_bytes(content)
    refused(path)


# A memory-mapped file that becomes shorter while it is in use ends in an error, not in the end of the process.


BATCHES = 5  # batches of 32 of the 150 samples of `blobs`


class File:
    """An array in a file that can be shortened by a byte, and restored."""

    def __init__(self, path: Path, values: np.ndarray[Any, Any]) -> None:
        np.save(path, values)
        self.path, self.whole = path, path.read_bytes()
        self.array = np.load(path, mmap_mode="r+")

    @property
    def message(self) -> str:
        size = len(self.whole)
        return rf"the file of `[a-z0-9 ]*`, .*{self.path.name}, has become shorter .*: {size} bytes expected, {size - 1} found"

    def shorten(self, *_: object) -> None:
        os.truncate(self.path, len(self.whole) - 1)

    def restore(self) -> None:
        self.path.write_bytes(self.whole)


@pytest.fixture(params=[np.float32, np.float64, np.uint8, np.float16, ">f4"], ids=str)
def file(
    request: pytest.FixtureRequest, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> File:
    monkeypatch.setattr(lazy_rows, "BLOCK_BYTES", 64 * 4 * FEATURES)  # so that blocks of two batches are read
    return File(tmp_path / "rows.npy", np.clip(np.rint(blobs.x * 9), 0, 200).astype(request.param))


VERBS: dict[str, Callable[[keras.Sequential, Any, Any], object]] = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "predict": lambda model, x, y: model.predict(x, verbose=0),
    "predict in blocks": lambda model, x, y: model.predict(
        x, verbose=0, callbacks=[keras.callbacks.Callback()]
    ),
    "call": lambda model, x, y: model(x),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
    "predict_on_batch": lambda model, x, y: model.predict_on_batch(x),
    "validation": lambda model, x, y: model.fit(
        np.ones((4, FEATURES)), y[:4], validation_data=(x, y), verbose=0
    ),
    "batches": lambda model, x, y: model.fit(iter([(x, y)]), verbose=0),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_is_too_short_from_the_start(verb: str, file: File, blobs: Blobs) -> None:
    model, expected = classifier(), classifier()
    expected.set_weights(model.get_weights())
    file.shorten()
    with pytest.raises(OSError, match=file.message):
        VERBS[verb](model, file.array, blobs.y)
    assert same_weights(model, expected)
    file.restore()
    VERBS[verb](model, file.array, blobs.y)


@pytest.mark.parametrize("verb", ["predict", "call", "predict_on_batch"])
def test_a_few_rows_of_a_plain_array_that_is_a_view_of_a_file(verb: str, file: File, blobs: Blobs) -> None:
    model, rows = classifier(), np.asarray(file.array)[-3:]
    assert type(rows) is np.ndarray
    model.build((None, FEATURES))
    file.shorten()
    with pytest.raises(OSError, match=file.message):
        VERBS[verb](model, rows, blobs.y)


def test_what_is_missing_may_be_what_nobody_reads(file: File, blobs: Blobs) -> None:
    file.shorten()
    for part in (file.array[:100], file.array[:-1][::2], np.asarray(file.array)[10:20]):
        classifier().predict(part)
    with pytest.raises(OSError, match=file.message):
        classifier().predict(file.array[::-1])


@pytest.mark.parametrize("shuffle", [True, False])
def test_training_ends_at_the_next_stretch(shuffle: bool, file: File, blobs: Blobs) -> None:
    """Afterwards, the weights are those of the last step."""
    hook = keras.callbacks.LambdaCallback(on_epoch_end=file.shorten)
    model, expected = classifier(), classifier()
    expected.set_weights(model.get_weights())
    for each, epochs, callbacks in ((expected, 1, []), (model, 3, [hook])):
        keras.utils.set_random_seed(2)
        if callbacks:
            with pytest.raises(OSError, match=file.message):
                each.fit(file.array, blobs.y, epochs=epochs, shuffle=shuffle, verbose=0, callbacks=callbacks)
        else:
            each.fit(file.array, blobs.y, epochs=epochs, shuffle=shuffle, verbose=0)
    assert same_weights(model, expected)
    assert model.optimizer.iterations == BATCHES
    file.restore()
    model.fit(file.array, blobs.y, verbose=0)


def test_batches_with_callbacks_between_them(file: File, blobs: Blobs) -> None:
    def hook(batch: int, logs: Any) -> None:
        if batch == 1:
            file.shorten()

    model = classifier()
    with pytest.raises(OSError, match=file.message):
        model.fit(
            file.array,
            blobs.y,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=hook)],
        )
    assert model.optimizer.iterations == 2  # batches 0 and 1
    file.restore()
    hooks = keras.callbacks.LambdaCallback(on_test_batch_end=hook, on_predict_batch_end=hook)
    with pytest.raises(OSError, match=file.message):
        model.evaluate(file.array, blobs.y, verbose=0, callbacks=[hooks])
    file.restore()
    with pytest.raises(OSError, match=file.message):
        model.predict(file.array, verbose=0, callbacks=[hooks])


def test_within_an_epoch_that_is_one_call_of_the_core(blobs: Blobs, tmp_path: Path) -> None:
    """The core checks between two steps after 50 ms, which the step with the slow layer takes."""
    file = File(tmp_path / "rows.npy", blobs.x)

    def slow(x: Any) -> Any:
        if len(x) == 32:  # not the zeros with which the shape of the layer is determined
            file.shorten()
            time.sleep(0.1)
        return x

    layer = keras.layers.Lambda(slow, gradient=lambda x, upstream: upstream)
    model = classifier(layer)
    with pytest.raises(OSError, match=file.message):
        model.fit(file.array, blobs.y, verbose=0)
    assert model.optimizer.iterations < BATCHES


@pytest.mark.parametrize("what", ["y", "sample_weight"])
def test_targets_and_weights_in_files(what: str, blobs: Blobs, tmp_path: Path) -> None:
    values = {"y": blobs.one_hot.astype(np.float32), "sample_weight": np.ones(150, np.float32)}
    file = File(tmp_path / "more.npy", values[what])
    hook = keras.callbacks.LambdaCallback(on_epoch_end=file.shorten)
    model = classifier(loss="categorical_crossentropy")
    with pytest.raises(OSError, match=rf"the file of `{what}`, .*more.npy"):
        model.fit(blobs.x, **(values | {what: file.array}), epochs=2, verbose=0, callbacks=[hook])
    file.shorten()
    with pytest.raises(OSError, match=rf"the file of `{what}`, .*more.npy"):
        model.evaluate(blobs.x, **(values | {what: file.array}))


def test_sparse_matrices_in_files(blobs: Blobs, tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.csr_matrix(blobs.x)
    file = File(tmp_path / "entries.npy", matrix.data)
    matrix.data = file.array
    hook = keras.callbacks.LambdaCallback(on_epoch_end=file.shorten)
    with pytest.raises(OSError, match=r"the file of `x`, .*entries.npy"):
        classifier().fit(matrix, blobs.y, epochs=2, verbose=0, callbacks=[hook])


def test_estimators(blobs: Blobs, tmp_path: Path) -> None:
    sklearn = pytest.importorskip("engine.sklearn")
    file = File(tmp_path / "rows.npy", blobs.x)
    hook = keras.callbacks.LambdaCallback(on_epoch_end=file.shorten)
    with pytest.raises(OSError, match=r"rows\.npy"):
        sklearn.MLPClassifier(batch_size=32, callbacks=[hook]).fit(file.array, blobs.y)
    with pytest.raises(OSError, match=r"rows\.npy"):
        sklearn.MLPClassifier().fit(file.array, blobs.y)


def test_the_offset_of_an_array_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(bytes(4 * (100_000 + 12)))
    rows = np.memmap(path, np.float32, "r", offset=400_000, shape=(4, 3))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.predict(rows)
    os.truncate(path, 400_047)
    with pytest.raises(OSError, match="400048 bytes expected, 400047 found"):
        model.predict(rows)
