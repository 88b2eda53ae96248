"""Gradients that users write: `ops.custom_gradient`, and layers with a method `gradient` on tapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import OwnStep
from reference_activations import FORMULAS

import engine as keras
from engine import layers, ops

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


@ops.custom_gradient
def rounded(x: Any) -> Any:
    return ops.round(x), lambda upstream: upstream


@ops.custom_gradient
def clipped(x: Any) -> Any:
    """The identity, whose gradient stays between -0.1 and 0.1."""
    return x, lambda upstream: ops.clip(upstream, -0.1, 0.1)


@ops.custom_gradient
def product(x: Any, w: Any) -> Any:
    def gradient(upstream: Any) -> Any:
        return 2.0 * ops.matmul(upstream, ops.transpose(w)), 3.0 * ops.matmul(ops.transpose(x), upstream)

    return ops.matmul(x, w), gradient


def test_arrays_are_computed_at_once() -> None:
    np.testing.assert_array_equal(rounded(np.float32([0.4, 1.6])), [0.0, 2.0])


@pytest.mark.parametrize("recorded", [False, True])
def test_gradients_of_functions(recorded: bool) -> None:
    def loss(x: Any) -> Any:
        return ops.sum(rounded(x) ** 2) + ops.sum(5.0 * clipped(x))

    found = keras.grad(loss)(X)
    if recorded:
        found = keras.grad(lambda x: ops.sum(keras.grad(loss)(x) * X))(X)
        np.testing.assert_allclose(found, 2 * X, rtol=1e-6)
        return
    np.testing.assert_allclose(found, 2 * np.round(X) + 0.1, rtol=1e-6)


def test_a_tape_reads_it_with_weights() -> None:
    w = keras.Variable(np.ones((3, 2), "float32"))
    x = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(product(x, w))
    by_x, by_w = tape.gradient(y, [x, w])
    np.testing.assert_allclose(by_x, np.full((6, 3), 4.0), rtol=1e-6)
    np.testing.assert_allclose(by_w, 3 * np.repeat(X.sum(0)[:, None], 2, 1), rtol=1e-5)


class Product(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(input_shape[-1], 2), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return product(inputs, self.w)


def test_layers_and_functional_models_train_by_it() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Product()(clipped(inputs)))
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y_true, y_pred: ops.sum(y_pred))
    model.fit(X, np.zeros((6, 1)), batch_size=6, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], 1 - 3 * np.repeat(X.sum(0)[:, None], 2, 1), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ model.get_weights()[0], rtol=1e-5)


def test_losses_train_by_it() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_initializer="ones", use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y_true, y_pred: ops.sum(rounded(y_pred) * 2.0))
    model.fit(X, np.zeros((6, 1)), batch_size=6, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], 1 - 2 * X.sum(0), rtol=1e-5)


def test_mistakes() -> None:
    @ops.custom_gradient
    def two(x: Any) -> Any:
        return x, lambda upstream: (upstream, upstream)

    @ops.custom_gradient
    def pair(x: Any) -> Any:
        return (x, x), lambda *upstream: upstream

    with pytest.raises(TypeError, match="one array for each of 1 arguments, got 2"):
        keras.grad(lambda x: ops.sum(two(x)))(X)
    with pytest.raises(TypeError, match="must return one array and its gradient"):
        keras.grad(lambda x: ops.sum(pair(x)[0]))(X)


class Sign(layers.Layer):
    """-1 or 1, with the gradient of the identity times a weight."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return ops.sign(inputs) * self.scale

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * 7.0, ops.sum(upstream) * 2.0


@pytest.mark.parametrize("within", [False, True])
def test_tapes_take_gradients_of_layers_that_are_written_by_hand(within: bool) -> None:
    layer = Sign()
    model = keras.Sequential([keras.Input((3,)), layer]) if within else layer
    x = ops.convert_to_tensor(X)
    model(x)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(model(x))
    by_x, by_scale = tape.gradient(y, [x, model.trainable_variables[0]])
    np.testing.assert_allclose(y, np.sign(X).sum())
    np.testing.assert_allclose(by_x, np.full((6, 3), 7.0))
    np.testing.assert_allclose(by_scale, 36.0)


class OfArrays(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return np.where(np.asarray(inputs) < 0, -1.0, 1.0)

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return np.asarray(upstream) * (np.abs(inputs) <= 1)


def test_what_only_arrays_can_compute_is_refused_with_the_name_of_the_layer() -> None:
    model = keras.Sequential([keras.Input((3,)), OfArrays(name="arrays")])
    with keras.GradientTape(), pytest.raises(TypeError, match=r"'arrays'.*keras\.ops"):
        model(X)


class Clipped(keras.losses.Loss):
    """The mean of squares, whose gradient stays between -1 and 1."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_pred - y_true), axis=-1)

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        return np.clip(2 * (y_pred - y_true), -1.0, 1.0) / y_pred.shape[-1]


def clipped_squares(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_pred - y_true), axis=-1)


clipped_squares.gradient = Clipped().gradient  # type: ignore[attr-defined] # as users write it

TARGETS = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")


@pytest.mark.parametrize("weights", [None, np.arange(6, dtype=np.float32)])
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "none"])
def test_tapes_take_gradients_of_losses_that_are_written_by_hand(reduction: str, weights: Any) -> None:
    loss, x = Clipped(reduction=reduction), ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        value = ops.sum(loss(TARGETS, x, weights))
    expected = np.clip(2 * (X - TARGETS), -1, 1) / 3 * (1.0 if weights is None else weights[:, np.newaxis])
    np.testing.assert_allclose(
        tape.gradient(value, x), expected / (6 if reduction == "sum_over_batch_size" else 1), rtol=1e-5
    )
    assert float(value) == pytest.approx(float(np.sum(loss(TARGETS, X, weights))), rel=1e-5)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("loss", [Clipped(), clipped_squares], ids=["class", "function"])
def test_steps_of_ones_own_train_by_gradients_of_losses(loss: Any, eagerly: bool) -> None:
    found = []
    for kind in (keras.Model, OwnStep):
        keras.utils.set_random_seed(3)
        inputs = keras.Input((3,))
        model = kind(inputs, layers.Dense(3)(inputs))
        model.compile(keras.optimizers.SGD(0.5), loss, run_eagerly=eagerly and kind is OwnStep)
        model.fit(X, 5 * TARGETS, epochs=2, batch_size=3, shuffle=False, verbose=0)
        found.append(model.get_weights()[0])
        assert kind is keras.Model or not model._eager_steps
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_a_gradient_of_a_loss_has_the_shape_of_the_predictions() -> None:
    class Flat(Clipped):
        def gradient(self, y_true: Any, y_pred: Any) -> Any:
            return y_pred[:, 0]

    x = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        with pytest.raises(
            ValueError,
            match=r"loss 'flat' must have the shape .* \(6, 3\), got \(6,\)",
        ):
            Flat()(TARGETS, x)


def test_gradients_of_losses_that_only_arrays_can_compute() -> None:
    """They are constants for a tape that knows the numbers, and a step that is recorded runs in Python."""

    class Signs(Clipped):
        def gradient(self, y_true: Any, y_pred: Any) -> Any:
            return np.where(np.asarray(y_pred) > np.asarray(y_true), 1.0, -1.0)

    x = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        value = Signs(reduction="sum")(TARGETS, x)
    np.testing.assert_array_equal(tape.gradient(value, x), np.sign(X - TARGETS))


# Derivatives of derivatives.


def slope_of(network: Any, x: Any) -> Any:
    """The derivative by `x` of the squared norm of the derivative of a network, by central differences."""

    def norm(x: Any) -> float:
        return float(np.sum(np.square(keras.grad(lambda x: ops.sum(network(x) ** 3))(x))))

    found = np.zeros_like(x)
    step = 3e-3
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        found[place] = (norm(x + moved) - norm(x - moved)) / (2 * step)
    return found


@pytest.mark.parametrize(
    "normalization",
    [
        lambda: layers.LayerNormalization(gamma_initializer=keras.initializers.Constant(0.7)),
        layers.RMSNormalization,
        layers.BatchNormalization,
    ],
)
def test_second_derivatives_of_layers(normalization: Any) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, activation="tanh"), normalization(), layers.Dense(2)]
    )
    found = keras.grad(lambda x: ops.sum(ops.square(keras.grad(lambda x: ops.sum(model(x) ** 3))(x))))(X)
    np.testing.assert_allclose(found, slope_of(model, X), rtol=2e-2, atol=2e-2)


def differences(function: Any, x: Any) -> Any:
    """The derivative of a function of float64 arrays, by central differences."""
    found, step = np.zeros(np.shape(x)), 1e-5
    for place in np.ndindex(*np.shape(x)):
        moved = np.zeros(np.shape(x))
        moved[place] = step
        found[place] = (function(x + moved) - function(x - moved)) / (2 * step)
    return found


# Activations that Keras names, with the constants that they have by default.
NAMED = sorted(FORMULAS.keys() - {"linear", "gelu_tanh", "general_relu", "threshold"})


@pytest.mark.parametrize("name", NAMED)
def test_second_derivatives_of_activations_of_layers(name: str) -> None:
    """Those of straight lines are 0, and no other one is."""
    slope, constants = FORMULAS[name].slope, FORMULAS[name].constants[0]
    x = np.float32([[-6.5, -3.7, -2.2, -1.3, -0.7, -0.3], [0.2, 0.4, 0.8, 1.7, 2.6, 4.5]])
    model = keras.Sequential([keras.Input((6,)), layers.Activation(name)])
    found = keras.grad(lambda x: ops.sum(keras.grad(lambda x: ops.sum(model(x)))(x)))(x)
    wide, step = x.astype(np.float64), 1e-6
    wanted = (slope(wide + step, *constants) - slope(wide - step, *constants)) / (2 * step)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-6)


def others(x: Any, axes: tuple[int, ...]) -> Any:
    """For each number the product of all others along some axes."""
    found = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        kept = tuple(slice(None) if axis in axes else place[axis] for axis in range(x.ndim))
        rest = x.copy()
        rest[place] = 1.0
        found[place] = rest[kept].prod()
    return found


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
@pytest.mark.parametrize("axes", [(1,), (0,), (0, 2), (1, 2), (0, 1, 2), (-1,)])
def test_second_derivatives_of_products(axes: tuple[int, ...], zeros: int) -> None:
    """Also where factors are 0: two of them leave a second derivative, three none."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0.5, 1.5, (2, 4, 3)) * rng.choice([-1.0, 1.0], (2, 4, 3))
    x[0, :zeros, 0] = 0.0
    factor, upstream = rng.normal(size=x.shape), rng.normal(size=x.shape)
    own = tuple(axis % 3 for axis in axes)

    def norm(x: Any) -> Any:
        total = np.prod(x, axis=own, keepdims=True)
        return np.sum(factor * (3 * total**2 + upstream.mean(own, keepdims=True)) * others(x, own))

    def loss(x: Any) -> Any:
        total = ops.prod(x, axis=axes, keepdims=True)
        return ops.sum(total**3 + total * np.float32(upstream.mean(own, keepdims=True)))

    found = keras.grad(lambda x: ops.sum(np.float32(factor) * keras.grad(loss)(x)))(np.float32(x))
    expected = differences(norm, x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_second_derivatives_of_embeddings() -> None:
    """The gradient by the table is linear in the incoming gradient, which depends on the table here."""
    tokens = np.array([[0, 2], [2, 2], [4, 1]])
    embedding = layers.Embedding(5, 3)
    embedding(tokens)
    table = np.random.default_rng(4).normal(size=(5, 3))
    embedding.set_weights([table])

    def slope(table: Any) -> Any:
        found = np.zeros_like(table)
        np.add.at(found, tokens, 3 * table[tokens] ** 2)
        return found

    def penalty() -> Any:
        _, (slope,) = keras.value_and_grad(
            lambda: ops.sum(embedding(tokens) ** 3), variables=embedding.trainable_variables
        )()
        return ops.sum(slope**2)

    value, (found,) = keras.value_and_grad(penalty, variables=embedding.trainable_variables)()
    expected = differences(lambda table: np.sum(slope(table) ** 2), table)
    np.testing.assert_allclose(value, np.sum(slope(table) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_second_derivatives_of_embeddings_in_a_linear_loss_are_zero() -> None:
    embedding = layers.Embedding(5, 3)
    embedding(np.arange(3))
    with keras.GradientTape() as outer:
        with keras.GradientTape() as inner:
            loss = ops.sum(embedding(np.arange(3)))
        total = ops.sum(inner.gradient(loss, embedding.trainable_variables)[0] ** 2)
    assert float(total) == 9.0
    found = outer.gradient(total, embedding.trainable_variables)[0]
    np.testing.assert_array_equal(0.0 if found is None else found, 0.0)


@pytest.mark.parametrize("shared", [None, [1]])
def test_second_derivatives_of_prelu(shared: Any) -> None:
    """By the inputs, and by the slopes through both gradients."""
    rng = np.random.default_rng(5)
    shape = (5, 3) if shared is None else (5, 2, 3)
    x = rng.uniform(0.3, 1.0, shape) * rng.choice([-1.0, 1.0], shape)
    layer = layers.PReLU(shared_axes=shared)
    layer(np.float32(x))
    alpha = rng.uniform(0.1, 0.5, layer.get_weights()[0].shape)
    layer.set_weights([alpha])

    def slopes(x: Any, alpha: Any) -> Any:
        y = np.where(x < 0, alpha * x, x)
        upstream = 3 * y**2
        by_alpha = np.where(x < 0, upstream * x, 0.0)
        axes = (0,) if shared is None else (0, 1)
        return upstream * np.where(x < 0, alpha, 1.0), by_alpha.sum(axes)

    def norm(x: Any, alpha: Any) -> Any:
        by_x, by_alpha = slopes(x, alpha)
        return np.sum(by_x**2) + np.sum(by_alpha**2)

    given = ops.convert_to_tensor(np.float32(x))
    with keras.GradientTape() as outer:
        outer.watch(given)
        with keras.GradientTape() as inner:
            inner.watch(given)
            loss = ops.sum(layer(given) ** 3)
        by_x, by_alpha = inner.gradient(loss, [given, layer.alpha])
        total = ops.sum(by_x**2) + ops.sum(by_alpha**2)
    found_x, found_alpha = outer.gradient(total, [given, layer.alpha])
    np.testing.assert_allclose(total, norm(x, alpha), rtol=1e-4)
    np.testing.assert_allclose(found_x, differences(lambda x: norm(x, alpha), x), rtol=1e-3, atol=1e-3)
    expected = differences(lambda alpha: norm(x, alpha), alpha)
    np.testing.assert_allclose(np.reshape(found_alpha, expected.shape), expected, rtol=1e-3, atol=1e-3)


def test_second_derivatives_of_gains() -> None:
    """The gradient by gamma and beta of a normalization is linear in the incoming gradient and in what was scaled."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(5, 4))
    layer = layers.LayerNormalization()
    layer(np.float32(x))
    gamma, beta = rng.uniform(0.5, 1.5, 4), rng.normal(size=4)
    layer.set_weights([gamma, beta])

    def norm(x: Any, gamma: Any, beta: Any) -> Any:
        scaled = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + layer.epsilon)
        upstream = 3 * (gamma * scaled + beta) ** 2
        return np.sum(np.sum(upstream * scaled, axis=0) ** 2) + np.sum(np.sum(upstream, axis=0) ** 2)

    given = ops.convert_to_tensor(np.float32(x))
    with keras.GradientTape() as outer:
        outer.watch(given)
        with keras.GradientTape() as inner:
            loss = ops.sum(layer(given) ** 3)
        total = sum(ops.sum(each**2) for each in inner.gradient(loss, [layer.gamma, layer.beta]))
    found = outer.gradient(total, [given, layer.gamma, layer.beta])
    expected = [
        differences(lambda x: norm(x, gamma, beta), x),
        differences(lambda gamma: norm(x, gamma, beta), gamma),
        differences(lambda beta: norm(x, gamma, beta), beta),
    ]
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=2e-3 * np.abs(two).max())


def test_second_derivatives_of_max_pooling() -> None:
    """Rows that are equally large share the gradient, as in the first derivative."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(3, 4, 2))
    x[0, 1] = x[0, 2] = 3.0
    layer, factor = layers.GlobalMaxPooling1D(), rng.normal(size=x.shape)
    found = keras.grad(
        lambda x: ops.sum(np.float32(factor) * keras.grad(lambda x: ops.sum(layer(x) ** 3))(x))
    )(np.float32(x))
    chosen = x == x.max(1, keepdims=True)
    share = chosen / chosen.sum(1, keepdims=True)
    expected = 6 * x.max(1, keepdims=True) * share * np.sum(factor * share, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_second_derivatives_of_layers_that_move_numbers() -> None:
    rng = np.random.default_rng(8)
    x, factor = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 2))
    weights = rng.normal(size=(3, 2, 2, 8))
    permute, flatten, repeat = layers.Permute((2, 1)), layers.Flatten(), layers.RepeatVector(2)
    join = layers.Concatenate()

    def cubes(x: Any) -> Any:
        turned = flatten(permute(x))
        twice = repeat(join([turned, turned]))  # (3, 2, 16)
        return ops.sum(np.float32(weights.reshape(3, 2, 16)) * twice**3)

    found = keras.grad(lambda x: ops.sum(np.float32(factor) * keras.grad(cubes)(x)))(np.float32(x))
    of_each = weights.sum((1, 2)).reshape(3, 2, 4).transpose(0, 2, 1)
    np.testing.assert_allclose(found, 6 * of_each * x * factor, rtol=1e-4, atol=1e-4)


def test_what_has_no_second_derivative_says_so() -> None:
    x = np.float32([[0.5, -1.0, 2.0]])

    def third(x: Any) -> Any:
        second = keras.grad(
            lambda x: ops.sum(keras.grad(lambda x: ops.sum(ops.prod(x, axis=1) ** 2))(x) ** 2)
        )
        return ops.sum(second(x) ** 2)

    with pytest.raises(ValueError, match=r"the second derivative of ops\.prod has no derivative here"):
        np.asarray(keras.grad(third)(x))
