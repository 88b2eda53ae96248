"""Models with inputs of strings: layers that read them, data of every kind, files, and what is refused."""

from __future__ import annotations

import gc
import json
import pickle
import threading
import weakref
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import compiled

import engine as keras
from engine import layers, models
from engine._data.strings import _table

TEXTS = ["good movie", "bad movie", "good film", "bad film"] * 10
LABELS = np.array([1, 0, 1, 0] * 10)


def reader(first: bool = True) -> Any:
    """A model of texts."""
    vectorize = layers.TextVectorization(output_sequence_length=3)
    vectorize.adapt(TEXTS)
    start = [keras.Input((1,), dtype="string")] if first else []
    model = keras.Sequential(
        [
            *start,
            vectorize,
            layers.Embedding(vectorize.vocabulary_size(), 4, mask_zero=True),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    return compiled(model, keras.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])


@pytest.mark.parametrize("first", [True, False])
def test_texts_are_learned(first: bool) -> None:
    keras.utils.set_random_seed(0)
    model = reader(first)
    history = model.fit(TEXTS, LABELS, epochs=5, verbose=0, validation_split=0.2)
    assert history.history["accuracy"][-1] == 1.0
    expected = model.predict(["good", "bad"], verbose=0)
    assert expected.shape == (2, 1)
    assert expected[0, 0] > 0.5 > expected[1, 0]
    for texts in (np.array(["good", "bad"]), [["good"], ["bad"]], np.array([[b"good"], ["bad"]], object)):
        np.testing.assert_array_equal(model.predict(texts, verbose=0), expected)
        np.testing.assert_array_equal(model(texts), expected)
        np.testing.assert_array_equal(model.predict_on_batch(texts), expected)
    assert model.evaluate(np.array(TEXTS), LABELS, verbose=0)[1] == 1.0


def test_batches_of_texts() -> None:
    model = reader()

    def batches() -> Any:
        for begin in range(0, 40, 8):
            yield TEXTS[begin : begin + 8], LABELS[begin : begin + 8]

    model.fit(batches(), steps_per_epoch=5, epochs=1, verbose=0)
    assert model.evaluate(batches(), verbose=0)[0] > 0
    assert model.train_on_batch(TEXTS[:4], LABELS[:4])[0] > 0
    assert model.test_on_batch(TEXTS[:4], LABELS[:4])[0] > 0
    whole = model.predict(TEXTS, verbose=0)
    np.testing.assert_allclose(model.predict(iter([TEXTS[:8], TEXTS[8:]]), verbose=0), whole, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".h5", ".safetensors"])
def test_files(tmp_path: Path, suffix: str) -> None:
    model = reader()
    model.save(tmp_path / f"model{suffix}")
    again = keras.saving.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(again.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0))
    assert again.layers[0].get_vocabulary() == model.layers[0].get_vocabulary()
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0))


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".h5", ".safetensors"])
def test_files_with_factors_of_terms(tmp_path: Path, suffix: str) -> None:
    """The weights of the mode "tf_idf" are variables in Keras' format and in the config in all."""
    vectorize = layers.TextVectorization(output_mode="tf_idf", ngrams=2)
    vectorize.adapt(TEXTS)
    model = keras.Sequential([keras.Input((1,), dtype="string"), vectorize, layers.Dense(2)])
    model.compile("sgd", "mse")
    model.save(tmp_path / f"model{suffix}")
    again = keras.saving.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(again.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0))
    assert again.layers[0].get_config() == vectorize.get_config()
    if suffix == ".keras":
        h5py = pytest.importorskip("h5py")
        with (
            zipfile.ZipFile(tmp_path / "model.keras") as archive,
            h5py.File(archive.open("model.weights.h5"), "r") as weights,
        ):
            assert "idf_weights" in weights["layers/text_vectorization/vars"]


def test_no_strings() -> None:
    none: list[str] = []
    model = reader()
    assert model(none).shape == (0, 1)
    assert model(np.array(none)).shape == (0, 1)
    for mode in ("int", "count", "multi_hot"):
        width = {"int": 0}.get(mode, 3)
        layer = layers.TextVectorization(output_mode=mode, vocabulary=["a", "b"])
        assert layer(none).shape == (0, width)
        assert layer(["", ""]).shape == (2, width)
    lookup = layers.StringLookup(vocabulary=["a"], output_mode="count")
    assert lookup(np.zeros((0, 2), "U1")).shape == (0, 2)
    assert lookup(np.zeros((3, 0), "U1")).tolist() == [[0, 0]] * 3
    assert layers.Hashing(3)(np.array(none)).shape == (0,)


def test_files_of_keras(tmp_path: Path) -> None:
    """In Keras' archives an adapted vocabulary isn't in the config but in a file of its own."""
    model = reader()
    model.save(tmp_path / "ours.keras")
    vocabulary = model.layers[0].get_vocabulary()
    with (
        zipfile.ZipFile(tmp_path / "ours.keras") as old,
        zipfile.ZipFile(tmp_path / "keras.keras", "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                layer = config["config"]["layers"][1]["config"]
                assert layer.pop("has_input_vocabulary") is False
                layer["vocabulary"] = None
                data = json.dumps(config).encode()
            new.writestr(name, data)
        new.writestr("assets/layers/text_vectorization/vocabulary.txt", "\n".join(vocabulary))
    again = keras.saving.load_model(tmp_path / "keras.keras")
    assert again.layers[0].get_vocabulary() == vocabulary
    np.testing.assert_array_equal(again.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0))
    with zipfile.ZipFile(tmp_path / "keras.keras") as archive:
        archive.extractall(tmp_path / "folder")
    again = keras.saving.load_model(tmp_path / "folder")
    assert again.layers[0].get_vocabulary() == vocabulary


def mixed() -> tuple[Any, Any]:
    """A model of a string, a number and an integer, and samples."""
    name = keras.Input((1,), dtype="string", name="name")
    size = keras.Input((1,), name="size")
    kind = keras.Input((1,), dtype="int64", name="kind")
    joined = layers.Concatenate()(
        [
            layers.StringLookup(vocabulary=["x", "y"], output_mode="one_hot")(name),
            size,
            layers.IntegerLookup(vocabulary=[5, 7], output_mode="one_hot")(kind),
            layers.HashedCrossing(3, output_mode="one_hot")([name, kind]),
        ]
    )
    model = keras.Model({"name": name, "size": size, "kind": kind}, [joined, layers.Dense(1)(joined)])
    data = {"name": np.array(["x", "y", "z"]), "size": np.array([0.5, 1.0, 2.0]), "kind": np.array([5, 6, 7])}
    return model, data


def test_mixed_columns() -> None:
    model, data = mixed()
    crossed = layers.HashedCrossing(3, output_mode="one_hot")((data["name"], data["kind"]))
    expected = [[0, 1, 0, 0.5, 0, 1, 0], [0, 0, 1, 1.0, 1, 0, 0], [1, 0, 0, 2.0, 0, 0, 1]]
    np.testing.assert_array_equal(model.predict(data, verbose=0)[0], np.hstack([expected, crossed]))
    np.testing.assert_array_equal(model(data)[0], np.hstack([expected, crossed]))
    training = compiled(keras.Model(model.input, model.outputs[1]), "sgd", "mse")
    training.fit(data, np.ones(3), verbose=0)
    copied = keras.models.clone_model(training)
    copied.set_weights(training.get_weights())
    np.testing.assert_array_equal(copied.predict(data, verbose=0), training.predict(data, verbose=0))


def test_frames_are_dicts_of_columns() -> None:
    pandas = pytest.importorskip("pandas")
    model, data = mixed()
    frame = pandas.DataFrame(data)
    expected = model.predict(data, verbose=0)[0]
    np.testing.assert_array_equal(model.predict(dict(frame), verbose=0)[0], expected)
    np.testing.assert_array_equal(model.predict(frame[["kind", "size", "name"]], verbose=0)[0], expected)
    np.testing.assert_array_equal(model(frame.assign(more=1))[0], expected)
    training = compiled(keras.Model(model.input, model.outputs[1]), "sgd", "mse")
    training.fit(frame, np.ones(3), validation_data=(frame, np.ones(3)), verbose=0)
    training.fit(iter([(frame, np.ones(3))]), verbose=0)
    with pytest.raises(ValueError, match="'name' is missing"):
        model.predict(frame[["kind", "size"]], verbose=0)


def test_models_of_strings_within_models() -> None:
    inner = reader()
    start = keras.Input((1,), dtype="string")
    outer = keras.Model(start, layers.Rescaling(2.0)(inner(start)))
    texts = ["good movie", "bad"]
    np.testing.assert_allclose(outer.predict(texts, verbose=0), 2 * inner.predict(texts, verbose=0))


def test_hashes_of_strings_and_integers() -> None:
    text, number = keras.Input((1,), dtype="string"), keras.Input((1,), dtype="int32")
    hashing = layers.Hashing(3)
    model = keras.Model([text, number], [hashing(text), layers.Hashing(3)(number)])
    strings, numbers = model.predict([np.array(["A", "B", "C"]), np.array([0, 1, 4])], verbose=0)
    assert strings.ravel().tolist() == [1, 0, 1]
    assert numbers.ravel().tolist() == [1, 0, 2]


def test_strings_are_forgotten() -> None:
    model = reader()
    model.predict(["good", "bad"], verbose=0)
    assert _table.value_at(0, "") == ""
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(model.predict(TEXTS, verbose=0))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_models_are_freed() -> None:
    model, data = mixed()
    model.predict(data, verbose=0)
    alive = [weakref.ref(each) for each in (model, *model.layers)]
    del model
    gc.collect()
    assert not [each() for each in alive if each() is not None]


def test_what_is_refused() -> None:
    model, data = mixed()
    with pytest.raises(TypeError, match=r"`x\['name'\]` must hold strings, but entry 0 is 1"):
        model.predict(data | {"name": np.array([1, 2, 3])}, verbose=0)
    start = keras.Input((1,), dtype="string")
    with pytest.raises(TypeError, match=r"numbers, but reads .* of strings: put a StringLookup"):
        keras.Model(start, layers.Dense(1)(start))
    number, lookup = keras.Input((1,)), layers.StringLookup(vocabulary=["a"])
    with pytest.raises(TypeError, match="reads strings, but gets numbers: call it on an Input"):
        keras.Model([start, number], [lookup(start), lookup(number)])
    with pytest.raises(TypeError, match="reads strings, but gets numbers"):
        keras.Model(number, lookup(layers.Dense(1)(number)))
    with pytest.raises(TypeError, match="`x` must hold strings"):
        keras.Model(number, lookup(number)).predict(np.ones((2, 1)), verbose=0)
    with pytest.raises(ValueError, match="needs `output_sequence_length` in a model"):
        layers.TextVectorization(vocabulary=["a"])(start)
    with pytest.raises(ValueError, match="`invert=True` returns strings"):
        layers.StringLookup(vocabulary=["a"], invert=True)(keras.Input((1,)))
    with pytest.raises(RuntimeError, match="must set the layer's vocabulary"):
        layers.StringLookup(output_mode="one_hot")(start)
    with pytest.raises(ValueError, match="must all have the shape"):
        layers.HashedCrossing(3)([start, keras.Input((2,), dtype="int32")])


def test_operations_that_only_move_strings(tmp_path: Path) -> None:
    word, number = keras.Input((), dtype="string", name="word"), keras.Input((), name="number")
    known = {"vocabulary": ["x", "y"], "mask_token": None, "num_oov_indices": 0}
    one_hot = layers.StringLookup(**known, output_mode="multi_hot")(keras.ops.expand_dims(word, -1))
    joined = layers.concatenate([one_hot, keras.ops.expand_dims(number, -1)])
    model = keras.Model({"word": word, "number": number}, joined)
    data = {"word": np.array(["x", "y"]), "number": np.array([3.0, 4.0])}
    expected = [[1, 0, 3], [0, 1, 4]]
    np.testing.assert_array_equal(model.predict(data, verbose=0), expected)
    np.testing.assert_array_equal(model(data), expected)
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(models.load_model(tmp_path / "m.keras").predict(data, verbose=0), expected)


def test_parts_of_rows_of_strings() -> None:
    words, number = keras.Input((2, 3), dtype="string", name="words"), keras.Input((1,), name="number")
    moved = keras.ops.transpose(words, (0, 2, 1))[:, :2]
    model = keras.Model([words, number], layers.StringLookup(vocabulary=["x", "y"])(moved))
    outputs = model.predict([np.array([[["x", "y", "z"], ["z", "x", "y"]]]), np.ones((1, 1))], verbose=0)
    np.testing.assert_array_equal(outputs, [[[1, 0], [2, 1]]])
