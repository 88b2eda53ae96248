"""Tests of callbacks.TensorBoard: its files are read by TensorBoard."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from common import compiled
from conftest import FEATURES, Blobs, classifier
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.util.tensor_util import make_ndarray

import engine as keras
from engine.callbacks import TensorBoard

# Keeps TensorBoard from importing TensorFlow, which takes seconds if it is installed.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))

UNLIMITED = {"tensors": 0}


def run(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance=UNLIMITED)
    events.Reload()
    return events


def tags(events: EventAccumulator) -> list[str]:
    return sorted(events.Tags()["tensors"])


def values(events: EventAccumulator, tag: str) -> list[float]:
    return [float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


def steps(events: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in events.Tensors(tag)]


def plugin(events: EventAccumulator, tag: str) -> str:
    return str(events.SummaryMetadata(tag).plugin_data.plugin_name)


def fit(blobs: Blobs, callback: TensorBoard, **options: Any) -> keras.callbacks.History:
    return classifier().fit(
        blobs.x, blobs.y, **({"epochs": 3, "verbose": 0, "callbacks": [callback]} | options)
    )


def test_logs_of_epochs(blobs: Blobs, tmp_path: Path) -> None:
    history = fit(blobs, TensorBoard(tmp_path / "logs"), validation_split=0.2).history
    train, validation = run(tmp_path / "logs" / "train"), run(tmp_path / "logs" / "validation")
    assert tags(train) == ["epoch_accuracy", "epoch_learning_rate", "epoch_loss", "keras"]
    assert tags(validation) == [
        "epoch_accuracy",
        "epoch_loss",
        "evaluation_accuracy_vs_iterations",
        "evaluation_loss_vs_iterations",
    ]
    for events, prefix in ((train, ""), (validation, "val_")):
        for name in ("accuracy", "loss"):
            assert plugin(events, f"epoch_{name}") == "scalars"
            assert steps(events, f"epoch_{name}") == [0, 1, 2]
            assert values(events, f"epoch_{name}") == pytest.approx(history[prefix + name], rel=1e-6)
    assert steps(validation, "evaluation_loss_vs_iterations") == [4, 8, 12]
    assert values(validation, "evaluation_loss_vs_iterations") == values(validation, "epoch_loss")
    assert values(train, "epoch_learning_rate") == pytest.approx([0.001] * 3)


def test_evaluate_has_its_own_numbers(blobs: Blobs, tmp_path: Path) -> None:
    model = classifier()
    model.fit(blobs.x, blobs.y, verbose=0)
    loss, _ = model.evaluate(blobs.x, blobs.y, callbacks=[TensorBoard(tmp_path)], verbose=0)
    events = run(tmp_path / "validation")
    assert values(events, "evaluation_loss_vs_iterations") == pytest.approx([loss], rel=1e-6)
    assert steps(events, "evaluation_loss_vs_iterations") == [5]
    assert not (tmp_path / "train").exists()


@pytest.mark.parametrize(
    ("update_freq", "expected"), [("batch", list(range(1, 11))), (1, list(range(1, 11))), (4, [4, 8])]
)
def test_logs_of_batches(update_freq: Any, expected: list[int], blobs: Blobs, tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path, update_freq=update_freq, write_steps_per_second=True)
    fit(blobs, callback, epochs=2)
    events = run(tmp_path / "train")
    assert steps(events, "batch_loss") == steps(events, "batch_accuracy") == expected
    assert min(values(events, "batch_steps_per_second") + values(events, "epoch_steps_per_second")) > 0


def test_epochs_stay_whole(blobs: Blobs, tmp_path: Path) -> None:
    """With hooks for batches, the core would be called for each."""
    assert not keras.callbacks.CallbackList([TensorBoard(tmp_path)]).per_batch("train")
    assert keras.callbacks.CallbackList([TensorBoard(tmp_path, update_freq=100)]).per_batch("train")
    fit(blobs, TensorBoard(tmp_path))
    assert "batch_loss" not in tags(run(tmp_path / "train"))


def test_histograms_and_images(blobs: Blobs, tmp_path: Path) -> None:
    model = classifier(keras.layers.BatchNormalization(name="norm"))
    callback = TensorBoard(tmp_path, histogram_freq=2, write_images=True)
    model.fit(blobs.x, blobs.y, epochs=3, verbose=0, callbacks=[callback])
    events = run(tmp_path / "train")
    layer = model.layers[0].name
    tag = f"{model.name}/{layer}/kernel/histogram"
    assert plugin(events, tag) == "histograms"
    assert steps(events, tag) == [0, 2]
    left, right, counts = make_ndarray(events.Tensors(tag)[-1].tensor_proto).T
    kernel = model.get_weights()[0].astype(np.float64)
    assert counts.sum() == kernel.size
    assert (left[0], right[-1]) == pytest.approx((kernel.min(), kernel.max()))
    np.testing.assert_array_equal(counts, np.histogram(kernel, len(counts))[0])
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        assert f"{model.name}/norm/{name}/histogram" in tags(events)
    image = f"{model.name}/{layer}/kernel/image"
    assert plugin(events, image) == "images"
    width, height, png = make_ndarray(events.Tensors(image)[-1].tensor_proto)
    picture = np.asarray(Image.open(io.BytesIO(png)))
    assert picture.shape == (int(height), int(width)) == (6, 8)
    assert picture.dtype == np.uint8
    assert np.unravel_index(picture.argmax(), picture.shape) == np.unravel_index(
        kernel.argmax(), kernel.shape
    )
    assert (picture.min(), picture.max()) == (0, 255)


def test_weights_that_are_all_the_same_or_lost(tmp_path: Path) -> None:
    from engine.callbacks.event_files import EventFile

    file = EventFile(tmp_path)
    for step, weights in enumerate(([1.0, 1.0], [np.nan, 2.0, 3.0], [np.inf], [])):
        file.histogram("weights", np.array(weights, np.float32), step)
    file.flush()
    tables = [make_ndarray(event.tensor_proto) for event in run(tmp_path).Tensors("weights")]
    assert [table[:, 2].sum() for table in tables] == [2, 2, 0, 0]
    assert tables[0].tolist() == [[0.5, 1.5, 2.0]]


@pytest.mark.parametrize("chained", [False, True])
def test_graph_of_layers(chained: bool, blobs: Blobs, tmp_path: Path) -> None:
    model = classifier()
    if chained:
        outputs = start = keras.Input((FEATURES,))
        for layer in model.layers:
            outputs = layer(outputs)
        model = compiled(keras.Model(start, outputs), "sgd", "sparse_categorical_crossentropy")
    model.fit(blobs.x, blobs.y, verbose=0, callbacks=[TensorBoard(tmp_path)])
    events = run(tmp_path / "train")
    assert plugin(events, "keras") == "graph_keras_model"
    config = json.loads(make_ndarray(events.Tensors("keras")[0].tensor_proto).item())
    graph = keras_model_to_graph_def(config)
    names = [f"{model.name}/{layer.name}" for layer in [model.input, *model.layers[-2:]]]
    assert [node.name for node in graph.node] == names
    assert [list(node.input) for node in graph.node] == [[], *([name] for name in names[:-1])]
    shown = events.Graph()
    assert [node.op for node in shown.node] == ["InputLayer", "Dense", "Dense"]
    assert [list(node.input) for node in shown.node] == [[], *([node.name] for node in shown.node[:-1])]
    fit(blobs, TensorBoard(tmp_path / "bare", write_graph=False))
    assert "keras" not in tags(run(tmp_path / "bare" / "train"))


@pytest.mark.parametrize(
    ("profile_batch", "expected"), [(2, [2]), ((4, 6), [4, 5, 6]), ("1,2", [1, 2]), ((9, 99), [9, 10])]
)
def test_durations_of_batches(profile_batch: Any, expected: list[int], blobs: Blobs, tmp_path: Path) -> None:
    fit(blobs, TensorBoard(tmp_path, profile_batch=profile_batch), epochs=2)
    (path,) = (tmp_path / "train" / "plugins" / "profile").glob("*/*.trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    batches = [event for event in events if event["ph"] == "X"]
    assert [event["name"] for event in batches] == [f"batch {number}" for number in expected]
    assert all(event["dur"] > 0 for event in batches)
    starts = [event["ts"] for event in batches]
    assert starts == sorted(starts)


def words(metadata: Any, tmp_path: Path) -> tuple[keras.Sequential, ProjectorConfig]:
    model = keras.Sequential(
        [
            keras.layers.Embedding(5, 3, name="words", input_shape=(2,)),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    callback = TensorBoard(tmp_path, embeddings_freq=1, embeddings_metadata=metadata)
    model.fit([[0, 1], [2, 3]], [0.0, 1.0], verbose=0, callbacks=[callback])
    text = (tmp_path / "projector_config.pbtxt").read_text()
    return model, text_format.Parse(text, ProjectorConfig())


@pytest.mark.parametrize("metadata", [None, "labels.tsv", {"words": "labels.tsv"}])
def test_embeddings(metadata: Any, tmp_path: Path) -> None:
    model, config = words(metadata, tmp_path)
    (embedding,) = config.embeddings
    assert embedding.metadata_path == ("labels.tsv" if metadata else "")
    table = np.loadtxt(tmp_path / embedding.tensor_path, delimiter="\t")
    np.testing.assert_allclose(table, model.get_weights()[0], rtol=1e-6)


def test_a_table_stays_whole_if_the_next_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config = words(None, tmp_path)
    path = tmp_path / config.embeddings[0].tensor_path
    before = path.read_text()

    def fail(file: Any, *_: Any, **__: Any) -> None:
        file.write("half a tab")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savetxt", fail)
    with pytest.raises(OSError, match="disk full"):
        words(None, tmp_path)
    assert path.read_text() == before


def test_metadata_of_a_layer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'wrds', .*no Embedding layer .* did you mean 'words'"):
        words({"wrds": "labels.tsv"}, tmp_path)


def test_each_training_has_its_files(blobs: Blobs, tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path)
    fit(blobs, callback)
    fit(blobs, callback)
    assert len(list((tmp_path / "train").iterdir())) == 2


def test_what_was_learnt_before_an_error_is_there(blobs: Blobs, tmp_path: Path) -> None:
    def stop(epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            blobs.x,
            blobs.y,
            epochs=3,
            verbose=0,
            callbacks=[TensorBoard(tmp_path), keras.callbacks.LambdaCallback(on_epoch_end=stop)],
        )
    assert steps(run(tmp_path / "train"), "epoch_loss") == [0, 1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"log_dir": 3}, TypeError, "`log_dir` must be a path, got 3"),
        ({"histogram_freq": -1}, ValueError, "`histogram_freq` must be at least 0"),
        ({"update_freq": "step"}, ValueError, "`update_freq` must be 'epoch', .*, got 'step'"),
        ({"update_freq": 0}, ValueError, "`update_freq` must be at least 1"),
        ({"write_graph": "yes"}, TypeError, "`write_graph` must be True or False"),
        ({"profile_batch": (3, 2)}, ValueError, "`profile_batch` must be 0, the number of a batch"),
        ({"profile_batch": "a,b"}, ValueError, "`profile_batch` must be 0"),
        ({"profile_batch": (1, 2, 3)}, ValueError, "`profile_batch` must be 0"),
        ({"profile_batch": 1.5}, ValueError, "`profile_batch` must be 0"),
    ],
)
def test_refusals(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TensorBoard(**options)


def test_without_tensorboard() -> None:
    code = "import sys; sys.modules['tensorboard'] = None; import engine; engine.callbacks.TensorBoard()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: callbacks.TensorBoard needs tensorboard, which can't be imported" in result.stderr
    assert "pip install tensorboard" in result.stderr


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, engine as keras\n"
        "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]); model.compile('sgd', 'mse')\n"
        f"callback = keras.callbacks.TensorBoard({str(tmp_path)!r}, histogram_freq=1, write_images=True)\n"
        "model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=[callback])\n"
        "print('tensorflow' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (result.stdout, result.stderr) == ("False\n", "")


def test_a_loop_begins_before_the_model_has_weights(tmp_path: Path) -> None:
    model = compiled(keras.Sequential([keras.layers.Dense(1)]), "sgd", "mse")
    callback = keras.callbacks.TensorBoard(tmp_path)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_train_end()
    assert list((tmp_path / "train").iterdir())
