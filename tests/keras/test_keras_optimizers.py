"""Compares every optimizer with each of its options with Keras, in ten steps on the same batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import OUTPUTS, Twins, assert_same_histories, labels_of, twins

import engine

RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.05}),
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"epsilon": 1e-4}),
    ("RMSprop", {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-4}),
    ("RMSprop", {"centered": True, "epsilon": 1e-4}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "epsilon": 1e-4}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True}),
    ("Adamax", {}),
    ("Adamax", {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adagrad", {"learning_rate": 0.05}),
    ("Adagrad", {"initial_accumulator_value": 0.01, "epsilon": 1e-3}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adadelta", {"rho": 0.8, "epsilon": 1e-3}),
    ("Lion", {"learning_rate": 1e-3}),
    ("Lion", {"beta_1": 0.7, "beta_2": 0.8}),
    ("Lamb", {}),
    ("Lamb", {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adafactor", {"learning_rate": 0.05}),
    ("Adafactor", {"beta_2_decay": -0.5, "epsilon_2": 0.1, "clip_threshold": 0.5, "relative_step": False}),
    ("Muon", {"learning_rate": 0.01}),
    (
        "Muon",
        {"learning_rate": 0.01, "exclude_layers": ["dense_1|last"], "rms_rate": None, "nesterov": False},
    ),
    ("Muon", {"ns_steps": 2, "momentum": 0.8, "adam_lr_ratio": 0.5, "adam_beta_2": 0.9, "epsilon": 1e-4}),
    ("Muon", {"weight_decay": 0.5, "adam_weight_decay": None, "clipnorm": 0.1}),
    ("ScheduleFreeAdamW", {"epsilon": 1e-5}),
    (
        "ScheduleFreeAdamW",
        {"learning_rate": 0.01, "beta_1": 0.6, "beta_2": 0.9, "epsilon": 1e-4, "warmup_steps": 6},
    ),
    ("ScheduleFreeAdamW", {"epsilon": 1e-4, "weight_decay": 0.5, "clipnorm": 0.1}),
    ("ScheduleFreeAdamW", {"epsilon": 1e-4, "gradient_accumulation_steps": 2, "use_ema": True}),
    ("Ftrl", {"learning_rate": 0.05}),
    ("Ftrl", {"learning_rate": 0.05, "learning_rate_power": -0.7, "initial_accumulator_value": 0.2}),
    ("Ftrl", {"learning_rate": 0.05, "l1_regularization_strength": 0.01, "beta": 0.1}),
    (
        "Ftrl",
        {
            "learning_rate": 0.05,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.01,
        },
    ),
]
OPTIONS: list[dict[str, Any]] = [
    {"weight_decay": 0.1},
    {"clipnorm": 0.1},
    {"clipvalue": 0.01},
    {"global_clipnorm": 0.1},
    {"loss_scale_factor": 8.0},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 3, "clipnorm": 0.1, "weight_decay": 0.1, "use_ema": True},
]
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


@pytest.mark.parametrize(("name", "options"), RULES, ids=str)
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_rules(outputs: int, name: str, options: dict[str, Any]) -> None:
    check(networks(name, options, outputs=outputs), y=labels_of(Y, outputs))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adafactor"])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_options_of_every_optimizer(outputs: int, name: str, options: dict[str, Any]) -> None:
    rule = {"epsilon": 1e-4} if name == "RMSprop" else {}
    check(networks(name, {"learning_rate": 0.01} | rule | options, outputs=outputs), y=labels_of(Y, outputs))


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
