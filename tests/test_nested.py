"""Nested models train, predict and save like one chain of layers."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from common import compiled
from conftest import CLASSES, FEATURES, Blobs, classifier, same_weights

import engine as keras
from engine import layers

LOSS = "sparse_categorical_crossentropy"


def stack_of(*parts: Any, name: str | None = None) -> Any:
    return keras.Sequential([keras.Input((FEATURES,)), *parts], name=name)


def encoder_of(name: str = "encoder") -> Any:
    return stack_of(layers.Dense(5, "tanh"), layers.Dense(2, "relu"), name=name)


def decoder_of(name: str = "decoder") -> Any:
    code = keras.Input((2,))
    hidden = layers.Dense(5, "tanh")(code)
    return keras.Model(code, layers.Dense(FEATURES)(hidden), name=name)


def flat(model: Any) -> Any:
    """Returns a model that consists of copies of all layers, with the same weights."""
    copies = [type(leaf).from_config(leaf.get_config()) for leaf in model._leaves]
    twin = keras.Sequential([keras.Input(model.input_shape[1:]), *copies])
    twin.set_weights(model.get_weights())
    return twin


def nested(how: str) -> Any:
    """Returns a model that consists of an encoder and a decoder."""
    encoder, decoder = encoder_of(), decoder_of()
    if how == "sequential":
        return stack_of(encoder, decoder)
    if how == "inferred":  # the shape of the input is that of the first model
        return keras.Sequential([encoder, decoder])
    if how == "unbuilt":
        inner = keras.Sequential([layers.Dense(5, "tanh"), layers.Dense(2, "relu")])
        outer = keras.Sequential([inner, decoder])
        outer.build((None, FEATURES))
        return outer
    if how == "deep":
        return stack_of(keras.Sequential([keras.Sequential([encoder]), decoder]))
    x = keras.Input((FEATURES,))
    return keras.Model(x, decoder(encoder(x)))


WAYS = ["sequential", "inferred", "unbuilt", "deep", "functional"]


@pytest.mark.parametrize("how", WAYS)
def test_training_is_that_of_the_layers_in_a_row(how: str, blobs: Blobs) -> None:
    model = nested(how)
    twin = flat(model)
    for each in (model, twin):
        each.compile("adam", "mse", metrics=["mae"])
    histories = [
        each.fit(blobs.x, blobs.x, epochs=3, shuffle=False, verbose=0).history for each in (model, twin)
    ]
    assert histories[0] == histories[1]
    assert same_weights(model, twin)
    states = [[np.asarray(v) for v in each.optimizer.variables] for each in (model, twin)]
    assert all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
    assert np.array_equal(model.predict(blobs.x, verbose=0), twin.predict(blobs.x, verbose=0))


@pytest.mark.parametrize("how", WAYS[:-2])
def test_parts_see_what_the_whole_has_learnt(how: str, blobs: Blobs) -> None:
    model = compiled(nested(how), "adam", "mse")
    encoder, decoder = model.layers
    before = encoder.predict(blobs.x, verbose=0)
    model.fit(blobs.x, blobs.x, verbose=0)
    codes = encoder.predict(blobs.x, verbose=0)
    assert not np.array_equal(codes, before)
    assert np.array_equal(decoder.predict(codes, verbose=0), model.predict(blobs.x, verbose=0))
    model.set_weights([np.full_like(w, i) for i, w in enumerate(model.get_weights())])
    assert [w.value.flat[0] for w in encoder.weights + decoder.weights] == list(range(8))
    encoder.layers[0].bias.assign(np.full(5, 9))
    assert model.get_weights()[1].tolist() == [9] * 5


def test_a_model_with_one_more_layer(blobs: Blobs) -> None:
    """A well-known tutorial ends with such a model: a model with logits, followed by softmax."""
    model = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits = model(blobs.x[:2]).numpy()
    assert type(logits) is np.ndarray
    assert loss(blobs.y[:2], logits).numpy() == pytest.approx(loss(blobs.y[:2], logits))
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(blobs.x, blobs.y, verbose=0)
    whole = keras.Sequential([model, layers.Softmax()])
    expected = keras.activations.softmax(model.predict(blobs.x, verbose=0))
    np.testing.assert_allclose(whole(blobs.x), expected, rtol=1e-6)
    np.testing.assert_allclose(whole.predict(blobs.x, verbose=0), expected, rtol=1e-6)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    np.testing.assert_allclose(whole.predict(blobs.x, verbose=0), 1 / CLASSES, rtol=1e-6)


def test_what_a_model_tells_of_one_within() -> None:
    inner = classifier()
    outer = keras.Sequential([inner, layers.Dense(2, name="top")])
    assert outer.layers[0] is outer.get_layer(inner.name) is inner
    assert outer.count_params() == inner.count_params() + 8
    lines: list[str] = []
    outer.summary(print_fn=lines.append)
    outer.summary(print_fn=lines.append, expand_nested=True)
    assert f"{inner.name} (Sequential)" in lines[0]
    assert inner.layers[0].name not in lines[0]
    assert f"│    └ {inner.layers[0].name} (Dense)" in lines[1]
    for copy in (
        keras.models.clone_model(outer),
        keras.models.clone_model(outer, recursive=True),
        keras.Sequential.from_config(outer.get_config()),
    ):
        assert [type(part).__name__ for part in copy.layers] == ["Sequential", "Dense"]
        assert copy.layers[0] is not inner
        assert [w.shape for w in copy.get_weights()] == [w.shape for w in outer.get_weights()]


def test_clones_of_layers_within() -> None:
    def wider(layer: Any) -> Any:
        if type(layer).__name__ == "Sequential":
            return keras.models.clone_model(layer)
        return type(layer).from_config(layer.get_config() | {"units": 7})

    outer = stack_of(keras.Sequential([layers.Dense(3), layers.Dense(3)]), layers.Dense(7))
    shapes = [
        [w.shape[-1] for w in keras.models.clone_model(outer, clone_function=wider, recursive=deep).weights]
        for deep in (False, True)
    ]
    assert shapes == [[3] * 4 + [7] * 2, [7] * 6]


def test_clones_of_layers_that_are_not_registered() -> None:
    class Own(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    inner = stack_of(Own(), layers.Dense(2))
    copy = keras.models.clone_model(keras.Sequential([inner]))
    assert type(copy.layers[0].layers[0]) is Own
    assert keras.Model.from_config(stack_of(layers.Dense(2)).get_config()).built
    with pytest.raises(TypeError, match="`training` must be True or False, got 'no'"):
        inner(keras.Input((FEATURES,)), training="no")


def test_freezing(blobs: Blobs) -> None:
    """A pretrained base is frozen under a new head, and then fine-tuned."""
    base = stack_of(
        layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dense(4, "relu"), name="base"
    )
    model = keras.Sequential([base, layers.Dense(CLASSES, "softmax")])

    def changed() -> list[bool]:
        before = model.get_weights()
        model.compile(keras.optimizers.SGD(0.1), LOSS)
        model.fit(blobs.x, blobs.y, verbose=0)
        return [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]

    assert changed() == [True] * 10
    base.trainable = False
    assert [layer.trainable for layer in base.layers] == [False] * 3
    assert (len(model.trainable_weights), len(model.non_trainable_weights)) == (2, 8)
    assert changed() == [False] * 8 + [True] * 2
    base.layers[-1].trainable = True  # the base stays frozen, as in Keras
    assert base.trainable_weights == []
    assert len(base.non_trainable_weights) == 8
    assert changed() == [False] * 6 + [True] * 4
    base.trainable = True
    assert changed() == [True] * 10
    model.trainable = False
    assert changed() == [False] * 10
    assert model.trainable_weights == []
    model.layers[1].trainable = True
    assert changed() == [False] * 10


def test_adversaries(blobs: Blobs) -> None:
    """The discriminator learns alone, and does not change while the generator learns through it."""
    generator = keras.Sequential([keras.Input((2,)), layers.Dense(8, "relu"), layers.Dense(FEATURES)])
    critic = stack_of(layers.Dense(8, "relu"), layers.Dense(1, "sigmoid"))
    critic.compile("adam", "binary_crossentropy")
    critic.trainable = False
    both = compiled(keras.Sequential([generator, critic]), "adam", "binary_crossentropy")
    noise = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
    for _ in range(3):
        made, judged = generator.get_weights(), critic.get_weights()
        critic.train_on_batch(blobs.x[:32], np.ones(32))
        critic.train_on_batch(generator.predict(noise, verbose=0), np.zeros(32))
        assert all(np.array_equal(a, b) for a, b in zip(made, generator.get_weights(), strict=True))
        assert not any(np.array_equal(a, b) for a, b in zip(judged, critic.get_weights(), strict=True))
        judged = critic.get_weights()
        both.train_on_batch(noise, np.ones(32))
        assert not np.array_equal(made[0], generator.get_weights()[0])
        assert all(np.array_equal(a, b) for a, b in zip(judged, critic.get_weights(), strict=True))


def test_one_model_in_two_others(blobs: Blobs) -> None:
    base = encoder_of()
    heads = [keras.Sequential([base, layers.Dense(CLASSES, "softmax")]) for _ in range(2)]
    for head in heads:
        head.compile("adam", LOSS)
        before = base.get_weights()
        head.fit(blobs.x, blobs.y, verbose=0)
        assert not np.array_equal(before[0], base.get_weights()[0])
    assert all(np.array_equal(a.get_weights()[0], base.get_weights()[0]) for a in heads)


def test_layers_of_every_kind_within(blobs: Blobs) -> None:
    scale = layers.Normalization()
    scale.adapt(blobs.x)
    inner = stack_of(
        scale,
        layers.Dense(8, kernel_regularizer="l2", kernel_constraint="max_norm", activity_regularizer="l1"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.3, seed=1),
        layers.GaussianNoise(0.1, seed=2),
    )
    model = keras.Sequential([inner, layers.Dense(CLASSES, "softmax")])
    twin = flat(model)
    for each in (model, twin):
        each.compile("adam", LOSS, metrics=["accuracy"])
        each.fit(blobs.x, blobs.y, epochs=2, shuffle=False, verbose=0)
    assert same_weights(model, twin)
    assert model.losses == twin.losses
    assert len(model.losses) == 1
    assert np.array_equal(
        inner.predict(blobs.x, verbose=0), keras.Sequential(twin.layers[:-1]).predict(blobs.x)
    )


def test_tokens_within() -> None:
    inner = keras.Sequential([keras.Input((3,)), layers.Embedding(7, 2), layers.Flatten()])
    model = compiled(keras.Sequential([inner, layers.Dense(1)]), "sgd", "mse")
    x = np.array([[0, 1, 6], [2, 3, 5]])
    model.fit(x, np.ones(2), verbose=0)
    with pytest.raises(ValueError, match="7"):
        model.predict(x + 1, verbose=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.Sequential([encoder_of("a"), encoder_of("a")]), "two layers are named 'a'"),
        (lambda: keras.Sequential([m := stack_of(layers.Dense(7)), m]), r"has input shape \(None, 6\)"),
        (lambda: stack_of(keras.Sequential([d := layers.Dense(7, name="d")]), d), "'d' comes twice"),
        (
            lambda: stack_of(d := layers.Dense(7, name="d"), keras.Sequential([keras.Sequential([d])])),
            r"kernel would have to have the shape \(6, 7\) for \(n, 6\) and \(7, 7\) for \(n, 7\)",
        ),
        (lambda: stack_of(keras.Sequential()), "has no layers"),
        (lambda: keras.Sequential([encoder_of("a"), encoder_of("b")]), r"'b' has input shape \(None, 6\)"),
        (lambda: keras.Sequential([encoder_of(), keras.Sequential]), r"add \(\)"),
    ],
)
def test_what_does_not_fit(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_an_empty_model_may_be_filled_later(blobs: Blobs) -> None:
    inner = keras.Sequential(name="inner")
    outer = keras.Sequential([inner, layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match="'inner' has no layers"):
        outer.predict(blobs.x, verbose=0)
    inner.add(layers.Dense(4))
    assert outer.predict(blobs.x, verbose=0).shape == (len(blobs.x), CLASSES)
    with pytest.raises(ValueError, match=r"'inner' is a part of another one, which needs a layer of it"):
        inner.pop()
    gone = weakref.ref(outer)
    del outer
    gc.collect()
    assert gone() is None
    inner.add(layers.Dense(3))
    assert inner.output_shape == (None, 3)
    one, two = keras.Sequential(name="one"), keras.Sequential(name="two")
    one.add(two)
    for outer, part in ((one, one), (two, one)):
        with pytest.raises(ValueError, match="can't be a part of itself"):
            outer.add(part)


def test_a_callback_that_raises(blobs: Blobs) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                raise KeyError("stop")

    model = compiled(nested("sequential"), "adam", "mse")
    encoder, decoder = model.layers
    with pytest.raises(KeyError):
        model.fit(blobs.x, blobs.x, verbose=0, callbacks=[Stop()])
    codes = encoder.predict(blobs.x, verbose=0)
    assert np.array_equal(decoder.predict(codes, verbose=0), model.predict(blobs.x, verbose=0))
    first, *_, last = model.fit(blobs.x, blobs.x, epochs=9, verbose=0).history["loss"]
    assert last < first
