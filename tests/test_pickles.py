"""Tests of pickles and copies of models, also with custom layers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import compiled
from conftest import Blobs, classifier, same_weights

import engine as keras
from engine import layers

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


class Doubled(layers.Layer):
    """A custom layer that is not registered."""

    def call(self, inputs: Any) -> Any:
        return inputs * 2

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * 2


@pytest.fixture(params=WAYS)
def again(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Returns a function that copies a model, by a pickle or otherwise."""
    return WAYS[request.param]


def test_training_goes_on_to_the_bit(again: Callable[[Any], Any], blobs: Blobs) -> None:
    model = classifier()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(blobs.x, blobs.y, verbose=0)
    other = again(model)
    assert same_weights(model, other)
    for each in (model, other):
        keras.utils.set_random_seed(5)
        each.fit(blobs.x, blobs.y, verbose=0)
    assert same_weights(model, other)
    assert other.evaluate(blobs.x, blobs.y, verbose=0) == model.evaluate(blobs.x, blobs.y, verbose=0)
    other.set_weights([np.zeros_like(array) for array in other.get_weights()])
    assert not same_weights(model, other)


def test_models_of_every_kind(again: Callable[[Any], Any]) -> None:
    unbuilt = again(keras.Sequential([layers.Dense(3)], name="unbuilt"))
    assert (unbuilt.name, unbuilt.built) == ("unbuilt", False)
    inputs = keras.Input((3,))
    chain = keras.Model(inputs, layers.Dense(2)(Doubled()(inputs)))
    x = np.ones((2, 3), np.float32)
    other = again(chain)
    assert any(isinstance(layer, Doubled) for layer in other.layers)
    assert np.array_equal(other.predict(x), chain.predict(x))


def test_a_damaged_pickle_says_so() -> None:
    restore, (data, classes) = classifier().__reduce__()
    with pytest.raises(ValueError, match="a pickled model: this is no zip archive"):
        restore(data[:100], classes)


class OwnLoss(keras.losses.MeanSquaredError):
    pass


class OwnMetric(keras.metrics.MeanAbsoluteError):
    pass


class OwnOptimizer(keras.optimizers.SGD):
    pass


class OwnSchedule(keras.optimizers.schedules.ExponentialDecay):
    pass


class OwnPenalty(keras.regularizers.L2):
    pass


def own_metric(y_true: Any, y_pred: Any) -> Any:
    return np.mean(y_pred, axis=-1)


def own_start(shape: Any, dtype: Any = None) -> Any:
    return np.full(shape, 0.25, np.float32)


def test_what_is_compiled_may_be_of_the_user(again: Callable[[Any], Any], blobs: Blobs) -> None:
    """None of these classes and functions is registered."""
    dense = layers.Dense(1, kernel_initializer=own_start, kernel_regularizer=OwnPenalty(0.01))
    model = keras.Sequential([keras.Input((blobs.x.shape[1],)), dense])
    model.compile(
        OwnOptimizer(OwnSchedule(0.1, 10, 0.9)), OwnLoss(), metrics=[OwnMetric(name="own"), own_metric, "mse"]
    )
    model.fit(blobs.x, blobs.y, verbose=0)
    other = again(again(model))
    assert type(other.optimizer) is OwnOptimizer
    logs = [each.evaluate(blobs.x, blobs.y, verbose=0, return_dict=True) for each in (model, other)]
    assert logs[0] == logs[1]
    assert set(logs[0]) == {"own", "own_metric", "mse", "loss"}


def test_functions_within_functions_do_not_hinder_a_pickle(again: Callable[[Any], Any]) -> None:
    def local(x: Any) -> Any:
        return x

    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.layers[0].kept = [local, lambda x: x]
    assert again(model).built


class Scale(layers.Layer):
    """Has variables in lists, weights, and a layer within."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = keras.Variable([1.0, 2.0])
        self.again = [self.factor]
        self.inner = layers.Dense(2, activation=layers.PReLU())

    def build(self, input_shape: Any) -> None:
        self.shift = self.add_weight(shape=(2,), initializer="ones")
        self.inner.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs * self.factor + self.shift)


SAMPLES = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)


@pytest.mark.parametrize("in_model", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    "make", [Scale, lambda: layers.Dense(2, "relu"), layers.BatchNormalization, layers.PReLU, Doubled]
)
def test_layers_with_weights(
    again: Callable[[Any], Any], make: Callable[[], Any], in_model: bool, recorded: bool
) -> None:
    layer = make()
    if in_model:
        model = compiled(keras.Sequential([keras.Input((2,)), layer]), "sgd", "mse")
        model.fit(SAMPLES, SAMPLES, verbose=0)
    if recorded:
        with keras.GradientTape() as tape:
            total = keras.ops.sum(layer(SAMPLES))
        if layer.trainable_variables:
            tape.gradient(total, layer.trainable_variables[0])
    before = np.array(layer(SAMPLES))
    copied = again(layer)
    np.testing.assert_array_equal(copied(SAMPLES), before)
    assert (copied.name, len(copied.weights)) == (layer.name, len(layer.weights))
    for weight in copied.weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(layer(SAMPLES), before)
    other = compiled(keras.Sequential([keras.Input((2,)), copied]), "sgd", "mse")
    other.fit(SAMPLES, SAMPLES, verbose=0)


def test_variables_of_copied_layers(again: Callable[[Any], Any]) -> None:
    layer = Scale()
    layer(SAMPLES)
    copied = again(layer)
    assert copied.again[0] is copied.factor
    copied.factor.assign([0.0, 0.0])
    copied.shift.assign([0.0, 0.0])
    assert not np.asarray(copied(SAMPLES)).any()
    assert np.asarray(layer.factor).tolist() == [1.0, 2.0]
    assert np.asarray(layer.shift).tolist() == [1.0, 1.0]


def test_variables(again: Callable[[Any], Any]) -> None:
    variable = keras.Variable([1.0, 2.0], name="mine", trainable=True)
    for step in range(2):
        copied = again(variable)
        assert (copied.name, copied.trainable) == ("mine", True)
        copied.assign([5.0, 6.0])
        np.testing.assert_allclose(variable, [1.0 - 0.5 * step, 2.0 - 0.5 * step])
        keras.optimizers.SGD(0.5).apply([np.ones(2)], [variable])
    keras.optimizers.SGD(0.5).apply([np.ones(2)], [copied])
    np.testing.assert_allclose(copied, [4.5, 5.5])
    counts = again(keras.Variable([3], dtype="int32"))
    assert (counts.dtype, int(counts[0])) == (np.int32, 3)


def test_optimizers(again: Callable[[Any], Any], blobs: Blobs) -> None:
    model = classifier(optimizer=keras.optimizers.Adam(0.25, clipnorm=1.0))
    model.fit(blobs.x, blobs.y, verbose=0)
    variable, optimizer = keras.Variable([1.0, 2.0]), keras.optimizers.Adam(0.25)
    optimizer.apply([np.ones(2)], [variable])
    for each in (model.optimizer, optimizer, keras.optimizers.LossScaleOptimizer(optimizer)):
        copied = again(each)
        assert copied.get_config() == each.get_config()
        assert int(copied.iterations) == 0
        stepped = keras.Variable([1.0, 2.0])
        copied.apply([np.ones(2) * copied.scale_loss(1.0)], [stepped])
        np.testing.assert_allclose(stepped, [0.75, 1.75], rtol=1e-5)
    assert int(optimizer.iterations) == 1
