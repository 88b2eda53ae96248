"""`utils.FeatureSpace`: every kind of column, crosses, models of columns, files and errors."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers
from engine.utils import FeatureSpace

N = 60


def table() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "plain": rng.normal(size=N),
        "scaled": rng.uniform(0, 255, N),
        "normal": rng.normal(200, 30, N),
        "binned": rng.uniform(20, 80, N),
        "whole": rng.integers(0, 5, N),
        "text": rng.choice(["a", "b", "c"], N),
        "hashed": rng.integers(0, 1000, N),
        "code": rng.choice(["u1", "u2", "u3"], N),
    }


def space(**options: Any) -> Any:
    kinds = {
        "plain": "float",
        "scaled": FeatureSpace.float_rescaled(1 / 255),
        "normal": "float_normalized",
        "binned": FeatureSpace.float_discretized(num_bins=4),
        "whole": "integer_categorical",
        "text": "string_categorical",
        "hashed": FeatureSpace.integer_hashed(6),
        "code": "string_hashed",
    }
    return FeatureSpace(
        kinds,
        crosses=[("binned", "text"), ("whole", "code")],
        **{"crossing_dim": 8, "hashing_dim": 5} | options,
    )


# The order of the encoded columns: by name, then crosses by name.
ORDER = [
    "binned",
    "code",
    "hashed",
    "normal",
    "plain",
    "scaled",
    "text",
    "whole",
    "binned_X_text",
    "whole_X_code",
]
WIDTHS = [4, 5, 6, 1, 1, 1, 4, 6, 8, 8]


def expected(data: dict[str, Any]) -> dict[str, Any]:
    """The encoded columns, each by a layer on its own."""
    binned = layers.Discretization(num_bins=4)
    binned.adapt(data["binned"][:, np.newaxis])
    words, whole = layers.StringLookup(), layers.IntegerLookup()
    words.adapt(data["text"])
    whole.adapt(data["whole"])
    integers = {
        "binned": binned(data["binned"]),
        "code": layers.Hashing(5)(data["code"]),
        "hashed": layers.Hashing(6)(data["hashed"]),
        "text": words(data["text"]),
        "whole": whole(data["whole"]),
    }
    crossing = layers.HashedCrossing(8)
    integers["binned_X_text"] = crossing((np.ravel(integers["binned"]), integers["text"]))
    integers["whole_X_code"] = crossing((integers["whole"], integers["code"]))
    widths = dict(zip(ORDER, WIDTHS, strict=True))
    found: dict[str, Any] = {name: np.eye(widths[name])[np.ravel(each)] for name, each in integers.items()}
    normal = data["normal"]
    found["normal"] = (normal - normal.mean()) / normal.std()
    found["plain"], found["scaled"] = data["plain"], data["scaled"] / 255
    return {name: np.reshape(found[name], (N, -1)) for name in ORDER}


def test_every_kind() -> None:
    data, columns = table(), space()
    columns.adapt(data)
    wanted = expected(data)
    found = columns(data)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.concatenate([*wanted.values()], axis=1), atol=1e-5)
    by_name = space(output_mode="dict")
    by_name.adapt(data)
    parts = by_name(data)
    assert [*parts] == ORDER
    for name, part in parts.items():
        np.testing.assert_allclose(part, wanted[name], atol=1e-5)


def test_one_row_and_columns_of_rank_two() -> None:
    data, columns = table(), space()
    columns.adapt({name: column[:, np.newaxis] for name, column in data.items()})
    found = columns(data)
    np.testing.assert_array_equal(columns({name: column[3] for name, column in data.items()}), found[3])
    np.testing.assert_array_equal(columns({name: column.tolist() for name, column in data.items()}), found)
    by_name = space(output_mode="dict")
    by_name.adapt(data)
    row = by_name({name: column[3] for name, column in data.items()})
    np.testing.assert_array_equal(row["text"], by_name(data)["text"][3])


def test_adapt_takes_batches_and_frames() -> None:
    data, columns = table(), space()
    columns.adapt(data)
    wanted = columns(data)

    def batches() -> Any:
        for begin in range(0, N, 16):
            yield {name: column[begin : begin + 16] for name, column in data.items()}

    for source in (batches(), ((batch, None) for batch in batches()), [*batches()]):
        other = space()
        other.adapt(source)
        np.testing.assert_allclose(other(data), wanted, atol=1e-5)
    rows = space()
    rows.adapt({name: column[row] for name, column in data.items()} for row in range(N))
    np.testing.assert_allclose(rows(data), wanted, atol=1e-5)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(data)
    other = space()
    other.adapt(frame.assign(target=1))
    np.testing.assert_allclose(other(frame), wanted, atol=1e-5)


def test_models_of_columns_and_of_encoded_features() -> None:
    data, columns = table(), space()
    columns.adapt(data)
    encoded = columns.get_encoded_features()
    assert encoded.shape == (None, sum(WIDTHS))
    hidden = layers.Dense(4, activation="relu")(encoded)
    output = layers.Dense(1)(layers.Dropout(0.5)(hidden))
    training = keras.Model(inputs=encoded, outputs=output)
    training.compile("adam", "mse")
    x, y = columns(data), data["plain"]
    training.fit(x, y, epochs=2, verbose=0)
    inference = keras.Model(inputs=columns.get_inputs(), outputs=output)
    np.testing.assert_allclose(
        inference.predict(data, verbose=0), training.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        keras.Model(columns.get_inputs(), encoded).predict(data, verbose=0), x, rtol=1e-5, atol=1e-6
    )
    inference.compile("adam", "mse")
    inference.fit(data, y, verbose=0)
    by_name = space(output_mode="dict")
    by_name.adapt(data)
    assert [*by_name.get_encoded_features()] == ORDER


def test_models_in_files(tmp_path: Path) -> None:
    data, columns = table(), space()
    columns.adapt(data)
    output = layers.Dense(1)(columns.get_encoded_features())
    model = keras.Model(columns.get_inputs(), output)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(data, verbose=0), model.predict(data, verbose=0))


def test_files(tmp_path: Path) -> None:
    data, columns = table(), space(name="columns")
    columns.adapt(data)
    columns.save(tmp_path / "columns.keras")
    again = keras.saving.load_model(tmp_path / "columns.keras")
    assert isinstance(again, FeatureSpace)
    np.testing.assert_array_equal(again(data), columns(data))
    assert keras.models.load_model(tmp_path / "columns.keras").get_config() == columns.get_config()
    again.adapt(data)
    with pytest.raises(ValueError, match=r"must end in `\.keras`"):
        columns.save(tmp_path / "columns.zip")


def test_files_of_keras(tmp_path: Path) -> None:
    """In Keras' archives vocabularies are files of their own, and plain columns have a layer of another name."""
    data = {"plain": np.array([1.0, 2.0]), "text": np.array(["a", "b"])}
    columns = FeatureSpace({"plain": "float", "text": "string_categorical"})
    columns.adapt(data)
    columns.save(tmp_path / "ours.keras")
    with (
        zipfile.ZipFile(tmp_path / "ours.keras") as old,
        zipfile.ZipFile(tmp_path / "keras.keras", "w") as new,
    ):
        config = json.loads(old.read("config.json"))
        features = config["config"]["features"]
        features["plain"]["config"]["preprocessor"] |= {"class_name": "TFDIdentity", "module": "keras.src"}
        lookup = features["text"]["config"]["preprocessor"]["config"]
        lookup["vocabulary"] = None
        del lookup["has_input_vocabulary"]
        new.writestr("config.json", json.dumps(config))
        new.writestr("metadata.json", old.read("metadata.json"))
        new.writestr("assets/features/feature_1/preprocessor/vocabulary.txt", "[UNK]\nb\na")
    again = keras.saving.load_model(tmp_path / "keras.keras")
    np.testing.assert_array_equal(again(data), columns(data))


def test_own_kinds_and_given_statistics() -> None:
    columns = FeatureSpace(
        {
            "size": FeatureSpace.feature("float32", layers.Normalization(mean=1.0, variance=4.0), "float"),
            "name": FeatureSpace.feature("string", layers.StringLookup(vocabulary=["x"]), "one_hot"),
            "age": FeatureSpace.float_discretized(2, bin_boundaries=[10.0, 20.0]),
        },
        crosses=[FeatureSpace.cross(("name", "age"), crossing_dim=4)],
    )
    found = columns({"size": [3.0], "name": ["x"], "age": [15.0]})
    assert found[0, :6].tolist() == [0, 1, 0, 0, 1, 1]
    assert found.shape == (1, 10)
    again = FeatureSpace.from_config(columns.get_config())
    np.testing.assert_array_equal(again({"size": [3.0], "name": ["x"], "age": [15.0]}), found)


def test_integers_as_they_are() -> None:
    kind = FeatureSpace.string_categorical(output_mode="int")
    columns = FeatureSpace({"name": kind}, output_mode="dict")
    columns.adapt({"name": ["b", "a", "b"]})
    assert columns({"name": ["a", "b", "z"]})["name"].tolist() == [[2], [1], [0]]


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        ({}, {}, "cannot be None or empty"),
        ({"a": "floats"}, {}, r"`features\['a'\]`"),
        ({"a": "float"}, {"output_mode": "list"}, "`output_mode`"),
        ({"a": "float"}, {"crosses": [("a", "b")]}, r"unknown features: \['b'\]"),
        ({"a": "float", "b": "string_hashed"}, {"crosses": [("a", "b")]}, "no column of integers or strings"),
        ({"a": FeatureSpace.integer_hashed(3, output_mode="int")}, {}, "Cannot concatenate features"),
        ({"a": FeatureSpace.feature("float32", layers.Rescaling(2.0), "one_hot")}, {}, "one of StringLookup"),
    ],
)
def test_arguments_that_are_refused(features: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureSpace(features, **options)


def test_data_that_are_refused() -> None:
    columns = FeatureSpace({"size": "float", "name": "string_categorical"})
    for use in (columns.get_inputs, columns.get_encoded_features, lambda: columns({})):
        with pytest.raises(ValueError, match=r"call `\.adapt\(dataset\)`.*\['name'\]"):
            use()
    with pytest.raises(ValueError, match="must have a column 'name', got"):
        columns.adapt({"size": [1.0]})
    with pytest.raises(TypeError, match="`name` must hold strings"):
        columns.adapt({"name": [1.0]})
    with pytest.raises(TypeError, match="takes a dict of columns"):
        columns.adapt(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="batches that are dicts"):
        columns.adapt([np.zeros(2)])
    columns.adapt({"name": ["a", "b"]})
    with pytest.raises(ValueError, match="must have a column 'size'"):
        columns({"name": ["a"]})
    with pytest.raises(ValueError, match=r"columns \['more'\], which the FeatureSpace doesn't know"):
        columns({"name": ["a"], "size": [1.0], "more": [1]})
    with pytest.raises(TypeError, match="column 'size' must hold numbers"):
        columns({"name": ["a"], "size": ["1.0"]})
    with pytest.raises(ValueError, match="must be finite"):
        columns({"name": ["a"], "size": [np.nan]})
    with pytest.raises(TypeError, match="called with a dict"):
        columns([1.0])


def test_few_numbers_have_as_many_bins_as_asked_for() -> None:
    """As in Keras, where `adapt` found fewer boundaries than `num_bins` needs."""
    space = FeatureSpace({"x": FeatureSpace.float_discretized(num_bins=32)})
    space.adapt({"x": np.arange(10.0)})
    found = np.asarray(space({"x": np.arange(10.0)}))
    assert found.shape == (10, 32)
    np.testing.assert_array_equal(found.sum(axis=1), 1.0)
    model = keras.Model(space.get_inputs(), space.get_encoded_features())
    np.testing.assert_array_equal(model.predict({"x": np.arange(10.0)}, verbose=0), found)
