"""Tests of mistakes with files, and of their consequences."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights
from saved import WEIGHTS, network

import engine as keras
from engine import layers, models

# Mistakes


@pytest.mark.parametrize("name", ["m", "m.ckpt", "m.tf", "epochs.d/m"])
def test_names_of_checkpoints_of_tensorflow(tmp_path: Path, name: str) -> None:
    (tmp_path / "epochs.d").mkdir()
    model, again = network(), network()
    with pytest.warns(DeprecationWarning, match=f"the name '.*{name}' of a file of weights"):
        model.save_weights(tmp_path / name)
    assert (tmp_path / f"{name}.weights.h5").is_file()
    with pytest.warns(DeprecationWarning, match=r"use a name that ends in '\.weights\.h5'"):
        again.load_weights(tmp_path / name)
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrong_names(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(ValueError, match=r"Invalid filepath extension: it must be `\.keras`"):
        model.save(tmp_path / "m.tf")
    with pytest.raises(ValueError, match="Invalid filepath extension"):
        model.save(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=r"must end in `\.weights\.h5`, `\.npz`, `\.safetensors` or `\.h5`"):
        model.save_weights(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"`zipped=False`, the `filepath` .* not end in `\.keras`"):
        model.save(tmp_path / "m.keras", zipped=False)
    with pytest.raises(ValueError, match=r"following argument.s. are not supported: .'nothing'"):
        model.save(tmp_path / "m.keras", nothing=1)
    with pytest.raises(ValueError, match=r"must end in `\.weights\.json` when `max_shard_size`"):
        model.save_weights(tmp_path / "m.weights.h5", max_shard_size=1)
    with pytest.raises(ValueError, match=r"must end in `\.weights\.h5`"):
        model.save_weights(tmp_path / "m.weights.json")
    with pytest.raises(ValueError, match=r"Invalid keyword arguments: \{'nothing': 1\}"):
        model.save_weights(tmp_path / "m.npz", nothing=1)
    with pytest.raises(ValueError, match="`by_name` only supports loading legacy"):
        model.load_weights(tmp_path / "m.weights.h5", by_name=True)
    with pytest.raises(ValueError, match=r"File not found: filepath=.* has no such file$"):
        models.load_model(tmp_path / "none.keras")
    with pytest.raises(ValueError, match=r"File not found: filepath=.*: there is no folder '.*none'"):
        models.load_model(tmp_path / "none" / "m.keras")
    (tmp_path / "digits.keras").touch()
    with pytest.raises(ValueError, match=r"has no such file; did you mean 'digits.keras'\?"):
        models.load_model(tmp_path / "digit.keras")
    (tmp_path / "digits.keras").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no such file$"):
        model.load_weights(tmp_path / "none.weights.h5")
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "none.safetensors")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path / "folder.npz")
    with pytest.raises(OSError, match="there is no folder"):
        model.save(tmp_path / "none" / "m.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["folder.npz"]


def test_what_is_no_path() -> None:
    model = network()
    for use in (model.save, model.save_weights, model.load_weights, models.load_model):
        with pytest.raises(TypeError, match="`filepath` must be a path, got 3"):
            use(3)
    with pytest.raises(TypeError, match="`filepath` must be a path, got b'm'"):
        keras.callbacks.ModelCheckpoint(b"m")
    with pytest.raises(TypeError, match="`backup_dir` must be a path, got 3"):
        keras.callbacks.BackupAndRestore(3)
    with pytest.raises(TypeError, match="`to_file` must be a path, got 3"):
        keras.utils.plot_model(model, 3)


def test_asking_before_replacing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    model, other, path = network(), network(), tmp_path / "m.npz"
    model.save(path)
    answers = iter(["what", "n", "y"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    other.save(path, overwrite=False)
    assert same_weights(models.load_model(path), model)
    other.save(path, overwrite=False)
    assert same_weights(models.load_model(path), other)
    assert capsys.readouterr().out == "[TIP] Next time specify overwrite=True!\n"


@pytest.mark.parametrize("suffix", [*WEIGHTS, ".keras", ".h5"])
def test_weights_of_another_model(suffix: str, tmp_path: Path, blobs: Blobs) -> None:
    path, model = tmp_path / f"m{suffix}", classifier()
    model.fit(blobs.x, blobs.y, verbose=0)
    before, slots = model.get_weights(), [v.numpy() for v in model.optimizer.variables]
    other = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8), layers.Dense(4)]  # the first layer fits, the second does not
    )
    other.compile("adam", "mse")
    (other.save_weights if suffix in WEIGHTS else other.save)(path)
    with pytest.raises(ValueError, match=r"m\..*: A total of 1 objects could not be loaded") as caught:
        model.load_weights(path)
    assert "must have shape (8, 3), got (8, 4)" in str(caught.value)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(model.get_weights(), before, strict=True))
    assert all(
        np.array_equal(v.numpy(), slot) for v, slot in zip(model.optimizer.variables, slots, strict=True)
    )
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="1 objects could not be loaded"):
        model.load_weights(path, skip_mismatch=True)
    assert np.array_equal(model.layers[0].weights[0], other.layers[0].weights[0])
    assert np.array_equal(model.layers[1].weights[0], before[2])


def test_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("h5py", "pyfive", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    model = network()
    message = (
        r"saving `\.keras` and `\.h5` files needs h5py, which can't be imported \(.*\): "
        r"pip install h5py pyfive .*safetensors, or save to `\.npz`, which needs NumPy alone"
    )
    for save, name in ((model.save, "m.keras"), (model.save, "m.h5"), (model.save_weights, "m.weights.h5")):
        with pytest.raises(ImportError, match=message):
            save(tmp_path / name)
    with pytest.raises(ImportError, match=message):
        model.save(tmp_path / "folder" / "model", zipped=False)
    assert not list(tmp_path.iterdir())
    for name, package in (("m.keras", "pyfive"), ("m.h5", "pyfive"), ("m.safetensors", "safetensors")):
        with ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("model.weights.h5", b"")
        with pytest.raises(
            ImportError, match=rf"loading .* files needs {package}, .*pip install h5py pyfive .*safetensors"
        ):
            models.load_model(tmp_path / name)
    model.save(tmp_path / "m.npz")
    assert models.load_model(tmp_path / "m.npz").built


KILLED = """
import os, sys
import numpy as np
import engine as keras
model = keras.Sequential([keras.Input((400,)), keras.layers.Dense(400)])
print("ready", flush=True)
for n in range(10**6):
    model.set_weights([np.full((400, 400), n, "float32"), np.full(400, n, "float32")])
    model.save(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("suffix", [".npz", ".keras"])
def test_a_killed_process_leaves_a_whole_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    for wait in (0.05, 0.083, 0.12):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        while not path.exists():
            assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(wait)
        process.kill()
        process.communicate()
        kernel, bias = models.load_model(path).get_weights()
        assert (kernel == bias[0]).all()
        assert (bias == bias[0]).all()


def test_links_and_modes_stay(tmp_path: Path) -> None:
    (tmp_path / "real.npz").write_bytes(b"old")
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    network().save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert models.load_model(tmp_path / "real.npz").built
    mask = os.umask(0o022)
    os.umask(mask)
    assert (tmp_path / "real.npz").stat().st_mode & 0o777 == 0o666 & ~mask


def test_places_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("mine")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(NotADirectoryError, match=r"file' is a file: give another path"):
        model.save(tmp_path / "file" / "m.keras")
    with pytest.raises(FileNotFoundError, match=r"full' holds no saved model, as it has no config\.json"):
        keras.models.load_model(tmp_path / "full")
    model.compile("sgd", "mse")
    saves = keras.callbacks.ModelCheckpoint(tmp_path / "{val_loss}.keras")
    with pytest.raises(KeyError, match=r"no 'val_loss', only epoch, loss: pass validation data"):
        model.fit([[1.0, 2.0]], [1.0], verbose=0, callbacks=[saves])
