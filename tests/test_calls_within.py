"""Layers that Python code calls with `training`, assigns to weights, and adds penalties in branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_equal, compiled

import engine as keras
from engine import layers, ops

X = np.random.default_rng(0).normal(2.0, 3.0, (32, 4)).astype("float32")
Y = X[:, :1]


class Frozen(keras.Model):
    """Batch normalization, and dropout within layers and models, that are always called as in predictions."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.block = keras.Sequential([layers.Dropout(0.9), layers.GaussianNoise(0.9)])
        self.inner = Inner()

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.inner(self.block(self.norm(inputs, training=False), training=False), training=False)


class Inner(layers.Layer):
    """As in Keras, its dropout has the argument `training` of the call around it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = layers.Dropout(0.9)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.drop(inputs) + (100.0 if training else 0.0)


def test_a_layer_called_with_training_false_predicts_in_training() -> None:
    model = Frozen()
    model(X)
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    loss = model.fit(X, X, batch_size=8, verbose=0).history["loss"][0]
    np.testing.assert_allclose(loss, np.mean((X - X / np.sqrt(1.001)) ** 2), rtol=1e-3, atol=1e-6)
    assert_all_equal(before, model.get_weights())


def test_the_gain_of_frozen_batch_normalization_trains() -> None:
    model = Frozen()
    model(X)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(X, X * 2, batch_size=8, verbose=0)
    gamma, beta, mean, variance = model.get_weights()
    assert (gamma > 1).all()
    assert (beta != 0).all()
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(variance, 1)


class OfBatch(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()

    def call(self, inputs: Any) -> Any:
        return self.norm(inputs, training=True)


def test_a_layer_called_with_training_true_reads_the_batch_in_predictions() -> None:
    model = OfBatch()
    expected = (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3)
    np.testing.assert_allclose(model.predict(X, batch_size=32, verbose=0), expected, rtol=1e-4, atol=1e-4)
    halves = model.predict(X, batch_size=16, verbose=0)
    np.testing.assert_allclose(halves[:16].mean(0), 0, atol=1e-5)
    mean = np.zeros(4)
    for batch in (X, X[:16], X[16:]):  # as in Keras, they move in predictions, too
        mean = 0.99 * mean + 0.01 * batch.mean(0)
    np.testing.assert_allclose(model.get_weights()[2], mean, rtol=1e-5)


class Centred(layers.Layer):
    """Subtracts a moving average."""

    def build(self, input_shape: Any) -> None:
        self.average = self.add_weight(
            shape=(input_shape[-1],), initializer="zeros", trainable=False, name="average"
        )
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            self.average.assign(0.9 * self.average + 0.1 * ops.mean(inputs, axis=0))
            self.count.assign_add(1.0)
        return inputs - self.average


@pytest.mark.parametrize("own", [True, False])
def test_weights_that_call_assigns_have_their_values_after_each_step(own: bool) -> None:
    model = compiled(keras.Sequential([keras.Input((4,)), Centred(), layers.Dense(1)]), "sgd", "mse")
    average, count = np.zeros(4), 0
    for _ in range(2):
        for start in range(0, 32, 8):
            average = 0.9 * average + 0.1 * X[start : start + 8].mean(0)
            count += 1
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    found = model.layers[0].get_weights()
    np.testing.assert_allclose(found[0], average, rtol=1e-5)
    assert found[1] == count
    kernel, bias = model.layers[1].get_weights()
    np.testing.assert_allclose(
        model.predict(X, verbose=0), (X - average) @ kernel + bias, rtol=1e-4, atol=1e-4
    )
    model.evaluate(X, Y, verbose=0)
    assert model.layers[0].get_weights()[1] == count


def test_the_new_value_is_read_after_an_assignment() -> None:
    layer = Centred()
    model = compiled(keras.Sequential([keras.Input((4,)), layer]), keras.optimizers.SGD(0.0), "mse")
    loss = model.train_on_batch(X, X)
    np.testing.assert_allclose(loss, np.mean((0.1 * X.mean(0)) ** 2), rtol=1e-4)


def test_tapes_move_weights_too() -> None:
    layer = Centred()
    layer(X)
    with keras.GradientTape() as tape:
        y = ops.sum(layer(X, training=True))
    float(y)
    del tape
    np.testing.assert_allclose(layer.get_weights()[0], 0.1 * X.mean(0), rtol=1e-5)


class Assigned(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(1,), initializer="zeros", name="w")

    def call(self, inputs: Any) -> Any:
        self.w.assign(self.w + 1.0)
        return inputs * self.w


def test_a_weight_that_is_trained_cannot_be_assigned_in_call() -> None:
    model = compiled(keras.Sequential([keras.Input((4,)), Assigned()]), "sgd", "mse")
    with pytest.raises(TypeError, match="which training steps"):
        model.fit(X, X, verbose=0)


class Penalized(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(
            1, use_bias=False, kernel_initializer="ones", activity_regularizer=keras.regularizers.L2(0.5)
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.inner(inputs * 0.0) if training else self.inner(inputs)


def test_penalties_on_outputs_in_branches_count_where_the_branch_is_taken() -> None:
    model = keras.Sequential([keras.Input((4,)), Penalized()])
    model.compile(keras.optimizers.SGD(0.0), loss=lambda y_true, y_pred: y_pred * 0.0)
    assert model.fit(X, Y, batch_size=32, verbose=0).history["loss"] == [0.0]
    expected = 0.5 * np.sum(X.sum(1) ** 2) / 32
    np.testing.assert_allclose(model.evaluate(X, Y, batch_size=32, verbose=0), expected, rtol=1e-5)


class AlwaysOn(layers.Dropout):
    """Monte Carlo dropout, as books write it."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return super().call(inputs, training=True)


def test_a_layer_without_weights_may_be_extended_by_call() -> None:
    model = keras.Sequential([keras.Input((4,)), AlwaysOn(0.5), layers.Dense(1, kernel_initializer="ones")])
    one, other = model.predict(X, verbose=0), model.predict(X, verbose=0)
    assert (one != other).any()
    np.testing.assert_allclose(model.layers[0].get_config()["rate"], 0.5)
    kept = AlwaysOn(0.5)(np.ones((4, 500), "float32"))
    assert set(np.unique(kept)) == {0.0, 2.0}


def test_a_layer_with_weights_may_not() -> None:
    with pytest.raises(TypeError, match="can't override `call` of Dense"):
        type(
            "Doubled",
            (layers.Dense,),
            {"call": lambda self, inputs: super(layers.Dense, self).call(inputs) * 2},
        )


def test_rows_of_the_batch_are_evaluated_batch_by_batch() -> None:
    class Next(layers.Layer):
        def call(self, x: Any) -> Any:
            return x - ops.concatenate([x[1:], x[:1]], axis=0)

    model = compiled(keras.Sequential([keras.Input((4,)), Next()]), "sgd", "mse")
    expected = np.mean([(part - np.roll(part, -1, 0)) ** 2 for part in X.reshape(4, 8, 4)])
    np.testing.assert_allclose(
        model.evaluate(X, np.zeros_like(X), batch_size=8, verbose=0), expected, rtol=1e-5
    )


def test_a_layer_that_call_makes_is_told_of() -> None:
    """Its weights are no weights of the model, so that they would be lost in files."""

    class Forgetful(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.kept = [{"head": layers.Dense(2)}]

        def call(self, inputs: Any) -> Any:
            return layers.Dense(1, name="made")(layers.ReLU()(self.kept[0]["head"](inputs)))

    model = compiled(Forgetful(), "sgd", "mse")
    with pytest.warns(UserWarning, match="uses 'made', which is no attribute of it") as told:
        model.fit(np.ones((4, 3)), np.ones(4), epochs=2, verbose=0)
    assert len(told) == 1
    assert len(model.weights) == 2


def test_a_layer_of_a_layer_within_is_no_stranger() -> None:
    class Inner(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def call(self, inputs: Any) -> Any:
            return self.inner.dense(self.inner(inputs)[:, :2])

    model = compiled(keras.Sequential([keras.Input((2,)), Outer()]), "sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)
    assert len(model.weights) == 2


class Dropping(layers.Layer):
    """Leaves `training` to the call around its dropout, as in Keras."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = layers.Dropout(0.5)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.drop(inputs)


class Nothing(layers.Layer):
    """Has no such argument."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


class Adding(Nothing):
    """Adds to the loss, so that tapes run its `call` as it is written."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(ops.mean(inputs))
        return self.inner(inputs)


class Numbers(Nothing):
    """Its `call` needs numbers, so that no model has it."""

    def call(self, inputs: Any) -> Any:
        return np.asarray(self.inner(np.asarray(inputs)))


ONES = np.ones((8, 64), np.float32)
MAKE: dict[str, Any] = {
    "direct": Dropping,
    "without the argument": lambda: Nothing(Dropping()),
    "adding": lambda: Adding(Dropping()),
    "numbers": lambda: Numbers(layers.Dropout(0.5)),
    "a model within": lambda: Nothing(keras.Sequential([keras.Input((64,)), layers.Dropout(0.5)])),
}


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("training", [None, False, True])
def test_dropout_within_has_the_training_of_the_call_around(make: str, training: bool | None) -> None:
    layer = MAKE[make]()
    expected = {0.0, 2.0} if training else {1.0}
    options = {} if training is None else {"training": training}
    assert set(np.unique(np.asarray(layer(ONES, **options)))) == expected
    if make != "numbers":
        with keras.GradientTape() as tape:
            outputs = layer(ops.convert_to_tensor(ONES), **options)
            tape.watch(outputs)
        assert set(np.unique(np.asarray(outputs))) == expected
        model = keras.Sequential([keras.Input((64,)), layer])
        assert set(np.unique(np.asarray(model(ONES, **options)))) == expected
    assert set(np.unique(layer(ONES))) == {1.0}


def test_training_that_is_not_given_is_the_default_of_the_call() -> None:
    seen: list[Any] = []

    def layer(default: Any) -> Any:
        class Seeing(layers.Layer):
            def call(self, x: Any, training: Any = default) -> Any:
                seen.append(training)
                return x

        return Seeing()

    class Outer(layers.Layer):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def call(self, x: Any, training: Any = None) -> Any:
            return self.inner(x)

    x = np.ones((2, 3))
    for default in (None, False, True):
        for run in (layer(default), Outer(layer(default))):
            seen.clear()
            run(x)
            run(x, training=True)
            run(x, training=False)
            assert seen == [default, True, False]
