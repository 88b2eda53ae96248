"""Tests of the column names of frames: models store, compare, reorder and save them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import compiled
from conftest import FEATURES, Blobs, classifier, same_weights

import engine as keras
from engine._base import random_state

pd = pytest.importorskip("pandas")

NAMES = ["age", "height", "weight", "pulse", "steps", "sleep"]
TURNED = NAMES[::-1]
Use = Callable[[keras.Sequential, Any, Any], Any]

USES: dict[str, Use] = {
    "predict": lambda model, x, y: model.predict(x),
    "call": lambda model, x, y: np.asarray(model(x)),
    "predict_on_batch": lambda model, x, y: model.predict_on_batch(x),
    "batches to predict": lambda model, x, y: model.predict(iter([x])),
    "evaluate": lambda model, x, y: model.evaluate(x, y, return_dict=True),
    "batches to evaluate": lambda model, x, y: model.evaluate(iter([(x, y)]), return_dict=True),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
    "train_on_batch": lambda model, x, y: (model.train_on_batch(x, y), model.get_weights()),
    "fit": lambda model, x, y: (model.fit(x, y, shuffle=False, verbose=0).history, model.get_weights()),
    "batches to fit": lambda model, x, y: (model.fit(iter([(x, y)]), verbose=0).history, model.get_weights()),
    "in a list": lambda model, x, y: model.predict([x]),
    "in a dict": lambda model, x, y: model.predict({model.input.name: x}),
}


def frame(x: Any, names: list[Any] = NAMES) -> Any:
    return pd.DataFrame(np.asarray(x), columns=names)


def fitted(blobs: Blobs) -> keras.Sequential:
    keras.utils.set_random_seed(5)
    model = classifier()
    model.fit(frame(blobs.x), blobs.y, verbose=0)
    return model


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, (list, tuple)):
        return all(map(equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return np.array_equal(left, right)


@pytest.mark.parametrize("use", USES)
def test_columns_are_put_in_order(use: str, blobs: Blobs) -> None:
    one, other = fitted(blobs), fitted(blobs)
    expected = USES[use](one, frame(blobs.x), blobs.y)
    assert equal(USES[use](other, frame(blobs.x)[TURNED], blobs.y), expected)
    assert one._feature_names == other._feature_names == NAMES


@pytest.mark.parametrize("use", USES)
def test_other_columns_are_refused(use: str, blobs: Blobs) -> None:
    model = fitted(blobs)
    before, position = model.get_weights(), random_state.position()
    for other, message in [
        (
            frame(blobs.x).rename(columns={"age": "years"}),
            r"unseen at fit time:\n- years\n.* yet now missing:\n- age\n",
        ),
        (frame(blobs.x).assign(label=blobs.y), r"unseen at fit time:\n- label\nPass `"),
        (
            frame(blobs.x).drop(columns="age"),
            r"passed during fit\.\nFeature names seen at fit time, yet now missing:\n- age",
        ),
    ]:
        with pytest.raises(ValueError, match=rf"The feature names should match[^`]*{message}"):
            USES[use](model, other, blobs.y)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert random_state.position() == position
    assert model._feature_names == NAMES


def test_validation_data(blobs: Blobs) -> None:
    """Its columns are compared with those of the training frame, also if the model had no names before."""
    x = frame(blobs.x)
    model = classifier()
    with pytest.raises(
        ValueError, match=r"unseen at fit time:\n- years\n[^`]*`validation x` with the columns"
    ):
        model.fit(x, blobs.y, validation_data=(x.rename(columns={"age": "years"}), blobs.y), verbose=0)
    assert model._feature_names is None
    model.fit(x, blobs.y, validation_data=(x[TURNED], blobs.y), verbose=0)
    assert model.history.history["val_loss"][-1] == pytest.approx(model.evaluate(x, blobs.y)[0], rel=1e-6)


def test_batches_of_frames_have_the_columns_of_the_first(blobs: Blobs) -> None:
    x = frame(blobs.x)
    expected, model = classifier(), classifier()
    model.set_weights(expected.get_weights())
    expected.fit(iter([(x, blobs.y), (x, blobs.y)]), verbose=0)
    model.fit(iter([(x, blobs.y), (x[TURNED], blobs.y)]), verbose=0)
    assert same_weights(model, expected)
    assert model._feature_names == NAMES
    with pytest.raises(ValueError, match=r"Pass `batch 1 x` with the columns of fit\(\)"):
        classifier().fit(iter([(x, blobs.y), (x.drop(columns="age"), blobs.y)]), verbose=0)


def test_a_single_step_learns_the_names(blobs: Blobs) -> None:
    model = classifier()
    model.train_on_batch(frame(blobs.x), blobs.y)
    assert np.array_equal(model.predict(frame(blobs.x)[TURNED]), model.predict(blobs.x))
    model.train_on_batch(blobs.x, blobs.y)
    assert model._feature_names == NAMES


def test_arrays_are_taken_as_they_are(blobs: Blobs) -> None:
    """Arrays have no names that could be compared. There is no warning, since serving code often passes arrays."""
    model = fitted(blobs)
    for same in (blobs.x, blobs.x.tolist(), pd.DataFrame(blobs.x)):
        assert np.array_equal(model.predict(same), model.predict(frame(blobs.x)))
    model.fit(blobs.x, blobs.y, verbose=0)  # after a training on an array, the model has no names
    model.predict(frame(blobs.x, list("abcdef")))


@pytest.mark.parametrize("names", [range(6), [*"abcde", 5], [("a", i) for i in range(6)]], ids=str)
def test_names_that_are_no_strings_are_left_aside(names: Any, blobs: Blobs) -> None:
    model = classifier()
    x = frame(blobs.x, list(names))
    model.fit(x, blobs.y, verbose=0)
    assert model._feature_names is None
    model.predict(x[list(names)[::-1]])
    named = fitted(blobs)
    if any(isinstance(name, str) for name in names):
        with pytest.raises(ValueError, match=r"(?s)unseen at fit time:\n- a\n.*\n- 1 more\n"):
            named.predict(x)
    else:
        named.predict(x)


def test_columns_of_one_name(blobs: Blobs) -> None:
    """Columns may have the same name if they come in the same order."""
    doubled = ["a", "b", "a", "c", "d", "e"]
    model = classifier()
    x = frame(blobs.x, doubled)
    model.fit(x, blobs.y, verbose=0)
    assert np.array_equal(model.predict(x), model.predict(blobs.x))
    with pytest.raises(ValueError, match="several of them are named 'a'"):
        model.predict(x.iloc[:, ::-1])
    with pytest.raises(ValueError, match=r"There are 7 columns, .* same name, but 6 were"):
        model.predict(x.iloc[:, [0, 1, 2, 3, 4, 5, 5]])


def test_more_differences_than_are_listed(blobs: Blobs) -> None:
    with pytest.raises(ValueError, match=re.escape("- d\n- e\n- 1 more\nFeature names seen at fit time")):
        fitted(blobs).predict(frame(blobs.x, list("abcdef")))


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".safetensors", ".h5", ""])
def test_names_come_back_from_files(suffix: str, blobs: Blobs, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    model = fitted(blobs)
    model.save(tmp_path / f"model{suffix}", zipped=None if suffix else False)
    loaded = keras.models.load_model(tmp_path / f"model{suffix}")
    assert loaded._feature_names == NAMES
    assert np.array_equal(loaded.predict(frame(blobs.x)[TURNED]), model.predict(blobs.x))
    with pytest.raises(ValueError, match="- years"):
        loaded.predict(frame(blobs.x).rename(columns={"age": "years"}))


def test_names_of_many_columns_fit_into_the_older_format(tmp_path: Path) -> None:
    """By default, an attribute of HDF5 has at most 64 KiB."""
    pytest.importorskip("h5py")
    names = [f"the measurement of sensor {number}" for number in range(5000)]
    model = compiled(keras.Sequential([keras.layers.Dense(1)]), "sgd", "mse")
    model.fit(frame(np.zeros((2, 5000)), names), np.zeros(2), verbose=0)
    model.save(tmp_path / "model.h5")
    assert keras.models.load_model(tmp_path / "model.h5")._feature_names == names


def test_names_are_copied_with_the_model(blobs: Blobs) -> None:
    model = fitted(blobs)
    assert pickle.loads(pickle.dumps(model))._feature_names == NAMES
    assert keras.models.clone_model(model)._feature_names is None  # the copy has new weights and so no names


@pytest.mark.parametrize("names", ["age", 3, ["age", 3]])
def test_names_in_files_are_strings(names: Any) -> None:
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="the names of columns must be a list of strings, got"):
        model._restore_facts({"feature_names": names})
    assert model._feature_names is None


def test_a_backup_of_other_columns_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    """The weights of the backup belong to the columns in the order of that training."""

    class StoppedError(Exception):
        pass

    class Stops(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise StoppedError

    def run(x: Any, *more: keras.callbacks.Callback) -> None:
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        classifier().fit(x, blobs.y, epochs=2, verbose=0, callbacks=[backup, *more])

    with pytest.raises(StoppedError):
        run(frame(blobs.x), Stops())
    with pytest.raises(ValueError, match=r"backup of a training on a frame with the columns \['age'"):
        run(frame(blobs.x)[TURNED])
    run(frame(blobs.x))


def test_attributes_of_the_users_own(blobs: Blobs) -> None:
    """A subclass may call its attributes `feature_names` and `program`."""

    class Named(keras.Sequential):
        def __init__(self, feature_names: list[str]) -> None:
            super().__init__([keras.layers.Dense(3, "softmax")])
            self.feature_names, self.program = feature_names, "morning"

    model = compiled(Named(["mine"]), "sgd", "sparse_categorical_crossentropy")
    model.fit(frame(blobs.x), blobs.y, verbose=0)
    assert (model.feature_names, model.program) == (["mine"], "morning")
    assert np.array_equal(model.predict(frame(blobs.x)[TURNED]), model.predict(blobs.x))


class ArrowTable:
    """The interface of an Arrow table: it has no `to_numpy`, and its `columns` are not names."""

    def __init__(self, x: Any, names: list[str]) -> None:
        self._x, self.column_names = np.asarray(x), names
        self.columns = list(self._x.T)

    def select(self, names: list[str]) -> ArrowTable:
        return ArrowTable(self._x[:, [self.column_names.index(name) for name in names]], names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._x


def test_tables_of_arrow(blobs: Blobs) -> None:
    model = classifier()
    model.fit(ArrowTable(blobs.x, NAMES), blobs.y, verbose=0)
    assert np.array_equal(model.predict(ArrowTable(blobs.x[:, ::-1], TURNED)), model.predict(blobs.x))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- f\n"):
        model.predict(ArrowTable(blobs.x, [*NAMES[:5], "f"]))


class PolarsType:
    """A dtype without the attribute `kind`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_numeric(self) -> bool:
        return self.name not in ("Boolean", "String")

    def __str__(self) -> str:
        return self.name


class PolarsFrame:
    """The interface of a polars frame that the engine reads."""

    def __init__(self, **columns: Any) -> None:
        self._columns = columns
        self.columns = list(columns)
        kinds = {"f": "Float32", "b": "Boolean", "O": "String"}
        self.dtypes = [PolarsType(kinds[column.dtype.kind]) for column in columns.values()]

    def to_numpy(self) -> Any:
        return np.stack([*self._columns.values()], axis=1)

    def __getitem__(self, names: list[str]) -> PolarsFrame:
        return PolarsFrame(**{name: self._columns[name] for name in names})


def test_frames_of_polars(blobs: Blobs) -> None:
    columns = dict(zip(NAMES, blobs.x.T, strict=True))
    model, expected = classifier(), classifier()
    expected.set_weights(model.get_weights())
    model.fit(PolarsFrame(**columns), blobs.y, verbose=0, shuffle=False)
    expected.fit(blobs.x, blobs.y, verbose=0, shuffle=False)
    assert same_weights(model, expected)
    assert np.array_equal(model.predict(PolarsFrame(**columns)[TURNED]), model.predict(blobs.x))
    texts = columns | {"pulse": np.array(["low"] * len(blobs.x), object)}
    with pytest.raises(TypeError, match=r"columns of others: 'pulse' \(String\)\. Leave them out"):
        model.predict(PolarsFrame(**texts))
