"""Gradient tapes: what they record, derivatives of first and second order, and errors."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import Doubled, InTurn, WrittenStep, assert_all_close, assert_all_equal

import engine as keras
from engine import layers, losses, ops
from engine.models import functions

RNG = np.random.default_rng(7)
X = RNG.normal(size=(6, 4)).astype(np.float32)
Y = RNG.normal(size=(6, 2)).astype(np.float32)

# A step of the central differences in float32 outputs, and the relative error that they leave.
STEP, TOLERANCE = 4e-3, 2e-2


def dense_model(*more: Any) -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="tanh"), *more, layers.Dense(2)])


def require_derivatives(value: Callable[[], Any], weights: list[Any], gradients: list[Any]) -> None:
    """Compares gradients with central differences along a random direction."""
    for weight, gradient in zip(weights, gradients, strict=True):
        before, direction = np.array(weight), RNG.normal(size=np.shape(weight)).astype(np.float32)
        found = []
        for sign in (1, -1):
            weight.assign(before + sign * STEP * direction)
            found.append(float(value()))
        weight.assign(before)
        numeric = (found[0] - found[1]) / (2 * STEP)
        expected = float(np.sum(np.asarray(gradient) * direction))
        assert numeric == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), weight.path


class Scaled(layers.Layer):
    """A layer of the user, with a weight."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return ops.tanh(inputs * self.scale)


class Residual(layers.Layer):
    """A layer with layers within."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(3, activation="tanh"), layers.Dense(5)

    def call(self, inputs: Any) -> Any:
        return inputs + self.second(self.first(inputs))


class Branching(layers.Layer):
    """A layer that looks at values, so that it can't be recorded in a compiled model."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], 3))

    def call(self, inputs: Any) -> Any:
        outputs = inputs @ self.kernel
        return outputs if float(ops.sum(outputs)) > 0 else -outputs


@pytest.mark.parametrize(
    "middle",
    [
        (),
        (layers.LayerNormalization,),
        (layers.BatchNormalization,),
        (layers.UnitNormalization,),
        (Scaled,),
        (Residual,),
        (Branching,),
        (lambda: layers.Reshape((5, 1)), lambda: layers.Dense(2), layers.Flatten),
        (lambda: layers.Lambda(lambda x: x * 2.0),),
    ],
)
def test_gradients_of_models_are_central_differences(middle: tuple[Callable[[], Any], ...]) -> None:
    model = dense_model(*(make() for make in middle))

    def loss() -> Any:
        return ops.mean(ops.square(model(X) - Y))

    with keras.GradientTape() as tape:
        value = loss()
    weights = model.trainable_variables
    require_derivatives(loss, weights, tape.gradient(value, weights))
    assert float(value) == pytest.approx(float(loss()), rel=1e-5)


def test_an_embedding_has_gradients() -> None:
    model = keras.Sequential([layers.Embedding(7, 3), layers.Flatten(), layers.Dense(1)])
    tokens = np.array([[1, 2], [2, 6]])
    with keras.GradientTape() as tape:
        value = ops.sum(model(tokens))
    weights = model.trainable_variables
    gradients = tape.gradient(value, weights)
    require_derivatives(lambda: ops.sum(model(tokens)), weights, gradients)
    assert not np.asarray(gradients[0])[[0, 3, 4, 5]].any()


def test_a_model_of_several_inputs_and_outputs() -> None:
    first, second = keras.Input((4,)), keras.Input((2,))
    hidden = layers.Dense(3, activation="tanh")(first)
    joined = layers.Concatenate()([hidden, second])
    model = keras.Model(
        [first, second], {"a": layers.Dense(1)(joined), "b": ops.exp(layers.Dense(2)(hidden))}
    )

    def loss() -> Any:
        found = model([X, Y])
        return ops.sum(found["a"]) + ops.sum(found["b"] * Y)

    with keras.GradientTape() as tape:
        value = loss()
    weights = model.trainable_variables
    require_derivatives(loss, weights, tape.gradient(value, weights))


def test_a_subclass_with_a_call_is_recorded() -> None:
    model = InTurn(layers.Dense(3, activation="tanh"), layers.Dense(2))
    model(X)
    with keras.GradientTape() as tape:
        value = ops.sum(model(X, training=True) * Y)
    weights = model.trainable_variables
    assert len(weights) == 4
    require_derivatives(lambda: ops.sum(model(X) * Y), weights, tape.gradient(value, weights))


# Arrays.


def test_a_watched_tensor() -> None:
    x = ops.convert_to_tensor([1.0, 2.0, 3.0])
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(x * x[::-1] + np.exp(x) / 2.0)
    np.testing.assert_allclose(
        tape.gradient(y, x), 2 * np.array([3.0, 2.0, 1.0]) + np.exp([1.0, 2.0, 3.0]) / 2, rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize(
    ("function", "gradient"),
    [
        (lambda x: x * 1.5, 1.5),
        (lambda x: 1.5 - x, -1.0),
        (ops.square, 4.0),
        (lambda x: ops.exp(x) * x, 3 * np.exp(2)),
        (lambda x: x**x, 4 * (1 + np.log(2))),
        (lambda x: ops.power(3.0, x), 9 * np.log(3)),
        (lambda x: ops.where(x > 0, x, 0.0), 1.0),
        (lambda x: ops.sum(ops.stack([x, x])), 2.0),
        (lambda x: ops.clip(x, 0.0, 9.0), 1.0),
    ],
)
def test_a_watched_number_is_no_constant(shape: tuple[int, ...], function: Any, gradient: float) -> None:
    x = ops.convert_to_tensor(np.full(shape, 2.0).tolist())
    with keras.GradientTape() as outer:
        outer.watch(x)
        with keras.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        first = tape.gradient(y, x)
        np.testing.assert_allclose(first.numpy(), np.full(shape, gradient), rtol=1e-6)


def test_a_watched_numpy_array_is_seen_by_functions_of_ops() -> None:
    x = np.array([1.0, 2.0], np.float32)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(ops.square(x)) + ops.sum(ops.exp(x) * x)
    np.testing.assert_allclose(tape.gradient(y, x), 2 * x + np.exp(x) * (1 + x), rtol=1e-5)


def test_arithmetic_of_a_watched_numpy_array_is_warned_of() -> None:
    x = np.array([1.0, 2.0], np.float32)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(ops.convert_to_tensor(x * x) * keras.Variable(1.0))
    with pytest.warns(UserWarning, match=r"plain NumPy array.*convert_to_tensor"):
        assert tape.gradient(y, x) is None


def test_second_derivatives_by_nested_tapes() -> None:
    x = ops.convert_to_tensor([0.5, -1.0])
    with keras.GradientTape() as outer:
        outer.watch(x)
        with keras.GradientTape() as inner:
            inner.watch(x)
            y = ops.sum(x**3 * ops.sin(x))
        first = inner.gradient(y, x)
        total = ops.sum(first)
    values = np.array([0.5, -1.0])
    np.testing.assert_allclose(first, 3 * values**2 * np.sin(values) + values**3 * np.cos(values), rtol=1e-4)
    expected = 6 * values * np.sin(values) + 6 * values**2 * np.cos(values) - values**3 * np.sin(values)
    np.testing.assert_allclose(outer.gradient(total, x), expected, rtol=1e-4)


def test_second_derivatives_through_a_model() -> None:
    model = dense_model()
    points = ops.convert_to_tensor(X)

    def penalty() -> Any:
        with keras.GradientTape() as inner:
            inner.watch(points)
            outputs = ops.sum(model(points))
        return ops.mean(ops.square(inner.gradient(outputs, points)))

    with keras.GradientTape() as tape:
        value = penalty()
    weights = [model.layers[0].kernel, model.layers[1].kernel]
    require_derivatives(penalty, weights, tape.gradient(value, weights))


def test_jacobians() -> None:
    matrix = RNG.normal(size=(3, 2)).astype(np.float32)
    x = ops.convert_to_tensor([1.0, -2.0])
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.matmul(matrix, x)
    np.testing.assert_allclose(tape.jacobian(y, x), matrix, rtol=1e-6)
    rows = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(rows)
        y = ops.matmul(rows**2, RNG.normal(size=(4, 2)).astype(np.float32))
    found = tape.batch_jacobian(y, rows)
    assert found.shape == (6, 2, 4)


# Semantics.


def test_sources_come_back_in_their_structure() -> None:
    a, b = keras.Variable(2.0), keras.Variable([1.0, 3.0])
    with keras.GradientTape() as tape:
        y = a * ops.sum(b)
    found = tape.gradient(y, {"one": a, "others": [b, (a,)]})
    assert float(found["one"]) == 4.0
    assert np.asarray(found["others"][0]).tolist() == [2.0, 2.0]
    assert float(found["others"][1][0]) == 4.0


def test_several_targets_and_their_factors() -> None:
    a = keras.Variable(3.0)
    with keras.GradientTape(persistent=True) as tape:
        targets = [a * a, a * 2.0]
    assert float(tape.gradient(targets, a)) == 8.0
    assert float(tape.gradient(targets, a, output_gradients=[0.5, 10.0])) == 23.0


def test_unconnected_sources() -> None:
    a, b = keras.Variable(1.0), keras.Variable([1.0, 2.0])
    with keras.GradientTape(persistent=True) as tape:
        y = a * 3.0
        cut = ops.stop_gradient(b) * 2.0 + a
        whole = ops.cast(b > 1.5, "float32") + a
    assert tape.gradient(y, b) is None
    assert tape.gradient(cut, b) is None
    assert tape.gradient(whole, b) is None
    assert np.asarray(tape.gradient(y, b, unconnected_gradients="zero")).tolist() == [0.0, 0.0]


def test_only_trainable_weights_are_watched_by_themselves() -> None:
    frozen, a = keras.Variable(2.0, trainable=False), keras.Variable(3.0)
    with keras.GradientTape(persistent=True) as tape:
        y = frozen * a
    assert tape.gradient(y, frozen) is None
    assert float(tape.gradient(y, a)) == 2.0
    with keras.GradientTape() as tape:
        tape.watch(frozen)
        y = frozen * a
    assert float(tape.gradient(y, frozen)) == 3.0
    with keras.GradientTape(watch_accessed_variables=False) as tape:
        y = frozen * a
    assert tape.gradient(y, a) is None


def test_frozen_layers_pass_gradients_on() -> None:
    model = dense_model()
    model.layers[1].trainable = False
    x = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(model(x))
    by_x, by_kernel, by_frozen = tape.gradient(y, [x, model.layers[0].kernel, model.layers[1].kernel])
    assert by_frozen is None
    assert np.abs(by_x).max() > 0
    assert np.abs(by_kernel).max() > 0


def test_watched_variables() -> None:
    model = dense_model()
    with keras.GradientTape() as tape:
        model(X)
    assert [weight.path for weight in tape.watched_variables()] == [
        weight.path for weight in model.trainable_variables
    ]


def test_a_pause_and_a_reset() -> None:
    a = keras.Variable(2.0)
    with keras.GradientTape(persistent=True) as tape:
        y = a * a
        with tape.stop_recording():
            aside = ops.square(a)
        assert isinstance(aside, (np.ndarray, np.generic))
        tape.reset()
        z = a * 5.0
    assert float(tape.gradient(z, a)) == 5.0
    assert float(y) == 4.0


def test_recorded_arrays_behave_like_arrays() -> None:
    a = keras.Variable([[1.0, 2.0], [3.0, 4.0]])
    with keras.GradientTape():
        x = a * 2.0
        assert x.shape == (2, 2)
        assert x.ndim == 2
        assert len(x) == 2
        assert float(x[1, 0]) == 6.0
        assert np.asarray(x).tolist() == x.numpy().tolist() == [[2.0, 4.0], [6.0, 8.0]]
        assert [float(row[0]) for row in x] == [2.0, 6.0]
        assert f"{ops.sum(x):.1f}" == "20.0"
        assert np.allclose(x, [[2, 4], [6, 8]])
        assert (x == np.array([[2.0, 0.0], [6.0, 8.0]])).numpy().tolist() == [[True, False], [True, True]]
        assert int(ops.argmax(x)) == 3
        assert bool(x[0, 0] < 3.0)
        assert str(x[0, 0]) == "2.0"
        assert "numpy=2.0" in repr(x[0, 0])
        assert np.sort(x, axis=0).shape == (2, 2)
        assert ops.convert_to_numpy(x).tolist() == [[2.0, 4.0], [6.0, 8.0]]


def test_branches_on_values_work() -> None:
    a = keras.Variable(3.0)
    for _ in range(2):
        with keras.GradientTape() as tape:
            y = a * a
            y = y * 2.0 if y > 5.0 else y * 3.0
            while float(y) < 100.0:
                y = y * 2.0
        assert float(tape.gradient(y, a)) == 2 * 3.0 * 16.0


def test_weights_are_read_as_of_recording() -> None:
    a = keras.Variable(3.0)
    with keras.GradientTape(persistent=True) as tape:
        y = a * a
        a.assign(10.0)
        z = a * a
    assert float(y) == 9.0
    assert float(z) == 100.0
    assert float(tape.gradient(y, a)) == 6.0
    model = dense_model()
    with keras.GradientTape() as tape:
        y = ops.sum(model(X) ** 2)
    before = [np.array(weight) for weight in model.weights]
    model.set_weights([np.zeros_like(weight) for weight in before])
    found = tape.gradient(y, model.trainable_variables)
    model.set_weights(before)
    with keras.GradientTape() as tape:
        y = ops.sum(model(X) ** 2)
    assert_all_equal(found, tape.gradient(y, model.trainable_variables))


def test_dropout_draws_once_for_value_and_gradient() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dropout(0.5), layers.Dense(1, kernel_initializer="ones")]
    )
    with keras.GradientTape() as tape:
        outputs = model(X, training=True)
        kept = np.array(outputs)  # computes the outputs before the gradient
        value = ops.sum(outputs)
    (by_kernel, _) = tape.gradient(value, model.trainable_variables)
    assert float(np.sum(np.asarray(by_kernel))) == pytest.approx(float(kept.sum()), rel=1e-5)
    with keras.GradientTape():
        assert np.abs(np.array(model(X, training=True)) - kept).max() > 0
    assert np.array_equal(model(X, training=False), model(X))


def test_batch_normalization_moves_its_averages_once() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(momentum=0.5)])
    with keras.GradientTape() as tape:
        outputs = model(X, training=True)
        float(ops.sum(outputs))
        value = ops.sum(outputs * X)
    tape.gradient(value, model.trainable_variables)[0].numpy()
    np.testing.assert_allclose(model.layers[0].moving_mean, X.mean(axis=0) * 0.5, rtol=1e-4, atol=1e-6)


def test_losses_of_layers_are_recorded() -> None:
    class Added(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(ops.mean(ops.square(inputs)) * 3.0)
            return inputs

    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(2, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L2(0.1)),
            Added(),
        ]
    )

    def loss() -> Any:
        outputs = np.asarray(X @ np.asarray(model.layers[0].kernel) + np.asarray(model.layers[0].bias))
        penalties = 0.01 * np.sum(np.square(model.layers[0].kernel)) + 0.1 * np.square(outputs).sum() / len(X)
        return outputs.sum() + 3.0 * np.mean(np.square(outputs)) + penalties

    with keras.GradientTape() as tape:
        value = ops.sum(model(X, training=True))
        assert len(model.losses) == 3
        value = value + sum(model.losses)
    assert float(value) == pytest.approx(loss(), rel=1e-5)
    weights = model.trainable_variables
    require_derivatives(loss, weights, tape.gradient(value, weights))


def test_the_same_structure_is_compiled_once() -> None:
    model, scale = dense_model(), keras.Variable(1.0)

    def step(factor: float) -> Any:
        with keras.GradientTape() as tape:
            value = ops.mean(ops.square(model(X) - Y)) * factor * scale
        return tape.gradient(value, model.trainable_variables)[0]

    first = [np.array(step(1.0)), np.array(step(2.0)), np.array(step(3.0))]
    count = len(functions._functions)
    np.testing.assert_allclose(first[1], 2 * first[0], rtol=1e-5)
    np.testing.assert_allclose(first[2], 3 * first[0], rtol=1e-5)
    np.testing.assert_allclose(step(4.5), 4.5 * first[0], rtol=1e-5)
    assert len(functions._functions) == count


def test_layers_that_a_tape_has_called_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """But those of the last functions, which stay compiled."""
    monkeypatch.setattr(functions, "_MOST_FUNCTIONS", 2)
    x = np.ones((4, 3), np.float32)

    def called(layer: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = ops.sum(layer(x, training=True))
        np.asarray(tape.gradient(loss, layer.trainable_variables)[0])
        return weakref.ref(layer)

    kinds = [
        layers.BatchNormalization,
        lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.BatchNormalization()]),
    ]
    found = [called(make()) for make in kinds for _ in range(8)]
    gc.collect()
    assert sum(each() is not None for each in found) <= 2


def test_results_that_are_kept_hold_no_batches() -> None:
    a, losses_kept = keras.Variable(3.0), []
    optimizer = keras.optimizers.SGD(0.1)
    for _ in range(3):
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(X * a))
        optimizer.apply_gradients([(tape.gradient(loss, a), a)])
        losses_kept.append(loss)
    assert all(not loss.trace.arguments for loss in losses_kept)
    total = sum(losses_kept)
    assert float(total) == pytest.approx(sum(map(float, losses_kept)))


def test_a_tape_goes_on_after_a_step_in_its_block() -> None:
    a, optimizer = keras.Variable(3.0), keras.optimizers.SGD(0.5)
    with keras.GradientTape() as tape:
        loss = a * a
        optimizer.apply_gradients([(tape.gradient(loss, a), a)])
        after = a * 2.0 + loss
    assert float(a) == 0.0
    assert float(after) == 9.0


def test_weights_can_be_keys() -> None:
    layer = layers.Dense(3)
    layer(X)
    names = {layer.kernel: "kernel", layer.bias: "bias"}
    assert names[layer.kernel] == "kernel"
    assert names[layer.bias] == "bias"


def test_calls_on_batches_of_several_sizes() -> None:
    maker, critic = keras.Sequential([keras.Input((4,)), layers.Dense(3)]), dense_model()
    wider = keras.Sequential(
        [keras.Input((3,)), layers.BatchNormalization(), layers.Dense(2, activation="softmax")]
    )

    def loss() -> Any:
        made = maker(X[:3])
        both = wider(ops.concatenate([made, X[:, :3]]))
        return ops.sum(both[:, 0] ** 2) + ops.sum(critic(X))

    with keras.GradientTape() as tape:
        value = loss()
    weights = [*maker.trainable_variables, *wider.trainable_variables, *critic.trainable_variables]
    require_derivatives(loss, weights, tape.gradient(value, weights))
    assert float(value) == pytest.approx(float(loss()), rel=1e-5)


def doubled_tanh(x: Any) -> Any:
    return 2 * ops.tanh(x)


def centred(x: Any) -> Any:
    return x - ops.mean(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("activation", [doubled_tanh, centred])
def test_activations_that_are_functions_of_users(activation: Any) -> None:
    alone = layers.Dense(3, activation=activation)
    alone.build((None, 4))
    model = dense_model(layers.Dense(3, activation=activation))

    def loss() -> Any:
        return ops.sum(alone(X) ** 2) + ops.sum(model(X[:4]) ** 2) + ops.sum(model(X) ** 3)

    weights = [*alone.trainable_variables, *model.trainable_variables]
    with keras.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, weights)
    assert float(value) == pytest.approx(float(loss()), rel=1e-5)
    require_derivatives(loss, weights, gradients)
    keras.optimizers.SGD(1e-3).apply_gradients(zip(gradients, weights, strict=True))
    assert float(loss()) < float(value)


class Stepping(keras.Sequential):
    train_step = WrittenStep.train_step


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_activations_that_are_functions_of_users_in_own_steps(run_eagerly: bool) -> None:
    found = []
    for kind in (keras.Sequential, Stepping):
        keras.utils.set_random_seed(2)
        model = kind([keras.Input((4,)), layers.Dense(5, activation=doubled_tanh), layers.Dense(2)])
        model.compile("sgd", "mse", run_eagerly=run_eagerly and kind is Stepping)
        model.fit(X, Y, batch_size=3, epochs=3, shuffle=False, verbose=0)
        found.append(model.get_weights())
    assert_all_close(*found, rtol=1e-5, atol=1e-7)


# Losses.


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 1.0, 6)])
@pytest.mark.parametrize(
    "name",
    sorted(
        {each for each in losses.__all__ if each[0].isupper() and not each.isupper()} - {"Loss", "Reduction"}
    ),
)
def test_losses_are_recorded_as_they_are_computed(name: str, weights: Any) -> None:
    loss = getattr(losses, name)()
    scores = np.exp(RNG.normal(size=(6, 4)))
    outputs = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = np.array([0, 1, 2, 1, 0, 3])
    targets = labels if loss._targets_are_indices or name == "Circle" else np.eye(4, dtype=np.float32)[labels]
    given = ops.convert_to_tensor(outputs)
    with keras.GradientTape() as tape:
        tape.watch(given)
        value = loss(targets, given, sample_weight=weights)
    assert float(value) == pytest.approx(float(loss(targets, outputs, sample_weight=weights)), rel=1e-4)
    direction = RNG.normal(size=outputs.shape).astype(np.float32)
    found = [
        float(loss(targets, outputs + sign * 1e-3 * direction, sample_weight=weights)) for sign in (1, -1)
    ]
    expected = float(np.sum(np.asarray(tape.gradient(value, given)) * direction))
    assert (found[0] - found[1]) / 2e-3 == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


# Functions.


def test_value_and_grad() -> None:
    def product(a: Any, b: Any, factor: float = 1.0) -> Any:
        return ops.sum(a["x"] * b) * factor

    a, b = {"x": np.array([1.0, 2.0], np.float32)}, np.array([3.0, 4.0], np.float32)
    value, (by_a, by_b) = keras.value_and_grad(product, argnums=(0, 1))(a, b, factor=2.0)
    assert float(value) == 22.0
    assert np.asarray(by_a["x"]).tolist() == [6.0, 8.0]
    assert np.asarray(by_b).tolist() == [2.0, 4.0]
    (value, aux), gradient = keras.value_and_grad(lambda x: (x * x, "aux"), has_aux=True)(3.0)
    assert (float(value), aux, float(gradient)) == (9.0, "aux", 6.0)


def test_value_and_grad_by_variables() -> None:
    model = dense_model()
    function = keras.value_and_grad(
        lambda x: ops.mean(ops.square(model(x))), variables=model.trainable_variables
    )
    value, gradients = function(X)
    assert float(value) == pytest.approx(float(np.mean(np.square(model(X)))), rel=1e-5)
    require_derivatives(lambda: ops.mean(ops.square(model(X))), model.trainable_variables, gradients)


def test_gradients_of_gradients() -> None:
    assert float(keras.grad(keras.grad(keras.grad(lambda x: x**4)))(2.0)) == 48.0


def test_grad_within_a_layer_that_is_recorded() -> None:
    class Slope(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return keras.grad(lambda x: ops.sum(x**3))(inputs)

    model = keras.Sequential([keras.Input((4,)), Slope()])
    np.testing.assert_allclose(model.predict(X), 3 * X**2, rtol=1e-4)


# Errors.


def test_a_tape_is_used_once() -> None:
    a = keras.Variable(1.0)
    with keras.GradientTape() as tape:
        y = a * a
    tape.gradient(y, a)
    with pytest.raises(RuntimeError, match=r"persistent=True"):
        tape.gradient(y, a)


def test_targets_that_were_not_recorded() -> None:
    a = keras.Variable(1.0)
    with keras.GradientTape() as tape:
        y = float(a * a)
    with pytest.raises(TypeError, match=r"`target` must be what was computed.*got float.*end the recording"):
        tape.gradient(y, a)


def test_other_mistakes_with_tapes() -> None:
    tape = keras.GradientTape()
    with pytest.raises(ValueError, match="within the `with` block"):
        tape.watch(ops.convert_to_tensor(1.0))
    with tape:
        with pytest.raises(TypeError, match="real numbers"):
            tape.watch(np.array([1, 2]))
        with pytest.raises(TypeError, match="convert_to_tensor"):
            tape.watch("x")
        with pytest.raises(ValueError, match="recording already"), tape:
            pass
        a = keras.Variable(1.0) * 2.0
    with pytest.raises(ValueError, match="empty"):
        tape.gradient(a, [])


def test_a_layer_with_a_gradient_of_its_own_in_a_model() -> None:
    model = keras.Sequential([keras.Input((4,)), Doubled(), layers.Dense(1)])
    with keras.GradientTape() as tape:
        y = ops.sum(model(X))
    by_kernel, _ = tape.gradient(y, model.trainable_variables)
    np.testing.assert_allclose(np.asarray(by_kernel)[:, 0], 2 * X.sum(axis=0), rtol=1e-4)


def test_functions_whose_gradient_is_wanted_return_single_numbers() -> None:
    with pytest.raises(TypeError, match=r"single number, got an array of shape \(2,\)"):
        keras.grad(lambda x: x * 2.0)([1.0, 2.0])
    with pytest.raises(TypeError, match="`argnums` is 1, but the function was called with 1"):
        keras.grad(lambda x: x * 2.0, argnums=1)(1.0)


LOOPS_AND_ORDERS: dict[str, tuple[Any, Any]] = {
    "cond": (lambda x: ops.cond(ops.sum(x) > 0, lambda: x * x, lambda: x), lambda x: 2 * x),
    "switch": (lambda x: ops.switch(1, [lambda a: a, lambda a: a * a], x), lambda x: 2 * x),
    "fori_loop": (lambda x: ops.fori_loop(0, 3, lambda _, a: a * x, x), lambda x: 4 * x**3),
    "while_loop": (
        lambda x: ops.while_loop(lambda a: ops.sum(a) < 50, lambda a: a * x, x),
        lambda x: 4 * x**3,
    ),
    "scan": (lambda x: ops.scan(lambda c, a: (c + a * a, c * a), 0.0, x)[0], lambda x: 2 * x),
    "scanned results": (
        lambda x: ops.scan(lambda c, a: (c + a, c * a), 0.0, x)[1],
        lambda x: np.sum(x) - x,
    ),
    "map": (lambda x: ops.map(lambda a: a * a, x), lambda x: 2 * x),
    "map of a dict": (lambda x: ops.map(lambda a: a["u"] * a["v"], {"u": x, "v": x})[0], lambda x: [2 * x[0], 0]),
    "vectorized_map": (lambda x: ops.vectorized_map(lambda a: a * a, x), lambda x: 2 * x),
    "associative_scan": (lambda x: ops.associative_scan(lambda a, b: a + b, x), lambda _: [2, 1]),
    "sort": (lambda x: ops.sort(-x) * [1.0, 2.0], lambda _: [-2, -1]),
    "np.sort": (lambda x: np.sort(-x) * np.float32([1, 2]), lambda _: [-2, -1]),
    "median": (ops.median, lambda _: [0.5, 0.5]),
    "quantile": (lambda x: ops.quantile(x, [0.25, 1.0]), lambda _: [0.75, 1.25]),
    "cumprod": (ops.cumprod, lambda x: [1 + x[1], x[0]]),
    "trapezoid": (ops.trapezoid, lambda _: [0.5, 0.5]),
    "kron": (lambda x: ops.kron(x, x), lambda x: [2 * np.sum(x)] * 2),
    "nanmean": (lambda x: ops.nanmean(ops.where(x > 2.5, np.nan, x * x)), lambda x: [2 * x[0], 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS_AND_ORDERS)
def test_derivatives_go_through(name: str) -> None:
    """Functions of functions, and those that depend on the order of numbers."""
    function, slope = LOOPS_AND_ORDERS[name]
    x = np.float32([2, 3])
    value, gradient = keras.value_and_grad(lambda x: ops.sum(function(x)))(x)
    np.testing.assert_allclose(value, np.sum(function(x)), rtol=1e-6)
    np.testing.assert_allclose(gradient, slope(x), rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        ops.eig,
        ops.unique,
        ops.view_as_complex,
        np.linalg.eig,
        np.linalg.cond,
        np.unique,
        np.unwrap,
        np.modf,
        np.logaddexp.reduce,
        lambda x: np.partition(x, 1),
        lambda x: np.copyto(np.zeros((2, 2)), x),
    ],
)
def test_a_function_without_a_rule_is_refused_within_a_tape(function: Any) -> None:
    """Its result would be a constant for the tape, so that the derivative were wrong in silence."""
    x = keras.Variable([[2.0, 1.0], [1.0, 3.0]])
    array = ops.convert_to_tensor(x.value)
    message = r"test_tape.py:\d+: `[\w.]+` has no rule for derivatives, which a gradient tape would need.*: compute it of numbers, "
    with keras.GradientTape(), pytest.raises(TypeError, match=message):
        function(x * 1.0)
    with keras.GradientTape() as tape:
        tape.watch(array)
        with pytest.raises(TypeError, match=message):
            function(array)
    with keras.GradientTape(), pytest.raises(TypeError, match=message):
        function(x)
    with pytest.raises(TypeError, match=message):
        keras.grad(lambda a: ops.sum(a) + ops.sum(function(a)))(array)
    with keras.GradientTape(watch_accessed_variables=False) as tape:  # which asks for no derivative by x
        tape.watch(array)
        function(x * 1.0)
        function(ops.stop_gradient(array))
        function(np.asarray(x))


def test_functions_of_numbers_are_constants_for_a_tape() -> None:
    x = keras.Variable([[2.0, 1.0], [1.0, 3.0]])
    with keras.GradientTape() as tape:
        loss = ops.sum(x * ops.prod(ops.eig((x * 1.0).numpy())[0].real))
    np.testing.assert_allclose(tape.gradient(loss, x), np.full((2, 2), 5.0), rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        np.argwhere,
        np.flatnonzero,
        np.nonzero,
        np.iscomplexobj,
        np.array_repr,
        ops.nonzero,
        lambda x: np.array_equal(x, x),
        np.lexsort,
        lambda x: np.unique(x > 1.5),
        lambda x: np.partition(ops.argsort(x), 1),
    ],
)
def test_functions_whose_results_are_constant_are_computed_within_a_tape(function: Any) -> None:
    """Integers, booleans and texts are the same for all numbers nearby, as draws are."""
    x = np.float32([[2.0, 1.0], [1.5, 3.0]])
    expected = (
        function(x)
        if "random" not in repr(function.__code__.co_names if hasattr(function, "__code__") else "")
        else None
    )
    with keras.GradientTape() as tape:
        variable = keras.Variable(x)
        found = function(variable * 1.0)
        loss = ops.sum(variable * 2.0)
    if expected is not None:
        assert repr(found) == repr(expected)
    np.testing.assert_array_equal(tape.gradient(loss, variable), np.full((2, 2), 2.0))


def test_vectorize_is_refused_within_a_tape() -> None:
    with pytest.raises(TypeError, match=r"vectorize\(\) calls .* use ops.vectorized_map"):
        keras.value_and_grad(lambda x: ops.sum(ops.vectorize(lambda a: a * a)(x)))(np.float32([1, 2]))


def test_arrays_that_are_changed_in_place_become_recorded() -> None:
    """`total += recorded` makes `total` the recorded sum, as with tensors of Keras; the array of NumPy stays as it was."""
    weight = keras.Variable([2.0, 3.0])
    zeros = total = np.zeros(2, np.float32)
    labels = ops.ones((2,))
    with keras.GradientTape() as tape:
        total += weight * 2.0
        total *= weight
        labels -= total
        loss = ops.sum(labels)
    np.testing.assert_allclose(tape.gradient(loss, weight), [-8.0, -12.0])
    np.testing.assert_array_equal(zeros, [0.0, 0.0])


def test_layers_and_models_are_called_on_variables() -> None:
    """As scripts do that look for an input which a network likes."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    image = keras.Variable(np.ones((2, 3), np.float32))
    optimizer = keras.optimizers.SGD(0.1)
    scores = []
    for _ in range(3):
        with keras.GradientTape() as tape:
            loss = -ops.sum(model(image))
        optimizer.apply_gradients([(tape.gradient(loss, image), image)])
        scores.append(-float(loss))
    assert scores[0] < scores[1] < scores[2]
    np.testing.assert_allclose(model(image), model.predict(np.asarray(image), verbose=0), rtol=1e-6)

    @keras.function
    def climb() -> None:
        with keras.GradientTape() as tape:
            loss = -ops.sum(model(image))
        optimizer.apply_gradients([(tape.gradient(loss, image), image)])

    climb()
    assert float(ops.sum(model(image))) > scores[2]
    assert climb.refusal is None


@pytest.mark.parametrize("function", [np.squeeze, np.ravel, lambda x: np.reshape(x, 3)])
def test_functions_that_take_the_numbers_out_of_a_batch_of_one(function: Any) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    x = np.ones((1, 4), np.float32)
    with keras.GradientTape(persistent=True) as tape:
        outputs = model(x)
        probabilities = function(outputs)
        action = np.random.choice(3, p=probabilities)  # noqa: NPY002 # as scripts have it
        found = [
            keras.ops.log(probabilities[action]),
            np.sum(probabilities[:2] ** 2),
            (2 * probabilities)[1],
            keras.ops.sum(probabilities * probabilities),
        ]
        expected = [
            keras.ops.log(outputs[0, action]),
            keras.ops.sum(outputs[0, :2] ** 2),
            2 * outputs[0, 1],
            keras.ops.sum(outputs * outputs),
        ]
    assert isinstance(probabilities, np.ndarray)
    weights = model.trainable_weights
    for one, other in zip(found, expected, strict=True):
        assert_all_equal(tape.gradient(one, weights), tape.gradient(other, weights))


def test_derivatives_of_a_target_that_was_printed() -> None:
    x = ops.convert_to_tensor(X)
    for persistent in (False, True):
        for method, shape in (("jacobian", (6, 4, 6, 4)), ("batch_jacobian", (6, 4, 4))):
            with keras.GradientTape(persistent=persistent) as tape:
                tape.watch(x)
                y = x * x
            assert str(y) == str(X * X)
            found = getattr(tape, method)(y, x).numpy()
            expected = np.zeros(shape, np.float32)
            for row, column in np.ndindex(6, 4):
                place = (row, column, row, column) if method == "jacobian" else (row, column, column)
                expected[place] = 2 * X[row, column]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            if not persistent:
                with pytest.raises(RuntimeError, match="isn't persistent"):
                    tape.gradient(y, x)


def test_variables_that_a_tape_has_watched() -> None:
    variable, constant = keras.Variable([1.0, 2.0]), keras.Variable(3.0, trainable=False)
    layer = Scaled()
    layer(X)
    with keras.GradientTape() as tape:
        tape.watch(constant)
        ops.sum(variable * constant) + ops.sum(layer(X))
    watched = tape.watched_variables()
    assert [each is variable or each is constant for each in watched] == [True, True, False]
    assert watched[2].path == layer.scale.path


def test_derivatives_go_on_through_what_was_recorded_before_a_weight_was_assigned() -> None:
    weight = keras.Variable(np.array([2.0, 3.0], "float32"))
    with keras.GradientTape(persistent=True) as tape:
        squares = weight * weight
        weight.assign(squares)  # to 4 and 9
        products = weight * squares
        weight.assign_add([1.0, 1.0])
        outputs = products * weight
        loss = ops.sum(outputs)
    # Each reading of the weight counts: that of 2, of 4 and of 5, and what was assigned is no function of it.
    first = np.array([4 * 4 + 5 * 4 + 5 * 4 * 2 * 2, 9 * 9 + 10 * 9 + 10 * 9 * 2 * 3])
    np.testing.assert_array_equal(tape.gradient(loss, weight), first)
    np.testing.assert_array_equal(tape.gradient([squares, loss], [weight])[0], first + np.array([4, 6]))
    np.testing.assert_array_equal(tape.gradient(squares, weight), [4, 6])
    np.testing.assert_array_equal(tape.jacobian(outputs, weight), np.diag(first))


def test_a_step_that_assigns_a_trained_weight_of_a_layer_keeps_the_gradient_of_what_came_before() -> None:
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    x = np.array([[1.0, 2.0]], "float32")
    layer.build((None, 2))
    with keras.GradientTape() as tape:
        before = layer(x)
        layer.kernel.assign([[3.0], [3.0]])
        loss = ops.sum(before * layer(x))
    # The outputs are 3 and 9.
    np.testing.assert_array_equal(tape.gradient(loss, layer.kernel), x.T * 9 + x.T * 3)


NORMALIZATIONS: dict[str, Callable[[], Any]] = {
    "batch": layers.BatchNormalization,
    "rows": layers.LayerNormalization,
    "mean squares": layers.RMSNormalization,
    "unit": layers.UnitNormalization,
}


@pytest.mark.parametrize("compiled", [False, True], ids=["tape", "function"])
@pytest.mark.parametrize("units", [1, 2, 9])
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalizations_of_every_width_have_the_gradient_of_fit(
    name: str, units: int, compiled: bool
) -> None:
    """Single numbers lie in memory in another way than rows."""
    inputs = keras.Input((4,))
    hidden = NORMALIZATIONS[name]()(layers.Dense(units, use_bias=False)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(hidden))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = [np.array(w) for w in model.trainable_variables]

    def gradients(x: Any, y: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x, training=True) - y))
        return tape.gradient(loss, model.trainable_variables)

    found = (keras.function(gradients) if compiled else gradients)(X, Y)
    model.train_on_batch(X, Y)
    for one, weight, old in zip(found, model.trainable_variables, before, strict=True):
        np.testing.assert_allclose(one, old - np.array(weight), rtol=1e-4, atol=2e-6)


def test_a_step_leaves_nothing_to_the_garbage_collector() -> None:
    model, optimizer = dense_model(), keras.optimizers.SGD(0.1)

    def step() -> None:
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(model(X, training=True) - Y))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    step()
    gc.collect()
    gc.disable()
    try:
        step()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_numbers_of_formulas_may_change_their_sign_alone() -> None:
    x = np.ones(2, np.float32)

    def infinity(number: float) -> float:
        with keras.GradientTape() as tape:
            tape.watch(x)
            return float(ops.sum(1.0 / ops.multiply(x, number)))

    assert [infinity(number) for number in (0.0, -0.0, 0.0)] == [np.inf, -np.inf, np.inf]


class Repeated(layers.Layer):
    """Returns its input several times, side by side."""

    times = 1

    def call(self, x: Any) -> Any:
        return ops.concatenate([x] * self.times, axis=-1)


def test_a_later_call_of_a_changed_layer_has_other_shapes() -> None:
    layer = Repeated()
    for times, rows in ((1, 6), (3, 6), (3, 2), (2, 2)):
        layer.times = times
        for _ in range(2):
            with keras.GradientTape():
                assert layer(X[:rows]).shape == (rows, 4 * times)


def test_a_later_call_changes_the_averages_if_the_layer_trains_then() -> None:
    layer = layers.BatchNormalization()

    def mean_after(training: bool) -> Any:
        with keras.GradientTape():
            layer(X, training=training)
        return np.array(layer.moving_mean)

    first, again = mean_after(True), mean_after(True)
    assert (first != again).all()
    np.testing.assert_array_equal(mean_after(False), again)
    layer.trainable = False
    np.testing.assert_array_equal(mean_after(True), again)
    layer.trainable = True
    assert (mean_after(True) != again).all()


def test_calls_of_many_batch_sizes_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_MOST_CALLS_OF_PART", 3)
    model = dense_model()
    for rows in (*range(1, 6), 2, 2):
        with keras.GradientTape():
            y = model(X[:rows])
        assert y.shape == (rows, 2)
        assert len(functions._part_calls[model]) <= 3
        np.testing.assert_allclose(y, model.predict(X[:rows], verbose=0), rtol=1e-5, atol=1e-6)
