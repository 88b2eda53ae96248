"""Tests of the cache of unpacked data sets: its errors are harmless, and its contents are checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from packed import TINY_SHAPES, Arrays, flip, refuse, same

from engine.datasets import _idx, cache
from engine.datasets._packed import Packed


def test_cached_arrays_are_independent_of_the_file(tiny: tuple[Packed, Arrays], home: Path) -> None:
    packed, arrays = tiny
    packed.load(None)
    loaded = packed.load(None)
    (home / "tiny.idx").write_bytes(b"")
    assert same(loaded, arrays)
    for array in loaded:
        array[...] = 0
    assert same(packed.load(None), arrays)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda good: b"", id="empty"),
        pytest.param(lambda good: good[:20], id="cut in the header"),
        pytest.param(lambda good: good[:-1], id="cut short"),
        pytest.param(lambda good: good + b"\0", id="too long"),
        pytest.param(lambda good: b"x" * len(good), id="garbage"),
        pytest.param(flip(0), id="other magic"),
        pytest.param(flip(17), id="other checksum"),
        pytest.param(flip(40), id="other key"),  # the key of another version of the data
        pytest.param(flip(300), id="flipped bit"),
        pytest.param(flip(-1), id="flipped last bit"),
    ],
)
def test_broken_cache_is_made_anew(
    tiny: tuple[Packed, Arrays],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
) -> None:
    packed, arrays = tiny
    packed.load(None)
    file = home / "tiny.idx"
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert same(packed.load(None), arrays)
    assert file.read_bytes() == good
    monkeypatch.setattr(Packed, "unpack", refuse)
    assert same(packed.load(None), arrays)


def test_cache_of_other_data_is_replaced(tiny: tuple[Packed, Arrays], home: Path) -> None:
    packed, arrays = tiny
    home.mkdir(parents=True)
    buffers = [np.zeros(_idx.size(shape), np.uint8) for shape in TINY_SHAPES]
    cache.write(home / "tiny.idx", bytes(64), buffers)
    assert same(packed.load(None), arrays)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tiny: tuple[Packed, Arrays], home: Path) -> None:
    packed, arrays = tiny
    home.mkdir(parents=True)
    home.chmod(0o500)
    assert same(packed.load(None), arrays)
    assert list(home.iterdir()) == []


def test_folder_that_cannot_be_made(
    tiny: tuple[Packed, Arrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, arrays = tiny
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "file"))
    assert same(packed.load(None), arrays)
    assert (tmp_path / "file").read_text() == "in the way"


def test_folder_in_the_place_of_the_file(tiny: tuple[Packed, Arrays], home: Path) -> None:
    packed, arrays = tiny
    (home / "tiny.idx").mkdir(parents=True)
    assert same(packed.load(None), arrays)
    assert [file.name for file in home.iterdir()] == ["tiny.idx"]


def test_failed_write_leaves_nothing(
    tiny: tuple[Packed, Arrays], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    packed, arrays = tiny
    monkeypatch.setattr(Path, "replace", full)
    assert same(packed.load(None), arrays)
    assert list(home.iterdir()) == []


def test_no_home(tiny: tuple[Packed, Arrays], monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        msg = "no home"
        raise RuntimeError(msg)

    packed, arrays = tiny
    for name in ("ENGINE_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache.folder() is None
    assert same(packed.load(None), arrays)
    assert same(packed.load("name.npz"), arrays)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"ENGINE_CACHE_DIR": "/e", "XDG_CACHE_HOME": "/x"}, "/e/mlp-engine"),
        ("linux", {"ENGINE_CACHE_DIR": "", "XDG_CACHE_HOME": "/x"}, "/x/mlp-engine"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/mlp-engine"),
        ("linux", {}, "/home/me/.cache/mlp-engine"),
        ("darwin", {}, "/home/me/Library/Caches/mlp-engine"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/mlp-engine"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
def test_cache_folder(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("ENGINE_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.folder() == Path(expected)


def test_path_names_the_cache_file(tiny: tuple[Packed, Arrays], home: Path, tmp_path: Path) -> None:
    packed, arrays = tiny
    for path, file in (("sub/t.npz", home / "sub" / "t.npz"), (str(tmp_path / "a.bin"), tmp_path / "a.bin")):
        assert same(packed.load(path), arrays)
        assert same(packed.load(path), arrays)
        assert file.stat().st_size > sum(array.size for array in arrays)
    assert not (home / "tiny.idx").exists()


@pytest.mark.usefixtures("home")
def test_file_of_somebody_else_is_left_alone(tiny: tuple[Packed, Arrays], tmp_path: Path) -> None:
    packed, arrays = tiny
    file = tmp_path / "mnist.npz"
    file.write_bytes(b"PK and so on")
    assert same(packed.load(str(file)), arrays)
    assert file.read_bytes() == b"PK and so on"
