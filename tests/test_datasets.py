"""Tests of data sets: packed files, loaded arrays, and the cache, whose errors are harmless."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from packed import MD5, Arrays, flip, refuse, same

from engine.datasets import _idx, _packed, cache, mnist
from engine.datasets._packed import Packed


@pytest.fixture(scope="module")
def digits() -> Iterator[Arrays]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_CACHE_DIR", os.devnull)  # so that data are unpacked and not read from a cache
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
        yield [x_train, y_train, x_test, y_test]


# MNIST


def test_mnist_is_the_published_one(digits: Arrays) -> None:
    files = [_idx.header(array.shape) + array.tobytes() for array in digits]
    assert [hashlib.md5(file).hexdigest() for file in files] == list(MD5.values())


def test_mnist_arrays(digits: Arrays) -> None:
    assert [array.shape for array in digits] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    for array in digits:
        assert type(array) is np.ndarray
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
        assert array.flags.writeable
    assert not any(np.shares_memory(a, b) for i, a in enumerate(digits) for b in digits[:i])


def test_mnist_travels_light_and_with_its_licence() -> None:
    files = list(_packed.FOLDER.iterdir())
    assert {file.name for file in files} == {"README.md", "mnist-0.xz", "mnist-1.xz"}
    assert sum(file.stat().st_size for file in files) < 10_000_000
    notice = (_packed.FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC BY-SA 3.0" in notice
    assert all(author in notice for author in ("LeCun", "Cortes", "Burges"))


def test_mnist_second_load_is_from_the_cache(
    home: Path, digits: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist.load_data()
    assert [file.name for file in home.iterdir()] == ["mnist.idx"]
    monkeypatch.setattr(Packed, "unpack", refuse)
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert same([x_train, y_train, x_test, y_test], digits)


@pytest.mark.usefixtures("home")
def test_concurrent_first_loads(home: Path) -> None:
    code = (
        "import hashlib; from engine.datasets import mnist; (x, _), (_, y) = mnist.load_data();"
        "print(hashlib.md5(x).hexdigest(), hashlib.md5(y).hexdigest())"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    outputs = {run.communicate(timeout=120)[0] for run in runs}
    assert [run.returncode for run in runs] == [0] * 4
    assert len(outputs) == 1
    assert [file.name for file in home.iterdir()] == ["mnist.idx"]  # no temporary files are left


def test_path_of_the_wrong_type() -> None:
    with pytest.raises(TypeError, match="`path` must be a path, got 3"):
        mnist.load_data(3)  # type: ignore[arg-type]  # this must raise an error


# The packed files


def test_missing_lzma(tiny: tuple[Packed, Arrays], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, arrays = tiny
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(ImportError, match=r"no `lzma` module .* apt install liblzma-dev"):
        packed.load(None)
    assert not home.exists()
    monkeypatch.undo()
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(home.parent))
    cache.write(
        home / "tiny.idx",
        bytes.fromhex("".join(packed.sha256)),
        [np.frombuffer(_idx.header(array.shape) + array.tobytes(), np.uint8) for array in arrays],
    )
    monkeypatch.setitem(sys.modules, "lzma", None)
    assert same(packed.load(None), arrays)  # a cached data set needs no lzma


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda good: good[:-200], "it ends too early"),
        (lambda good: b"", "it ends too early"),
        (lambda good: b"version https://git-lfs", "Input format not supported"),
        (flip(150), ""),
    ],
)
def test_damaged_package(
    tiny: tuple[Packed, Arrays], home: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    packed, _ = tiny
    file = _packed.FOLDER / "tiny-1.xz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(OSError, match=rf"tiny-1.xz is damaged: {reason}.*\. Install mlp-engine again"):
        packed.load(None)
    assert not home.exists()


@pytest.mark.usefixtures("home")
def test_other_data_in_the_package(tiny: tuple[Packed, Arrays]) -> None:
    packed, _ = tiny
    other = packed._replace(sha256=(packed.sha256[0], "0" * 64))
    with pytest.raises(OSError, match=f"its SHA-256 is {packed.sha256[1]}, expected 000"):
        other.load(None)


def test_missing_package_file(tiny: tuple[Packed, Arrays]) -> None:
    packed, _ = tiny
    (_packed.FOLDER / "tiny-0.xz").unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny-0\.xz"):
        packed.unpack()


@pytest.mark.parametrize("streams", [1, 2, 3, 5, 20])
def test_cut_is_a_partition(streams: int) -> None:
    buffers = [np.arange(begin, end, dtype=np.uint8) for begin, end in ((0, 11), (11, 12), (12, 21))]
    parts = _packed.cut(buffers, streams)
    assert len(parts) == streams
    assert np.concatenate([view for part in parts for view in part]).tolist() == list(range(21))
    lengths = [sum(view.size for view in part) for part in parts]
    assert lengths[:-1] == [21 // streams] * (streams - 1)


# IDX


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4), (1, 2, 3, 4)])
def test_idx_round_trip(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
    file = np.frombuffer(_idx.header(shape) + array.tobytes(), np.uint8)
    assert file.size == _idx.size(shape)
    assert np.array_equal(_idx.parse(file), array)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "expected it to start with 00 00"),
        (b"\x1f\x8b\x08\x00rest", "expected it to start with 00 00, got '1f 8b'"),
        (b"\0\0\x0d\x01\0\0\0\1xxxx", "type 0x0d; only 0x08"),
        (b"\0\0\x08\x03\0\0\0\1", "ends inside its IDX header: expected 16 bytes or more, got 8"),
        (b"\0\0\x08\x01\0\0\0\4abc", r"has 11 bytes; its IDX header says shape \(4,\), which needs 12"),
        (b"\0\0\x08\x01\0\0\0\2abc", "has 11 bytes"),
    ],
)
def test_idx_errors(contents: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _idx.parse(np.frombuffer(contents, np.uint8))
