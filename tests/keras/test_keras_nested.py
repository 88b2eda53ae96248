"""Compares nested models and shared layers with Keras: losses, weights, predictions, optimizer states, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_keras_files import check
from twins import RTOL, assert_same_histories, twins

import engine

X = np.random.default_rng(0).normal(size=(48, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 48)
EAGER = {"jit_compile": False}
CROSSENTROPY = "sparse_categorical_crossentropy"


def encoder_of(api: Any) -> Any:
    k = api.layers
    return api.Sequential(
        [api.Input((6,)), k.Dense(5, "tanh", kernel_regularizer="l2"), k.BatchNormalization(), k.Dense(2)],
        name="encoder",
    )


def decoder_of(api: Any) -> Any:
    code = api.Input((2,))
    hidden = api.layers.Dense(5, "tanh")(code)
    return api.Model(code, api.layers.Dense(6, activity_regularizer="l2")(hidden), name="decoder")


def by_stack(api: Any) -> Any:
    return api.Sequential([api.Input((6,)), encoder_of(api), decoder_of(api)])


def by_chain(api: Any) -> Any:
    x = api.Input((6,))
    return api.Model(x, decoder_of(api)(encoder_of(api)(x)))


def deep(api: Any) -> Any:
    inner = api.Sequential([encoder_of(api)], name="deep")
    return api.Sequential([api.Input((6,)), api.Sequential([inner, decoder_of(api)])])


def unbuilt(api: Any) -> Any:
    k = api.layers
    inner = api.Sequential([k.Dense(5, "tanh"), k.Dense(2)])
    outer = api.Sequential([inner, k.Dense(6)])
    outer.build((None, 6))
    return outer


WAYS = {make.__name__: make for make in (by_stack, by_chain, deep, unbuilt)}


def compiled(make: Any, optimizer: str = "SGD", **options: Any) -> Any:
    def model(api: Any) -> Any:
        made = make(api)
        rule = getattr(api.optimizers, optimizer)(**({"learning_rate": 0.05} | options))
        made.compile(rule, "mse", metrics=["mae"], **EAGER)
        return made

    return model


@pytest.mark.parametrize("how", WAYS)
def test_training(how: str) -> None:
    pair = twins(compiled(WAYS[how], momentum=0.9))
    assert_same_histories(*pair.fit(X, X, epochs=3, batch_size=16))
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    pair.assert_same_outputs(X, rtol=1e-4, atol=1e-5)
    states = [[np.asarray(v) for v in model.optimizer.variables] for model in pair]
    for theirs, ours in zip(*states, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    names = [[part.name for part in model.layers] for model in pair]
    assert [name for name in names[0] if name in ("encoder", "decoder")] == [
        name for name in names[1] if name in ("encoder", "decoder")
    ]


def test_parts_of_what_was_trained() -> None:
    pair = twins(compiled(by_stack))
    pair.fit(X, X, epochs=2)
    codes = [model.layers[0].predict(X, verbose=0) for model in pair]
    np.testing.assert_allclose(codes[1], codes[0], rtol=1e-4, atol=1e-5)
    outputs = [model.get_layer("decoder").predict(codes[0], verbose=0) for model in pair]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)


def test_fine_tuning() -> None:
    """A new head is trained on a frozen base, then the end of the base as well, then everything."""

    def make(api: Any) -> Any:
        base = api.Sequential(
            [
                api.Input((6,)),
                api.layers.Dense(8, "relu"),
                api.layers.BatchNormalization(),
                api.layers.Dense(4),
            ],
            name="base",
        )
        base.trainable = False
        x = api.Input((6,))
        return api.Model(x, api.layers.Dense(3, "softmax")(base(x)))

    pair = twins(make)

    def thaw(model: Any, step: int) -> None:
        base = model.get_layer("base")
        if step == 1:
            base.layers[-1].trainable = True
        if step == 2:
            base.trainable = True

    for step in range(3):
        counts = []
        for api, model in zip((keras, engine), pair, strict=True):
            thaw(model, step)
            counts.append((len(model.trainable_weights), len(model.get_layer("base").trainable_weights)))
            model.compile(api.optimizers.Adam(0.01), CROSSENTROPY, metrics=["accuracy"], **EAGER)
        assert counts[0] == counts[1]
        assert_same_histories(*pair.fit(X, Y, epochs=2))
        pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_what_calls_on_inputs_say_of_training(tmp_path: Path) -> None:
    """It has no effect: the `training` of the outer model takes precedence, as in Keras 3."""

    def make(api: Any) -> Any:
        base = api.Sequential(
            [api.Input((6,)), api.layers.Dense(8), api.layers.BatchNormalization()], name="base"
        )
        x = api.Input((6,))
        model = api.Model(x, api.layers.Dense(3, "softmax")(base(x, training=False)))
        model.compile(api.optimizers.SGD(0.1, momentum=0.9), CROSSENTROPY, **EAGER)
        return model

    check(make, X, Y, tmp_path, ".keras", tolerance=1e-4)
    pair = twins(make)
    assert_same_histories(*pair.fit(X, Y, epochs=2))
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_trainings_take_turns() -> None:
    """Two heads on one base are trained in turn, and each optimizer keeps its state."""

    def make(api: Any) -> Any:
        base = api.Sequential([api.Input((6,)), api.layers.Dense(8, "tanh")], name="base")
        heads = []
        for units in (3, 5):
            head = api.Sequential([base, api.layers.Dense(units, "softmax")])
            head.compile(api.optimizers.SGD(0.1, momentum=0.9), CROSSENTROPY, **EAGER)
            heads.append(head)
        return heads

    theirs, ours = make(keras), make(engine)
    for mine, other in zip(ours, theirs, strict=True):
        mine.set_weights(other.get_weights())
    for turn in (0, 1, 0):
        histories = [heads[turn].fit(X, Y, verbose=0, shuffle=False).history for heads in (theirs, ours)]
        assert_same_histories(*histories)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            mine.predict(X, verbose=0), other.predict(X, verbose=0), rtol=1e-4, atol=1e-5
        )


def test_features_of_a_trained_model() -> None:
    def make(api: Any) -> Any:
        k = api.layers
        model = api.Sequential(
            [api.Input((6,)), k.Dense(8, "relu"), k.Dense(4, "relu"), k.Dense(3, "softmax")]
        )
        model.compile(api.optimizers.SGD(0.1), CROSSENTROPY, **EAGER)
        return model

    pair = twins(make)
    pair.fit(X, Y, epochs=2)
    found = []
    for api, model in zip((keras, engine), pair, strict=True):
        extractors = [
            api.Sequential(model.layers[:-1]),
            api.Model(model.inputs, model.layers[1].output),
            api.Model(model.inputs, model.get_layer(index=-1).input),
            api.Model(model.inputs[0], model.outputs[0]),
        ]
        found.append([each.predict(X, verbose=0) for each in extractors])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize("how", WAYS)
def test_files(how: str, suffix: str, tmp_path: Path) -> None:
    check(compiled(WAYS[how], momentum=0.9), X, X, tmp_path, suffix, tolerance=1e-4)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_of_frozen_models(suffix: str, tmp_path: Path) -> None:
    def make(api: Any) -> Any:
        model = by_stack(api)
        model.layers[0].trainable = False
        model.layers[1].layers[1].trainable = False
        model.compile(api.optimizers.SGD(0.1, momentum=0.9), "mse", **EAGER)
        return model

    for api, other in ((keras, engine), (engine, keras)):
        model = make(api)
        model.fit(X, X, verbose=0)
        model.save(tmp_path / f"m{suffix}")
        again = other.models.load_model(tmp_path / f"m{suffix}")
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            assert np.array_equal(a, b)
        kinds = [[type(part).__name__ for part in each.layers] for each in (model, again)]
        assert kinds[0] == kinds[1] == ["Sequential", "Functional"]
        if other is engine:
            assert [leaf.trainable for leaf in again._leaves] == [False] * 4 + [True]


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("how", WAYS)
def test_summaries(how: str, expand: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    texts = []
    for api in (keras, engine):
        api.utils.clear_session()
        lines: list[str] = []
        WAYS[how](api).summary(expand_nested=expand, show_trainable=True, print_fn=lines.append)
        texts.append("\n".join(lines).strip())
    # Numbers in names follow the order in which layers were made, which differs.
    assert [line.split("│")[2:] for line in texts[0].splitlines()] == [
        line.split("│")[2:] for line in texts[1].splitlines()
    ]


def test_what_is_made_of_other_things_than_layers(tmp_path: Path) -> None:
    x = keras.Input((6,))
    hidden = keras.layers.Dense(6)(x)
    rows = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    model = keras.Model(x, keras.ops.exp(hidden))
    model.save(tmp_path / "exp.keras")
    found = engine.models.load_model(tmp_path / "exp.keras").predict(rows, verbose=0)
    np.testing.assert_allclose(found, model.predict(rows, verbose=0), rtol=1e-4)
    keras.Model(x, keras.layers.RNN(keras.layers.SimpleRNNCell(2))(x[:, None])).save(tmp_path / "rnn.keras")
    with pytest.raises(ValueError, match=r"unknown|must have layers|takes one input"):
        engine.models.load_model(tmp_path / "rnn.keras")


def test_models_tell_their_ends() -> None:
    """Names and shapes of inputs and outputs agree, also of inner layers, and so do AttributeErrors."""
    found = []
    for api in (keras, engine):
        k = api.layers
        inputs = api.Input((3,), name="given")
        chain = api.Model(inputs, k.Dense(1, name="last")(k.Dense(4, name="first")(inputs)), name="chain")
        stack = api.Sequential([api.Input((3,)), k.Dense(4), k.Dense(1)])
        chain.compile("sgd", "mse", metrics=["mae"])
        ends: list[Any] = [
            chain.output_names,
            chain.input.name,
            chain.layers[0].output.name,
            len(chain.inputs),
        ]
        for model in (chain, stack):
            ends += [tuple(model.input_shape), tuple(model.output_shape), model.dtype, model.compute_dtype]
            ends += [tuple(one.shape) for one in (*model.inputs, *model.outputs)]
            for layer in model.layers[-2:]:
                ends += [tuple(layer.input.shape), tuple(layer.output.shape)]
        part = api.Model(chain.input, chain.get_layer("first").output)
        ends += [part.output_names, tuple(part.outputs[0].shape), tuple(part.layers[0].output.shape)]
        unbuilt = api.Sequential([k.Dense(1)])
        for name in ("inputs", "outputs", "input_shape", "output_shape", "output_names"):
            with pytest.raises(AttributeError):
                getattr(unbuilt, name)
        chain.evaluate(np.ones((2, 3)), np.ones((2, 1)), verbose=0)
        ends.append(sorted(variable.name for variable in chain.metrics_variables))
        found.append(ends)
    assert found[0] == found[1]
