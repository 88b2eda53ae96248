"""Weights that `call` assigns, and moving averages, where tapes and steps of one's own run it, against float64 formulas."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import InTurn, Scale, assert_all_close, compiled

import engine as keras
from engine import layers, ops

X = (np.arange(24).reshape(6, 4) / 8).astype(np.float32)
Y = X[:, :1].copy()
MEAN, VARIANCE = X.astype(float).mean(axis=0), X.astype(float).var(axis=0)
EPSILON = 1e-3


class Counting(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.n = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        self.n.assign_add(1.0)
        return inputs + self.n


class ByHand(Counting):
    def gradient(self, inputs: Any, upstream: Any) -> Any:
        del inputs
        return upstream


class InPython(Counting):
    """Its `call` needs numbers, so that it can't be recorded."""

    def call(self, inputs: Any) -> Any:
        self.n.assign_add(1.0 if np.asarray(inputs).sum() > 0 else 0.0)
        return np.asarray(inputs) + np.asarray(self.n)


class Branching(Counting):
    def call(self, inputs: Any, training: bool = False) -> Any:
        self.n.assign_add(10.0 if training else 1.0)
        return inputs + self.n


def normalization() -> Any:
    layer = layers.BatchNormalization(momentum=0.5, epsilon=EPSILON)
    layer.build((None, 4))
    return layer


def standardized(x: Any, mean: Any, variance: Any) -> Any:
    return (x - mean) / np.sqrt(variance + EPSILON)


# Python computes the layer, or its gradient is written by hand.


@pytest.mark.parametrize("kind", [Counting, ByHand, InPython])
def test_each_way_of_predicting_assigns_once_for_a_batch(kind: Callable[[], Any]) -> None:
    layer = kind()
    model = compiled(keras.Sequential([keras.Input((4,)), layer]), keras.optimizers.SGD(0.0), "mse")
    count = 0
    for run, batches in (
        (lambda: layer(X), 1),
        (lambda: model(X), 1),
        (lambda: model(X, training=True), 1),
        (lambda: model.predict(X, batch_size=4, verbose=0), 2),
        (lambda: model.predict(iter([X, X]), steps=2, verbose=0), 2),
        (lambda: model.predict_on_batch(X), 1),
        (lambda: model.evaluate(X, X, batch_size=4, verbose=0), 2),
        (lambda: model.test_on_batch(X, X), 1),
    ):
        run()
        count += batches
        assert float(layer.n) == count


@pytest.mark.parametrize("rows", [1, 7, 300, 5000])
def test_large_predictions_assign_once_for_a_batch(rows: int) -> None:
    layer = Counting()
    model = keras.Sequential([keras.Input((4,)), layer])
    found = model.predict(np.zeros((rows, 4), np.float32), batch_size=rows, verbose=0)
    np.testing.assert_array_equal(found, np.ones((rows, 4)))
    assert float(layer.n) == 1


def test_samples_that_are_not_finite_assign_nothing() -> None:
    layer = Counting()
    model = keras.Sequential([keras.Input((4,)), layer])
    wrong = X.copy()
    wrong[5, 0] = np.nan
    model.compile("sgd", "mse")
    for run in (
        model,
        lambda x: model(x, training=True),
        model.predict,
        lambda x: model.predict(x, batch_size=2, verbose=0),
        model.predict_on_batch,
        lambda x: model.evaluate(x, X, batch_size=2, verbose=0),
        lambda x: model.test_on_batch(x, X),
    ):
        with pytest.raises(ValueError, match="row 5"):
            run(wrong)
    assert float(layer.n) == 0


def test_the_shape_is_tried_without_assignments() -> None:
    layer, variable = InPython(), keras.Variable(0.0)
    layer.compute_output_shape((None, 4))
    layer(keras.Input((4,)))
    assert float(layer.n) == 0

    class Outside(layers.Layer):
        def call(self, inputs: Any) -> Any:
            variable.assign_add(float(np.asarray(inputs).sum()) * 0.0 + 1.0)
            return np.asarray(inputs)

    assert Outside().compute_output_shape((None, 4)) == (None, 4)
    assert float(variable) == 0


def test_threads_that_predict_with_one_state_count_every_batch() -> None:
    layer = Counting()
    model = keras.Sequential([keras.Input((4,)), layer])
    model.predict(X, verbose=0)
    threads = [
        threading.Thread(target=lambda: [model.predict(X, verbose=0) for _ in range(50)]) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert float(layer.n) == 201


def test_normalization_that_always_trains_moves_its_averages_in_predictions() -> None:
    class Always(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.norm = normalization()

        def call(self, inputs: Any) -> Any:
            return self.norm(inputs, training=True)

    model = keras.Sequential([keras.Input((4,)), Always()])
    layer = model.layers[0].norm
    model.predict(X, verbose=0)
    np.testing.assert_allclose(layer.moving_mean, 0.5 * MEAN, rtol=1e-6)
    model.predict(X, batch_size=3, verbose=0)
    expected = 0.5 * (0.25 * MEAN + 0.5 * X[:3].mean(axis=0)) + 0.5 * X[3:].mean(axis=0)
    np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-6)


# Gradient tapes.


def taped(record: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Returns what `record` returns for a batch normalization, and its moving mean after the tape."""
    layer = normalization()
    with keras.GradientTape():
        found = record(layer)
    mean = np.array(layer.moving_mean)
    return None if found is None else np.array(found), mean


def test_a_call_in_training_whose_result_nothing_uses() -> None:
    for times, share in ((1, 0.5), (2, 0.75)):

        def record(layer: Any, times: int = times) -> None:
            for _ in range(times):
                layer(X, training=True)

        np.testing.assert_allclose(taped(record)[1], share * MEAN, rtol=1e-6)


MOVED = 0.5 * MEAN, 0.5 + 0.5 * VARIANCE


def test_a_second_call_uses_the_statistics_of_the_first() -> None:
    def record(layer: Any) -> Any:
        layer(X, training=True)
        return layer(X, training=False)

    found, mean = taped(record)
    np.testing.assert_allclose(found, standardized(X, *MOVED), rtol=1e-5)
    np.testing.assert_allclose(mean, MOVED[0], rtol=1e-6)


def test_numbers_that_are_read_in_between() -> None:
    def record(layer: Any) -> Any:
        float(ops.sum(layer(X, training=True)))
        np.testing.assert_allclose(np.asarray(layer.moving_mean), MOVED[0], rtol=1e-6)
        layer(2 * X, training=True)
        return layer(X, training=False)

    found, mean = taped(record)
    again = 0.5 * MOVED[0] + MEAN, 0.5 * MOVED[1] + 2 * VARIANCE
    np.testing.assert_allclose(found, standardized(X, *again), rtol=1e-5)
    np.testing.assert_allclose(mean, again[0], rtol=1e-6)


def test_a_tape_reads_averages_as_they_are_at_that_place() -> None:
    def record(layer: Any) -> Any:
        before = ops.multiply(layer.moving_mean, 1.0)
        layer(X, training=True)
        return ops.stack([before, ops.multiply(layer.moving_mean, 1.0)])

    found, _ = taped(record)
    np.testing.assert_allclose(found, [np.zeros(4), MOVED[0]], rtol=1e-6)


def test_gradients_through_calls_with_and_without_training() -> None:
    layer = normalization()
    weights = np.random.default_rng(0).normal(size=X.shape)

    def loss(x: Any) -> Any:
        x = x.astype(float)
        first = standardized(x, x.mean(axis=0), x.var(axis=0))
        mean, variance = 0.5 * x.mean(axis=0), 0.5 + 0.5 * x.var(axis=0)
        # The moving averages are no functions of the inputs for a gradient.
        fixed = 0.5 * MEAN, 0.5 + 0.5 * VARIANCE
        np.testing.assert_allclose([mean, variance], fixed, atol=0.1)
        return np.sum(standardized(first, *fixed) * weights)

    x = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        total = ops.sum(layer(layer(x, training=True), training=False) * weights.astype(np.float32))
    found = tape.gradient(total, x).numpy()
    assert float(total) == pytest.approx(loss(X), rel=1e-5)
    for place in ((0, 0), (3, 2), (5, 1)):
        moved, step = X.astype(float), 1e-4
        moved[place] += step
        above = loss(moved)
        moved[place] -= 2 * step
        assert found[place] == pytest.approx((above - loss(moved)) / (2 * step), rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(layer.moving_mean, MOVED[0], rtol=1e-6)


def test_averages_that_a_gradient_would_read_twice_are_refused() -> None:
    layer, x = normalization(), ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        total = layer(x, training=False) + layer(x, training=True) + layer(x, training=False)
    with pytest.raises(ValueError, match=r"called without training, then with training=True, and"):
        np.asarray(tape.gradient(total, x))


@pytest.mark.parametrize("kind", [Counting, ByHand])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("used", [False, True])
def test_a_tape_counts_each_call(kind: Callable[[], Any], times: int, read: bool, used: bool) -> None:
    layer, dense = kind(), layers.Dense(1, use_bias=False)
    dense(X)
    with keras.GradientTape() as tape:
        hidden = dense(X)
        outputs = hidden
        for _ in range(times):
            outputs = layer(outputs)
            if read:
                float(ops.sum(outputs))
        loss = ops.sum(ops.square(outputs if used else hidden))
    gradient = tape.gradient(loss, dense.kernel)
    linear = X.astype(float) @ np.asarray(dense.kernel, float)
    added = sum(range(1, times + 1)) if used else 0
    np.testing.assert_allclose(gradient, X.T @ (2 * (linear + added)), rtol=1e-5)
    assert float(layer.n) == times


def test_tapes_one_after_the_other_go_on_from_each_other() -> None:
    layer = Branching()
    layer.build((None, 4))
    for turn in range(3):
        with keras.GradientTape():
            layer(X, training=True)
            outputs = layer(X)
        np.testing.assert_allclose(outputs, X + 11 * (turn + 1), rtol=1e-6)
    assert float(layer.n) == 33
    with keras.GradientTape():
        layer(X, training=True)
    model = keras.Sequential([keras.Input((4,)), layer])
    np.testing.assert_allclose(model.predict(X, verbose=0), X + 44, rtol=1e-6)


class Adding(Counting):
    """Adds to the loss, so that a tape runs its `call` as it is written."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(ops.mean(inputs))
        return super().call(inputs)


@pytest.mark.parametrize("read", [False, True])
def test_derivatives_go_on_through_what_was_recorded_before_an_assignment(read: bool) -> None:
    layer, dense = Adding(), layers.Dense(1, use_bias=False)
    variable = keras.Variable(2.0, trainable=False)
    dense(X)
    with keras.GradientTape() as tape:
        outputs = dense(X) * variable
        variable.assign_add(1.0)
        if read:
            assert float(variable) == 3.0
        outputs = layer(layer(outputs * variable)) * variable
        variable.assign(ops.mean(X))
        if read:
            assert float(layer.n) == 2.0
        total = ops.sum(outputs) * layer.n * variable
    gradient = tape.gradient(total, dense.kernel)
    share = X.astype(float).mean()
    linear = X.astype(float) @ np.asarray(dense.kernel, float)
    np.testing.assert_allclose(gradient, X.sum(axis=0)[:, np.newaxis] * 18.0 * 2 * share, rtol=1e-5)
    assert float(total) == pytest.approx(np.sum(linear * 18 + 9) * 2 * share, rel=1e-4)
    assert float(layer.n) == 2.0
    assert float(variable) == pytest.approx(share)


class Summed(keras.Sequential):
    def train_step(self, data: Any) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x, training=True) - y)) + sum(self.losses)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def trained_in_own_steps(layer: Callable[[], Any]) -> list[list[Any]]:
    """Returns the weights after an epoch of steps with losses of the layer, compiled and in Python; it counts two calls."""
    found = []
    for eagerly in (False, True):
        counter = layer()
        model = Summed([keras.Input((4,)), layers.Dense(1, kernel_initializer="ones"), counter])
        model.compile(keras.optimizers.SGD(0.01), run_eagerly=eagerly)
        model.fit(X, Y, batch_size=3, shuffle=False, verbose=0)
        assert float(counter.n) == 2
        found.append(model.get_weights())
    assert_all_close(*found, rtol=1e-6)
    return found


def test_layers_that_add_to_the_loss_and_count_in_own_steps() -> None:
    found = trained_in_own_steps(Adding)
    assert not np.array_equal(found[0][0], np.ones((4, 1)))


def test_two_weights_of_a_layer_that_is_assigned_while_a_tape_needs_it() -> None:
    class Sums(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.a = self.add_weight(shape=(2,), trainable=False, initializer="ones")
            self.b = self.add_weight(shape=(3,), initializer="ones")

        def call(self, inputs: Any) -> Any:
            return inputs * ops.sum(self.a) + ops.sum(self.b)

    layer = Sums()
    layer(X)
    with keras.GradientTape() as tape:
        total = ops.sum(layer(X)) + ops.sum(layer.a) * ops.sum(layer.b)
        layer.a.assign([5.0, 5.0])
    np.testing.assert_allclose(tape.gradient(total, layer.b), np.full(3, X.size + 2.0), rtol=1e-6)


# Steps and functions of the user.


class Stepped(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.counting, self.norm, self.dense = Counting(), normalization(), layers.Dense(1)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.dense(self.norm(self.counting(inputs), training=training))

    def step(self, data: Any, training: bool) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x, training=training) - y))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}

    def train_step(self, data: Any) -> Any:
        return self.step(data, training=True)


class UnusedFirst(Stepped):
    def train_step(self, data: Any) -> Any:
        self(data[0], training=True)
        return self.step(data, training=False)


class UnusedLast(Stepped):
    def train_step(self, data: Any) -> Any:
        logs = self.step(data, training=False)
        self(data[0], training=True)
        return logs


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize(("kind", "counts"), [(Stepped, [1, 2]), (UnusedFirst, [1, 3]), (UnusedLast, [2, 4])])
def test_own_steps(kind: Callable[[], Any], counts: list[int], eagerly: bool) -> None:
    model = kind()
    model.build((None, 4))
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=eagerly)
    model.fit(X, Y, batch_size=3, shuffle=False, verbose=0)
    mean = np.zeros(4)
    for count, rows in zip(counts, (X[:3], X[3:]), strict=True):
        mean = 0.5 * mean + 0.5 * (rows.mean(axis=0) + count)
    np.testing.assert_allclose(model.norm.moving_mean, mean, rtol=1e-6)
    each = 1 if kind is Stepped else 2
    assert float(model.counting.n) == 2 * each
    model.train_on_batch(X, Y)
    assert float(model.counting.n) == 3 * each
    model.predict(X, batch_size=3, verbose=0)
    assert float(model.counting.n) == 3 * each + 2


def test_functions() -> None:
    layer, norm = Branching(), normalization()
    layer.build((None, 4))

    @keras.function
    def both(x: Any) -> Any:
        norm(x, training=True)
        return layer(x) + layer(x, training=True), norm(x, training=False)

    for turn in range(2):
        one, other = both(X)
        np.testing.assert_allclose(one, 2 * X + 12 + 22 * turn, rtol=1e-6)
        assert float(layer.n) == 11 * (turn + 1)
        if turn == 0:
            np.testing.assert_allclose(other, standardized(X, *MOVED), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_mean, 0.75 * MEAN, rtol=1e-6)


def test_a_layer_that_is_used_again_in_a_branch() -> None:
    class Around(layers.Layer):
        """Uses its layer once in predictions, and three times in training."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = Counting()

        def call(self, inputs: Any, training: bool = False) -> Any:
            outputs = self.inner(inputs)
            if training:
                outputs = self.inner(self.inner(outputs))
            return outputs + self.inner.n

    layer = Around()
    model = compiled(keras.Sequential([keras.Input((4,)), layer]), keras.optimizers.SGD(0.0), "mae")
    for training, count, added in ((True, 3, 1 + 2 + 3 + 3), (False, 4, 4 + 4), (True, 7, 5 + 6 + 7 + 7)):
        np.testing.assert_allclose(model(X, training=training), X + added, rtol=1e-6)
        assert float(layer.inner.n) == count
    assert model.evaluate(X, X, verbose=0) == pytest.approx(8 + 8)
    assert model.train_on_batch(X, X) == pytest.approx(9 + 10 + 11 + 11)
    assert float(layer.inner.n) == 11


def test_a_variable_that_is_only_added_to_counts_in_own_steps() -> None:
    """`call` has not read the variable before, so that the trace of a compiled step doesn't know it yet."""

    class Counter(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.n = keras.Variable(0.0, trainable=False)

        def call(self, inputs: Any) -> Any:
            self.add_loss(ops.mean(inputs))
            self.n.assign_add(1.0)
            return inputs

    trained_in_own_steps(Counter)


def test_what_a_weight_is_besides_its_values() -> None:
    """`trainable` of a weight takes effect in layers of users; those of the library have it for all their weights."""

    class Scaled(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = (keras.Variable(np.ones(4, np.float32)) for _ in range(2))

        def call(self, inputs: Any) -> Any:
            return inputs * self.one * self.other

    layer = Scaled()
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.other.trainable = False
    layer.one.constraint = "non_neg"
    model.compile(keras.optimizers.SGD(10.0), "mse")
    model.fit(X, -X, verbose=0)
    assert [each is layer.other for each in model.non_trainable_variables] == [True]
    assert np.array_equal(layer.other, np.ones(4))
    assert np.array_equal(layer.one, np.zeros(4))
    dense = layers.Dense(2)
    dense.build((None, 4))
    with pytest.raises(AttributeError, match="use `trainable` of the layer"):
        dense.kernel.trainable = False
    with pytest.raises(AttributeError, match="use `bias_constraint` of the constructor"):
        dense.bias.constraint = "non_neg"
    assert dense.kernel.trainable


def test_variables_of_an_optimizer_in_an_attribute_are_no_weights() -> None:
    model = compiled(InTurn(layers.Dense(1)), keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.fit(X, Y, verbose=0)
    model.kept = model.optimizer.variables
    assert [weight.shape for weight in model.weights] == [(4, 1), (1,)]
    model.fit(X, Y, verbose=0)
    assert int(model.kept[0].numpy()) == int(model.optimizer.iterations) == 2


def test_a_variable_may_have_the_name_of_a_weight() -> None:
    class Own(layers.LayerNormalization):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = keras.Variable(np.zeros(4))

    assert Own().gamma.numpy().tolist() == [0, 0, 0, 0]


def test_a_weight_that_is_frozen_after_compile_stays() -> None:
    model = compiled(keras.Sequential([keras.Input((4,)), Scale(), layers.Dense(1)]), "sgd", "mse")
    model.layers[0].factor.trainable = False
    model.fit(X, Y, verbose=0)
    assert model.layers[0].factor.numpy().tolist() == [1, 1, 1, 1]
    assert model.trainable_weights == model.layers[1].weights
