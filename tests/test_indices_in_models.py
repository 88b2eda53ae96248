"""Layers that return indices, in models: the dtypes of outputs, the shapes, and configs of vocabularies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import compiled

import engine as keras
from engine import layers
from engine.utils import FeatureSpace

NUMBERS = np.array([[0.0, 0.15], [0.21, 7.8]])
STRINGS = np.array([["a"], ["z"]])
CASES: dict[str, tuple[Any, Any, str]] = {
    "discretization": (lambda: layers.Discretization(bin_boundaries=[0.0, 0.1, 0.2]), NUMBERS, "int32"),
    "strings": (lambda: layers.StringLookup(vocabulary=["a", "b"]), STRINGS, "int64"),
    "hashes": (lambda: layers.Hashing(3, dtype="int32"), STRINGS, "int32"),
    "texts": (
        lambda: layers.TextVectorization(vocabulary=["a"], output_sequence_length=2),
        STRINGS[:, 0],
        "int64",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["functional", "sequential", "nested"])
def test_a_model_returns_the_indices_that_its_last_layer_returns(name, form):
    make, x, dtype = CASES[name]
    layer = make()
    inputs = keras.Input(x.shape[1:], dtype="string" if x is not NUMBERS else None)
    model = keras.Sequential([inputs, layer]) if form == "sequential" else keras.Model(inputs, layer(inputs))
    if form == "nested":
        again = keras.Input(x.shape[1:], dtype=inputs.dtype)
        model = keras.Model(again, model(again))
    assert model.output.dtype == dtype
    for found in (model(x), model.predict(x, verbose=0)):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, layer(x))


def test_what_follows_indices_trains_and_is_loaded(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Discretization(bin_boundaries=[0.0, 0.1, 0.2]),
            layers.Embedding(4, 3),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    model.fit(NUMBERS, np.ones((2, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(NUMBERS, verbose=0), model.predict(NUMBERS, verbose=0))
    inputs = keras.Input((2,))
    halves = layers.Lambda(lambda indices: indices / 2)(CASES["discretization"][0]()(inputs))
    np.testing.assert_array_equal(keras.Model(inputs, halves)(NUMBERS), [[0.5, 1], [1.5, 1.5]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Hashing(3, output_mode="count"),
        lambda: layers.StringLookup(vocabulary=["a"], output_mode="multi_hot"),
        lambda: layers.CategoryEncoding(3, output_mode="count"),
    ],
)
def test_one_vector_of_all_samples_is_refused(make):
    with pytest.raises(ValueError, match=r"would leave no samples: use Input\(\(1,\)\)"):
        make()(keras.Input((), dtype="string"))


def test_the_config_of_a_vocabulary_has_the_terms_alone():
    lookup = layers.StringLookup(vocabulary=["a", "b"], oov_token="[OOV]", mask_token="[MASK]")
    assert lookup.get_config()["vocabulary"] == ["a", "b"]
    again = layers.StringLookup.from_config(lookup.get_config())
    assert again.get_vocabulary() == lookup.get_vocabulary() == ["[MASK]", "[OOV]", "a", "b"]
    weighted = layers.StringLookup(vocabulary=["a", "b"], idf_weights=[0.5, 0.25], output_mode="tf_idf")
    assert weighted.get_config()["idf_weights"] == [0.5, 0.25]
    again = layers.StringLookup.from_config(weighted.get_config())
    np.testing.assert_array_equal(again([["a", "b", "b", "z"]]), weighted([["a", "b", "b", "z"]]))


def test_bins_of_a_single_number_have_a_shape():
    layer = layers.Discretization(bin_boundaries=[0.0, 1.0], output_mode="one_hot")
    assert layer.compute_output_shape(()) == (3,)
    assert layers.Discretization(bin_boundaries=[0.0]).compute_output_shape(()) == ()


def test_a_symbolic_tensor_stands_for_an_input():
    tensor = keras.KerasTensor((4, 3), dtype="int32")
    inputs = keras.Input(tensor=tensor)
    assert (inputs.shape, inputs.dtype) == ((4, 3), "int32")
    assert inputs.output is tensor
    model = keras.Model(inputs, layers.Dense(2)(tensor))
    assert model.predict(np.ones((4, 3)), verbose=0).shape == (4, 2)
    for given in (
        {"shape": (5,)},
        {"batch_size": 5},
        {"batch_shape": (None, 3)},
        {"dtype": "float32"},
        {"sparse": True},
    ):
        with pytest.raises(ValueError, match=rf"`{next(iter(given))}` must be that of `input_tensor`"):
            layers.InputLayer(input_tensor=keras.KerasTensor((4, 3), dtype="int32"), **given)
    with pytest.raises(ValueError, match="a model can begin with it as it is"):
        keras.Input(tensor=layers.Dense(2)(keras.Input((3,))))


# Integers that float32 can't hold, such as ids and phone numbers: layers that read integers get them unchanged.


# Ids around the largest integer below which float32 has all of them, phone numbers, and the ends of int64.
IDS = np.array(
    [[0], [-1], [2**24], [2**24 + 1], [2**24 + 3], [-(2**24) - 1], [491512345678], [2**63 - 1], [-(2**63)]]
)
BINS = 100_003


def expected(ids: Any = IDS) -> Any:
    return np.asarray(layers.Hashing(BINS)(np.asarray(ids)))


def models() -> dict[str, keras.Model]:
    declared, plain = keras.Input((1,), dtype="int64"), keras.Input((1,))

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hashing = layers.Hashing(BINS)

        def call(self, x: Any) -> Any:
            return self.hashing(x)

    inner = keras.Sequential([layers.Hashing(BINS)])
    return {
        "declared": keras.Model(declared, layers.Hashing(BINS)(declared)),
        "plain": keras.Model(plain, layers.Hashing(BINS)(plain)),
        "deferred": keras.Sequential([layers.Hashing(BINS)]),
        "own call": Own(),
        "reshaped": keras.Sequential(
            [keras.Input((1,)), layers.Reshape((1, 1)), layers.Hashing(BINS), layers.Flatten()]
        ),
        "nested": keras.Sequential([keras.Input((1,), dtype="int64"), inner]),
    }


@pytest.mark.parametrize("kind", models())
def test_models_hash_integers_as_they_are(kind: str) -> None:
    model = models()[kind]
    np.testing.assert_array_equal(model.predict(IDS, verbose=0), expected())
    np.testing.assert_array_equal(np.asarray(model(IDS)), expected())
    np.testing.assert_array_equal(model.predict_on_batch(IDS), expected())
    np.testing.assert_array_equal(model.predict(iter([IDS[:4], IDS[4:]]), verbose=0), expected())


@pytest.mark.parametrize("kind", ["uint64", "float64", "list", "int32", "frame", "sparse", "map"])
def test_integers_come_in_any_form(kind: str, tmp_path: Any) -> None:
    ids: Any = np.array([[16777217], [16777219], [3], [123456789]])
    given: Any = ids.astype(kind) if kind in ("uint64", "float64", "int32") else ids.tolist()
    if kind == "frame":
        given = pytest.importorskip("pandas").DataFrame({"id": ids[:, 0]})
    elif kind == "sparse":
        given = pytest.importorskip("scipy.sparse").csr_matrix(ids)
    elif kind == "map":
        np.save(tmp_path / "ids.npy", ids)
        given = np.load(tmp_path / "ids.npy", mmap_mode="r")
    for name, model in models().items():
        if name in ("declared", "plain", "deferred", "nested"):
            np.testing.assert_array_equal(model.predict(given, verbose=0), expected(ids), name)


def test_float32_data_are_no_codes() -> None:
    numbers = np.array([[2.0**24], [2.0**24 + 2], [2.0**31], [7.9]], np.float32)
    found = models()["plain"].predict(numbers, verbose=0)
    np.testing.assert_array_equal(found, expected(numbers.astype(np.int64)))


def test_look_ups_and_crossings_of_several_inputs() -> None:
    ids = IDS[3:7]
    one, other = (keras.Input((1,), dtype="int64", name=name) for name in ("one", "other"))
    lookup, cross = layers.IntegerLookup(vocabulary=ids[:, 0].tolist()), layers.HashedCrossing(BINS)
    model = keras.Model([one, other], [lookup(one), cross([one, other])])
    places, bins = model.predict({"one": ids, "other": ids[::-1]}, verbose=0)
    assert places[:, 0].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(bins, np.asarray(cross([ids, ids[::-1].copy()])))


def test_training_reads_ids() -> None:
    """Each id has its own row of the embedding, which learns its own target."""
    ids, targets = IDS[2:7], np.arange(5.0)
    for streamed in (False, True):
        inputs = keras.Input((1,), dtype="int64")
        rows = layers.Embedding(6, 1)(layers.IntegerLookup(vocabulary=ids[:, 0].tolist())(inputs))
        model = compiled(keras.Model(inputs, layers.Flatten()(rows)), keras.optimizers.SGD(0.5), "mse")
        data = ([ids, targets] for _ in range(400)) if streamed else None
        if data is None:
            model.fit(ids, targets, batch_size=5, epochs=400, verbose=0)
        else:
            model.fit(map(tuple, data), steps_per_epoch=400, verbose=0)
        np.testing.assert_allclose(model.predict(ids, verbose=0)[:, 0], targets, atol=1e-4)
        assert model.evaluate(ids, targets, verbose=0) < 1e-6


def test_own_steps_and_tapes_read_ids() -> None:
    inputs = keras.Input((1,), dtype="int64")
    hashing = layers.Hashing(BINS)

    class Stepped(keras.Model):
        def test_step(self, data: Any) -> Any:
            x, y = data
            return {"wrong": keras.ops.sum(keras.ops.abs(self(x) - y))}

    model = compiled(Stepped(inputs, hashing(inputs)))
    with pytest.warns(UserWarning, match="can't be compiled"):
        assert model.evaluate(IDS, expected().astype(np.float32), verbose=0, return_dict=True) == {"wrong": 0}
    with keras.GradientTape():
        found = np.asarray(model(IDS))
    np.testing.assert_array_equal(found, expected())


def test_feature_spaces_read_ids() -> None:
    ids = IDS[2:7, 0]
    space = FeatureSpace(
        {
            "place": FeatureSpace.integer_categorical(output_mode="int"),
            "bin": FeatureSpace.integer_hashed(BINS, output_mode="int"),
        },
        output_mode="dict",
    )
    data = {"place": ids, "bin": ids}
    space.adapt(data)
    model = keras.Model(space.get_inputs(), space.get_encoded_features())
    found, direct = model.predict(data, verbose=0), space(data)
    assert len(set(found["place"][:, 0].tolist())) == len(ids)
    for name in data:
        np.testing.assert_array_equal(found[name].reshape(-1), np.asarray(direct[name]).reshape(-1))


def test_own_layers_get_integers_of_64_bits_where_needed() -> None:
    seen = []

    class Digits(layers.Layer):
        def call(self, x: Any) -> Any:
            seen.append(np.asarray(x).tolist())
            return np.asarray(np.asarray(x) % 10, np.float32)

        def gradient(self, x: Any, upstream: Any) -> Any:
            return np.zeros(np.shape(x), np.float32)

    inputs = keras.Input((1,), dtype="int64")
    model = keras.Model(inputs, Digits()(inputs))
    seen.clear()
    found = model.predict(IDS[2:7], verbose=0)
    assert seen[-1] == IDS[2:7].tolist()
    np.testing.assert_array_equal(found, IDS[2:7] % 10)
    np.testing.assert_array_equal(np.asarray(Digits()(IDS[2:7])), IDS[2:7] % 10)
    assert np.asarray(layers.Hashing(BINS)(IDS)).tolist() == expected().tolist()


@pytest.mark.parametrize(
    "given",
    [
        np.array([[1], [2**24], [2**24 + 1]]),
        np.array([[1], [2**25], [2**24 + 1]], np.uint64),
        np.array([[1.0], [2.0**40], [2.0**24 + 1]]),
        [[1], [2], [2**24 + 1]],
    ],
)
def test_integers_that_a_layer_computes_with_must_be_exact(given: Any) -> None:
    inputs = keras.Input((1,), dtype="int64")
    mixed = keras.Input((1,))
    for model in (
        keras.Model(inputs, layers.Dense(1)(inputs)),
        keras.Model(mixed, [layers.Hashing(BINS)(mixed), layers.Dense(1)(mixed)]),
        keras.Model(inputs, layers.Concatenate()([layers.Hashing(BINS)(inputs), inputs])),
    ):
        for read in (model.predict, model, model.predict_on_batch):
            with pytest.raises(ValueError, match=r"row 2 holds 16777217.*would become 16777216"):
                read(given)
        model.predict(np.array([[1], [2**24], [2**25]]), verbose=0)


def test_integers_that_a_compiled_step_computes_with_must_be_exact() -> None:
    inputs = keras.Input((1,), dtype="int64")

    class Stepped(keras.Model):
        def test_step(self, data: Any) -> Any:
            x, y = data
            return {"loss": keras.ops.mean(keras.ops.square(self(x) - y))}

    model = compiled(Stepped(inputs, layers.Dense(1)(inputs)))
    with pytest.raises(ValueError, match=r"row 1 holds 16777217"):
        model.evaluate(np.array([[1], [2**24 + 1]]), np.ones((2, 1)), verbose=0)
    with keras.GradientTape(), pytest.raises(ValueError, match=r"row 1 holds 16777217"):
        model(np.array([[1], [2**24 + 1]]))


def test_inputs_of_floats_round_integers_as_in_keras() -> None:
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, kernel_initializer="ones")])
    assert model.predict(np.array([[2**24 + 1]]), verbose=0).tolist() == [[2.0**24]]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [([[1.0], [np.nan]], "row 1 holds nan"), (np.array([[2**64 - 1]], np.uint64), "64 bits, but row 0")],
)
def test_what_is_no_integer_of_64_bits_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        models()["declared"].predict(wrong, verbose=0)
