"""Compares the steps of every optimizer with formulas in float64, in every way of training; names, state and errors."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference
from common import WrittenStep, assert_all_close
from conftest import CLASSES, FEATURES, Blobs, classifier, same_weights
from optimizer_cases import RULES, WITH_OPTIONS, as_formula

import engine as keras
from engine import callbacks, losses, optimizers, utils
from engine.optimizers import schedules

LAYERS = [reference.dense(8, "relu"), reference.dense(CLASSES, "softmax")]
LOSS = {"kind": "sparse_categorical_crossentropy", "from_logits": False, "label_smoothing": 0.0}
EPOCHS, BATCH = 2, 32  # of 150 samples, so that the last batch has 22


def compiled(optimizer: Any, kind: Any = keras.Model, eagerly: bool = False) -> Any:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(8, "relu", name="first")(inputs)
    model = kind(inputs, keras.layers.Dense(CLASSES, "softmax", name="last")(hidden))
    model.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=eagerly)
    return model


def by_fit(optimizer: Any, blobs: Blobs, kind: Any = keras.Model, eagerly: bool = False) -> Any:
    model = compiled(optimizer, kind, eagerly)
    model.fit(blobs.x, blobs.y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0)
    return model


def by_a_loop(optimizer: Any, blobs: Blobs) -> Any:
    model, loss_of = compiled(None), losses.SparseCategoricalCrossentropy()
    weights = model.trainable_variables
    for _ in range(EPOCHS):
        for first in range(0, len(blobs.x), BATCH):
            with keras.GradientTape() as tape:
                y_pred = model(blobs.x[first : first + BATCH], training=True)
                loss = optimizer.scale_loss(loss_of(blobs.y[first : first + BATCH], y_pred))
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
    if optimizer.use_ema:
        optimizer.finalize_variable_values(weights)
    return model


WAYS: dict[str, Any] = {
    "fit": by_fit,
    "steps": partial(by_fit, kind=WrittenStep),
    "steps as written": partial(by_fit, kind=WrittenStep, eagerly=True),
    "loop": by_a_loop,
}


def check(way: str, optimizer: Any, formula: dict[str, Any], rates: Sequence[float], blobs: Blobs) -> None:
    """Compares ten steps, the last rows of which are fewer, with the formula in float64."""
    network = reference.Network(LAYERS, compiled(None).get_weights(), LOSS, formula)
    batches = [slice(first, first + BATCH) for first in range(0, len(blobs.x), BATCH)] * EPOCHS
    for rows, rate in zip(batches, rates, strict=True):
        network.train_step(blobs.x[rows].astype(float), blobs.y[rows], learning_rate=rate)
    found = WAYS[way](optimizer, blobs)
    expected = network.stepper.averages if formula["averages"] else network.variables
    assert_all_close(found.get_weights(), expected, rtol=1e-4, atol=1e-5)
    assert optimizer.iterations == len(batches) // formula["accumulate"]
    fitted = (
        found.optimizer
        if way == "fit"
        else by_fit(type(optimizer).from_config(optimizer.get_config()), blobs).optimizer
    )
    assert [each.shape for each in optimizer.variables] == [each.shape for each in fitted.variables]


# The formula of Muon takes every matrix, so what `exclude_layers` leaves out is compared with Keras alone.
CASES = [case for case in [*RULES, *WITH_OPTIONS] if "exclude_layers" not in case[1]]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_steps_are_those_of_the_formula(way: str, name: str, options: dict[str, Any], blobs: Blobs) -> None:
    optimizer = getattr(optimizers, name)(**options)
    check(way, optimizer, as_formula(name, options), [optimizer.learning_rate] * 10, blobs)


@pytest.mark.parametrize("exclude", [[], ["bias"], ["kernel"], ["bias", "kernel"]], ids=str)
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
@pytest.mark.parametrize("way", WAYS)
def test_decay_and_schedules(way: str, name: str, exclude: list[str], blobs: Blobs) -> None:
    options = {"learning_rate": schedules.ExponentialDecay(0.05, 2, 0.5), "weight_decay": 0.4}
    optimizer = getattr(optimizers, name)(**options)
    optimizer.exclude_from_weight_decay(var_names=exclude)
    check(
        way, optimizer, as_formula(name, options, exclude), [0.05 * 0.5 ** (i / 2) for i in range(10)], blobs
    )
    with pytest.raises(ValueError, match="must be called before the model is compiled"):
        optimizer.exclude_from_weight_decay(var_names=[])


@pytest.mark.parametrize("way", ["fit", "steps as written", "loop"])
def test_a_scaled_loss_takes_the_steps_of_the_optimizer_within(way: str, blobs: Blobs) -> None:
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.1))
    expected = WAYS[way](optimizers.SGD(0.1), blobs).get_weights()
    assert_all_close(WAYS[way](optimizer, blobs).get_weights(), expected, rtol=1e-4, atol=1e-5)


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


def test_optimizers_by_name_and_config() -> None:
    utils.clear_session()
    assert optimizers.get("Adam").get_config() == {
        "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07, "amsgrad": False,
        "weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None, "use_ema": False,
        "ema_momentum": 0.99, "ema_overwrite_frequency": None, "loss_scale_factor": None,
        "gradient_accumulation_steps": None, "name": "adam",
    }  # fmt: skip
    config = optimizers.SGD(0.5, momentum=0.9, nesterov=True).get_config()
    again = optimizers.get({"class_name": "SGD", "config": config})
    assert again.get_config() == config
    assert optimizers.get("sgd").learning_rate == 0.01


def test_learning_rate_can_be_assigned(blobs: Blobs) -> None:
    model = classifier(optimizer=optimizers.SGD(0.1))
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.fit(blobs.x, blobs.y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    with pytest.raises(ValueError, match="`learning_rate` must be a finite number of at least 0, got -1"):
        model.optimizer.learning_rate = -1.0


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
    assert (rate.value.dtype, rate.value == 0.0075) == (np.float32, True)


def test_a_copy_of_a_learning_rate_is_a_variable_of_its_own() -> None:
    optimizer = keras.optimizers.Adam(0.25)
    rate = optimizer.learning_rate
    for copied in (copy.deepcopy(rate), pickle.loads(pickle.dumps(rate))):
        assert isinstance(copied, keras.Variable)
        assert copied == 0.25
        copied.assign(0.5)
    assert optimizer.learning_rate == 0.25


def test_the_variables_of_an_optimizer_are_the_same_at_each_access(blobs: Blobs) -> None:
    for name in ("adam", "nadam", "adafactor", "muon", "schedulefreeadamw", "lamb"):
        optimizer = optimizers.get(name)
        before = optimizer.variables
        classifier(optimizer=optimizer).fit(blobs.x, blobs.y, verbose=0)
        once, again = optimizer.variables, optimizer.variables
        assert len(once) == len(again) > len(before) == 2
        assert all(one is other for one, other in zip(once, again, strict=True))
        assert all(one is other for one, other in zip(before, once, strict=False))
        assert (optimizer.iterations, optimizer.learning_rate) == (once[0], once[1])
        assert all(isinstance(each, keras.Variable) for each in once)
        steps = int(optimizer.iterations)
        assert steps > 0
        optimizer.iterations.assign(steps + 2)
        optimizer.learning_rate.assign(0.125)
        assert (int(once[0]), float(once[1]), optimizer.get_config()["learning_rate"]) == (
            steps + 2,
            0.125,
            0.125,
        )
        other = copy.deepcopy(optimizer)
        assert (int(other.iterations), float(other.learning_rate)) == (0, 0.125)
        other.learning_rate = 0.25
        assert float(optimizer.learning_rate) == 0.125


def test_the_learning_rate_that_a_variable_shows_is_rounded_but_not_the_one_that_steps() -> None:
    optimizer = optimizers.SGD(0.1)
    assert (float(optimizer.learning_rate), optimizer.get_config()["learning_rate"]) == (
        float(np.float32(0.1)),
        0.1,
    )
    optimizer.learning_rate.assign(np.float32(0.1))
    assert optimizer.get_config()["learning_rate"] == 0.1
    scheduled = optimizers.SGD(optimizers.schedules.ExponentialDecay(0.5, 10, 0.5))
    assert float(scheduled.learning_rate) == 0.5
    assert scheduled.variables == [scheduled.iterations]
    other = optimizers.SGD(0.2)
    other.learning_rate = optimizer.learning_rate
    assert float(other.learning_rate) == float(np.float32(0.1))


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


# Tests of predictions with averaged weights, and of exceptions while these replace the weights.


@pytest.mark.parametrize(
    "hook", ["on_test_begin", "on_test_batch_end", "on_predict_batch_end", "on_predict_begin"]
)
def test_weights_come_back_from_their_means_where_a_callback_raises(hook: str) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    x, y = np.ones((8, 3)), np.zeros((8, 1))
    for _ in range(3):
        model.train_on_batch(x, y)
    weights, swap = model.get_weights(), callbacks.SwapEMAWeights()
    verb, data = (model.evaluate, (x, y)) if "test" in hook else (model.predict, (x,))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            verb(*data, callbacks=[swap, callbacks.LambdaCallback(**{hook: fail})])
        assert all(map(np.array_equal, model.get_weights(), weights))
    means = model.evaluate(x, y, callbacks=[swap])
    assert means != model.evaluate(x, y)
    assert all(map(np.array_equal, model.get_weights(), weights))


@pytest.mark.parametrize("hook", ["on_test_batch_end", "on_epoch_end"])
def test_a_training_that_ends_in_an_exception_ends_with_the_means(hook: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    x, y = np.ones((8, 3)), np.zeros((8, 1))
    found = []
    for failing in (False, True):
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, "linear", kernel_initializer="ones")]
        )
        model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
        options = {"batch_size": 4, "validation_data": (x, y), "verbose": 0, "shuffle": False}
        if failing:
            last = callbacks.LambdaCallback(**{hook: fail})
            with pytest.raises(ZeroDivisionError):
                model.fit(x, y, callbacks=[callbacks.SwapEMAWeights(swap_on_epoch=True), last], **options)
        else:
            model.fit(x, y, **options)
        found.append(model.get_weights())
    assert all(map(np.array_equal, *found))
