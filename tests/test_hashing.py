"""Hashes of strings and integers: the published numbers of FarmHash and SipHash, and the layers `Hashing`, `HashedCrossing`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers
from engine.layers._fingerprints import fingerprints, keyed_hashes

# Fingerprint64 of `_text(length)`, computed by FarmHash's own C++.
FARM = {
    0: 11160318154034397263,
    1: 6305636504242451570,
    3: 856141107115056088,
    4: 6553638182778556998,
    7: 13437097118621890143,
    8: 8561857882948552452,
    16: 1571626854830878527,
    17: 6844809075257853647,
    32: 11863721707007705927,
    33: 5316737461892780696,
    64: 4220498347539604662,
    65: 10760404472619499004,
    127: 15372032572206013368,
    128: 10231139985366980730,
    129: 1834778840291383512,
    200: 10013237332534389798,
    300: 12342212921327785533,
}


def _text(length: int) -> bytes:
    return bytes((i * 131 + length * 7 + (i * i) % 251) & 0xFF for i in range(length))


def test_fingerprints_are_those_of_farmhash() -> None:
    found = fingerprints([_text(length) for length in FARM])
    assert found.tolist() == list(FARM.values())


def test_fingerprints_of_published_strings() -> None:
    # The example of FARM_FINGERPRINT in BigQuery's manual, as signed integers.
    found = fingerprints([b"1footrue", b"2applefalse", b"3true"]).view(np.int64)
    assert found.tolist() == [-1541654101129638711, 2794438866806483259, -4880158226897771312]
    assert fingerprints([]).shape == (0,)


def test_siphash_of_its_paper() -> None:
    key = np.arange(16, dtype=np.uint8).view("<u8").tolist()
    assert keyed_hashes([bytes(range(15))], key).tolist() == [0xA129CA6149BE45E5]


WIRE = ["omar", "stringer", "marlo", "wire", "skywalker"]


# The numbers that Keras publishes in the documentation and the tests of its layer.
@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ({"num_bins": 3}, ["A", "B", "C", "D", "E"], [1, 0, 1, 1, 2]),
        ({"num_bins": 3, "mask_value": ""}, ["A", "B", "", "C", "D"], [1, 1, 0, 2, 2]),
        ({"num_bins": 3, "salt": [133, 137]}, ["A", "B", "C", "D", "E"], [1, 2, 1, 0, 2]),
        ({"num_bins": 3, "salt": 133}, ["A", "B", "C", "D", "E"], [0, 0, 2, 1, 0]),
        ({"num_bins": 2}, WIRE, [0, 0, 1, 0, 0]),
        ({"num_bins": 3, "mask_value": "omar"}, WIRE, [0, 1, 2, 1, 1]),
        ({"num_bins": 2, "salt": (211, 137)}, WIRE, [1, 0, 1, 0, 1]),
        ({"num_bins": 3}, [0, 1, 2, 3, 4], [1, 0, 1, 0, 2]),
        ({"num_bins": 3, "salt": [133, 137]}, [0, 1, 2, 3, 4], [1, 1, 2, 0, 1]),
        ({"num_bins": 1}, ["A", "B"], [0, 0]),
    ],
)  # fmt: skip
def test_bins_are_those_of_keras(options: Any, values: Any, expected: list[int]) -> None:
    layer = layers.Hashing(**options)
    assert layer([[each] for each in values]).tolist() == [[each] for each in expected]
    assert layer(np.array(values)).tolist() == expected
    if isinstance(values[0], str):
        assert layer(np.array(values, object)).tolist() == expected
        assert layer(np.array([each.encode() for each in values])).tolist() == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("int", [[1, 0, 1, 0, 2]]),
        ("multi_hot", [[1, 1, 1]]),
        ("count", [[2, 2, 1]]),
        ("one_hot", [[[0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]]),
    ],
)
def test_output_modes(mode: str, expected: Any) -> None:
    layer = layers.Hashing(3, output_mode=mode)
    found = layer([[0, 1, 2, 3, 4]])
    assert found.tolist() == expected
    assert found.dtype == (np.int64 if mode == "int" else np.float32)
    assert layer.compute_output_shape((None, 5)) == (None, *found.shape[1:])


def test_whole_floats_are_hashed_as_integers() -> None:
    assert layers.Hashing(3)(np.array([0.0, 4.0])).tolist() == [1, 2]
    assert layers.Hashing(3, dtype="int32")([0]).dtype == np.int32


@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_vectors_of_integers_in_rows_of_any_length(mode: str) -> None:
    inputs = keras.Input((None,), dtype="int64")
    model = keras.Model(inputs, layers.Hashing(5, output_mode=mode)(inputs))
    assert model.output_shape == (None, 5)
    for length in (1, 3, 200):
        ids = np.arange(2 * length).reshape(2, length)
        expected = layers.Hashing(5, output_mode=mode)(ids)
        np.testing.assert_array_equal(model.predict(ids, verbose=0), expected)


def test_config() -> None:
    layer = layers.Hashing(3, salt=7, mask_value="x", output_mode="count", name="bins")
    config = layer.get_config()
    assert config["salt"] == [7, 7]
    assert layers.Hashing.from_config(config).get_config() == config
    keras = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "int32"},
        "registered_name": None,
    }
    for made in (layers.Hashing(3, dtype=keras), layers.HashedCrossing(3, dtype=keras)):
        assert made.dtype == "int32"
    crossing = layers.HashedCrossing(9, output_mode="one_hot")
    assert layers.HashedCrossing.from_config(crossing.get_config()).get_config() == crossing.get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bins": 0}, "`num_bins` must be at least 1"),
        ({"num_bins": 3, "salt": "x"}, "`salt` must be one integer or two"),
        ({"num_bins": 3, "salt": [1]}, "`salt` must be one integer or two"),
        ({"num_bins": 3, "output_mode": "hot"}, "`output_mode`"),
        ({"num_bins": 3, "dtype": "float32"}, "`dtype`"),
        ({"num_bins": 3, "sparse": True}, "`sparse=True` belongs to"),
    ],
)
def test_arguments_that_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Hashing(**options)


def test_inputs_that_are_refused() -> None:
    with pytest.raises(TypeError, match="entry 1 is None"):
        layers.Hashing(3)(np.array(["a", None], object))
    with pytest.raises(ValueError, match="equally long"):
        layers.Hashing(3)([["a"], ["b", "c"]])
    with pytest.raises(ValueError, match="isn't finite"):
        layers.Hashing(3)([np.nan])


def test_crossing_is_that_of_keras() -> None:
    strings, numbers = ["A", "B", "A", "B", "A"], np.array([101, 101, 101, 102, 102])
    layer = layers.HashedCrossing(num_bins=5)
    assert layer((strings, numbers)).tolist() == [1, 4, 1, 1, 3]
    column = layer([np.array(strings)[:, np.newaxis], numbers[:, np.newaxis]])
    assert column.tolist() == [[1], [4], [1], [1], [3]]
    assert layer(("A", 101)).tolist() == 1
    hot = layers.HashedCrossing(num_bins=5, output_mode="one_hot")((strings, numbers))
    assert hot.argmax(axis=1).tolist() == [1, 4, 1, 1, 3]
    assert hot.shape == (5, 5)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (np.ones(2), ValueError, "a list or tuple"),
        ([[1]], ValueError, "at least two"),
        ([np.ones((1, 2), int)] * 2, ValueError, r"\(n, 1\)"),
        ([[1], [1, 2]], ValueError, "must have one shape"),
        ([[1.0], [1.0]], TypeError, "integers or strings"),
    ],
)
def test_crossings_that_are_refused(inputs: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        layers.HashedCrossing(3)(inputs)
