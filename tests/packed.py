"""Fixtures for the tests of data sets: an empty cache, and a small packed data set."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.datasets import _idx, _packed, pack
from engine.datasets._packed import Packed

Arrays = list[NDArray[np.uint8]]

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
TINY_SHAPES = ((40, 5, 3), (40,), (7, 5, 3), (7,))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty cache folder."""
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mlp-engine"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Packed, Arrays]:
    """Returns a small packed data set and its arrays."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, shape, np.uint8) for shape in TINY_SHAPES]
    source, data = tmp_path / "source", tmp_path / "data"
    source.mkdir()
    data.mkdir()
    for number, (name, array) in enumerate(zip(MD5, arrays, strict=True)):
        contents = _idx.header(array.shape) + array.tobytes()
        if number % 2:
            (source / name).write_bytes(contents)
        else:
            (source / f"{name}.gz").write_bytes(gzip.compress(contents))
    monkeypatch.setattr(_packed, "FOLDER", data)
    return pack.pack("tiny", source), arrays


def same(got: Arrays, expected: Arrays) -> bool:
    return len(got) == len(expected) and all(map(np.array_equal, got, expected))


def refuse(*_: object) -> Arrays:
    msg = "unpacked although the cache was good"
    raise AssertionError(msg)


def flip(position: int) -> Callable[[bytes], bytes]:
    def change(good: bytes) -> bytes:
        bad = bytearray(good)
        bad[position] ^= 1
        return bytes(bad)

    return change
