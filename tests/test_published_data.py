"""Data sets that Keras publishes as one file: where they are searched, how they are checked, and what is refused."""

from __future__ import annotations

import hashlib
import io
import pickle
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.datasets import boston_housing, california_housing, imdb, reuters

X, Y = np.arange(40.0).reshape(10, 4), np.arange(10.0)


class Quiet(SimpleHTTPRequestHandler):
    """Serves the files of a folder, without a log."""

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Yields a folder, and the URL at which a local server serves it."""
    folder = tmp_path / "web"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def lists(*texts: list[int]) -> Any:
    found = np.empty(len(texts), object)
    found[:] = [*texts]
    return found


@pytest.fixture
def published(home: Path, tmp_path: Path, web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Replaces the data set of Boston by a small one, which the server doesn't have yet, and returns its file."""
    contents = archive(x=X, y=Y)
    small = boston_housing._FILE._replace(checksum=hashlib.sha256(contents).hexdigest(), url=web[1])
    monkeypatch.setattr(boston_housing, "_FILE", small)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return contents


def test_it_is_downloaded_once(published: bytes, web: tuple[Path, str], home: Path) -> None:
    (web[0] / "boston_housing.npz").write_bytes(published)
    (x, y), (x_test, _) = boston_housing.load_data()
    assert (x.shape, x_test.shape) == ((8, 4), (2, 4))
    np.testing.assert_array_equal(x[:, 0], 4 * y)
    (web[0] / "boston_housing.npz").unlink()
    kept = list(home.rglob("boston_housing.npz"))
    assert [each.read_bytes() for each in kept] == [published]
    np.testing.assert_array_equal(boston_housing.load_data()[0][0], x)
    kept[0].write_bytes(published[:-9])
    with pytest.raises(OSError, match="can't be downloaded"):
        boston_housing.load_data()


def test_the_cache_of_keras_is_read(published: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    (folder / "boston_housing.npz").write_bytes(published)
    assert boston_housing.load_data(test_split=0)[0][0].shape == (10, 4)


def test_a_file_of_the_users(published: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(archive(x=X[:, :2], y=Y))
    assert boston_housing.load_data(path)[0][0].shape == (8, 2)


def test_without_a_network(published: bytes, tmp_path: Path) -> None:
    message = r"houses in Boston is in neither .*mlp-engine.*boston_housing\.npz nor .*keras.datasets.*404.*pass its absolute path"
    with pytest.raises(OSError, match=message):
        boston_housing.load_data()


def test_another_file_is_refused(published: bytes, web: tuple[Path, str], home: Path) -> None:
    (web[0] / "boston_housing.npz").write_bytes(published + b"x")
    with pytest.raises(OSError, match="has another file than that of"):
        boston_housing.load_data()
    assert not [*home.rglob("*.npz")]


def test_houses_of_california(tmp_path: Path) -> None:
    path = tmp_path / "houses.npz"
    path.write_bytes(archive(x=np.arange(1400.0).reshape(700, 2), y=np.arange(700.0)))
    (x, y), (x_test, _) = california_housing.load_data("small", path)
    assert (x.shape, x_test.shape) == ((480, 2), (120, 2))
    assert y.max() < 600
    assert california_housing.load_data(path=path, test_split=0.5)[1][1].shape == (350,)
    with pytest.raises(ValueError, match="`version`"):
        california_housing.load_data("medium", path)
    with pytest.raises(ValueError, match="`test_split`"):
        california_housing.load_data(path=path, test_split=1.0)


def test_reviews(tmp_path: Path) -> None:
    path = tmp_path / "reviews.npz"
    train, test = lists([5, 1, 9], [2], [3, 3, 3, 3]), lists([1, 2], [7])
    path.write_bytes(
        archive(x_train=train, y_train=np.array([1, 0, 1]), x_test=test, y_test=np.array([0, 1]))
    )
    (x, y), (x_test, _) = imdb.load_data(path)
    found = dict(zip(map(len, x), y.tolist(), strict=True))
    assert found == {4: 1, 2: 0, 5: 1}
    assert all(text[0] == 1 for text in [*x, *x_test])
    assert isinstance(x[0], list)
    (x, _), _ = imdb.load_data(path, num_words=7, skip_top=5, start_char=None, oov_char=None)
    assert sorted(x) == [[], [5], [6, 6, 6, 6]]
    (x, _), _ = imdb.load_data(path, maxlen=5)
    assert sorted(map(len, x)) == [2, 4]
    with pytest.raises(ValueError, match="no sequence was kept"):
        imdb.load_data(path, maxlen=1)
    with pytest.raises(TypeError, match="Unrecognized"):
        imdb.load_data(path, words=3)
    with pytest.warns(DeprecationWarning, match="nb_words"):
        imdb.load_data(path, nb_words=3)


def test_newswires(tmp_path: Path) -> None:
    path = tmp_path / "newswires.npz"
    path.write_bytes(archive(x=lists(*([each] for each in range(10))), y=np.arange(10)))
    (x, y), (x_test, _) = reuters.load_data(path, num_words=100)
    assert (len(x), len(x_test)) == (8, 2)
    assert [text[1] - 3 for text in x] == y.tolist()
    names = reuters.get_label_names()
    assert len(names) == 46
    assert names[3] == "earn"


def test_indices_of_words(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text('{"the": 1, "na\\u00efve": 2}')
    assert imdb.get_word_index(path) == {"the": 1, "naïve": 2}
    assert reuters.get_word_index(path) == {"the": 1, "naïve": 2}


class Evil:
    """An object whose pickle runs code."""

    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_no_code_in_a_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.npz"
    values = np.empty(1, object)
    values[0] = Evil()
    path.write_bytes(archive(x=values, y=np.zeros(1)))
    with pytest.raises(ValueError, match=r"pickled builtins\.print, which no data set needs: refused"):
        reuters.load_data(path)
    assert capsys.readouterr().out == ""
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no archive of arrays, or damaged"):
        reuters.load_data(path)
    whole = archive(x=lists([1], [2]), y=np.arange(2))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no archive of arrays, or damaged"):
        reuters.load_data(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", pickle.dumps([1]))
    with pytest.raises(ValueError, match=r"damaged|magic"):
        reuters.load_data(path)
