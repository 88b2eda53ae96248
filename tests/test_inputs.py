"""Tests of inputs other than arrays: frames, tensors, sparse matrices and files."""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FEATURES, Blobs, classifier, same_weights, trained

import engine as keras
from engine._data import lazy_rows

Make = Callable[[Any], Any]


class Frame:
    """The interface of a pandas frame that the engine reads."""

    def __init__(self, **columns: Any) -> None:
        self.columns = list(columns)
        self._arrays = [np.asarray(column) for column in columns.values()]
        self.dtypes = [column.dtype for column in self._arrays]

    def to_numpy(self, dtype: Any = None) -> np.ndarray[Any, Any]:
        return np.stack([column.astype(object) for column in self._arrays], axis=1).astype(dtype or object)


class Capsule:
    """An object that only supports DLPack."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()


class Arrayish:
    """An object that only has `__array__`."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self.values


def frame(values: np.ndarray[Any, Any]) -> Frame:
    return Frame(**{f"c{i}": column for i, column in enumerate(values.T)})


ARRAYS: dict[str, Make] = {
    "lists": np.ndarray.tolist,
    "tuples": lambda x: tuple(map(tuple, x)),
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed twice": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "float64": lambda x: x.astype(np.float64),
    "big endian": lambda x: x.astype(">f4"),
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
    "longdouble": lambda x: x.astype(np.longdouble),
    "frame": frame,
    "capsule": Capsule,
    "arrayish": Arrayish,
    "memoryview": memoryview,
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_all_kinds(kind: str, blobs: Blobs) -> None:
    x = ARRAYS[kind](blobs.x)
    model = trained(x, blobs.y)
    assert same_weights(model, trained(blobs.x, blobs.y))
    assert model.evaluate(x, blobs.y) == model.evaluate(blobs.x, blobs.y)
    assert np.array_equal(model.predict(x), model.predict(blobs.x))


@pytest.mark.parametrize("kind", [np.float16, np.int8, np.uint8, np.int64, np.uint16, np.bool_])
def test_numbers_of_all_kinds(kind: Any, blobs: Blobs) -> None:
    x = np.clip(np.rint(blobs.x * 4), 0, 100).astype(kind)
    assert same_weights(trained(x, blobs.y), trained(x.astype(np.float32), blobs.y))


def test_labels_of_all_kinds(blobs: Blobs) -> None:
    expected = trained(blobs.x, blobs.y)
    buffer = array.array("q", blobs.y.tolist())
    for y in (Arrayish(blobs.y), buffer, Frame(label=blobs.y), Capsule(blobs.y)):
        assert same_weights(trained(blobs.x, y), expected)


def test_columns_are_named(blobs: Blobs) -> None:
    columns = {f"c{i}": column for i, column in enumerate(blobs.x.T)}
    holed = {**columns, "c3": np.where(np.arange(150) == 7, np.nan, columns["c3"])}
    with pytest.raises(ValueError, match="row 7 holds nan in column 'c3'"):
        classifier().fit(Frame(**holed), blobs.y)
    with pytest.raises(ValueError, match="row 7 holds nan in column 'c3'"):
        classifier().predict(Frame(**holed))
    texts = {**columns, "c1": ["a"] * 150, "c5": [None] * 150}
    with pytest.raises(TypeError, match=r"columns of others: 'c1' \(<U1\), 'c5' \(object\). Leave them out"):
        classifier().fit(Frame(**texts), blobs.y)
    with pytest.raises(TypeError, match=r"as a column for each with pandas.get_dummies or as indices with"):
        classifier().fit(Frame(**texts), blobs.y)


def test_mixed_columns_become_floats(blobs: Blobs) -> None:
    flags = blobs.x[:, 0] > 0
    mixed = Frame(flag=flags, **{f"c{i}": blobs.x[:, i] for i in range(1, 6)})
    dense = np.concatenate([flags[:, np.newaxis], blobs.x[:, 1:]], axis=1).astype(np.float32)
    assert same_weights(trained(mixed, blobs.y), trained(dense, blobs.y))


def test_real_frames(blobs: Blobs) -> None:
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(blobs.x).add_prefix("c")
    x["c2"] = x["c2"].astype("Float32")
    assert same_weights(trained(x, pandas.Series(blobs.y)), trained(blobs.x, blobs.y))
    x.loc[9, "c2"] = None
    with pytest.raises(ValueError, match="row 9 holds nan in column 'c2'"):
        trained(x, blobs.y)
    with pytest.raises(TypeError, match=r"columns of others: 'c4' \("):
        trained(x.assign(c4="text"), blobs.y)


def test_tensors_of_torch(blobs: Blobs) -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.from_numpy(blobs.x), torch.from_numpy(blobs.y)
    assert same_weights(trained(x, y), trained(blobs.x, blobs.y))
    with pytest.raises(TypeError, match=r"`x` of type Tensor can't be read as an array of NumPy: .*detach"):
        trained(x.requires_grad_(), y)


def mapped(folder: Path, values: np.ndarray[Any, Any]) -> np.memmap[Any, Any]:
    file = np.memmap(folder / "x", values.dtype, "w+", shape=values.shape)
    file[:] = values
    file.flush()
    return np.memmap(folder / "x", values.dtype, "r", shape=values.shape)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.float16, ">f4", np.int16])
@pytest.mark.parametrize("shuffle", [True, False])
def test_files_train_as_memory_does(kind: Any, shuffle: bool, blobs: Blobs, tmp_path: Path) -> None:
    x = np.clip(np.rint(blobs.x * 9), 0, 200).astype(kind)
    file = mapped(tmp_path, x)
    model = trained(file, blobs.y, shuffle=shuffle, validation_split=0.1)
    assert same_weights(model, trained(x, blobs.y, shuffle=shuffle, validation_split=0.1))
    assert np.array_equal(model.predict(file[20:]), model.predict(x[20:]))
    assert model.evaluate(file, blobs.y) == pytest.approx(model.evaluate(x, blobs.y))


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_bad_rows_in_files_are_named(
    kind: Any, verb: str, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_rows, "BLOCK_BYTES", 40 * 4 * FEATURES)
    x = blobs.x.astype(kind)
    x[123, 2] = np.inf
    arguments = (mapped(tmp_path, x),) if verb == "predict" else (mapped(tmp_path, x), blobs.y)
    model = classifier()
    with pytest.raises(ValueError, match=r"`x` must be finite .* but row 123 holds inf"):
        getattr(model, verb)(*arguments, verbose=0)
    with pytest.raises(ValueError, match="row 23 holds inf"):
        model.predict(arguments[0][100:])
    trained(blobs.x, blobs.y)


def test_a_file_larger_than_the_memory_is_read_in_place(tmp_path: Path) -> None:
    import resource

    rows, features = 4096, 4096  # 64 MiB, which must not stay in memory
    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=(rows, features))
    file[::7] = 1.0
    model = keras.Sequential([keras.layers.Dense(2, "softmax", input_shape=(features,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    y = np.arange(rows) % 2
    model.fit(file[:64], y[:64], verbose=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - _file_kib()
    model.fit(file, y, verbose=0)
    model.evaluate(file, y)
    model.predict(file)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - _file_kib()
    assert after - before < 48 << 10


def _file_kib() -> int:
    """Returns the KiB of mapped files in the memory of this process, which the kernel can free."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("RssFile:")[1].split()[0])


def test_masked_entries_are_refused() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`x` has masked entries.*filled"):
        model.predict(np.ma.masked_equal(np.eye(3), 0))


def test_one_array_in_a_list_is_no_row_of_a_list() -> None:
    """The number of axes decides. One sample in a list gives the same in both readings."""
    x, y = np.arange(12.0, dtype=np.float32).reshape(4, 3), np.arange(4.0)
    model = keras.Sequential([keras.Input((3,), name="given"), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    whole = model.predict(x)
    for given in ([x], (x,), {"given": x}, list(x), x.tolist()):
        assert np.array_equal(model.predict(given), whole)
    for row in ([x[1]], [x[1].tolist()], x[1:2].tolist(), [x[1:2]]):
        np.testing.assert_array_equal(model.predict(row), whole[1:2])
    with pytest.raises(ValueError, match=r"must have shape \(n, 3\), got \(1, 4, 3\)"):
        model.predict([x.tolist()])
    with pytest.raises(ValueError, match=r"`x` must have the key 'given'.* but is a dict of \['x'\]"):
        model.fit({"x": x}, y)
    with pytest.raises(TypeError, match=r"`y` must be one array, .* but is a dict of \['y'\]"):
        model.fit(x, {"y": y})
    with pytest.raises(ValueError, match="has 4 samples but `y` has 3"):
        model.evaluate([x], [y[:3]])
    targets = np.ones((1, 2))
    losses = [model.evaluate(x[:1], given) for given in (targets, [targets], [targets[0]], targets.tolist())]
    assert len(set(losses)) == 1
    narrow = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    assert np.array_equal(narrow.predict([y]), narrow.predict(y))
    images = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten()])
    assert images.predict([x]).shape == (1, 12)
    assert images.predict([x[np.newaxis]]).shape == (1, 12)
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    assert unbuilt.predict([x]).shape == (4, 1)
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    assert unbuilt.predict([x[0]]).shape == (1, 1)


def test_a_dict_of_inputs_warns_of_what_it_does_not_read() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    one = keras.Model({"a": a}, a * 5)
    two = keras.Model({"a": a, "b": b}, keras.layers.Subtract()([a, b]))
    for model in (one, two):
        model.compile("sgd", "mse")
    x, y = {"a": np.ones((4, 3)), "b": np.zeros((4, 3))}, np.ones((4, 3))
    for run in (
        lambda model, x: model(x),
        lambda model, x: model.predict(x, verbose=0),
        lambda model, x: model.evaluate(x, y, verbose=0),
        lambda model, x: model.train_on_batch(x, y),
    ):
        with pytest.warns(UserWarning, match=r"the expected structure.*also has \['b'\]") as told:
            run(one, x)
        assert len(told) == 1
        assert told[0].filename == __file__
        with pytest.warns(UserWarning, match="got a list"):
            run(two, [x["a"], x["b"]])
        run(one, {"a": x["a"]})
        run(two, x)
    by_place = keras.Model([a, b], keras.layers.Subtract()([a, b]))
    np.testing.assert_array_equal(by_place({**x, "c": y}), y)  # no warning, as in Keras
