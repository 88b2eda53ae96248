"""Saves that fail or are killed leave the old files complete, and touch no other files."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import same_weights
from saved import network

import engine as keras
from engine import layers, models
from engine._base.atomic_files import replacing, replacing_together
from engine.saving import _zip

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="limits, signals, locks and permissions of POSIX"
)

# A name for each format; the last is a folder, with `zipped=False`.
NAMES = ["m.keras", "m.h5", "m.weights.h5", "m.weights.json", "m.npz", "m.safetensors", "m"]


def save(model: keras.Sequential, path: Path) -> None:
    """Saves a model in the format that its name says."""
    if path.name.endswith(".weights.json"):
        model.save_weights(path, max_shard_size=1e-3)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path, zipped=None if path.suffix else False)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# A limit of the size of files simulates a full disk: writing beyond it fails.
LIMITED = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_failed_saves import files, save, wide
path, sample, model = Path(sys.argv[2]), Path(sys.argv[3]), wide()
save(model, sample / path.name)
size = max(map(len, files(sample).values()))
for limit in (0, 100, 3000, 4096, 100_000, 500_000, 640_000, size - 4096, size - 4, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save(model, path)
    except OSError as error:
        assert error.errno == 27 or error.errno is None, repr(error)
        assert "can't write" in str(error) and "File too large" in str(error), repr(error)
    else:
        sys.exit(f"{limit} bytes were enough")
print("done")
"""


def wide() -> keras.Sequential:
    """Returns a model with more than 700 KB of weights."""
    model = keras.Sequential([keras.Input((400,)), layers.Dense(400), layers.Dense(60)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_everything_as_it_was(
    name: str, there: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if there:
        save(wide(), tmp_path / name)
    before = files(tmp_path)
    sample = tmp_path_factory.mktemp("sample")
    command = [sys.executable, "-c", LIMITED, str(Path(__file__).parent), str(tmp_path / name), str(sample)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
    assert files(tmp_path) == before
    assert len([*tmp_path.iterdir()]) == (there and (2 if "json" in name else 1))  # no empty folder either


# Folders


def test_a_folder_keeps_what_is_not_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources").mkdir()
    for name in ("thesis.tex", "sources/main.py", "model.weights.h5.bak", "config.json"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    for where in (".", tmp_path, str(tmp_path)):
        model = network()
        model.save(where, zipped=False)
        assert same_weights(models.load_model(where), model)
    names = {"thesis.tex", "sources/main.py", "model.weights.h5.bak"}
    new = {"config.json", "metadata.json", "model.weights.h5"}
    assert files(tmp_path).keys() == names | new
    assert all((tmp_path / name).read_text() == name for name in names)


def test_a_folder_is_made_with_those_it_lies_in(tmp_path: Path) -> None:
    network().save(tmp_path / "a" / "b" / "model", zipped=False)
    assert models.load_model(tmp_path / "a" / "b" / "model").built
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "c" / "model"):
        with pytest.raises(NotADirectoryError, match=r"can't make the folder .*, as '.*file' is a file"):
            network().save(path, zipped=False)
    (tmp_path / "other" / "config.json").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"config\.json': it is a folder"):
        network().save(tmp_path / "other", zipped=False)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["config.json"]


@pytest.fixture(name="renames")
def failing_renames(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Returns a list. Renaming a file to a name that is not temporary fails for the calls whose numbers are in it."""
    numbers: list[int] = []
    calls = 0
    rename = Path.replace

    def replace(self: Path, target: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls - 1 in numbers:
            raise OSError(5, "Input/output error", str(self), None, str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    yield numbers
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("links", "which"), [(True, 0), (True, 1), (True, 2), *((False, n) for n in range(5))]
)
def test_a_folder_is_as_it_was_if_a_rename_fails(
    links: bool, which: int, tmp_path: Path, renames: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    network().save(folder, zipped=False)
    before = files(tmp_path)
    if not links:  # without links, two old files are renamed before the new ones

        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", refuse)
    renames.append(3 + which)  # after the three renames of the first save
    with pytest.raises(OSError, match=r"Input/output error; what was there before is unchanged"):
        network().save(folder, zipped=False)
    assert files(tmp_path) == before
    renames.clear()
    model = network()
    model.save(folder, zipped=False)
    assert same_weights(models.load_model(folder), model)
    assert files(tmp_path).keys() == before.keys()


def test_a_new_folder_goes_again_if_a_rename_fails(tmp_path: Path, renames: list[int]) -> None:
    renames.append(2)
    with pytest.raises(OSError, match="Input/output error"):
        network().save(tmp_path / "new" / "model", zipped=False)
    assert not list(tmp_path.iterdir())


def test_an_old_file_that_can_not_be_put_back_is_named(tmp_path: Path, renames: list[int]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"old {name}")
    renames.extend([1, 2])  # that of the second new file, and that of the first old one

    def write() -> None:
        with replacing_together() as opened:
            for name in ("a", "b"):
                with opened(tmp_path / name, "w") as file:
                    file.write(f"new {name}")

    with pytest.raises(OSError, match=r"nor the old ones be put back: rename '.*\.a\..*\.old' to '.*a'"):
        write()
    (old,) = tmp_path.glob(".a.*.old")
    assert old.read_text() == "old a"
    assert (tmp_path / "b").read_text() == "old b"


# Leftovers

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_failed_saves import save, wide
fsync = os.fsync
def kill(number):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = kill
save(wide(), Path(sys.argv[2]))
"""


def kill_while_saving(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", NAMES)
def test_the_next_save_removes_what_a_killed_one_left(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for _ in range(2):
        kill_while_saving(path)
    assert not any(
        each.endswith((".json", ".h5", ".keras", ".npz", ".safetensors")) for each in files(tmp_path)
    )
    save(wide(), path)
    assert not [each for each in files(tmp_path) if each.endswith(".tmp")]
    kill_while_saving(path)
    save(wide(), path)
    assert not [each for each in files(tmp_path) if each.endswith(".tmp")]


def test_files_that_others_write_stay(tmp_path: Path) -> None:
    long = "x" * 40
    kill_while_saving(tmp_path / "other.npz")
    kill_while_saving(tmp_path / f"{long}1.npz")
    others = files(tmp_path)
    own = {".m.npz.tmp", ".m.npz.0123abcd.tmp", ".m.npz.0123abcd.0123abcd.tmp", "m.npz.tmp"}
    for name in own:
        (tmp_path / name).write_bytes(b"of the user")
    with replacing(tmp_path / "m.npz") as file:
        file.write(b"first")
        with replacing(tmp_path / "m.npz") as second:  # while the first save is not finished
            second.write(b"second")
        assert (tmp_path / "m.npz").read_bytes() == b"second"
    assert (tmp_path / "m.npz").read_bytes() == b"first"
    save(wide(), tmp_path / f"{long}2.npz")
    assert files(tmp_path).keys() == {*others, *own, "m.npz", f"{long}2.npz"}


def test_a_file_that_can_not_be_locked_gets_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process would remove a file with the usual name, since it is not locked."""
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    names = []
    for lock in (fcntl.flock, refuse):
        monkeypatch.setattr(fcntl, "flock", lock)
        with replacing(tmp_path / "m.npz") as file:
            names += [path.name.count(".") for path in tmp_path.glob(".m.npz.*.tmp")]
            file.write(b"new")
    assert names == [5, 4]


def test_programs_that_lock_files_find_the_new_one_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library of HDF5 locks a file when it opens it."""
    import fcntl

    rename = Path.replace

    def replace(self: Path, target: Any) -> Any:
        renamed = rename(self, target)
        with renamed.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return renamed

    monkeypatch.setattr(Path, "replace", replace)
    with replacing(tmp_path / "m.npz") as file:
        file.write(b"new")
    assert (tmp_path / "m.npz").read_bytes() == b"new"


# Permissions


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("name", NAMES)
def test_permissions_follow_the_umask_or_stay(name: str, mask: int, tmp_path: Path) -> None:
    model, path = network(), tmp_path / name
    before = os.umask(mask)
    try:
        save(model, path)
        written = [each for each in tmp_path.rglob("*") if each.is_file()]
        assert {stat.S_IMODE(each.stat().st_mode) for each in written} == {0o666 & ~mask}
        for each in written:
            each.chmod(0o640)
        save(model, path)
    finally:
        os.umask(before)
    if name != "m.weights.json":  # its files have new names
        assert {stat.S_IMODE(each.stat().st_mode) for each in written} == {0o640}


def test_all_of_a_file_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, synced = os.fsync, set()

    def noted(number: int) -> None:
        synced.add(os.fstat(number).st_ino)
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    for name in NAMES:
        save(network(), tmp_path / name)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == len(NAMES) + 3
    assert {path.stat().st_ino for path in written} <= synced


# The peak memory of the process, after a save to `.npz` has raised it to what every save needs.
MEASURED = """
import resource, sys
import engine as keras
model = keras.Sequential([keras.Input((2000,)), keras.layers.Dense(3000)])
peaks = []
for name in ("m.npz", "m.safetensors"):
    model.save_weights(f"{sys.argv[1]}/{name}")
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak has another unit")
def test_safetensors_are_written_without_a_copy_of_all_arrays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURED, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) * 1024 < 2000 * 3000 * 4 / 2


@pytest.mark.parametrize("suffix", [".keras", ".npz"])
def test_an_interrupt_between_members_stays_one(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the archive once raised a ValueError instead, as a member was still open."""
    model, path = network(), tmp_path / f"m{suffix}"
    real = _zip.new_member
    held = []

    def interrupted(archive: Any, name: str) -> Any:
        held.append(real(archive, name))
        raise KeyboardInterrupt

    monkeypatch.setattr(_zip, "new_member", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.save(path)
    assert not list(tmp_path.iterdir())
