"""Tests of `engine.distributed.predict`: the bits of `Model.predict` for partitions of Dask, Ray and Arrow, and what it refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workers import cluster_of_dask, head_of_ray

import engine as keras
from engine import layers
from engine.distributed import predict

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")

# What Ray uses itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`use_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index"),  # its calls of pandas
]

RNG = np.random.default_rng(5)
X = RNG.normal(size=(1003, 5)).astype(np.float32)
X[::7] = 0.0
FRAME = pd.DataFrame(X, columns=list("abcde")).assign(id=np.arange(len(X)))
NUMBERED = [f"prediction_{number}" for number in range(3)]


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    pytest.importorskip("distributed")
    with cluster_of_dask() as client:
        yield client


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    module = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    with head_of_ray():
        module.data.DataContext.get_current().enable_progress_bars = False
        yield module


@pytest.fixture(params=["joblib", "dask", "ray"])
def backend(request: pytest.FixtureRequest) -> Any:
    if request.param == "dask":
        return request.getfixturevalue("dask")
    if request.param == "ray":
        request.getfixturevalue("ray")
    return request.param


@pytest.fixture
def model() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(33, "relu"),
            layers.BatchNormalization(),
            layers.Dense(3, "softmax"),
        ]
    )


@pytest.fixture
def several() -> keras.Model:
    """Returns a model with two outputs, by name."""
    start = keras.Input((5,))
    hidden = layers.Dense(4, "tanh")(start)
    return keras.Model(
        start, {"price": layers.Dense(1)(hidden), "grid": layers.Reshape((2, 3))(layers.Dense(6)(hidden))}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder with three Parquet files, of which one has no rows and one has several groups of rows."""
    table = pa.Table.from_pandas(FRAME)
    (tmp_path / "in").mkdir()
    for number, (begin, end) in enumerate([(0, 700), (700, 700), (700, len(X))]):
        pq.write_table(
            table.slice(begin, end - begin), tmp_path / "in" / f"{number}.parquet", row_group_size=150
        )
    return tmp_path / "in"


class Scale(layers.Layer):
    """Multiplies by ten."""

    def call(self, x: Any) -> Any:
        return x * 10.0


class Counting:
    """An estimator with two outputs that counts its calls."""

    calls = 0

    def predict(self, x: Any) -> Any:
        Counting.calls += 1
        return x[:, 0], x[:, 1:]


# -- Dask -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(250, 5), (1003, 2), (1, 5), (-1, -1)])
def test_dask_arrays_keep_their_chunks_of_rows(model: keras.Model, chunks: Any) -> None:
    da = pytest.importorskip("dask.array")
    x = da.from_array(X[:300] if chunks[0] == 1 else X, chunks=chunks)
    found = predict(model, x)
    assert (found.shape, found.dtype, found.chunks[0]) == ((len(x), 3), np.float32, x.chunks[0])
    np.testing.assert_array_equal(found.compute(), model.predict(X)[: len(x)])
    np.testing.assert_array_equal(found[7:9, 1].compute(), model.predict(X)[7:9, 1])


@pytest.mark.parametrize("dtype", ["float64", "uint8", "int32"])
def test_dask_arrays_of_other_dtypes_and_more_axes(dtype: str) -> None:
    da = pytest.importorskip("dask.array")
    x = RNG.integers(0, 200, (50, 4, 4, 2)).astype(dtype)
    images = keras.Sequential(
        [keras.Input((4, 4, 2)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)]
    )
    found = predict(images, da.from_array(x, chunks=(20, 2, 4, 1)))
    np.testing.assert_array_equal(found.compute(), images.predict(x))


def test_dask_arrays_of_an_unknown_number_of_rows_and_empty_chunks(model: keras.Model) -> None:
    da = pytest.importorskip("dask.array")
    x = da.from_array(X, chunks=(100, 5))
    found = predict(model, x[x[:, 0] > 2.0])
    assert np.isnan(found.shape[0])
    np.testing.assert_array_equal(found.compute(), model.predict(X)[X[:, 0] > 2.0])
    assert predict(model, x[x[:, 0] > 1e9]).compute().shape == (0, 3)


def test_several_outputs_of_dask_arrays_are_computed_once(several: keras.Model) -> None:
    dask = pytest.importorskip("dask")
    da = pytest.importorskip("dask.array")
    found = predict(several, da.from_array(X, chunks=(400, 5)))
    expected = several.predict(X)
    assert {name: array.shape for name, array in found.items()} == {
        "price": (1003, 1),
        "grid": (1003, 2, 3),
    }
    results = dask.compute(found)[0]
    for name, array in expected.items():
        np.testing.assert_array_equal(results[name], array)
    Counting.calls = 0
    one, other = predict(Counting(), da.from_array(X, chunks=(400, 5)))
    dask.compute(one, other, scheduler="synchronous")
    assert Counting.calls == 1 + 3  # for the shapes, and for each chunk, but not for each output


def test_dask_arrays_on_processes(dask: Any, model: keras.Model, several: keras.Model) -> None:
    da = pytest.importorskip("dask.array")
    custom = keras.Sequential([keras.Input((5,)), Scale(), layers.Dense(2)])
    x = da.from_array(X, chunks=(100, 5))
    np.testing.assert_array_equal(dask.compute(predict(model, x)).result(), model.predict(X))
    np.testing.assert_array_equal(dask.compute(predict(custom, x)).result(), custom.predict(X))
    grid = dask.compute(predict(several, x)["grid"]).result()
    np.testing.assert_array_equal(grid, several.predict(X)["grid"])


def test_the_result_is_that_of_the_model_as_it_was(model: keras.Model) -> None:
    da = pytest.importorskip("dask.array")
    before = model.predict(X)
    found = predict(model, da.from_array(X, chunks=(300, 5)))
    model.set_weights([weight + 1.0 for weight in model.get_weights()])
    np.testing.assert_array_equal(found.compute(), before)


def test_dask_frames_keep_index_and_columns(dask: Any, model: keras.Model, several: keras.Model) -> None:
    dd = pytest.importorskip("dask.dataframe")
    frame = FRAME.set_index(np.arange(len(X)) * 3)
    lazy = dd.from_pandas(frame, npartitions=4)
    for get in (lambda value: value.compute(), lambda value: dask.compute(value).result()):
        found = get(predict(model, lazy, keep=["id"]))
        assert list(found.columns) == ["id", *NUMBERED]
        assert (found.index == frame.index).all()
        np.testing.assert_array_equal(found["id"], frame["id"])
        np.testing.assert_array_equal(found[NUMBERED].to_numpy(), model.predict(X))
    found = predict(several, lazy[lazy["id"] < 5], columns=list("abcde")).compute()
    expected = several.predict(X[:5])
    np.testing.assert_array_equal(found["price"].to_numpy(), expected["price"][:, 0])
    np.testing.assert_array_equal(
        found[[f"grid_{number}" for number in range(6)]].to_numpy(), expected["grid"].reshape(5, 6)
    )


def test_columns_are_found_by_the_names_of_fit(dask: Any) -> None:
    dd = pytest.importorskip("dask.dataframe")
    model = keras.Sequential([layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(FRAME[list("abcde")], X[:, :2], verbose=0)
    expected = model.predict(X)
    mixed = FRAME[list("ecbad")]
    found = predict(model, dd.from_pandas(mixed, npartitions=2)).compute()
    np.testing.assert_array_equal(found.to_numpy(), expected)
    found = predict(model, pa.Table.from_pandas(mixed))
    np.testing.assert_array_equal(found.column(0).to_numpy(), expected[:, 0])
    with pytest.raises(ValueError, match="seen at fit time, yet now missing"):
        predict(model, dd.from_pandas(mixed.drop(columns="c"), npartitions=2))


def test_a_worker_of_dask_that_is_killed(model: keras.Model) -> None:
    da = pytest.importorskip("dask.array")
    with cluster_of_dask() as client:
        x = da.from_array(X, chunks=(10, 5)).map_blocks(_slowly, dtype=np.float32)
        future = client.compute(predict(model, x))
        victim = sorted(client.run(os.getpid).values())[0]
        while not client.run_on_scheduler(_done):
            pass
        os.kill(victim, signal.SIGKILL)
        np.testing.assert_array_equal(future.result(), model.predict(X))


def _slowly(chunk: Any) -> Any:
    import time

    time.sleep(0.01)
    return chunk


def _done(dask_scheduler: Any) -> int:
    return sum(task.state == "memory" for task in dask_scheduler.tasks.values())


# -- Ray --------------------------------------------------------------------------------------------------------------


def test_ray_datasets(ray: Any, model: keras.Model, several: keras.Model) -> None:
    table = pa.Table.from_pandas(FRAME)
    for dataset in (
        ray.data.from_pandas(FRAME),
        ray.data.from_arrow([table.slice(0, 500), table.slice(500)]),
    ):
        found = predict(model, dataset, keep=["id"], batch_size=64).to_pandas()
        order = np.asarray(found["id"])
        assert sorted(order) == list(range(len(X)))
        np.testing.assert_array_equal(np.stack(list(found["prediction"])), model.predict(X)[order])
    found = predict(several, ray.data.from_numpy(X)).to_pandas()
    expected = several.predict(X)
    assert set(found.columns) == {"price", "grid"}
    np.testing.assert_array_equal(np.asarray(found["price"]), expected["price"][:, 0])
    np.testing.assert_array_equal(np.stack(list(found["grid"])), expected["grid"])


def test_ray_datasets_say_what_does_not_fit(ray: Any, model: keras.Model) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(n, 5\), got \(1, 4\)"):
        predict(model, ray.data.from_numpy(X[:, :4]))
    with pytest.raises(ValueError, match="`columns` names 'z', but the data have the columns 'a', "):
        predict(model, ray.data.from_pandas(FRAME), columns=["z"])
    with pytest.raises(TypeError, match="`to` has no meaning for a dataset of Ray"):
        predict(model, ray.data.from_numpy(X), to="there")


def test_a_worker_of_ray_that_is_killed(ray: Any, model: keras.Model, tmp_path: Path) -> None:
    once = tmp_path / "killed"

    def killing(batch: Any) -> Any:
        if not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return batch

    dataset = ray.data.from_numpy(np.array_split(X, 10)).map_batches(killing)
    batches = predict(model, dataset).iter_batches(batch_format="numpy")
    found = np.concatenate([batch["prediction"] for batch in batches])
    assert once.exists()
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(model.predict(X), axis=0))


# -- Arrow and Parquet ------------------------------------------------------------------------------------------------


def test_tables_and_batches_in_memory(model: keras.Model) -> None:
    table = pa.Table.from_pandas(FRAME)
    parts = pa.concat_tables([table.slice(0, 400), table.slice(400)])
    batch = table.combine_chunks().to_batches()[0]
    for data in (table, parts, batch, pa.dataset.dataset(table)):
        for rows in (None, 1, 97):
            found = predict(model, data, keep=["id"], batch_size=rows)
            assert found.column("id").to_pylist() == list(range(len(X)))
            assert found.schema.field("prediction_0").type == pa.float32()
            ours = np.stack([found.column(name).to_numpy() for name in NUMBERED], axis=1)
            np.testing.assert_array_equal(ours, model.predict(X))
    assert len(predict(model, table.slice(0, 0), keep=["id"])) == 0


@pytest.mark.parametrize("tensor", [False, True])
def test_columns_of_vectors_and_images(tensor: bool) -> None:
    images = RNG.integers(0, 255, (40, 4, 3)).astype(np.uint8)
    model = keras.Sequential(
        [keras.Input((4, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)]
    )
    if tensor:
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    else:
        model = keras.Sequential([keras.Input((12,)), layers.Dense(2)])
        images = images.reshape(40, 12)
        column = pa.FixedSizeListArray.from_arrays(images.reshape(-1), 12)
    table = pa.table([column, pa.array(range(40))], ["image", "id"])
    found = predict(model, pa.concat_tables([table.slice(3, 20), table.slice(30)]), keep=["id"])
    ours = np.stack([found.column(name).to_numpy() for name in ("prediction_0", "prediction_1")], axis=1)
    np.testing.assert_array_equal(ours, model.predict(images)[found.column("id").to_numpy()])


def test_models_with_an_input_for_each_column() -> None:
    starts = {"a": keras.Input((1,), name="a"), "v": keras.Input((3,), name="v")}
    model = keras.Model(starts, layers.Dense(1)(layers.concatenate(list(starts.values()))))
    v = RNG.normal(size=(9, 3)).astype(np.float32)
    table = pa.table([pa.FixedSizeListArray.from_arrays(v.reshape(-1), 3), pa.array(X[:9, 0])], ["v", "a"])
    found = predict(model, table)
    np.testing.assert_array_equal(
        found.column("prediction").to_numpy(), model.predict({"a": X[:9, 0], "v": v})[:, 0]
    )


def test_files(model: keras.Model, folder: Path) -> None:
    expected = model.predict(X)
    whole = predict(model, folder, keep=["id"])
    to = folder.parent / "out.parquet"
    assert predict(model, folder, keep=["id"], to=to, batch_size=50) == to
    parts = folder.parent / "out"
    assert predict(model, str(folder), keep=["id"], to=parts) == parts
    assert sorted(file.name for file in parts.iterdir()) == [
        f"part-0000{number}.parquet" for number in range(3)
    ]
    for found in (whole, pq.read_table(to), pq.read_table(parts)):
        assert found.column("id").to_pylist() == list(range(len(X)))
        ours = np.stack([found.column(name).to_numpy() for name in NUMBERED], axis=1)
        np.testing.assert_array_equal(ours, expected)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["in", "out", "out.parquet"]


def test_files_on_workers(backend: Any, model: keras.Model, folder: Path) -> None:
    parts = predict(model, folder, keep=["id"], to=folder.parent / "out", backend=backend)
    one = predict(model, folder / "0.parquet", keep=["id"], to=folder.parent / "one", backend=backend)
    assert len(list(one.iterdir())) == 5  # a file for each group of rows
    for path, count in ((parts, len(X)), (one, 700)):
        found = pq.read_table(path)
        assert found.column("id").to_pylist() == list(range(count))
        ours = np.stack([found.column(name).to_numpy() for name in NUMBERED], axis=1)
        np.testing.assert_array_equal(ours, model.predict(X)[:count])


class KillsOnce(layers.Layer):
    """Ends its process the first time that it is called there, unless it is that of the tests."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(**options)
        self.alive = path

    def call(self, x: Any) -> Any:
        file = Path(self.alive)
        if file.exists() and file.read_text() != str(os.getpid()):
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "path": self.alive}


def test_files_of_a_worker_that_is_killed(backend: Any, folder: Path) -> None:
    alive = folder.parent / "alive"
    alive.write_text(str(os.getpid()))
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3), KillsOnce(str(alive))])
    out = predict(model, folder, columns=list("abcde"), to=folder.parent / "out", backend=backend)
    assert not alive.exists()
    found = pq.read_table(out)
    ours = np.stack([found.column(name).to_numpy() for name in NUMBERED], axis=1)
    np.testing.assert_array_equal(ours, model.predict(X))


def test_files_that_workers_cannot_read_leave_nothing(model: keras.Model, folder: Path) -> None:
    damaged = folder / "1.parquet"
    content = damaged.read_bytes()
    dataset = pa.dataset.dataset(folder)
    damaged.write_bytes(content[:20])
    with pytest.raises((OSError, pa.ArrowInvalid)):
        predict(model, dataset, keep=["id"], to=folder.parent / "out", backend="joblib")
    with pytest.raises((OSError, pa.ArrowInvalid)):
        predict(model, dataset, keep=["id"], to=folder.parent / "out.parquet")
    assert [path.name for path in folder.parent.iterdir()] == ["in"]


def test_nothing_is_replaced_unless_it_is_asked_for(model: keras.Model, folder: Path) -> None:
    file, full = folder.parent / "out.parquet", folder.parent / "full"
    file.write_text("mine")
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    for to, overwrite in ((file, False), (full, False), (full, True), (full / "mine.txt", True)):
        with pytest.raises(FileExistsError, match=r"name another path|name a new"):
            predict(model, folder, keep=["id"], to=to, overwrite=overwrite)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        predict(model, folder, keep=["id"], to=folder.parent / "no" / "out")
    assert (file.read_text(), (full / "mine.txt").read_text()) == ("mine", "mine")
    predict(model, folder, keep=["id"], to=file, overwrite=True)
    assert len(pq.read_table(file)) == len(X)
    (folder.parent / "empty").mkdir()
    predict(model, folder, keep=["id"], to=folder.parent / "empty")
    assert len(pq.read_table(folder.parent / "empty")) == len(X)


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
def test_estimators_pipelines_and_saved_models(model: keras.Model, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    da = pytest.importorskip("dask.array")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from engine.sklearn import MLPClassifier, MLPRegressor

    names = np.where(X[:, 0] > 0, "above", "under")
    classifier = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=3, random_state=0))
    classifier.fit(X, names)
    x = da.from_array(X, chunks=(300, 5))
    assert (predict(classifier, x).compute() == classifier.predict(X)).all()
    shares = predict(classifier, x, method="predict_proba")
    assert shares.shape == (len(X), 2)
    classifier.fit(FRAME[list("abcde")], names)
    found = predict(classifier, pa.Table.from_pandas(FRAME), keep=["id"])
    assert found.column("prediction").to_pylist() == classifier.predict(FRAME[list("abcde")]).tolist()
    regressor = MLPRegressor(hidden_layer_sizes=(8,), max_iter=2, random_state=0).fit(X, X[:, 0])
    np.testing.assert_array_equal(predict(regressor, x).compute(), regressor.predict(X))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict(tmp_path / "model.keras", x).compute(), model.predict(X))


def test_ensembles(model: keras.Model) -> None:
    da = pytest.importorskip("dask.array")
    ensemble = keras.Ensemble([model, keras.models.clone_model(model)])
    found = predict(ensemble, da.from_array(X, chunks=(400, 5))).compute()
    np.testing.assert_array_equal(found, ensemble.predict(X))


def test_errors(model: keras.Model, folder: Path) -> None:
    da = pytest.importorskip("dask.array")
    dd = pytest.importorskip("dask.dataframe")
    x = da.from_array(X, chunks=(300, 5))
    with pytest.raises(TypeError, match=r"got ndarray: for data in memory call model\.predict"):
        predict(model, X)
    with pytest.raises(TypeError, match="got DataFrame: for data in memory"):
        predict(model, FRAME)
    with pytest.raises(ValueError, match=r"must have shape \(n, 5\), got \(1, 4\)"):
        predict(model, x[:, :4])
    with pytest.raises(ValueError, match="has no weights yet"):
        predict(keras.Sequential([layers.Dense(2)]), x)
    with pytest.raises(
        TypeError, match="an estimator with the method 'predict', or the path of a saved model"
    ):
        predict(3, x)
    with pytest.raises(ValueError, match="a model has 'predict' alone"):
        predict(model, x, method="predict_proba")
    with pytest.raises(TypeError, match="`keep` has no meaning for an array of Dask"):
        predict(model, x, keep=["a"])
    with pytest.raises(TypeError, match="`columns` must be a list of names of columns, got 'a'"):
        predict(model, dd.from_pandas(FRAME, npartitions=1), columns="a")
    with pytest.raises(ValueError, match="no column is left"):
        predict(model, dd.from_pandas(FRAME[["id"]], npartitions=1), keep=["id"])
    with pytest.raises(ValueError, match="'prediction_1', which is also the name of an output"):
        predict(
            model, pa.Table.from_pandas(FRAME.rename(columns={"id": "prediction_1"})), keep=["prediction_1"]
        )
    with pytest.raises(ValueError, match=r"call its compute_chunk_sizes\(\)"):
        predict(model, x[:, x[0] > 0])
    with pytest.raises(FileNotFoundError, match="there is no Parquet file"):
        predict(model, folder / "none.parquet")
    (folder.parent / "nothing").mkdir()
    with pytest.raises(FileNotFoundError, match="has no file"):
        predict(model, folder.parent / "nothing")
    with pytest.raises(ValueError, match="`backend` needs `to`, the path of a folder"):
        predict(model, folder, keep=["id"], backend="joblib")
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        predict(model, folder, batch_size=0)
    lacking = pa.table({name: pa.array([1.0, None if name == "c" else 2.0]) for name in "abcde"})
    with pytest.raises(ValueError, match=r"column 'c' lacks 1 of 2 values \(null\)"):
        predict(model, lacking)
    with pytest.raises(TypeError, match=r"column 'when' holds values of type timestamp.*leave it out"):
        predict(model, pa.Table.from_pandas(FRAME.assign(when=pd.Timestamp(0))), keep=["id"])


def test_nan_in_a_partition_is_named_when_it_is_computed(model: keras.Model) -> None:
    da = pytest.importorskip("dask.array")
    x = X.copy()
    x[600, 2] = np.nan
    found = predict(model, da.from_array(x, chunks=(300, 5)))
    with pytest.raises(ValueError, match=r"must be finite .* row 0 holds nan"):
        found.compute()


@pytest.mark.parametrize("isa", ["baseline", "avx2"])
def test_other_instruction_sets_have_the_same_bits(isa: str, model: keras.Model, monkeypatch: Any) -> None:
    da = pytest.importorskip("dask.array")
    monkeypatch.setenv("ENGINE_ISA", isa)
    with cluster_of_dask(1, 2) as client:
        found = client.compute(predict(model, da.from_array(X, chunks=(300, 5)))).result()
    np.testing.assert_array_equal(found, model.predict(X))
