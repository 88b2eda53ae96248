"""Tests of weights in several files: they are restored, replaced together, and protected against a wrong index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import assert_all_equal
from conftest import Blobs, classifier, same_weights

import engine as keras
from engine import layers, saving
from engine.saving import _shards

# The size of a few arrays; the largest has 8 x 8 numbers.
SMALL = 300 / 2**30


def network(units: int = 8) -> keras.Sequential:
    return classifier(layers.Dense(units, name="first"), optimizer="adam")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_come_back_from_several_files(tmp_path: Path, blobs: Blobs) -> None:
    model, again, path = network(), network(), tmp_path / "m.weights.json"
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save_weights(path, max_shard_size=SMALL)
    places = json.loads(path.read_text())["weight_map"]
    assert files(tmp_path) == sorted(
        {name for names in places.values() for name in np.atleast_1d(names).tolist()} | {path.name}
    )
    assert len(places["/optimizer/vars"]) > 1
    assert files(tmp_path)[:2] == ["m.weights.json", "m_00000.weights.h5"]
    again.load_weights(path)
    for each in (model, again):
        each.train_on_batch(blobs.x, blobs.y)
    assert same_weights(again, model)


def test_the_old_files_stay_until_the_index_names_the_new(
    tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, again, path = network(), network(), tmp_path / "m.weights.json"
    mine = tmp_path / "m_00007.weights.h5"  # not written by a save
    mine.write_bytes(b"mine")
    model.save_weights(path, max_shard_size=SMALL)
    saved = model.get_weights()
    model.fit(blobs.x, blobs.y, verbose=0)

    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("engine.saving._shards.json.dump", fails)
        with pytest.raises(OSError, match="no space left"):
            model.save_weights(path, max_shard_size=SMALL)
    again.load_weights(path)
    assert_all_equal(again.get_weights(), saved)
    for _ in range(2):
        model.save_weights(path, max_shard_size=1)
        again.load_weights(path)
        assert same_weights(again, model)
    assert mine.read_bytes() == b"mine"
    assert (tmp_path / "m_00000.weights.h5").exists()  # Keras opens this file first


def test_files_of_others_stay(tmp_path: Path) -> None:
    """A save removes only those files that an earlier save wrote together with the same index."""
    model, path = network(), tmp_path / "m.weights.json"
    model.save_weights(tmp_path / "best.weights.h5")
    model.save_weights(tmp_path / "m_00000.weights.h5")
    others = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    given = {"metadata": {"save": "x"}, "weight_map": {"/layers/dense/vars": list(others)}}
    for index in (given, {"weight_map": given["weight_map"]}):
        path.write_text(json.dumps(index))
        model.save_weights(path, max_shard_size=SMALL)
        model.load_weights(path)
        assert all((tmp_path / name).read_bytes() == content for name, content in others.items())


def test_a_file_that_took_the_place_of_one_of_the_index_stays(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "m.weights.json"
    model.save_weights(path, max_shard_size=SMALL)
    model.save_weights(tmp_path / "m_00001.weights.h5")
    mine = (tmp_path / "m_00001.weights.h5").read_bytes()
    with pytest.raises(ValueError, match=r"'m_00001\.weights\.h5' was not written by the save"):
        model.load_weights(path)
    model.save_weights(path, max_shard_size=SMALL)
    model.load_weights(path)
    assert (tmp_path / "m_00001.weights.h5").read_bytes() == mine
    before = files(tmp_path)
    model.save_weights(path, max_shard_size=1)
    model.load_weights(path)
    assert "m_00001.weights.h5" in files(tmp_path)
    assert set(before) - set(files(tmp_path))  # the files of the save before are removed


def test_the_files_of_a_save_that_fails_go_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, again, path = network(), network(), tmp_path / "m.weights.json"
    model.save_weights(path, max_shard_size=SMALL)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    replace = Path.replace

    def fails(self: Path, target: Any) -> Path:
        if str(target).endswith(".json"):
            raise OSError(28, "No space left on device", str(self))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        with pytest.raises(OSError, match=r"can't write '.*m\.weights\.json': No space left"):
            model.save_weights(path, max_shard_size=SMALL)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    again.load_weights(path)
    assert same_weights(again, model)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ('{"weight_map": {"/layers/dense/vars": "../m_00000.weights.h5"}}', "must name files such as"),
        ('{"weight_map": {"/layers/dense/vars": ["/etc/m.weights.h5"]}}', "must name files such as"),
        ('{"weight_map": {"/layers/dense/vars": "m.npz"}}', "must name files such as"),
        ('{"weight_map": {"/layers/dense/vars": [1]}}', "damaged"),
        ('{"weight_map": []}', "damaged"),
        ("[]", "damaged"),
        ("{", "Expecting"),
    ],
)
def test_an_index_that_is_none(index: str, message: str, tmp_path: Path) -> None:
    model, path = network(), tmp_path / "m.weights.json"
    before = model.get_weights()
    path.write_text(index)
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)
    assert_all_equal(model.get_weights(), before)
    model.save_weights(path, max_shard_size=1)  # the index may be replaced
    model.load_weights(path)


def test_files_and_arrays_that_are_missing(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "m.weights.json"
    with pytest.raises(FileNotFoundError):
        model.load_weights(path)
    model.save_weights(path, max_shard_size=SMALL)
    (tmp_path / "m_00001.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match="m_00001"):
        model.load_weights(path)
    with pytest.raises(ValueError, match="raise `max_shard_size`, which counts GiB"):
        model.save_weights(tmp_path / "n.weights.json", max_shard_size=100 / 2**30)
    assert not (tmp_path / "n.weights.json").exists()


def test_objects_to_skip(tmp_path: Path, blobs: Blobs) -> None:
    model, path = network(), tmp_path / "m.weights.h5"
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save_weights(path)
    again = network()
    again.load_weights(path, objects_to_skip=[again.layers[0], again.optimizer])
    assert again.optimizer.iterations == 0
    np.testing.assert_array_equal(again.layers[1].kernel, model.layers[1].kernel)
    assert not np.array_equal(again.layers[0].kernel, model.layers[0].kernel)
    model.save_weights(path, objects_to_skip=[model.layers[0]])
    with pytest.raises(ValueError, match="could not be loaded"):
        again.load_weights(path)
    saving.load_weights(again, path, objects_to_skip=[again.layers[0]])
    assert again.optimizer.iterations == 5


def test_by_name(tmp_path: Path, blobs: Blobs) -> None:
    model, path = network(), tmp_path / "m.h5"
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save(path)
    other = classifier(layers.Dense(3, name="new"), layers.Dense(8, name="first"), optimizer="adam")
    with pytest.raises(ValueError, match="could not be loaded"):
        other.load_weights(path, by_name=True)
    other = classifier(layers.Dense(8, name="first"), layers.Dense(4, name="new"), optimizer="adam")
    fresh = other.layers[2].kernel.numpy()
    other.load_weights(path, by_name=True)
    np.testing.assert_array_equal(other.layers[1].kernel, model.layers[1].kernel)
    np.testing.assert_array_equal(other.layers[2].kernel, fresh)
    assert other.optimizer.iterations == 0


def test_an_index_may_be_a_symbolic_link(tmp_path: Path, blobs: Blobs) -> None:
    folder, link = tmp_path / "real", tmp_path / "link.weights.json"
    folder.mkdir()
    path, model, again = folder / "m.weights.json", network(), network()
    model.save_weights(path, max_shard_size=1)
    link.symlink_to(path)
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save_weights(link, max_shard_size=1)
    assert link.is_symlink()
    assert files(tmp_path) == ["link.weights.json", "real"]
    for each in (link, path):
        again = network()
        again.load_weights(each)
        assert same_weights(again, model)


@pytest.mark.parametrize("most", [10**400, -(10**400)], ids=["large", "small"])
def test_sizes_beyond_floats(most: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`max_shard_size` must be finite, got"):
        network().save_weights(tmp_path / "m.weights.json", max_shard_size=most)


@pytest.mark.parametrize("most", [0, -1])
def test_sizes_that_nothing_fits_into(most: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`max_shard_size` must be greater than 0, got"):
        network().save_weights(tmp_path / "m.weights.json", max_shard_size=most)
    assert files(tmp_path) == []


def test_weights_that_another_process_saves_while_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, again, path = network(), network(), tmp_path / "m.weights.json"
    model.save_weights(path, max_shard_size=SMALL)
    opened, saves = _shards.opened, [0.25, 0.5, 0.75]

    def after_a_save(file: Path) -> Any:
        if saves:
            value = saves.pop()
            model.set_weights([np.full_like(weight, value) for weight in model.get_weights()])
            with monkeypatch.context() as patch:
                patch.setattr(_shards, "opened", opened)
                model.save_weights(path, max_shard_size=SMALL)
        return opened(file)

    monkeypatch.setattr(_shards, "opened", after_a_save)
    again.load_weights(path)
    assert not saves
    assert same_weights(again, model)


def test_a_file_that_nobody_saves_is_missed_at_once(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "m.weights.json"
    model.save_weights(path, max_shard_size=SMALL)
    (tmp_path / files(tmp_path)[2]).unlink()
    with pytest.raises(FileNotFoundError):
        model.load_weights(path)
