"""Compares penalties on outputs, `add_loss`, `Lambda` and custom activations with Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from conftest import with_gradient
from numpy.typing import NDArray
from twins import assert_same_histories, twins

import engine

Array = NDArray[Any]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype(np.float32)
Y = RNG.normal(size=(24, 3)).astype(np.float32)


def numpy_of(api: Any) -> Any:
    return keras.ops if api is keras else np


def quartic(api: Any) -> Any:
    """Returns a custom penalty, as a class."""
    ops = numpy_of(api)

    class Quartic(api.regularizers.Regularizer):  # type: ignore[misc] # of either library
        def __call__(self, x: Any) -> Any:
            return 0.05 * ops.sum(x**4)

        def gradient(self, x: Any) -> Any:
            return 0.2 * x**3

    return Quartic()


def function(api: Any) -> Any:
    """Returns a custom penalty, as a function."""
    ops = numpy_of(api)

    @with_gradient(lambda x: 0.2 * x)
    def penalty(x: Any) -> Any:
        return 0.1 * ops.sum(ops.square(x))

    return penalty


PENALTIES = {
    "l1": lambda api: "l1",
    "l1_l2": lambda api: api.regularizers.L1L2(0.01, 0.02),
    "rows": lambda api: api.regularizers.OrthogonalRegularizer(0.3),
    "columns": lambda api: api.regularizers.OrthogonalRegularizer(0.3, "columns"),
    "class": quartic,
    "function": function,
}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_penalties_on_outputs(penalty: str, optimizer: str) -> None:
    def make(api: Any) -> Any:
        regularizer = PENALTIES[penalty](api)
        layers = [
            api.layers.Dense(5, "tanh", activity_regularizer=regularizer),
            api.layers.Dropout(0.0, activity_regularizer=regularizer),
            api.layers.Dense(3, activity_regularizer=regularizer),
        ]
        return compiled(api.Sequential([api.Input((6,)), *layers]), optimizer, "mse", metrics=["mae"])

    pair = twins(make)
    assert_same_histories(
        *pair.fit(X, Y, batch_size=8, epochs=3, validation_data=(X[:10], Y[:10])), rtol=2e-5
    )
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    pair.assert_same_outputs(X, rtol=1e-4, atol=1e-5)


def test_penalties_on_outputs_with_several_axes() -> None:
    def make(api: Any) -> Any:
        layers = [api.layers.Reshape((3, 2)), api.layers.Dense(4, activity_regularizer=quartic(api))]
        model = api.Sequential([api.Input((6,)), *layers, api.layers.Flatten(), api.layers.Dense(3)])
        return compiled(model, "sgd", "mse")

    pair = twins(make)
    assert_same_histories(*pair.fit(X, Y, batch_size=8, epochs=3), rtol=2e-5)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def adding(api: Any) -> Any:
    ops = numpy_of(api)

    class Adding(api.layers.Layer):  # type: ignore[misc] # of whichever library
        def call(self, inputs: Any) -> Any:
            self.add_loss(0.01 * ops.sum(ops.square(inputs)))
            return 2 * inputs

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            return 2 * upstream + 0.02 * inputs

    return Adding()


def test_add_loss() -> None:
    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input((6,)), api.layers.Dense(5, "tanh"), adding(api), api.layers.Dense(3)]
        )
        return compiled(model, "sgd", "mse", metrics=["mse"])

    pair = twins(make)
    assert_same_histories(
        *pair.fit(X, Y, batch_size=8, epochs=3, validation_data=(X[:10], Y[:10])), rtol=2e-5
    )
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    layer = adding(engine)
    layer(np.ones((2, 3), np.float32))
    assert layer.losses == [pytest.approx(0.06)]
    with pytest.raises(ValueError, match="must be a single number"):
        layer.add_loss("much")


def test_losses_of_a_layer() -> None:
    found = []
    for api in (keras, engine):
        layer = api.layers.Dense(2, kernel_regularizer="l2", bias_regularizer="l1", kernel_initializer="ones")
        layer(np.ones((2, 3), np.float32))
        found.append([float(loss) for loss in layer.losses])
    assert found[1] == pytest.approx(found[0])


def test_losses_of_layers_within_layers() -> None:
    """As in Keras' guide to subclasses: the losses of an outer layer are those of its inner ones, anew in each call."""
    found = []
    for api in (keras, engine):

        class Inner(api.layers.Layer):  # type: ignore[misc,name-defined] # the package is an argument
            def call(self, inputs: Any) -> Any:
                self.add_loss(0.5 * self.ops.mean(inputs))
                return inputs

        class Outer(api.layers.Layer):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.inner = Inner()
                self.inner.ops = self.api.ops
                self.dense = self.api.layers.Dense(2, kernel_regularizer="l2", kernel_initializer="ones")

            def call(self, inputs: Any) -> Any:
                return self.dense(self.inner(inputs))

        Outer.api = api
        layer = Outer()
        counts = [len(layer.losses)]
        for _ in range(2):
            layer(np.ones((2, 3), np.float32))
            counts.append(len(layer.losses))
        found.append((counts, [float(loss) for loss in layer.losses]))
    assert found[1][0] == found[0][0]
    assert found[1][1] == pytest.approx(found[0][1])


def test_weights_are_those_that_the_layer_has() -> None:
    for api in (keras, engine):

        class Linear(api.layers.Layer):  # type: ignore[misc,name-defined] # the package is an argument
            def __init__(self) -> None:
                super().__init__()
                self.w = self.add_weight(shape=(3, 2), initializer="ones")
                self.b = self.add_weight(shape=(2,), initializer="zeros")

        layer, other = Linear(), Linear()
        assert layer.weights == [layer.w, layer.b]
        assert layer.weights[0] is not other.w


def swish(api: Any) -> Any:
    ops = numpy_of(api)

    def gradient(x: Any, upstream: Any) -> Any:
        share = 1 / (1 + np.exp(-x))
        return upstream * 1.5 * (share + x * share * (1 - share))

    @with_gradient(gradient)
    def scaled_swish(x: Any) -> Any:
        return 1.5 * x / (1 + ops.exp(-x))

    return scaled_swish


@pytest.mark.parametrize("how", ["dense", "activation", "lambda"])
def test_functions_of_ones_own(how: str) -> None:
    def make(api: Any) -> Any:
        layers = {
            "dense": lambda f: [api.layers.Dense(5, activation=f)],
            "activation": lambda f: [api.layers.Dense(5), api.layers.Activation(f)],
            "lambda": lambda f: [api.layers.Dense(5), api.layers.Lambda(f)],
        }[how](swish(api))
        return compiled(api.Sequential([api.Input((6,)), *layers, api.layers.Dense(3)]), "sgd", "mse")

    pair = twins(make)
    assert_same_histories(*pair.fit(X, Y, batch_size=8, epochs=3), rtol=2e-5)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    pair.assert_same_outputs(X, rtol=1e-4, atol=1e-5)


def test_glu_halves_the_units() -> None:
    def make(api: Any) -> Any:
        # Keras assumes that an Activation does not change the shape.
        of_keras = keras.layers.Lambda(keras.activations.glu, output_shape=(4,))
        glu = of_keras if api is keras else api.layers.Activation("glu")
        layers = [api.layers.Dense(8), glu, api.layers.Dense(3)]
        return compiled(api.Sequential([api.Input((6,)), *layers]), "sgd", "mse")

    pair = twins(make)
    assert_same_histories(*pair.fit(X, Y, batch_size=8, epochs=3), rtol=2e-5)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_lambda_takes_shapes_arguments_and_training() -> None:
    def power(x: Any, exponent: float, training: bool = False) -> Any:
        return x**exponent if training else x**exponent + 1

    found = []
    for api in (keras, engine):
        layer = api.layers.Lambda(power, arguments={"exponent": 2})
        model = api.Sequential([api.Input((6,)), layer])
        found.append([np.asarray(model(X)), np.asarray(model(X, training=True))])
        wide = api.layers.Lambda(lambda x: x[:, :2], output_shape=(2,))
        assert api.Sequential([api.Input((6,)), wide]).output_shape == (None, 2)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    assert engine.layers.Lambda(power).get_config().keys() == keras.layers.Lambda(power).get_config().keys()
