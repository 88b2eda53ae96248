"""What becomes of the maps that functions of a user record: how many there are, and what they compute."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import layers, ops

Array = NDArray[Any]
CLASSES = 10


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + ops.erf(x * 0.70710678))


def focal(y_true: Any, y_pred: Any) -> Any:
    p = ops.clip(y_pred / ops.sum(y_pred, axis=-1, keepdims=True), 1e-7, 1 - 1e-7)
    return ops.sum(-0.25 * (1 - p) ** 2 * y_true * ops.log(p), axis=-1)


def explained(loss: Any, activation: Any = "relu") -> tuple[list[str], str]:
    """Returns the operations of a batch, and its schedule for two threads."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(128),
            layers.Activation(activation),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("sgd", loss=loss)
    model.train_on_batch(np.ones((2, 64)), np.eye(CLASSES)[:2])
    graph, schedule = keras.utils.explain_batch(model, batch_size=32, threads=2).split("\n\nSchedule")
    return [line.strip() for line in graph.splitlines()[2:]], schedule


def maps(operations: list[str]) -> list[str]:
    return [line for line in operations if " = map(" in line]


def test_the_slope_of_a_function_is_computed_with_its_output() -> None:
    operations, _ = explained("categorical_crossentropy", gelu)
    forward, backward = maps(operations)
    outputs, code = forward.split(" = map(")
    assert outputs.count("%") == 2
    assert re.findall("gaussian|erf|exp", code) == ["gaussian", "erf"]
    assert backward.endswith(") multiply")
    assert backward.count(outputs.split(", ")[1]) == 1


def test_a_slope_that_is_quick_is_computed_where_it_is_read() -> None:
    operations, _ = explained("categorical_crossentropy", lambda x: x * x)
    forward, backward = maps(operations)
    assert forward.split(" = ")[0].count("%") == 1
    assert backward.endswith(") multiply add")


def test_predictions_compute_no_slopes() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Activation(gelu)])
    x = np.linspace(-3, 3, 16, dtype=np.float32).reshape(2, 8)
    predicted = model.predict(x, verbose=0)
    np.testing.assert_array_equal(predicted, model(x))
    model.compile("sgd", loss="mse")
    np.testing.assert_array_equal(predicted, model.predict(x, verbose=0))


def test_a_loss_of_rows_has_the_barriers_of_a_built_in_one() -> None:
    operations, own = explained(focal)
    _, built_in = explained(keras.losses.CategoricalFocalCrossentropy())
    assert own.count("---- barrier") == built_in.count("---- barrier")
    # The loss with its slopes by both of its inputs, the part through the sum, and all of the gradient.
    assert len(maps(operations)) == 3
    assert sum(" log" in line for line in maps(operations)) == 1


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("batch", [7, 32, 300])
def test_threads_change_no_bit_of_a_loss_of_rows(reduction: str, batch: int) -> None:
    class Focal(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return focal(y_true, y_pred)

    draw = np.random.default_rng(0)
    x = draw.normal(size=(610, 64)).astype(np.float32)
    y = np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, len(x))]
    weight = draw.uniform(0.2, 2, len(x)).astype(np.float32)

    def trained(threads: int) -> list[Array]:
        keras.utils.set_random_seed(1)
        keras.config.set_threads(threads)
        try:
            model = keras.Sequential([keras.Input((64,)), layers.Dense(CLASSES, activation="softmax")])
            model.compile("sgd", loss=Focal(reduction=reduction))
            model.fit(x, y, sample_weight=weight, batch_size=batch, epochs=2, verbose=0)
            return model.get_weights()
        finally:
            keras.config.set_threads(None)

    one = trained(1)
    for threads in (2, 3):
        for a, b in zip(one, trained(threads), strict=True):
            np.testing.assert_array_equal(a, b)


def stacked_max(a: Any, b: Any) -> Any:
    return ops.max(ops.stack([a, b]), axis=0)


def product_of_rows(a: Any, b: Any) -> Any:
    return ops.einsum("ij,ij->j", a, b)


# An operation of two arrays, and its derivative where both are v.
MEETINGS: dict[str, tuple[Any, Any]] = {
    "maximum": (ops.maximum, np.ones_like),
    "minimum": (ops.minimum, np.ones_like),
    "add": (ops.add, lambda v: 2 + 0 * v),
    "subtract": (ops.subtract, np.zeros_like),
    "multiply": (ops.multiply, lambda v: 2 * v),
    "divide": (ops.divide, np.zeros_like),
    "power": (ops.power, lambda v: v**v * (np.log(v) + 1)),
    "hypot": (ops.hypot, lambda v: np.full_like(v, np.sqrt(2))),
    "arctan2": (ops.arctan2, np.zeros_like),
    "logaddexp": (ops.logaddexp, np.ones_like),
    "where": (lambda a, b: ops.where(a > 1.0, a, b), np.ones_like),
    "max": (stacked_max, np.ones_like),
    "einsum": (product_of_rows, lambda v: 2 * v),
    "nested": (lambda a, b: ops.maximum(a * b, b / a) * a, lambda v: np.where(v > 1, 3 * v**2, 1)),
}
SAME: dict[str, Any] = {
    "times 1": lambda v: v * 1.0,
    "1 times": lambda v: 1.0 * v,
    "twice": lambda v: 1.0 * (v * 1.0),
    "plus 0": lambda v: v + 0.0,
    "by 1": lambda v: v / 1.0,
    "reshaped": lambda v: ops.reshape(ops.reshape(v, (-1,)), v.shape),
    "broadcast": lambda v: ops.broadcast_to(v, v.shape),
    "negated": lambda v: ops.negative(-v),
    "itself": lambda v: v,
}
POINTS = np.array([[0.5, 2.0, 3.0], [1.5, 0.25, 0.75]], np.float32)


def test_what_a_limit_cuts_off_has_no_gradient() -> None:
    """Also where the gradient by the limited number is infinite; a number at a limit gets half of it."""
    x = np.array([-1.0, 0.0, 0.25, 1.0, 4.0], np.float32)

    def limited(x: Any) -> Any:
        return ops.sum(ops.sqrt(ops.maximum(x, 0.0)) + 3.0 * ops.minimum(x, 1.0) ** 2)

    with np.errstate(divide="ignore"):
        roots = np.where(x < 0, 0, 0.5 / np.sqrt(np.maximum(x, 0)) * np.where(x == 0, 0.5, 1))
    wanted = roots + 6 * x * np.where(x < 1, 1, np.where(x == 1, 0.5, 0))
    np.testing.assert_allclose(keras.function(keras.grad(limited))(x), wanted, rtol=1e-6)

    def clipped(x: Any) -> Any:
        return ops.sum(ops.clip(x, 0.0, 2.0) ** 3)

    curvature = keras.function(keras.grad(lambda x: ops.sum(keras.grad(clipped)(x))))(x)
    np.testing.assert_allclose(curvature, [0, 0, 1.5, 6, 0], rtol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("same", SAME)
@pytest.mark.parametrize("meeting", MEETINGS)
def test_gradients_where_one_array_meets_itself_in_another_form(
    meeting: str, same: str, turned: bool
) -> None:
    """Maps read such an array once, and the parts of its gradient are added."""
    function, slope = MEETINGS[meeting]
    wanted = slope(POINTS.astype(np.float64))

    def loss_of(weights: Any) -> Any:
        pair = weights, SAME[same](weights)
        return ops.sum(function(*(reversed(pair) if turned else pair)))

    variable = keras.Variable(POINTS)
    with keras.GradientTape() as tape:
        loss = loss_of(variable)
    np.testing.assert_allclose(tape.gradient(loss, variable), wanted, rtol=1e-5, atol=1e-5)

    class Stepped(keras.Model):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=POINTS.shape)

        def call(self, x: Any) -> Any:
            return x

        def train_step(self, data: Any) -> Any:
            with keras.GradientTape() as tape:
                loss = loss_of(self.w)
            self.optimizer.apply_gradients([(tape.gradient(loss, self.w), self.w)])
            return {"loss": loss}

    class InALayer(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=POINTS.shape)

        def call(self, x: Any) -> Any:
            return x * loss_of(self.w)

    one = np.ones((1, 1), np.float32)
    stepped, built_in = Stepped(), keras.Sequential([keras.Input((1,)), InALayer()])
    for model, layer in ((stepped, stepped), (built_in, built_in.layers[0])):
        model.compile(keras.optimizers.SGD(1.0), loss=lambda _, y_pred: y_pred)
        model(one)
        layer.w.assign(POINTS)
        model.fit(one, one, verbose=0)
        np.testing.assert_allclose(POINTS - np.asarray(layer.w), wanted, rtol=1e-5, atol=1e-5)


def test_no_map_reads_an_array_twice() -> None:
    def doubled(x: Any) -> Any:
        once = x * 1.0
        return ops.maximum(x, once) * ops.hypot(once, x)

    operations, _ = explained("categorical_crossentropy", doubled)
    assert maps(operations)
    for line in maps(operations):
        inputs = re.findall(r"%\d+\[[^]]*\]", line.split(" = map(")[1])
        assert len(inputs) == len(set(inputs))


class Products(layers.Layer):
    """The squares of products of two inputs as matrices (a, b), of which the second lies transposed."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def call(self, inputs: Any) -> Any:
        first, second = inputs
        first = ops.reshape(first, (-1, self.rows, self.columns))
        second = ops.transpose(ops.reshape(second, (-1, self.columns, self.rows)), (0, 2, 1))
        return ops.sum(ops.square(first * second), axis=(1, 2))[:, None]


@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (13, 20), (16, 17), (30, 9)])
@pytest.mark.parametrize("samples", [1, 7, 64])
def test_gradients_of_inputs_that_lie_in_different_ways(rows: int, columns: int, samples: int) -> None:
    """The gradients of both are maps of one shape, one with padded rows and one without: they must not become one map."""
    keras.utils.set_random_seed(1)
    width = rows * columns
    start = keras.Input((8,))
    kernels = [layers.Dense(width, use_bias=False) for _ in range(2)]
    model = keras.Model(start, Products(rows, columns)([kernel(start) for kernel in kernels]))
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    x = np.random.default_rng(2).normal(size=(samples, 8)).astype(np.float32)
    before = [weight.astype(float) for weight in model.get_weights()]
    model.fit(x, np.zeros((samples, 1)), batch_size=samples, verbose=0)
    first = x @ before[0]
    second = (x @ before[1]).reshape(samples, columns, rows).transpose(0, 2, 1).reshape(samples, width)
    product = first * second
    slope = 2 * (product**2).sum(axis=1, keepdims=True) / samples * 2 * product
    of_second = (slope * first).reshape(samples, rows, columns).transpose(0, 2, 1).reshape(samples, width)
    for weight, old, gradient in zip(
        model.get_weights(), before, (x.T @ (slope * second), x.T @ of_second), strict=True
    ):
        step = 1e-3 * gradient
        np.testing.assert_allclose(weight, old - step, atol=1e-4 * np.abs(step).max() + 1e-7)


@pytest.mark.parametrize("shape", [(1, 16), (3, 32), (40, 64), (600, 128), (7, 250), (513, 16), (70_000,)])
def test_maps_of_one_instruction_of_any_length(shape: tuple[int, ...]) -> None:
    """They run in long blocks where values lie without gaps, and row by row or in short blocks elsewhere."""
    a, b = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    for function, expected in ((np.add, a + b), (np.multiply, a * b)):
        found = keras.function(lambda x, y, function=function: function(x, y))(a, b)
        np.testing.assert_array_equal(found, expected)
    starts = [keras.Input(shape[1:]) for _ in range(2)]
    if len(shape) > 1:
        model = keras.Model(starts, layers.Add()(starts))
        np.testing.assert_array_equal(model.predict([a, b], verbose=0), a + b)


@pytest.mark.parametrize("shape", [(2, 3), (3, 32), (40, 64), (7, 250), (5000,)])
def test_a_map_that_gives_its_input_and_computes_something_else_from_it(shape: tuple[int, ...]) -> None:
    """The input's memory is free for what is computed, but the input is stored as a result after that."""
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    for same in (lambda x: x * 1.0, lambda x: x + 0.0, lambda x: np.float32(1) * x):
        for first, second in ((same, ops.square), (ops.square, same)):
            found = keras.function(lambda x, f=first, s=second: (f(x), s(x)))(x)
            for array, function in zip(found, (first, second), strict=True):
                np.testing.assert_array_equal(array, function(x))
        total = keras.function(lambda x, same=same: ops.sum(same(x)) + 10 * ops.sum(x * x))(x)
        exact = x.astype(np.float64)
        np.testing.assert_allclose(total, exact.sum() + 10 * (exact**2).sum(), rtol=1e-5)
