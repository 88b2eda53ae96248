"""Compares every optimizer with each of its options with Keras, in ten steps on the same batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optimizer_cases import RULES, WITH_OPTIONS
from twins import OUTPUTS, Twins, assert_same_histories, labels_of, twins

import engine

X = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 80)


def networks(
    name: str, options: dict[str, Any], exclude: list[str] | None = None, *, outputs: int = 4
) -> Twins:
    last, loss = OUTPUTS[outputs]

    def make(api: Any) -> Any:
        layers = [
            api.Input((12,)),
            api.layers.Dense(17, "tanh", name="first"),  # a rule may leave out layers by their names
            api.layers.Dense(outputs, last, name="last"),
        ]
        model = api.Sequential(layers)
        optimizer = getattr(api.optimizers, name)(**options)
        if exclude is not None:
            optimizer.exclude_from_weight_decay(var_names=exclude)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return model

    return twins(make)


def check(pair: Twins, rtol: float = 1e-4, atol: float = 1e-5, *, y: Any = Y) -> None:
    """Compares ten steps. The tolerance is for divisions by gradients whose last bits differ by rounding."""
    histories = pair.fit(X, y, batch_size=8, epochs=1)
    assert_same_histories(*histories, rtol=rtol)
    pair.assert_same_weights(rtol=rtol, atol=atol)
    theirs, ours = pair.keras.optimizer, pair.engine.optimizer
    assert ours.iterations == int(theirs.iterations)
    assert [v.shape for v in ours.variables] == [tuple(v.shape) for v in theirs.variables]
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=1e-3, atol=1e-5, err_msg=a.path)


@pytest.mark.parametrize(("name", "options"), [*RULES, *WITH_OPTIONS], ids=str)
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_steps(outputs: int, name: str, options: dict[str, Any]) -> None:
    check(networks(name, options, outputs=outputs), y=labels_of(Y, outputs))


def arrays_of_several_axes(name: str, options: dict[str, Any]) -> Twins:
    """Trains scales and offsets with two and three axes, and tall and wide matrices of custom layers."""

    def make(api: Any) -> Any:
        class Mixed(api.layers.Layer):
            def __init__(self, units: int) -> None:
                super().__init__()
                self.units = units

            def build(self, input_shape: Any) -> None:
                shape = (input_shape[-1], self.units)
                self.mix = self.add_weight(shape=shape, initializer="glorot_uniform", name="mix")

            def call(self, inputs: Any) -> Any:
                return inputs @ self.mix

            def gradient(self, inputs: Any, upstream: Any) -> Any:
                return upstream @ self.mix.T, inputs.reshape(-1, inputs.shape[-1]).T @ upstream.reshape(
                    -1, self.units
                )

        stack = [
            api.layers.Reshape((3, 4)),
            api.layers.LayerNormalization(axis=[1, 2]),
            Mixed(18),
            api.layers.PReLU(),
            Mixed(4),
            api.layers.Reshape((2, 3, 2)),
            api.layers.LayerNormalization(axis=[1, 2, 3]),
            api.layers.Flatten(),
            api.layers.Dense(4, "softmax"),
        ]
        model = api.Sequential([api.Input((12,)), *stack])
        model.compile(
            getattr(api.optimizers, name)(**options), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model

    return twins(make)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adafactor", {"learning_rate": 0.05}),
        ("Adafactor", {"beta_2_decay": -0.5, "clip_threshold": 0.5, "clipnorm": 0.1}),
        ("Muon", {"learning_rate": 0.01}),
        ("Muon", {"learning_rate": 0.01, "rms_rate": None, "gradient_accumulation_steps": 2}),
        ("Adam", {}),
    ],
    ids=str,
)
def test_arrays_of_several_axes(name: str, options: dict[str, Any]) -> None:
    check(arrays_of_several_axes(name, options))


@pytest.mark.parametrize("exclude", [["bias"], ["kernel"], ["^k", "bias"]], ids=str)
def test_what_does_not_decay(exclude: list[str]) -> None:
    check(networks("Nadam", {"weight_decay": 0.5}, exclude))


@pytest.mark.parametrize("name", sorted({name for name, _ in RULES}))
def test_signatures_and_configs(name: str) -> None:
    import inspect

    import keras

    theirs, ours = getattr(keras.optimizers, name), getattr(engine.optimizers, name)
    wanted = {k: p.default for k, p in inspect.signature(theirs).parameters.items() if k != "kwargs"}
    wanted["decay"] = None  # in Keras, one of `kwargs`
    assert {k: p.default for k, p in inspect.signature(ours).parameters.items()} == wanted
    assert list(inspect.signature(ours).parameters) == list(wanted)
    config = ours().get_config()
    expected = theirs(name=config["name"]).get_config()
    assert config.keys() == expected.keys()
    for key, value in expected.items():
        assert config[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    made = ours(0.5)
    assert engine.optimizers.deserialize(engine.optimizers.serialize(made)).get_config() == made.get_config()
    for alias in (name, name.lower()):
        assert type(engine.optimizers.get(alias)) is ours
    assert type(engine.optimizers.get(ours)) is ours
