"""Tests of Fashion-MNIST: where its files are searched, and how they are checked."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed import TINY_SHAPES, Arrays, same

from engine.datasets import _idx, fashion_mnist
from engine.datasets._published import Published

RNG = np.random.default_rng(4)
ARRAYS: Arrays = [RNG.integers(0, 256, shape, np.uint8) for shape in TINY_SHAPES]
CONTENTS = [_idx.header(array.shape) + array.tobytes() for array in ARRAYS]


def fill(folder: Path, packed: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    for name, contents in zip(_idx.FILES, CONTENTS, strict=True):
        (folder / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(contents) if packed else contents
        )


@pytest.fixture
def published(
    home: Path, tmp_path: Path, web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> Published:
    """Replaces the data set by a small one, whose files do not exist yet."""
    small = fashion_mnist._FASHION_MNIST._replace(
        shapes=TINY_SHAPES,
        sha256=tuple(hashlib.sha256(contents).hexdigest() for contents in CONTENTS),
        folders=(str(tmp_path / "system"),),
        url=web[1],
    )
    monkeypatch.setattr(fashion_mnist, "_FASHION_MNIST", small)
    return small


def loaded(path: Any = None) -> Arrays:
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data(path)
    return [x_train, y_train, x_test, y_test]


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_may_hold_it(packed: bool, published: Published, home: Path, tmp_path: Path) -> None:
    fill(tmp_path / "mine", packed)
    assert same(loaded(tmp_path / "mine"), ARRAYS)
    assert not home.exists()
    fill(Path(published.folders[0]), packed)
    assert same(loaded(), ARRAYS)
    assert [file.name for file in home.iterdir()] == ["fashion-mnist.idx"]


def test_it_is_downloaded_once(published: Published, web: tuple[Path, str]) -> None:
    fill(web[0])
    first = loaded()
    assert same(first, ARRAYS)
    for file in web[0].iterdir():
        file.unlink()
    second = loaded()
    assert same(second, ARRAYS)
    second[0][...] = 0


@pytest.mark.usefixtures("published")
def test_without_a_network_the_message_says_where_to_get_it(home: Path) -> None:
    with pytest.raises(OSError, match=r"in none of .*mlp-engine, .*system, and can't be downloaded"):
        loaded()
    with pytest.raises(OSError, match=r"404.*dataset-fashion-mnist, or pass the folder") as caught:
        loaded()
    assert caught.value.__cause__.closed
    assert not home.exists()


@pytest.mark.usefixtures("published")
def test_other_data_is_not_believed(home: Path, web: tuple[Path, str], tmp_path: Path) -> None:
    fill(web[0])
    fill(tmp_path / "system")
    labels = web[0] / f"{_idx.FILES[1]}.gz"
    labels.write_bytes(gzip.compress(CONTENTS[1][:-1] + b"\0"))
    assert same(loaded(), ARRAYS)  # the files in the folder of the system are right
    (tmp_path / "system" / labels.name).write_bytes(labels.read_bytes())
    (home / "fashion-mnist.idx").unlink()
    with pytest.raises(OSError, match="has other files than those of Fashion-MNIST, by their SHA-256"):
        loaded()
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(OSError, match="the answer is no gzip file, or damaged"):
        loaded()


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`path` must be a path, got 3"):
        loaded(3)
    with pytest.raises(FileNotFoundError, match=r"neither train-images-idx3-ubyte nor .*ubyte.gz"):
        loaded(tmp_path)
    fill(tmp_path / "mine")
    (tmp_path / "mine" / f"{_idx.FILES[2]}.gz").write_bytes(b"no gzip")
    with pytest.raises(OSError, match=r"t10k-images-idx3-ubyte.gz is no gzip file, or damaged"):
        loaded(tmp_path / "mine")


def bomb(shape: tuple[int, ...], length: int) -> bytes:
    """Returns a gzip file with the header of an array of that shape, and zeros."""
    return gzip.compress(_idx.header(shape) + bytes(length), mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bomb((40, 5, 3), 2**26), r"unpacks to more than the 616 bytes of the shape \(40, 5, 3\)"),
        (bomb((2**31, 2**31), 2**10), "would fill the memory"),
        (bomb((2**26,), 2**26), r"shape \(67108864,\), 67108872 bytes.*refused, as more than 67108864"),
        (bomb((10,), 9), "has 17 bytes; its IDX header says"),
        (gzip.compress(bytes(2**26), mtime=0), "IDX values of type 0x00"),
        (gzip.compress(b"\0\0\x08\xff" + bytes(10), mtime=0), "ends inside its IDX header"),
        (gzip.compress(b"", mtime=0), "isn't an IDX file"),
    ],
)
def test_no_more_is_unpacked_than_the_header_says(
    content: bytes, message: str, published: Published, tmp_path: Path, web: tuple[Path, str]
) -> None:
    assert len(content) < 2**19
    for folder in (tmp_path / "mine", tmp_path / "system", web[0]):
        fill(folder)
        (folder / f"{_idx.FILES[0]}.gz").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path / "mine")
    with pytest.raises(OSError, match=r"other files than those of Fashion-MNIST|can't be downloaded from"):
        loaded()  # the folder of the system is skipped
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25
    assert not list(tmp_path.rglob(f"{published.name}.idx"))


def test_what_is_packed_to_little_but_small_is_read(tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    (tmp_path / "mine" / f"{_idx.FILES[1]}.gz").write_bytes(bomb((2**20,), 2**20))
    assert loaded(tmp_path / "mine")[1].shape == (2**20,)
    joined = gzip.compress(CONTENTS[1][:30]) + gzip.compress(CONTENTS[1][30:])  # gzip reads both as one
    (tmp_path / "mine" / f"{_idx.FILES[1]}.gz").write_bytes(joined)
    assert same(loaded(tmp_path / "mine"), ARRAYS)


def test_of_an_answer_no_more_is_read_than_the_data_has(
    published: Published, web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(web[0])
    packed = gzip.compress(CONTENTS[0], 0)
    # Zeros behind the last member are not part of the gzip format.
    (web[0] / f"{_idx.FILES[0]}.gz").write_bytes(packed + bytes(2**18))
    unpack, lengths = _idx.unpack, []

    def seen(data: bytes, *arguments: Any) -> Any:
        lengths.append(len(data))
        return unpack(data, *arguments)

    monkeypatch.setattr(_idx, "unpack", seen)
    assert same(loaded(), ARRAYS)
    assert lengths[0] < len(packed) + 2**17
    assert published.name == "fashion-mnist"
