"""Compares layers that are used more than once in one network with Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from twins import assert_same_histories, twins

import engine

X = np.random.default_rng(0).normal(size=(48, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 48)
EAGER = {"jit_compile": False}
CROSSENTROPY = "sparse_categorical_crossentropy"
Parts = Callable[[Any], Sequence[Any]]


def stack(api: Any, parts: Parts) -> Any:
    return api.Sequential([api.Input((6,)), *parts(api.layers)])


def chain(api: Any, parts: Parts) -> Any:
    outputs = inputs = api.Input((6,))
    for layer in parts(api.layers):
        outputs = layer(outputs)
    return api.Model(inputs, outputs)


WAYS = {"stack": stack, "chain": chain}


def activations(k: Any) -> list[Any]:
    act = k.ReLU(negative_slope=0.1)
    return [k.Dense(5), act, k.Dense(4), act, k.Dense(3), act, k.Softmax()]


def shapes(k: Any) -> list[Any]:
    flat = k.Flatten()
    return [k.Reshape((3, 2)), flat, k.Dense(8), k.Reshape((2, 4)), k.Dense(2), flat, k.Dense(3, "softmax")]


def penalties(k: Any) -> list[Any]:
    act = k.Activation("tanh", activity_regularizer="l2")
    return [k.Dense(5), act, k.Dense(4), act, k.Dense(3, "softmax")]


def nested(k: Any) -> list[Any]:
    api = keras if k is keras.layers else engine
    inner = api.Sequential([api.Input((5,)), k.ELU(), k.UnitNormalization()])
    return [k.Dense(5), inner, k.Dense(5), inner, k.Dense(3, "softmax")]


def dense(k: Any) -> list[Any]:
    tied = k.Dense(6, "tanh", kernel_regularizer="l2", bias_regularizer="l1")
    return [tied, tied, k.Dense(6, "relu"), tied, k.Dense(3, "softmax")]


def normalized(k: Any) -> list[Any]:
    norm, rows, slopes = k.BatchNormalization(momentum=0.7), k.LayerNormalization(), k.PReLU()
    return [
        norm,
        k.Dense(6, use_bias=False),
        norm,
        slopes,
        rows,
        k.Dense(6, use_bias=False),
        rows,
        norm,
        slopes,
        k.Dense(3, "softmax"),
    ]


def tied_within(k: Any) -> list[Any]:
    api = keras if k is keras.layers else engine
    inner = api.Sequential([api.Input((6,)), k.Dense(6, "tanh"), k.BatchNormalization()], name="inner")
    return [inner, k.Dense(6), inner, k.Dense(3, "softmax")]


PARTS = {parts.__name__: parts for parts in (activations, shapes, nested, dense, normalized, tied_within)}
RULES: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda o: o.SGD(0.05),
    "nesterov": lambda o: o.SGD(0.05, momentum=0.9, nesterov=True),
    "Adam": lambda o: o.Adam(0.01),
    "weight_decay": lambda o: o.AdamW(0.01, weight_decay=0.05),
    "clipnorm": lambda o: o.SGD(0.05, momentum=0.9, clipnorm=0.05),
    "global_clipnorm": lambda o: o.Adam(0.01, global_clipnorm=0.05),
    "clipvalue": lambda o: o.SGD(0.05, clipvalue=0.01),
    "use_ema": lambda o: o.Adam(0.01, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=2),
    "accumulation": lambda o: o.Adam(0.01, gradient_accumulation_steps=2),
    "Adafactor": lambda o: o.Adafactor(0.01),
    "Lamb": lambda o: o.Lamb(0.01),
    "Muon": lambda o: o.Muon(0.01),
}


def test_foundon_outputs_count_at_each_use() -> None:
    """This is so in Keras when a model is called. In training on JAX, only the penalty of the last use counts."""
    pair = twins(trained("stack", penalties))
    pair.keras(X)
    found = list(map(float, pair.keras.losses))
    losses = keras.losses.get(CROSSENTROPY)(Y, pair.keras.predict(X, verbose=0))
    assert len(found) == 2
    evaluated = pair.engine.evaluate(X, Y, batch_size=len(X), verbose=0)[0]
    np.testing.assert_allclose(evaluated, np.mean(losses) + sum(found), rtol=1e-5)


def trained(how: str, parts: Parts, **options: Any) -> Callable[[Any], Any]:
    def make(api: Any) -> Any:
        model = WAYS[how](api, parts)
        rule = options.get("optimizer", lambda o: o.SGD(0.05, momentum=0.9))(api.optimizers)
        model.compile(rule, CROSSENTROPY, metrics=["accuracy"], **EAGER)
        return model

    return make


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("parts", [dense, normalized])
def test_optimizers(parts: Parts, rule: str) -> None:
    pair = twins(trained("stack", parts, optimizer=RULES[rule]))
    assert_same_histories(*pair.fit(X, Y, epochs=3, batch_size=16), rtol=1e-4, atol=1e-5)
    pair.assert_same_weights(rtol=1e-4, atol=3e-5)
    theirs, ours = ([tuple(v.shape) for v in model.optimizer.variables] for model in pair)
    assert ours == theirs


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("how", WAYS)
def test_training(how: str, parts: Parts) -> None:
    pair = twins(trained(how, parts))
    assert_same_histories(*pair.fit(X, Y, epochs=3, batch_size=16), rtol=1e-4, atol=1e-5)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    pair.assert_same_outputs(X, rtol=1e-4, atol=1e-5)
    names = [[type(layer).__name__ for layer in model.layers] for model in pair]
    assert names[0] == names[1]
    assert pair[0].count_params() == pair[1].count_params()
    for kind in ("weights", "trainable_weights", "non_trainable_weights"):
        shapes_of = [[tuple(weight.shape) for weight in getattr(model, kind)] for model in pair]
        assert shapes_of[0] == shapes_of[1]


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("how", WAYS)
def test_keras_reads_our_files(how: str, parts: Parts, tmp_path: Path) -> None:
    check_reading(trained(how, parts), engine, keras, tmp_path)


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_we_read_files_of_keras(parts: Parts, tmp_path: Path) -> None:
    """Whole models are those made by calls, since Keras leaves repeated layers out of the files of a Sequential."""
    check_reading(trained("chain", parts), keras, engine, tmp_path)
    make = trained("stack", parts)
    theirs, ours = make(keras), make(engine)
    theirs.save_weights(tmp_path / "m.weights.h5")
    ours.load_weights(tmp_path / "m.weights.h5")
    compare(theirs, ours)


def test_configs_go_both_ways() -> None:
    for name, parts in PARTS.items():
        make = trained("chain", parts)
        theirs, ours = make(keras), make(engine)
        for config, api in ((theirs.get_config(), engine), (ours.get_config(), keras)):
            again = api.Model.from_config(config)
            assert [type(layer).__name__ for layer in again.layers] == [
                type(layer).__name__ for layer in theirs.layers
            ], name
            assert again.count_params() == theirs.count_params()


def check_reading(make: Any, api: Any, other: Any, tmp_path: Path) -> None:
    model = make(api)
    model.fit(X, Y, verbose=0)
    is_chain = hasattr(model, "input_names") or type(model).__name__ == "Functional"
    for suffix in (".keras", ".h5") if is_chain else (".keras",):
        model.save(tmp_path / f"m{suffix}")
        again = other.saving.load_model(tmp_path / f"m{suffix}")
        compare(model, again)
        assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    model.save_weights(tmp_path / "m.weights.h5")
    again = make(other)
    again.load_weights(tmp_path / "m.weights.h5")
    compare(model, again)


def compare(model: Any, other: Any) -> None:
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    predictions = [each.predict(X, verbose=0) for each in (model, other)]
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-5, atol=1e-6)
