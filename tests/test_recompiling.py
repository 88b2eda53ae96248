"""What `compile` keeps, and what it takes as given until training begins: the optimizer's state, and which weights are trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import WrittenStep, assert_all_equal

import engine as keras
from engine import layers, optimizers

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(64, 1)).astype(np.float32)


def model_of(optimizer: Any = "sgd", built: bool = True) -> keras.Sequential:
    keras.utils.set_random_seed(3)
    start = [keras.Input((3,))] if built else []
    model = keras.Sequential([*start, layers.Dense(4), layers.BatchNormalization(), layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def trained_by(model: keras.Model, train: Callable[[], Any]) -> list[bool]:
    """Whether each trainable weight of the two dense layers changes."""
    dense = model.layers[0], model.layers[2]
    before = [weight for layer in dense for weight in layer.get_weights()]
    train()
    after = [weight for layer in dense for weight in layer.get_weights()]
    return [bool((new != old).any()) for new, old in zip(after, before, strict=True)]


STEPS = [
    lambda model: model.fit(X, Y, verbose=0),
    lambda model: model.train_on_batch(X, Y),
    lambda model: model.fit(((X, Y) for _ in range(2)), verbose=0),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("nested", [False, True])
def test_the_first_training_decides_what_is_trained(step: Any, nested: bool) -> None:
    model = model_of()
    frozen: Any = model.layers[0]
    if nested:
        inner = model
        model = keras.Sequential([keras.Input((3,)), inner])
        model.compile("sgd", "mse")
    model.evaluate(X, Y, verbose=0)
    frozen.trainable = False
    parts = inner if nested else model
    assert trained_by(parts, lambda: step(model)) == [False, False, True, True]
    frozen.trainable = True  # as in Keras on TensorFlow, this waits for the next compile
    assert trained_by(parts, lambda: step(model)) == [False, False, True, True]
    model.compile("sgd", "mse")
    assert trained_by(parts, lambda: step(model)) == [True, True, True, True]


def test_what_is_made_trainable_after_compile() -> None:
    model = model_of()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.layers[0].trainable = True
    model.layers[2].trainable = False
    assert trained_by(model, lambda: model.fit(X, Y, verbose=0)) == [True, True, False, False]
    statistics = np.array(model.layers[1].moving_mean)
    model.layers[1].trainable = False
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(statistics, model.layers[1].moving_mean)


def test_a_model_that_the_first_training_builds() -> None:
    model = model_of(built=False)
    model.layers[2].trainable = False
    model.build((None, 3))
    assert trained_by(model, lambda: model.fit(X, Y, verbose=0)) == [True, True, False, False]


def test_a_loaded_model_keeps_the_state_of_its_optimizer(tmp_path: Any) -> None:
    model = model_of("adam")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    again.layers[0].trainable = False
    assert trained_by(again, lambda: again.fit(X, Y, verbose=0)) == [False, False, True, True]
    assert int(again.optimizer.iterations) == 4


OPTIMIZERS = [
    optimizers.Adam(0.01, amsgrad=True),
    optimizers.SGD(0.01, momentum=0.9, gradient_accumulation_steps=3),
    optimizers.RMSprop(optimizers.schedules.ExponentialDecay(0.01, 2, 0.5), momentum=0.5, centered=True),
    optimizers.Adafactor(0.01),
    optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=5),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_optimizer_goes_on_after_compile(optimizer: Any) -> None:
    """A recompiled model continues its training bit for bit, if it is given the same optimizer."""
    one, other = (model_of(type(optimizer).from_config(optimizer.get_config())) for _ in range(2))
    for step in range(6):
        one.train_on_batch(X[step:32], Y[step:32])
    for step in range(6):
        other.train_on_batch(X[step:32], Y[step:32])
        if step in (1, 2):
            given = other.optimizer
            other.compile(given, "mse", metrics=["mae"])
            assert other.optimizer is given
    assert int(one.optimizer.iterations) == int(other.optimizer.iterations) > 0
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert_all_equal(one.optimizer.variables, other.optimizer.variables)


def test_weights_that_are_frozen_for_a_while_lose_their_state_alone() -> None:
    model = model_of(optimizers.Adam(0.01))
    optimizer: Any = model.optimizer
    model.fit(X, Y, verbose=0)
    state = {each.path: np.array(each) for each in optimizer.variables}
    model.layers[0].trainable = False
    model.compile(optimizer, "mse")
    found = {each.path: np.array(each) for each in optimizer.variables}
    assert found.keys() < state.keys()
    for path, value in found.items():
        np.testing.assert_array_equal(value, state[path])
    model.layers[0].trainable = True
    model.compile(optimizer, "mse")
    found = {each.path: np.array(each) for each in optimizer.variables}
    assert found.keys() == state.keys()
    assert int(optimizer.iterations) == 2
    for path, value in found.items():
        if "/dense_" in path and path.split("/dense_")[1][0].isalpha():  # of the first layer
            assert not value.any()


def test_another_optimizer_or_model_begins_anew() -> None:
    model = model_of("adam")
    model.fit(X, Y, verbose=0)
    first: Any = model.optimizer
    model.compile("adam", "mse")
    assert int(model.optimizer.iterations) == 0
    other = model_of()
    other.compile(first, "mse")
    assert int(first.iterations) == 0


def test_a_refused_compile_keeps_the_earlier_losses_of_a_model_without_outputs() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.hidden(inputs)

    model = Own()
    model.compile(
        "sgd", loss="a loss that isn't there"
    )  # the outputs, which may have losses of their own, aren't known yet
    with pytest.raises(ValueError, match="device"):
        model.compile("sgd", loss="mse", device="a device that isn't there")
    with pytest.raises(ValueError, match="a loss that isn't there"):
        model.fit(X, Y, verbose=0)


def test_a_model_without_an_optimizer_is_evaluated_alone(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    x, y = np.ones((4, 2)), np.ones(4)
    model.compile(None, "mse")
    expected = model.evaluate(x, y, verbose=0)
    assert expected == pytest.approx(np.mean((model.predict(x, verbose=0) - 1) ** 2))
    model.save(tmp_path / "m.keras")
    for each in (model, keras.models.load_model(tmp_path / "m.keras"), copy.deepcopy(model)):
        assert each.optimizer is None
        assert each.evaluate(x, y, verbose=0) == expected
        for action in (each.fit, each.train_on_batch):
            with pytest.raises(ValueError, match="not trained: give compile\\(\\) an optimizer"):
                action(x, y)
    model.optimizer = "sgd"
    model.fit(x, y, verbose=0)
    assert model.evaluate(x, y, verbose=0) < expected


class StepOfItsOwn(WrittenStep):
    """A model with a step that the engine compiles, and a `call`."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


@pytest.mark.parametrize("within", [False, True])
def test_a_compiled_step_follows_another_optimizer(within: bool) -> None:
    model = StepOfItsOwn()
    model.compile(optimizers.SGD(0.1), "mse")
    first: Any = model.optimizer
    trained: Any = model
    if within:
        trained = keras.Sequential([keras.Input((3,)), model])
        trained.compile("sgd", "mse")
    model.fit(X, Y, batch_size=16, verbose=0)
    model.optimizer = optimizers.SGD(0.0)
    second: Any = model.optimizer
    before = model.get_weights()
    model.fit(X, Y, batch_size=16, verbose=0)
    model.train_on_batch(X, Y)
    np.testing.assert_equal(model.get_weights(), before)
    assert (int(first.iterations), int(second.iterations)) == (4, 5)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_function_follows_another_optimizer_of_its_model(compiled: bool) -> None:
    model: Any = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    if compiled:
        model.compile(optimizers.SGD(0.1), "mse")
    model.optimizer = optimizers.SGD(0.1)

    @keras.function
    def step(x: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = keras.ops.mean(model(x) ** 2)
        weights = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    step(X)
    model.optimizer = optimizers.SGD(0.0)
    before = model.get_weights()
    step(X)
    np.testing.assert_equal(model.get_weights(), before)


class Dense2(layers.Layer):
    """A layer with a layer in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Switched(keras.Model):
    """A model that answers with one of two layers of equal shapes."""

    def __init__(self, computes_both: bool) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(2), layers.Dense(2)
        self.second.build((None, 3))
        self.computes_both, self.takes_second = computes_both, False

    def call(self, x: Any) -> Any:
        if self.computes_both:
            both = self.first(x), self.second(x)
            return both[self.takes_second]
        return (self.second if self.takes_second else self.first)(x)


class Containing(keras.Model):
    """A model of one part."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def call(self, x: Any) -> Any:
        return self.part(x)


def replaced(case: str) -> tuple[keras.Model, Callable[[], layers.Dense]]:
    """Returns a model, and a function that puts another layer of equal shape in the place of one, and returns it."""
    new = layers.Dense(2)
    new.build((None, 3))
    if case.startswith("switched"):
        switched = Switched(case == "switched outputs")

        def switch() -> layers.Dense:
            switched.takes_second = True
            return switched.second

        return switched, switch
    owner: Any = Dense2() if case == "within a layer" else Containing(layers.Dense(2))
    model = owner if case == "own model" else Containing(owner)
    if case == "within a layer":
        model = keras.Sequential([keras.Input((3,)), owner])

    def replace() -> layers.Dense:
        setattr(owner, "inner" if case == "within a layer" else "part", new)
        return new

    return model, replace


@pytest.mark.parametrize(
    "case", ["own model", "model within", "within a layer", "switched layers", "switched outputs"]
)
def test_a_layer_of_equal_shape_takes_the_place_of_another(case: str) -> None:
    model, put_another = replaced(case)
    targets = np.concatenate([Y, -Y], axis=1)
    model.compile("sgd", "mse")
    model.fit(X, targets, verbose=0)
    layer = put_another()

    def expected() -> np.ndarray:
        kernel, bias = layer.get_weights()
        return X @ kernel + bias

    np.testing.assert_allclose(model(X), expected(), rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(), rtol=1e-5, atol=1e-6)
    before = layer.get_weights()[0]
    model.fit(X, targets, verbose=0)
    assert (layer.get_weights()[0] != before).any()
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(), rtol=1e-5, atol=1e-6)


def test_which_weights_a_layer_has_cannot_change() -> None:
    model = model_of()
    model.layers[0].use_bias = False
    with pytest.raises(
        ValueError, match=r"has the weights kernel, bias, .* would have kernel: .* make a new layer"
    ):
        model(X)
    model.layers[0].use_bias = True
    assert model(X).shape == (64, 1)
