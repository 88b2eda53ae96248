"""`StringLookup` and `IntegerLookup`: indices and vectors, vocabularies that are given or found, configs and errors."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import layers

LETTERS = ["a", "b", "c", "d"]


# The examples of Keras' documentation.
@pytest.mark.parametrize(
    ("options", "inputs", "expected"),
    [
        ({}, [["a", "c", "d"], ["d", "z", "b"]], [[1, 3, 4], [4, 0, 2]]),
        ({"num_oov_indices": 2}, [["a", "c", "d"], ["m", "z", "b"]], [[2, 4, 5], [0, 1, 3]]),
        ({"mask_token": ""}, ["a", "", "z"], [2, 0, 1]),
        ({"output_mode": "one_hot"}, ["a", "d", "z"], [[0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]),
        ({"output_mode": "one_hot"}, [["b"]], [[0, 0, 1, 0, 0]]),
        ({"output_mode": "one_hot"}, [["b", "a"]], [[[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]]]),
        (
            {"output_mode": "multi_hot"},
            [["a", "c", "d", "d"], ["d", "z", "b", "z"]],
            [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]],
        ),
        ({"output_mode": "count"}, [["a", "c", "d", "d"]], [[0, 1, 0, 1, 2]]),
        ({"output_mode": "multi_hot", "mask_token": ""}, [["a", ""]], [[0, 1, 0, 0, 0]]),
        ({"output_mode": "binary", "max_tokens": 7, "pad_to_max_tokens": True}, ["a"], [0, 1, 0, 0, 0, 0, 0]),
        ({"invert": True}, [[1, 3, 4], [4, 0, 2]], [["a", "c", "d"], ["d", "[UNK]", "b"]]),
        ({"invert": True, "mask_token": ""}, [0, 1, 2, 99], ["", "[UNK]", "a", "[UNK]"]),
    ],
)  # fmt: skip
def test_strings(options: Any, inputs: Any, expected: Any) -> None:
    layer = layers.StringLookup(vocabulary=LETTERS, **options)
    assert layer(inputs).tolist() == expected
    assert layer(np.array(inputs)).tolist() == expected
    if not layer.invert:
        assert layer(np.array(inputs, "S")).tolist() == expected
        assert layer(np.array(inputs, object)).tolist() == expected
        shape = np.shape(expected)
        assert layer.compute_output_shape(np.shape(inputs)) == shape
    again = layers.StringLookup.from_config(layer.get_config())
    assert again(inputs).tolist() == expected
    assert pickle.loads(pickle.dumps(layer))(inputs).tolist() == expected


def test_the_older_place_of_the_layers() -> None:
    from engine.layers.experimental import preprocessing

    assert layers.experimental.preprocessing is preprocessing
    assert preprocessing.StringLookup is layers.StringLookup
    assert all(getattr(layers, name) is getattr(preprocessing, name) for name in preprocessing.__all__)


def test_one_string() -> None:
    layer = layers.StringLookup(vocabulary=LETTERS)
    assert layer("b").tolist() == 2
    assert layer(b"b").tolist() == 2
    assert layer(["b", b"b", "\N{SNOWMAN}"]).tolist() == [2, 2, 0]
    assert layer([]).shape == (0,)


@pytest.mark.parametrize(
    ("options", "inputs", "expected"),
    [
        ({}, [[12, 1138, 42], [42, 1000, 36]], [[1, 3, 4], [4, 0, 2]]),
        ({"num_oov_indices": 2}, [[12, 1138, 42], [37, 1000, 36]], [[2, 4, 5], [1, 0, 3]]),
        ({"mask_token": 0}, [0, 12, 7], [0, 2, 1]),
        ({"output_mode": "multi_hot", "mask_token": 0}, [[12, 0, 42, 42]], [[0, 1, 0, 0, 1]]),
        ({"output_mode": "count"}, [[12, 0, 42, 42]], [[1, 1, 0, 0, 2]]),
        ({"invert": True}, [[1, 3, 4], [4, 0, 2]], [[12, 1138, 42], [42, -1, 36]]),
    ],
)
def test_integers(options: Any, inputs: Any, expected: Any) -> None:
    layer = layers.IntegerLookup(vocabulary=[12, 36, 1138, 42], **options)
    assert layer(inputs).tolist() == expected
    assert layer(np.array(inputs, np.uint16 if np.min(inputs) >= 0 else np.int16)).tolist() == expected
    assert layers.IntegerLookup.from_config(layer.get_config())(inputs).tolist() == expected


def test_buckets_of_unknown_integers() -> None:
    even = np.arange(0, 40, 2)
    plain = layers.IntegerLookup(num_oov_indices=2, vocabulary=[1])(even)
    hashed = layers.IntegerLookup(num_oov_indices=2, vocabulary=[1], oov_method="farmhash")(even)
    assert set(plain.tolist()) == {0}
    assert set(hashed.tolist()) == {0, 1}
    assert hashed.tolist() == layers.Hashing(2)(even).tolist()
    salted = layers.IntegerLookup(num_oov_indices=2, vocabulary=[1], oov_method="farmhash", salt=3)(even)
    assert salted.tolist() == layers.Hashing(2, salt=3)(even).tolist()


def test_adapt_orders_by_frequency_then_backwards() -> None:
    layer = layers.StringLookup()
    layer.adapt([["a", "c", "d"], ["d", "z", "b"]])
    assert layer.get_vocabulary() == ["[UNK]", "d", "z", "c", "b", "a"]
    assert layer.get_vocabulary(include_special_tokens=False) == ["d", "z", "c", "b", "a"]
    assert layer.vocabulary_size() == 6
    layer.adapt(np.array(["x", "x", "[UNK]", "y"]))
    assert layer.get_vocabulary() == ["[UNK]", "x", "y"]
    numbers = layers.IntegerLookup(max_tokens=3)
    numbers.adapt(np.array([5, 5, 7, 7, 9]))
    assert numbers.get_vocabulary() == [-1, 7, 5]
    assert layers.StringLookup().get_vocabulary() == ["[UNK]"]
    assert layers.StringLookup(mask_token="").get_vocabulary() == ["", "[UNK]"]


def test_adapt_takes_batches() -> None:
    expected = ["[UNK]", "b", "c", "a"]
    batches = [(np.array(["a", "b"]), [0, 1]), (np.array(["b", "c"]), [1, 1])]
    layer = layers.StringLookup()
    layer.adapt(iter(batches))
    assert layer.get_vocabulary() == expected
    layer.adapt(batch for batch in (["a", "b"], ["b", "c"]))
    assert layer.get_vocabulary() == expected
    layer.adapt(iter([*batches, (["z"], [0])]), steps=2)
    assert layer.get_vocabulary() == expected
    layer.reset_state()
    for x, _ in batches:
        layer.update_state(x)
    layer.finalize_state()
    assert layer.get_vocabulary() == expected


def test_adapt_takes_columns_of_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"name": ["a", "b", "b"], "kind": ["x", "x", "y"], "age": [3, 4, 4]})
    layer = layers.StringLookup()
    layer.adapt(frame["name"])
    assert layer.get_vocabulary() == ["[UNK]", "b", "a"]
    assert layer(frame["name"]).tolist() == [2, 1, 1]
    layer.adapt(frame[["name", "kind"]])
    assert layer.get_vocabulary() == ["[UNK]", "x", "b", "y", "a"]
    layer.adapt(frame["name"].astype("category"))
    numbers = layers.IntegerLookup()
    numbers.adapt(frame["age"])
    assert numbers(frame["age"]).tolist() == [2, 1, 1]
    with pytest.raises(TypeError, match="fillna"):
        layer.adapt(pandas.Series(["a", None]))


def test_tf_idf() -> None:
    layer = layers.StringLookup(output_mode="tf_idf")
    layer.set_vocabulary(LETTERS, idf_weights=[0.25, 0.75, 0.6, 0.4])
    found = layer([["a", "c", "d", "d"], ["d", "z", "b", "z"]])
    np.testing.assert_allclose(found, [[0, 0.25, 0, 0.6, 0.8], [1.0, 0, 0.75, 0, 0.4]], rtol=1e-6)
    weights = [0.0, 0.25, 0.75, 0.6, 0.4]
    layer = layers.StringLookup(output_mode="tf_idf", vocabulary=["[UNK]", *LETTERS], idf_weights=weights)
    np.testing.assert_allclose(layer([["d", "z"]]), [[0, 0, 0, 0, 0.4]])
    layer = layers.StringLookup(output_mode="tf_idf", max_tokens=4, pad_to_max_tokens=True)
    layer.adapt([["a", "b"], ["b", "b"]])
    rare, common = np.log(1 + 2 / 2), np.log(1 + 2 / 3)
    np.testing.assert_allclose(layer([["a", "b", "z", "b"]]), [[(rare + common) / 2, 2 * common, rare, 0]])
    again = layers.StringLookup.from_config(layer.get_config())
    np.testing.assert_array_equal(again([["a", "b", "z"]]), layer([["a", "b", "z"]]))


def test_files_of_terms(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("b\na\n")
    assert layers.StringLookup(vocabulary=str(path))(["a", "b", "c"]).tolist() == [2, 1, 0]
    path.write_text("7\n3\n")
    assert layers.IntegerLookup(vocabulary=path)([3, 7, 1]).tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="does not exist"):
        layers.StringLookup(vocabulary=str(tmp_path / "none.txt"))


def test_adapt_keeps_a_given_vocabulary() -> None:
    layer = layers.StringLookup(vocabulary=LETTERS)
    with pytest.raises(ValueError, match="after setting a static vocabulary"):
        layer.adapt(["x"])
    assert layer.get_vocabulary() == ["[UNK]", *LETTERS]
    adapted = layers.StringLookup()
    adapted.adapt(LETTERS)
    again = layers.StringLookup.from_config(adapted.get_config())
    again.adapt(["x"])
    assert again.get_vocabulary() == ["[UNK]", "x"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 1}, "`max_tokens` must be at least 2"),
        ({"num_oov_indices": -1}, "`num_oov_indices` must be at least 0"),
        ({"output_mode": "hot"}, "`output_mode`"),
        ({"invert": True, "output_mode": "count"}, "must be 'int' when `invert` is true"),
        ({"pad_to_max_tokens": True}, "needs `max_tokens`"),
        ({"sparse": True}, "`sparse=True` belongs to"),
        ({"vocabulary": ["a", "b", "a"]}, "at least one repeated term.*'a'"),
        ({"vocabulary": []}, "cannot set an empty vocabulary"),
        ({"vocabulary": ["a", "b"], "max_tokens": 2}, "vocabulary size is 3; `max_tokens` is 2"),
        ({"vocabulary": ["a", ""], "mask_token": ""}, "Found reserved mask token"),
        ({"vocabulary": ["a", "[UNK]"], "invert": True}, "Found reserved OOV token"),
        ({"vocabulary": ["a"], "output_mode": "tf_idf"}, "`idf_weights` argument must also be"),
        ({"vocabulary": ["a"], "idf_weights": [1.0]}, "should only be set if `output_mode` is 'tf_idf'"),
        ({"vocabulary": ["a"], "idf_weights": [1, 2], "output_mode": "tf_idf"}, "same length as vocabulary"),
        ({"vocabulary": [1, 2]}, "must be strings, got 1"),
    ],
)
def test_arguments_that_are_refused(options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        layers.StringLookup(**options)


def test_integer_arguments_that_are_refused() -> None:
    with pytest.raises(ValueError, match="`vocabulary_dtype` must be 'int64'"):
        layers.IntegerLookup(vocabulary_dtype="int32")
    with pytest.raises(ValueError, match="oov_method='farmhash'"):
        layers.IntegerLookup(salt=1)
    with pytest.raises(TypeError, match="must be integers of 64 bits, got 'a'"):
        layers.IntegerLookup(vocabulary=["a"])


def test_inputs_that_are_refused() -> None:
    layer = layers.StringLookup(vocabulary=LETTERS, num_oov_indices=0)
    with pytest.raises(ValueError, match=r"found OOV values \['z', 'y'\]"):
        layer(["a", "z", "y", "z"])
    with pytest.raises(ValueError, match="found OOV values"):
        layers.IntegerLookup(vocabulary=[1], num_oov_indices=0)([2])
    with pytest.raises(TypeError, match="must hold strings, but entry 0 is 1"):
        layer([1, 2])
    with pytest.raises(RuntimeError, match="must set the layer's vocabulary before calling it"):
        layers.StringLookup(output_mode="multi_hot")(["a"])


def test_a_vocabulary_of_vectors_keeps_its_size() -> None:
    layer = layers.StringLookup(output_mode="count", vocabulary=["a", "b"])
    layer.set_vocabulary(["c", "d"])
    assert layer([["d"]]).tolist() == [[0, 0, 1]]
    with pytest.raises(RuntimeError, match="Old vocab size is 3, new vocab size is 2"):
        layer.set_vocabulary(["c"])


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_vocabularies_as_files_of_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layers.StringLookup(mask_token="")
    layer.adapt(["b", "a", "b"])
    layer.save_assets(str(tmp_path))
    assert (tmp_path / "vocabulary.txt").read_text() == "\n[UNK]\nb\na"
    again = layers.StringLookup(mask_token="")
    again.load_assets(str(tmp_path))
    assert again.get_vocabulary() == ["", "[UNK]", "b", "a"]
    numbers = layers.IntegerLookup()
    numbers.adapt([5, 7, 7])
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match="No space left on device"):
            numbers.save_assets(str(tmp_path))
    assert (tmp_path / "vocabulary.txt").read_text() == "\n[UNK]\nb\na"
    assert [path.name for path in tmp_path.iterdir()] == ["vocabulary.txt"]
    numbers.save_assets(str(tmp_path))
    other = layers.IntegerLookup()
    other.load_assets(str(tmp_path))
    assert other.get_vocabulary() == [-1, 7, 5]
