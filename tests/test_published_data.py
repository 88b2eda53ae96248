"""Data sets that Keras publishes as one file: where they are searched, how they are checked, and what is refused."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.datasets import boston_housing, california_housing, imdb, reuters
from engine.datasets._pickled_lists import lists_in

X, Y = np.arange(40.0).reshape(10, 4), np.arange(10.0)


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


def pickled(*values: Any, protocol: int = 4) -> bytes:
    return pickle.dumps(lists(*values), protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_form_of_pickled_lists(protocol: int) -> None:
    rng = np.random.default_rng(protocol)
    values = [rng.integers(-(2**31), 2**31 >> (number % 32), number).tolist() for number in range(300)]
    values += [[255, 256, 65535, 65536, 2**31, 2**40, -1], []]
    values += [list(range(10**5))]  # more than one piece of the program
    assert lists_in(pickled(*values, protocol=protocol), 10**6) == values
    numbers = [[np.int64(3), np.uint8(200), -4]]
    assert lists_in(pickled(*numbers, protocol=protocol), 10**6) == [[3, 200, -4]]


def with_values(instructions: bytes) -> bytes:
    """Returns a pickled array of length 1 with other instructions in place of those that make the list of its values."""
    found = re.fullmatch(rb"(.*b\x89)\]q.*(tq.b\.)", pickled([77], protocol=2), re.DOTALL)
    assert found
    return found[1] + instructions + found[2]


def forged() -> bytes:
    """Returns a pickled array of objects whose state is bytes. NumPy takes these for addresses of objects."""
    return with_values(b"U\x08" + b"\x41" * 8)


def doubled(levels: int) -> bytes:
    """Returns a pickled array with a list that holds another one twice, and so on."""
    twice = [bytes([level]) for level in range(levels)]
    inner = b"".join(b"](h" + level + b"h" + level + b"eq" + bytes([level[0] + 1]) for level in twice)
    return with_values(b"]" + b"](]q\x00" + inner + b"ea")


@pytest.mark.parametrize(
    "program",
    [
        forged(),
        doubled(60),
        b"",
        b".",
        b"K.",
        b"]" * 10**6 + b".",
        b"]" + b"2" * 10**6 + b".",
        b"](" + b"]" * 10**5 + b"e.",
        b"U\x00" * 10**5 + b".",
        b"]r\xff\xff\xff\xff.",
        b"\x8d" + b"\xff" * 8 + b".",
        b"B\xff\xff\xff\x7fx.",
        b"(" * 10**5 + b"t" * 10**5 + b".",
        b"]q\x00h\x00a.",
        pickled([1.5]),
        pickled(["a"]),
        pickled({"a": 1}),
        pickled([True]),
        pickle.dumps([1, 2]),
        pickle.dumps(np.array([[1]], object)),
        pickle.dumps(np.array([1, 2])),
    ],
)
def test_programs_that_make_something_else(program: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match="pickled"):
        lists_in(program, 10**5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25


@settings(max_examples=300, deadline=None)
@given(data=st.data(), protocol=st.sampled_from([2, 4]))
def test_mutated_pickles(data: st.DataObject, protocol: int) -> None:
    program = bytearray(pickled([5, 300, 70000], [], list(range(40)), protocol=protocol))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(program) - 1))
        action = data.draw(st.sampled_from(["set", "insert", "remove", "copy"]))
        if action == "set":
            program[place] = data.draw(
                st.sampled_from(b"]()tse.RbKMJhqUXcacN\x85\x86\x87\x8c\x93\x94\xff\x00")
            )
        elif action == "insert":
            program[place:place] = data.draw(st.binary(min_size=1, max_size=6))
        elif action == "remove":
            del program[place : place + data.draw(st.integers(1, 9))]
        else:
            program[place:place] = program[: data.draw(st.integers(1, len(program)))]
    with suppress(ValueError):
        found = lists_in(bytes(program), 10**4)
        assert all(type(value) is int for each in found for value in each)


def test_texts_that_share_their_words(tmp_path: Path) -> None:
    """A file of a few bytes for each text may not stand for as many words as it likes."""
    shared = [1] * 10**5
    path = tmp_path / "reviews.npz"
    path.write_bytes(archive(x=lists(*[shared] * 1000), y=np.zeros(1000)))
    assert path.stat().st_size < 10**6
    with pytest.raises(ValueError, match=r"may hold .* integers at most in a file of this size"):
        reuters.load_data(path)


def test_members_that_unpack_to_far_more_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", bytes(2**27))
    with pytest.raises(ValueError, match="claims to hold 134217728 bytes, far more than are there"):
        reuters.load_data(path)
    for shape in ((2**60,), (3,), (-1,)):
        content = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            content, {"descr": "<f8", "fortran_order": False, "shape": shape}
        )
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", content.getvalue() + bytes(16))
        with pytest.raises(ValueError, match="but 16 bytes are there"):
            reuters.load_data(path)
