"""Compares optimizers with weight decay with results of Keras and with the float64 reference."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import reference
from conftest import CLASSES, FEATURES, Blobs, classifier, same_weights

import engine as keras
from engine import losses, optimizers, utils
from engine.models.stack import operations_through
from engine.optimizers import schedules
from engine.optimizers.variables import Tracked

RULES = [
    optimizers.SGD(0.05, weight_decay=0.2),
    optimizers.SGD(0.05, momentum=0.9, weight_decay=0.2),
    optimizers.SGD(schedules.CosineDecay(0.05, 5), momentum=0.9, nesterov=True, weight_decay=0.2),
    optimizers.Adam(0.01, weight_decay=0.5),
    optimizers.AdamW(schedules.ExponentialDecay(0.01, 2, 0.5), weight_decay=1.0),
    optimizers.AdamW(0.01),
]


@pytest.mark.parametrize("exclude", [[], ["bias"], ["kern"], ["bias", "kernel"]], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_decay_and_schedules_step_as_written(
    rule: optimizers.Optimizer, exclude: list[str], blobs: Blobs
) -> None:
    optimizer = type(rule).from_config(rule.get_config())
    optimizer.exclude_from_weight_decay(var_names=exclude)
    lowered = optimizer._lower([Tracked("dense/kernel", True), Tracked("dense/bias", True)])
    kernel_decay, bias_decay = lowered["decays"]
    assert [kernel_decay > 0, bias_decay > 0] == ["kern" not in str(exclude), "bias" not in exclude]
    lowered |= {"kernel_decay": kernel_decay, "bias_decay": bias_decay}
    model = classifier(optimizer=optimizer)
    ops = operations_through(model._network, [(FEATURES,)], learns=True)
    loss = losses.SparseCategoricalCrossentropy()._lower()
    network = reference.Network(ops, model.get_weights(), loss, lowered)
    for step, rate in enumerate(optimizer._learning_rates(5)):
        part = slice(32 * step, 32 * step + 32)
        network.train_step(blobs.x[part].astype(float), blobs.y[part], learning_rate=rate)
    model.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    for got, expected in zip(model.get_weights(), network.variables, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="must be called before the model is compiled"):
        optimizer.exclude_from_weight_decay(var_names=[])


# Class, arguments, whether biases are excluded; kernel and bias that Keras 3.15 reaches in the task below.
KERAS_STEPS: list[tuple[str, dict[str, Any], bool, list[float]]] = [
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.05}, False, [0.097563356, -0.70853841, 0.95048314, 0.74320734, 0.039032031, 1.2946329, 0.17413615, -0.19728963]),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.05}, True, [0.097105861, -0.70807391, 0.95003504, 0.74366248, 0.038711376, 1.2949582, 0.17898218, -0.20234188]),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}, False, [-0.27486616, -0.41769871, 0.069845676, 1.1980038, 0.63775885, 1.2152649, -0.15303382, 0.1358446]),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}, True, [-0.27571094, -0.41682851, 0.069034725, 1.1988401, 0.63713926, 1.2159015, -0.15071417, 0.13317731]),
    ("Adam", {"learning_rate": 0.1, "weight_decay": 0.05}, False, [0.19617814, -0.6905458, 1.6733991, 0.53906918, -0.44167328, 1.1916847, 0.19668296, -0.19711611]),
    ("Adam", {"learning_rate": 0.1, "weight_decay": 0.05}, True, [0.196154, -0.69049346, 1.673391, 0.53910351, -0.4416793, 1.1917707, 0.20260458, -0.20302679]),
    ("AdamW", {"learning_rate": 0.1}, False, [0.20151746, -0.70280218, 1.6993479, 0.54411882, -0.45048553, 1.2099202, 0.20199485, -0.20257673]),
    ("AdamW", {"learning_rate": 0.1}, True, [0.2015156, -0.70279807, 1.6993473, 0.5441215, -0.450486, 1.2099266, 0.20247123, -0.20305213]),
    ("AdamW", {"learning_rate": schedules.CosineDecay(0.1, 4), "weight_decay": 0.3}, False, [0.23710302, -0.70337707, 1.6332992, 0.45896947, -0.46929431, 1.1762694, 0.23746288, -0.23720494]),
    ("AdamW", {"learning_rate": schedules.CosineDecay(0.1, 4), "weight_decay": 0.3}, True, [0.23700872, -0.70319927, 1.6332672, 0.45909429, -0.4693186, 1.176623, 0.26649913, -0.26623112]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "exclude", "weights"), KERAS_STEPS)
def test_weight_decay_is_keras_own(
    name: str, arguments: dict[str, Any], exclude: bool, weights: list[float]
) -> None:
    optimizer = getattr(optimizers, name)(**arguments)
    if exclude:
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.set_weights([np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]]), np.array([0.5, -0.5])])
    model.compile(optimizer, "mse")
    x, y = np.array([[1.0, 2.0, -1.0], [0.5, -0.5, 2.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])
    for _ in range(3):
        model.train_on_batch(x, y)
    got = np.concatenate([array.ravel() for array in model.get_weights()])
    # Three steps of about a dozen roundings each, on both sides, of numbers up to 2.
    np.testing.assert_allclose(got, weights, rtol=0, atol=2 * 3 * 12 * 2 * 2.0**-24)


def test_decay_of_zero_is_none_to_the_bit(blobs: Blobs) -> None:
    trained = []
    for decay in (None, 0.0):
        keras.utils.set_random_seed(3)
        model = classifier(optimizer=optimizers.Adam(0.01, weight_decay=decay))
        model.fit(blobs.x, blobs.y, epochs=2, verbose=0)
        trained.append(model)
    assert same_weights(*trained)


def test_weight_decay_alone_shrinks_by_its_formula() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES)])
    model.compile(optimizers.SGD(0.5, weight_decay=0.25), "mse")
    model.set_weights([np.ones((4, CLASSES)), np.zeros(CLASSES)])
    model.train_on_batch(np.zeros((2, 4)), np.zeros((2, CLASSES)))
    np.testing.assert_array_equal(model.get_weights()[0], np.full((4, CLASSES), 0.875))


def test_adamw_by_name() -> None:
    for name in ("adamw", "AdamW", "adam_w"):
        assert isinstance(optimizers.get(name), optimizers.AdamW)
    utils.clear_session()
    assert optimizers.get("adamw").get_config() == {
        "name": "adam_w", "learning_rate": 0.001, "weight_decay": 0.004, "beta_1": 0.9, "beta_2": 0.999,
        "epsilon": 1e-07, "amsgrad": False, "clipnorm": None, "clipvalue": None, "global_clipnorm": None,
        "use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None, "loss_scale_factor": None,
        "gradient_accumulation_steps": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(lambda: "much").learning_rate, r"`learning_rate\(\)` must be a number"),
        (
            lambda: optimizers.Adam(weight_decay=-0.1),
            "`weight_decay` must be a finite number of at least 0, got -0.1",
        ),
        (lambda: optimizers.AdamW(weight_decay=None), "`weight_decay` must be a number, got None"),
        (lambda: optimizers.AdamW().exclude_from_weight_decay(var_names="bias"), r"such as \['bias'\]"),
        (lambda: optimizers.Muon(ns_steps=1001), "`ns_steps` must be at most 1000, got 1001"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("decay", [0.0, -50.0, -1e300])
def test_adafactor_forgets_nothing_after_its_first_step_by_any_steep_decay(
    decay: float, blobs: Blobs
) -> None:
    model = classifier(optimizer=optimizers.Adafactor(0.02, beta_2_decay=decay))
    model.fit(blobs.x, blobs.y, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_learning_rate_beyond_float32_is_infinite_as_a_variable() -> None:
    optimizer = optimizers.Adam(3.4028235677973366e38)
    assert optimizer.variables[1].numpy() == np.inf
    assert optimizer.get_config()["learning_rate"] == 3.4028235677973366e38


def test_variables_are_compared_by_their_numbers() -> None:
    optimizer = optimizers.SGD(0.0075)
    iterations, rate = optimizer.variables
    assert (iterations == 0, rate == np.float32(0.0075), iterations + 2) == (True, True, 2)
    assert len({iterations, rate}) == 2
    assert (type(optimizer.learning_rate.value), optimizer.learning_rate.value == 0.0075) == (
        np.float32,
        True,
    )


def test_a_learning_rate_is_copied_and_pickled_as_a_number() -> None:
    rate = keras.optimizers.Adam(0.25).learning_rate
    for copied in (copy.deepcopy(rate), pickle.loads(pickle.dumps(rate))):
        assert type(copied) is float
        assert copied == 0.25


@pytest.mark.parametrize(
    "optimizer", [optimizers.Nadam(0.02), optimizers.Adafactor(0.02)], ids=["nadam", "adafactor"]
)
def test_what_is_refused_changes_nothing_of_the_state(optimizer: optimizers.Optimizer, blobs: Blobs) -> None:
    classifier(optimizer=optimizer).fit(blobs.x, blobs.y, verbose=0)
    before = [variable.numpy() for variable in optimizer.variables]
    wrong = [value + 1 for value in before]
    with pytest.raises(ValueError, match=r"`u_product` is|is no matrix"):
        optimizer.set_weights(wrong)
    assert all(map(np.array_equal, before, [variable.numpy() for variable in optimizer.variables]))
    optimizer.set_weights(before)
