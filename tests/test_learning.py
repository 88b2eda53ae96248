"""Tests of optimizers, regularizers and constraints with stored gradients, through the public interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled
from conftest import Blobs, classifier, same_weights, with_gradient

import engine as keras
from engine import constraints, optimizers, regularizers

ALL = [
    optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    optimizers.Adam(0.01, amsgrad=True, use_ema=True),
    optimizers.Nadam(0.01, gradient_accumulation_steps=2),
    optimizers.Adafactor(0.01),
    optimizers.Ftrl(0.05, clipnorm=0.1),
]


def again(optimizer: optimizers.Optimizer) -> optimizers.Optimizer:
    return type(optimizer).from_config(optimizer.get_config())


def model_of(*layers: Any, optimizer: Any = "sgd") -> keras.Sequential:
    keras.utils.set_random_seed(3)
    return compiled(keras.Sequential([keras.Input((6,)), *layers]), optimizer, "mse")


X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)


@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_a_run_goes_on_from_saved_state(optimizer: optimizers.Optimizer, blobs: Blobs) -> None:
    """A model that gets weights and optimizer state of another one continues its training bit for bit."""
    first = classifier(optimizer=again(optimizer))
    for _ in range(5):
        first.train_on_batch(blobs.x[:32], blobs.y[:32])
    second = classifier(optimizer=again(optimizer))
    second.train_on_batch(blobs.x[:32], blobs.y[:32])
    second.set_weights(first.get_weights())
    store: dict[str, Any] = {}
    first.optimizer.save_own_variables(store)
    second.optimizer.load_own_variables(store)
    assert second.optimizer.iterations == first.optimizer.iterations
    for model in (first, second):
        for _ in range(3):
            model.train_on_batch(blobs.x[32:64], blobs.y[32:64])
    # Slots of Adam are stored in another scaling, so copies of them are rounded.
    assert_all_close(first.get_weights(), second.get_weights(), rtol=1e-5, atol=1e-6)


def test_state_is_named_and_assigned() -> None:
    model = model_of(keras.layers.Dense(3), optimizer=optimizers.Adam(0.5))
    optimizer = model.optimizer
    step, rate, *slots = optimizer.variables
    assert [v.name for v in (step, rate)] == ["iteration", "learning_rate"]
    assert [v.path.rpartition("_")[2] for v in slots] == ["momentum", "velocity"] * 2
    slots[0].assign(np.full((6, 3), 2.0))
    np.testing.assert_allclose(optimizer.variables[2].numpy(), 2.0)
    rate.assign(0.25)
    step.assign(7)
    assert (optimizer.learning_rate, optimizer.iterations) == (0.25, 7)
    with pytest.raises(ValueError, match=r"variable.shape=\(6, 3\), Received: value.shape=\(3,\)"):
        slots[0].assign(np.zeros(3))
    with pytest.raises(ValueError, match="must have the shapes of `variables`"):
        optimizer.set_weights([0])


def test_one_array_is_assigned_and_the_others_keep_their_bits() -> None:
    """Adam's arrays are scaled when they are read and assigned, which rounds them."""
    model = model_of(keras.layers.Dense(3), optimizer="adam")
    model.fit(X, Y, verbose=0)
    before = model.optimizer._snapshot().arrays["slot 0"]
    model.optimizer.variables[4].assign(np.zeros(3))
    after = model.optimizer._snapshot().arrays["slot 0"]
    np.testing.assert_array_equal(after[0], before[0])
    assert before[1].any()
    assert not after[1].any()


def test_fit_ends_with_the_averages_and_on_batch_does_not() -> None:
    ends = []
    for momentum in (0.0, 0.9):
        options = {"use_ema": True, "ema_momentum": momentum}
        model = model_of(keras.layers.Dense(3), optimizer=optimizers.SGD(0.1, **options))
        model.fit(X, Y, batch_size=8, verbose=0)
        averages = [v.numpy() for v in model.optimizer.variables if v.name.endswith("average")]
        assert_all_equal(model.get_weights(), averages)
        model.train_on_batch(X, Y)
        assert (
            not np.array_equal(model.get_weights()[0], model.optimizer.variables[2].numpy()) or momentum == 0
        )
        ends.append(model)
    assert not same_weights(*ends)


def test_no_limit_is_no_change() -> None:
    models = []
    for options in ({}, {"clipnorm": 1e9}, {"clipvalue": 1e9}, {"global_clipnorm": 1e9}):
        model = model_of(keras.layers.Dense(3), optimizer=optimizers.RMSprop(0.01, **options))
        model.fit(X, Y, verbose=0)
        models.append(model)
    assert all(same_weights(models[0], other) for other in models[1:])


def test_a_function_as_learning_rate() -> None:
    rates = iter([0.5, 0.25, 0.125, 1.0, 1.0])
    model = model_of(keras.layers.Dense(3), optimizer=optimizers.SGD(lambda: next(rates)))
    other = model_of(
        keras.layers.Dense(3),
        optimizer=optimizers.SGD(optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.5, 0.25, 0.125])),
    )
    model.fit(X[:24], Y[:24], batch_size=8, verbose=0, shuffle=False)
    other.fit(X[:24], Y[:24], batch_size=8, verbose=0, shuffle=False)
    assert same_weights(model, other)
    with pytest.raises(TypeError, match="`learning_rate` is a function"):
        model.optimizer.get_config()


class Ridge(regularizers.Regularizer):
    def __init__(self, strength: float = 0.1) -> None:
        self.strength = strength

    def __call__(self, x: Any) -> float:
        return float(self.strength * np.sum(np.square(x)))

    def gradient(self, x: Any) -> Any:
        return 2 * self.strength * np.asarray(x)


@with_gradient(lambda x: np.where(x < 0, -0.05, 0.05))
def lasso(x: Any) -> float:
    return float(0.05 * np.abs(x).sum())


@pytest.mark.parametrize(
    ("own", "known"),
    [(Ridge(0.1), regularizers.L2(0.1)), (lasso, regularizers.L1(0.05))],
    ids=["class", "function"],
)
@pytest.mark.parametrize("optimizer", ["adam", "adamax"])
def test_regularizers_of_ones_own(own: Any, known: Any, optimizer: str) -> None:
    models = [
        model_of(
            keras.layers.Dense(5, "tanh", kernel_regularizer=penalty, bias_regularizer=penalty),
            keras.layers.Dense(3, kernel_regularizer=penalty),
            optimizer=optimizer,
        )
        for penalty in (own, known)
    ]
    losses = [model.fit(X, Y, epochs=3, validation_split=0.2, verbose=0).history for model in models]
    for name, values in losses[1].items():
        np.testing.assert_allclose(losses[0][name], values, rtol=1e-5)
    assert_all_close(models[0].get_weights(), models[1].get_weights(), rtol=1e-5, atol=1e-6)


def clip(w: Any) -> Any:
    return np.maximum(w, 0)


class Clip(constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return np.maximum(w, 0)


@pytest.mark.parametrize("own", [clip, Clip, Clip()], ids=["function", "class", "object"])
def test_constraints_of_ones_own(own: Any) -> None:
    models = []
    for constraint in (own, "non_neg"):
        layer = keras.layers.Dense(3, kernel_constraint=constraint, bias_constraint=constraint)
        model = model_of(keras.layers.Dense(5, "tanh"), layer, optimizer="adam")
        model.fit(X, Y, epochs=2, batch_size=8, verbose=0)
        models.append(model)
    assert same_weights(*models)
    assert min(array.min() for array in models[0].layers[1].get_weights()) >= 0


class Product(keras.layers.Layer):
    def __init__(self, constraint: Any) -> None:
        super().__init__()
        self.constraint = constraint

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight((6, 3), constraint=self.constraint)

    def call(self, inputs: Any) -> Any:
        return inputs @ self.kernel.value

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream @ self.kernel.T, inputs.T @ upstream


@pytest.mark.parametrize(
    "constraint",
    ["non_neg", Clip(), constraints.UnitNorm(0), constraints.MaxNorm(0.5, 1), constraints.MaxNorm(0.5, None)],
    ids=repr,
)
def test_constraints_in_layers_of_ones_own(constraint: Any) -> None:
    dense = keras.layers.Dense(3, use_bias=False, kernel_constraint=constraint)
    ours, theirs = model_of(Product(constraint)), model_of(dense)
    ours.set_weights(theirs.get_weights())
    for model in (ours, theirs):
        model.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(ours.get_weights()[0], theirs.get_weights()[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        ours.get_weights()[0],
        constraints.get(constraint)(ours.get_weights()[0]),  # type: ignore[misc] # it is never None here
        rtol=1e-5,
    )


@pytest.mark.parametrize("units", [33, 130])  # several panels, the last of which is narrower
def test_kernels_of_several_panels(units: int) -> None:
    hidden = keras.layers.Dense(250, "tanh")
    for axis in (0, 1, None):
        constraint = constraints.UnitNorm(axis)
        layer = keras.layers.Dense(units, kernel_constraint=constraint)
        model = model_of(hidden, layer, keras.layers.Dense(3))
        model.train_on_batch(X, Y)
        np.testing.assert_allclose(np.linalg.norm(layer.kernel.numpy(), axis=axis), 1.0, rtol=1e-5)
    for mode in ("rows", "columns"):
        penalty = regularizers.OrthogonalRegularizer(0.1, mode)
        layer = keras.layers.Dense(units, kernel_regularizer=penalty)
        model = model_of(hidden, layer, keras.layers.Dense(3))
        loss = model.evaluate(X, Y, verbose=0)
        error = np.mean((model.predict(X, verbose=0) - Y) ** 2, dtype=float)
        assert loss == pytest.approx(error + penalty(layer.kernel.numpy().astype(float)), rel=1e-5)


@pytest.mark.parametrize("mode", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (6, 1)])
def test_the_step_of_an_orthogonal_penalty(mode: str, shape: tuple[int, int]) -> None:
    penalty = regularizers.OrthogonalRegularizer(0.3, mode)
    layer = keras.layers.Dense(shape[1], use_bias=False, kernel_regularizer=penalty)
    model = compiled(keras.Sequential([keras.Input(shape[:1]), layer]), keras.optimizers.SGD(0.5), "mse")
    w = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    w[0] = 0.0
    w[0, 0] = 1e-3
    model.set_weights([w])
    zeros = np.zeros((4, shape[0])), np.zeros((4, shape[1]))
    model.train_on_batch(*zeros)
    np.testing.assert_allclose(
        layer.kernel.numpy(), w - 0.5 * penalty.gradient(w.astype(float)), rtol=1e-4, atol=1e-5
    )
    model.set_weights([np.zeros(shape)])
    model.train_on_batch(*zeros)
    assert not layer.kernel.numpy().any()


def test_a_constraint_of_three_axes() -> None:
    class Shift(keras.layers.Layer):
        def build(self, input_shape: tuple[int | None, ...]) -> None:
            self.shift = self.add_weight((1, 2, 3), "ones", constraint=constraints.UnitNorm([0, 2]))

        def call(self, inputs: Any) -> Any:
            return inputs + self.shift.value.reshape(6)

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            return upstream, upstream.sum(0).reshape(1, 2, 3)

    model = model_of(Shift(), keras.layers.Dense(3))
    model.fit(X, Y, verbose=0)
    norms = np.linalg.norm(model.layers[0].get_weights()[0], axis=(0, 2))
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)


def broken(_: Any) -> Any:
    return np.zeros(2)


def test_mistakes_of_ones_own_leave_a_model_that_works() -> None:
    model = model_of(keras.layers.Dense(3, kernel_constraint=broken))
    with pytest.raises(ValueError, match=r"constrained weights must have .* \(6, 3\), got \(2,\)"):
        model.fit(X, Y, verbose=0)
    assert np.isfinite(model.predict(X, verbose=0)).all()
    model = model_of(keras.layers.Dense(3, kernel_regularizer=lambda x: float(np.sum(x))))
    with pytest.raises(TypeError, match="needs an attribute `gradient`"):
        model.fit(X, Y, verbose=0)
    assert np.isfinite(model.predict(X, verbose=0)).all()
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0), "only one of `clipnorm`, `clipvalue`"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "`gradient_accumulation_steps` .* least 2"),
        (lambda: optimizers.SGD(ema_momentum=1.5), "`ema_momentum` must be between 0 and 1, got 1.5"),
        (lambda: optimizers.SGD(ema_overwrite_frequency=0), "`ema_overwrite_frequency` must be at least 1"),
        (lambda: optimizers.Lion(beta_1=0.0), "`beta_1` must be greater than 0"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), "`learning_rate_power` .* at most 0, got 0.5"),
        (lambda: optimizers.Adafactor(epsilon_1=0.0), "`epsilon_1` must be greater than 0"),
        (lambda: regularizers.OrthogonalRegularizer(mode="diagonal"), "`mode` .* one of 'rows', 'columns'"),
        (lambda: regularizers.OrthogonalRegularizer()(np.zeros(3)), r"`inputs` .* matrix, got shape \(3,\)"),
        (lambda: constraints.MaxNorm(-1), "`max_value` must be a finite number of at least 0"),
        (lambda: constraints.get("maxnrm"), "unknown `constraint` 'maxnrm'; did you mean"),
        (lambda: model_of(keras.layers.Dense(3, bias_constraint=constraints.UnitNorm(1))), "axes .* 0 or -1"),
        (
            lambda: model_of(keras.layers.BatchNormalization(gamma_constraint=constraints.UnitNorm(1))),
            "axes .* 0 or -1",
        ),
        (lambda: model_of(Product("maxnrm")), "unknown `constraint` 'maxnrm'"),
        (lambda: keras.layers.PReLU(alpha_constraint=3), "`constraint` must be a name"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
