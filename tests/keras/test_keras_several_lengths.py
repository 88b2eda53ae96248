"""Compares models with several inputs, some of unknown length, with Keras: a text and numbers, two texts, two outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from twins import RTOL, Array, Twins, assert_same_histories, twins

import engine

WORDS, COUNT = 9, 8
RNG = np.random.default_rng(5)
Batch = tuple[list[Array], list[Array]]


def text_and_numbers(api: Any) -> Any:
    """Returns a model of a text of any length, two numbers and another text, with two outputs."""
    layers = api.layers
    words, facts, tags = (
        api.Input((None,), dtype="int32", name="words"),
        api.Input((2,), name="facts"),
        api.Input((None,), dtype="int32", name="tags"),
    )
    embedding = layers.Embedding(WORDS, 4, mask_zero=True)
    means = [layers.GlobalAveragePooling1D()(embedding(each)) for each in (words, tags)]
    joined = layers.Concatenate()([*means, facts])
    hidden = layers.Dense(5, "tanh")(joined)
    outputs = [layers.Dense(1, "sigmoid", name="liked")(hidden), layers.Dense(2, name="sizes")(joined)]
    return api.Model([words, facts, tags], outputs)


def two_rows_of_steps(api: Any) -> Any:
    """Returns a model whose output has the unknown length of its inputs."""
    first, second = api.Input((None, 3)), api.Input((None, 2))
    added = api.layers.Add()([api.layers.Dense(4)(first), api.layers.Dense(4, "relu")(second)])
    return api.Model([first, second], api.layers.Dense(1)(added))


def batch_of_texts(first: int, second: int) -> Batch:
    words, tags = (RNG.integers(1, WORDS, (COUNT, length)) for length in (first, second))
    words[:, -1] = 0
    targets: list[Array] = [RNG.integers(0, 2, (COUNT, 1)), RNG.normal(size=(COUNT, 2))]
    return [words, RNG.normal(size=(COUNT, 2)), tags], targets


def batch_of_steps(length: int, _: int) -> Batch:
    x: list[Array] = [RNG.normal(size=(COUNT, length, 3)), RNG.normal(size=(COUNT, length, 2))]
    return x, [RNG.normal(size=(COUNT, length, 1))]


MODELS = [
    pytest.param(text_and_numbers, batch_of_texts, id="texts"),
    pytest.param(two_rows_of_steps, batch_of_steps, id="steps"),
]
# The second and the third have equally many numbers.
LENGTHS = [(3, 5), (6, 2), (5, 3), (3, 5)]


def compiled(make: Callable[[Any], Any]) -> Twins:
    def make_compiled(api: Any) -> Any:
        model = make(api)
        losses = ["binary_crossentropy", "mse"][-len(model.outputs) :]
        model.compile(api.optimizers.Adam(0.01), losses)
        return model

    return twins(make_compiled)


def given(batch: Batch) -> Any:
    """Returns the batch as `fit` takes it: Keras wants one target for one output."""
    x, y = batch
    return x, y if len(y) > 1 else y[0]


@pytest.mark.parametrize(("make", "batch"), MODELS)
def test_training_and_prediction(make: Callable[[Any], Any], batch: Callable[[int, int], Batch]) -> None:
    both = compiled(make)
    for lengths in LENGTHS:
        x, y = given(batch(*lengths))
        assert_same_histories(*both.fit(x, y, epochs=2, batch_size=3))
        both.assert_same_weights(atol=2e-6)
        theirs, ours = (model.predict(x, verbose=0, batch_size=3) for model in both)
        called = both.engine(x, training=False)
        pairs = (
            [(theirs, ours, called)]
            if isinstance(theirs, np.ndarray)
            else zip(theirs, ours, called, strict=True)
        )
        for expected, found, again in pairs:
            np.testing.assert_allclose(found, expected, rtol=RTOL, atol=1e-5)
            np.testing.assert_array_equal(found, again)
        theirs, ours = (model.evaluate(x, y, verbose=0) for model in both)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(("make", "batch"), MODELS)
def test_batches_of_several_lengths_in_one_fit(
    make: Callable[[Any], Any], batch: Callable[[int, int], Batch]
) -> None:
    both = compiled(make)
    batches = [batch(*lengths) for lengths in LENGTHS]

    def stream() -> Iterator[Any]:
        for x, y in batches:
            yield tuple(x), tuple(y) if len(y) > 1 else y[0]

    theirs, ours = (
        model.fit(stream(), epochs=1, verbose=0, validation_data=stream()).history for model in both
    )
    assert_same_histories(theirs, ours)
    both.assert_same_weights(atol=2e-6)


def test_validation_data_of_another_length() -> None:
    both = compiled(text_and_numbers)
    x, y = batch_of_texts(4, 4)
    assert_same_histories(*both.fit(x, y, epochs=2, validation_data=batch_of_texts(2, 6)))


def test_files_and_models_within_models(tmp_path: Path) -> None:
    model, (x, _) = text_and_numbers(engine), batch_of_texts(4, 3)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "m.keras")
    for api in (engine, keras):
        loaded = api.models.load_model(tmp_path / "m.keras")
        for ours, theirs in zip(loaded.predict(x, verbose=0), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=1e-6)
    inputs = [engine.Input(each.shape[1:]) for each in model.inputs]
    outer = engine.Model(inputs, model(inputs)[0])
    for lengths in LENGTHS[:2]:
        x, _ = batch_of_texts(*lengths)
        np.testing.assert_array_equal(outer.predict(x, verbose=0), model.predict(x, verbose=0)[0])


def test_errors() -> None:
    model, (x, y) = text_and_numbers(engine), batch_of_texts(4, 3)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"`x\['facts'\]` must have shape \(n, 2\)"):
        model.fit([x[0], x[1][:, :1], x[2]], y, verbose=0)
    with pytest.raises(ValueError, match="samples, but 'words' has 8, 'facts' has 7, 'tags' has 8"):
        model.predict([x[0], x[1][1:], x[2]], verbose=0)
    with pytest.raises(ValueError, match=r"`x\['words'\]` must hold indices|below 9"):
        model.predict([x[0] + WORDS, x[1], x[2]], verbose=0)
    wrong = [x[0], np.where(np.arange(COUNT)[:, None] == 3, np.nan, x[1]), x[2]]
    with pytest.raises(ValueError, match="row 3"):
        model.predict(wrong, verbose=0)
    with pytest.raises(ValueError, match="the length of this axis must be known"):
        engine.Model(
            [a := engine.Input((None,)), b := engine.Input((2,))],
            engine.layers.Dense(2)(engine.layers.Concatenate()([a, b])),
        )
