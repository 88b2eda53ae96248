"""Compares models for samples of unknown length, such as texts, with Keras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from twins import RTOL, Array, Twins, twins

import engine

LENGTHS = (40, 25, 40, 7, 25)
WORDS = 30
numbers = np.random.default_rng(0)


def texts(count: int, length: int) -> Array:
    """Returns texts of at least one word as indices, padded with zeros at the end."""
    x = numbers.integers(1, WORDS, (count, length))
    x[np.arange(length) >= numbers.integers(1, length + 1, (count, 1))] = 0
    return x


BATCHES = [(texts(8, length), numbers.integers(0, 2, (8, 1))) for length in LENGTHS]
STEPS = [(x, (x % 3 == 1).astype("float32")[..., np.newaxis]) for x, _ in BATCHES]


def sequential(api: Any, masked: bool = True) -> Any:
    layers = api.layers
    return api.Sequential(
        [
            api.Input((None,), dtype="int32"),
            layers.Embedding(WORDS, 6, mask_zero=masked),
            layers.Dense(5, activation="tanh"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def functional(api: Any) -> Any:
    layers = api.layers
    inputs = api.Input(batch_shape=(None, None), name="words")
    x = layers.Embedding(WORDS, 6)(inputs)
    x = layers.LayerNormalization()(x)
    x = layers.GlobalMaxPooling1D()(x)
    return api.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def per_step(api: Any) -> Any:
    """Returns a model with an output for each word, whose mask reaches the loss."""
    layers = api.layers
    return api.Sequential(
        [
            api.Input((None,)),
            layers.Embedding(WORDS, 6, mask_zero=True),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def compiled(make: Any, optimizer: str, metrics: Any = ("accuracy",)) -> Twins:
    def make_compiled(api: Any) -> Any:
        model = make(api)
        rate = {"sgd": 0.5, "adam": 0.01, "rmsprop": 0.01}[optimizer]
        chosen = {"sgd": api.optimizers.SGD, "adam": api.optimizers.Adam, "rmsprop": api.optimizers.RMSprop}
        rule = chosen[optimizer](rate, **({"momentum": 0.9} if optimizer == "sgd" else {}))
        model.compile(rule, "binary_crossentropy", metrics=list(metrics))
        return model

    return twins(make_compiled)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("make", [sequential, functional, per_step])
def test_batches_of_other_lengths_train_as_in_keras(make: Any, optimizer: str) -> None:
    pair = compiled(make, optimizer)
    for x, y in STEPS if make is per_step else BATCHES:
        theirs, ours = (model.train_on_batch(x, y, return_dict=True) for model in pair)
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        pair.assert_same_weights(1e-4, 1e-5)
    assert int(pair.engine.optimizer.iterations) == len(BATCHES)


@pytest.mark.parametrize("make", [sequential, functional])
def test_lengths_that_change_within_fit_evaluate_and_predict(make: Any) -> None:
    pair = compiled(make, "adam")

    def stream() -> Iterator[tuple[Array, Array]]:
        while True:
            yield from BATCHES

    options: dict[str, Any] = {"epochs": 3, "steps_per_epoch": len(BATCHES), "verbose": 0, "shuffle": False}
    theirs, ours = (model.fit(stream(), **options).history for model in pair)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4)
    pair.assert_same_weights(1e-4, 1e-5)
    scores = [model.evaluate((batch for batch in BATCHES), verbose=0) for model in pair]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4)
    outputs = [model.predict(((x,) for x, _ in BATCHES), verbose=0) for model in pair]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4)


@pytest.mark.parametrize("make", [sequential, functional, per_step])
def test_predictions_and_shapes(make: Any) -> None:
    pair = compiled(make, "sgd")
    for length in (40, 25, 7, 1):
        pair.assert_same_outputs(texts(3, length))
    pair.assert_same_outputs(texts(1, 7))
    assert pair.engine.input_shape == pair.keras.input_shape == (None, None)
    assert pair.engine.output_shape == pair.keras.output_shape
    for ours, theirs in zip(pair.engine.layers, pair.keras.layers, strict=True):
        assert ours.output.shape == theirs.output.shape
    assert pair.engine.get_config()["layers"][0]["config"]["batch_shape"] == (None, None)


def test_embedding_without_an_input_takes_texts_of_any_length() -> None:
    def make(api: Any) -> Any:
        layers = api.layers
        model = api.Sequential([layers.Embedding(WORDS, 6), layers.GlobalAveragePooling1D(), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    theirs, ours = make(keras), make(engine)
    for model in (theirs, ours):
        model.predict(BATCHES[0][0], verbose=0)
    ours.set_weights(theirs.get_weights())
    pair = Twins(theirs, ours)
    for x, y in BATCHES:
        pair.fit(x, y)
        pair.assert_same_outputs(x)
    pair.assert_same_weights()


# Layers behind an embedding of (n, None): both libraries give the same output shape, or an error.
LAYERS = {
    "flatten": lambda layers: [layers.Flatten()],
    "flatten, dense": lambda layers: [layers.Flatten(), layers.Dense(2)],
    "permute": lambda layers: [layers.Permute((2, 1))],
    "permute, dense": lambda layers: [layers.Permute((2, 1)), layers.Dense(2)],
    "reshape": lambda layers: [layers.Reshape((-1, 3))],
    "layer normalization": lambda layers: [layers.LayerNormalization(axis=1)],
    "group normalization": lambda layers: [layers.GroupNormalization(2)],
    "batch normalization": lambda layers: [layers.BatchNormalization()],
    "slopes": lambda layers: [layers.PReLU()],
    "shared slopes": lambda layers: [layers.PReLU(shared_axes=[1])],
    "dropout": lambda layers: [layers.SpatialDropout1D(0.5), layers.Dropout(0.5, noise_shape=(None, 1, 6))],
    "unit": lambda layers: [layers.UnitNormalization(axis=1)],
    "softmax": lambda layers: [layers.Softmax(axis=1)],
    "function": lambda layers: [layers.Lambda(lambda x: x[:, 1:])],
    "first": lambda layers: [layers.Lambda(lambda x: x[:, 0])],
    "max": lambda layers: [layers.GlobalMaxPooling1D(keepdims=True)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_on_an_unknown_length(name: str) -> None:
    def make(api: Any) -> Any:
        return api.Sequential([api.Input((None,)), api.layers.Embedding(WORDS, 6), *LAYERS[name](api.layers)])

    try:
        theirs = make(keras)
    except ValueError:
        with pytest.raises(ValueError, match="must be known"):
            make(engine)
        return
    ours = make(engine)
    assert ours.output_shape == theirs.output_shape
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    ours.set_weights(theirs.get_weights())
    for length in (6, 3, 9):
        x = texts(4, length)
        np.testing.assert_allclose(
            ours.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=RTOL, atol=1e-5
        )


@pytest.mark.parametrize("make", [sequential, functional])
def test_files_both_ways(make: Any, tmp_path: Path) -> None:
    pair = compiled(make, "adam")
    for x, y in BATCHES[:2]:
        for model in pair:
            model.train_on_batch(x, y)
    for number, (writer, reader) in enumerate([(pair.keras, engine), (pair.engine, keras)]):
        path = tmp_path / f"{number}.keras"
        writer.save(path)
        read = reader.models.load_model(path)
        assert read.input_shape == (None, None)
        for x, y in BATCHES[2:]:
            one, other = read.train_on_batch(x, y), writer.train_on_batch(x, y)
            np.testing.assert_allclose(one, other, rtol=1e-4)
            np.testing.assert_allclose(
                read.predict(x, verbose=0), writer.predict(x, verbose=0), rtol=1e-4, atol=1e-5
            )


def test_samples_of_several_unknown_axes_and_a_layer_of_the_users() -> None:
    def make(api: Any) -> Any:
        shapes = []

        class Scale(api.layers.Layer):  # type: ignore[name-defined, misc] # api is no module to mypy
            def build(self, input_shape: Any) -> None:
                shapes.append(tuple(input_shape))
                self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")

            def call(self, inputs: Any) -> Any:
                return inputs * self.factor

            def gradient(self, inputs: Any, upstream: Any) -> Any:
                return upstream * self.factor, np.sum(upstream * inputs, axis=tuple(range(inputs.ndim - 1)))

        layers = api.layers
        model = api.Sequential(
            [
                api.Input((None, None, 3)),
                Scale(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2),
            ]
        )
        assert shapes == [(None, None, None, 3)]
        model.compile("sgd", "mse")
        return model

    pair = twins(make)
    for height, width in ((4, 6), (5, 3), (4, 6)):
        x, y = numbers.normal(size=(8, height, width, 3)), numbers.normal(size=(8, 2))
        for model in pair:
            model.train_on_batch(x, y)
        pair.assert_same_weights()
        pair.assert_same_outputs(x)


def test_an_activation_that_is_assigned_is_that_of_new_lengths_and_after_compile() -> None:
    """Lengths that were seen before keep what was compiled for them, in Keras, too."""
    rows = np.random.default_rng(1).standard_normal((1, 8, 4)).astype(np.float32)
    found = []
    for api in (keras, engine):
        dense = api.layers.Dense(4)
        model = api.Sequential([api.Input((None, 4)), dense])
        model.predict(rows, verbose=0)
        dense.activation = api.activations.relu
        results = [model.predict(rows[:, :length], verbose=0) for length in (8, 5)]
        model.compile("sgd", "mse")
        results += [model.predict(rows[:, :length], verbose=0) for length in (8, 5)]
        found.append([bool((each >= 0).all()) for each in results])
    assert found == [[False, True, True, True]] * 2
