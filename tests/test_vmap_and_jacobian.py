"""`vmap` and `jacobian`: what they compute, how they combine with each other and with `grad`, and their errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import engine as keras
from engine import layers, ops

RNG = np.random.default_rng(5)
X = RNG.normal(size=(5, 3)).astype(np.float32)
W = RNG.normal(size=(4, 3)).astype(np.float32)
# What the roundings of float32 leave of numbers around 1, and what central differences in float64 leave.
TOLERANCE: dict[str, float] = {"rtol": 2e-4, "atol": 1e-5}
STEP = 1e-5


def assert_same(found: Any, expected: Any) -> None:
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        if other is None:
            assert one is None
            continue
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), **TOLERANCE)


def both_ways(function: Callable[..., Any], *args: Any) -> Any:
    """Returns what a function returns, after a check that it returns the same when it is compiled."""
    found, compiled = function(*args), keras.function(function)
    assert_same(compiled(*args), found)
    assert compiled.refusal is None
    return found


def differences(function: Callable[..., Any], x: Any) -> NDArray[np.float64]:
    """Returns the Jacobian of a function of NumPy in float64, by central differences."""
    x = np.asarray(x, np.float64)
    columns = []
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = STEP
        columns.append((np.asarray(function(x + step)) - np.asarray(function(x - step))) / (2 * STEP))
    return np.stack(columns, -1).reshape(*np.shape(columns[0]), *x.shape)


# Functions of a vector of three numbers.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda v: np.sin(v) * np.exp(v),
    "number": lambda v: np.sum(v**3),
    "matrix": lambda v: np.stack([v[0] * v[1], np.sum(v**2), np.exp(v[2])])[:, None] * v,
    "product": lambda v: np.tanh(np.matmul(W.astype(float), v)),
    "mean of one element": lambda v: np.mean(np.ones(2) * v[:1]),
    "reversed sums": lambda v: np.cumsum(v[::-1]),
    "inverse": lambda v: np.linalg.inv(v[:, None] * v + 2 * np.eye(3)),
    "constant": lambda v: np.ones(2) + 0 * np.sum(v),
    "maximum": lambda v: np.maximum(v, 0.1) + np.max(v),
    "joined": lambda v: np.concatenate([v, v[1:] * v[:-1]]),
    "where": lambda v: np.where(v > 0, v * v, -v),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians_are_central_differences(name: str) -> None:
    assert_same(both_ways(keras.jacobian(FUNCTIONS[name]), X[0]), differences(FUNCTIONS[name], X[0]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mapped_functions_and_their_jacobians(name: str) -> None:
    function = FUNCTIONS[name]
    assert_same(both_ways(keras.vmap(function), X), np.stack([function(x.astype(float)) for x in X]))
    jacobians = np.stack([differences(function, x) for x in X])
    assert_same(both_ways(keras.vmap(keras.jacobian(function)), X), jacobians)
    # The Jacobian of the mapped function: elements don't depend on one another.
    whole = np.asarray(both_ways(keras.jacobian(keras.vmap(function)), X))
    for i in range(len(X)):
        for j in range(len(X)):
            block = np.take(whole[i], j, axis=whole.ndim - 1 - X.ndim)
            assert_same(block, jacobians[i] if i == j else np.zeros_like(jacobians[i]))


def test_second_derivatives() -> None:
    def energy(v: Any) -> Any:
        return np.sum(np.sin(v) * v[0] * v)

    hessian = keras.jacobian(keras.grad(energy))
    found = np.asarray(both_ways(hessian, X[0]))
    np.testing.assert_allclose(found, found.T, rtol=1e-5, atol=1e-6)
    assert_same(found, differences(_slopes, X[0]))
    assert_same(both_ways(keras.vmap(hessian), X), np.stack([differences(_slopes, v) for v in X]))
    assert np.shape(both_ways(keras.jacobian(hessian), X[0])) == (3, 3, 3)


def _slopes(v: Any) -> Any:
    """The gradient of the sum of sin(v) * v[0] * v."""
    return np.cos(v) * v[0] * v + np.sin(v) * v[0] + np.eye(3)[0] * np.sum(np.sin(v) * v)


def test_gradients_of_elements() -> None:
    def loss(weights: Any, x: Any) -> Any:
        return np.sum(np.square(np.tanh(np.matmul(weights, x))))

    by_both = both_ways(keras.vmap(keras.grad(loss, argnums=(0, 1)), in_axes=(None, 0)), W, X)
    assert_same(by_both, tuple(map(np.stack, zip(*(keras.grad(loss, (0, 1))(W, x) for x in X), strict=True))))

    def total(weights: Any, x: Any) -> Any:
        return np.sum(np.arange(5, dtype="float32") * keras.vmap(loss, in_axes=(None, 0))(weights, x))

    by_weights = differences(
        lambda w: sum(i * np.sum(np.tanh(w @ x) ** 2) for i, x in enumerate(X.astype(float))), W
    )
    assert_same(both_ways(keras.grad(total), W, X), by_weights)


def test_nested_maps() -> None:
    def distance(x: Any, y: Any) -> Any:
        return np.sum((x - y) ** 2)

    pairs = keras.vmap(keras.vmap(distance, in_axes=(None, 0)), in_axes=(0, None))
    assert_same(both_ways(pairs, X, W), ((X[:, None] - W) ** 2).sum(-1))


@given(st.data())
def test_axes_of_arguments_and_results(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    other = np.moveaxis(x, axis, 0)
    function = keras.vmap(lambda a, b: (np.exp(a) - b, np.sum(a)), (axis, 0), out_axes=(axis, 0))
    whole, sums = function(x, other)
    assert_same(whole, np.exp(x) - x)
    assert_same(sums, other.reshape(len(other), -1).sum(1))


def test_structures() -> None:
    def function(given: Any, scale: Any, *, shift: Any) -> Any:
        return {"sum": given["a"] + given["b"][0] * scale + shift, "same": scale, "none": None}

    given = {"a": X, "b": (W.T,)}
    found = both_ways(
        lambda given, shift: keras.vmap(
            function, in_axes=({"a": 1, "b": (0,)}, None), out_axes={"sum": -1, "same": None, "none": 0}
        )(given, 2.0, shift=shift),
        {"a": X[:4], "b": (W.T,)},
        np.arange(3, dtype=np.float32),
    )
    expected = X[:4] + 2 * W + np.arange(3)
    assert_same(found["sum"], expected)
    assert float(found["same"]) == 2.0
    assert found["none"] is None
    rows = both_ways(keras.jacobian(lambda d, y: [d["a"][0] * y, d["b"][0]], argnums=(0, -1)), given, X[1])
    assert_same(rows[0][1], np.diag(X[0]))
    shapes = [
        (3, *X.shape),
        (3, *W.T.shape),
        (3, 3),
        (*W.T.shape, *X.shape),
        (*W.T.shape, *W.T.shape),
        (*W.T.shape, 3),
    ]
    assert [np.shape(each) for each in keras.tree.flatten(rows)] == shapes


def test_indices_and_integers() -> None:
    places = np.array([1, 0, 2, 1, 1])
    assert_same(both_ways(keras.vmap(lambda v, i: v[i]), X, places), X[np.arange(5), places])
    assert_same(both_ways(keras.vmap(lambda i: ops.take(X, i, axis=0)), places[:3]), X[places[:3]])
    assert both_ways(keras.vmap(lambda i: i * 2), places).dtype == "int64"


def test_choices_depend_on_elements() -> None:
    def function(v: Any) -> Any:
        return ops.cond(np.sum(v) > 0, lambda: 2 * v, lambda: np.sin(v))

    expected = np.where(X.sum(1, keepdims=True) > 0, 2 * X, np.sin(X))
    assert_same(both_ways(keras.vmap(function), X), expected)


def test_random_numbers_differ_between_elements_unless_the_seed_is_an_int() -> None:
    for through in (lambda function: function, keras.function):
        numbers = np.asarray(
            through(keras.vmap(lambda v: v + keras.random.uniform((2,))))(np.zeros((4, 2), "f"))
        )
        assert len(np.unique(numbers)) == numbers.size
        same = np.asarray(
            through(keras.vmap(lambda v: v + keras.random.uniform((2,), seed=3)))(np.zeros((4, 2), "f"))
        )
        assert len(np.unique(same)) == same.shape[1]


def test_gradients_of_users() -> None:
    @ops.custom_gradient
    def rounded(x: Any) -> Any:
        return ops.round(x), lambda upstream: upstream * 3.0

    mapped = both_ways(keras.vmap(keras.grad(lambda v: np.sum(rounded(v) * v))), X)
    assert_same(mapped, np.round(X) + 3 * X)
    assert_same(both_ways(keras.grad(lambda x: np.sum(keras.vmap(lambda v: rounded(v) * v)(x))), X), mapped)


def test_layers_and_weights_are_recorded_for_each_element() -> None:
    dense = layers.Dense(2)
    dense(X)
    assert_same(both_ways(keras.vmap(lambda v: dense(v[None])[0]), X), dense(X))
    weight = keras.Variable(np.ones(3, np.float32))

    def by_weight(v: Any) -> Any:
        return keras.value_and_grad(lambda: np.sum(weight * v), variables=[weight])()[1][0]

    assert_same(both_ways(keras.vmap(by_weight), X), X)


def test_gradients_are_those_by_the_argument_alone() -> None:
    """Not by the same array where the function reads it as a variable of the function around it."""
    assert float(both_ways(keras.grad(lambda x: keras.grad(lambda y: x * y)(x)), np.float32(3))) == 1.0
    frozen = X[0].copy()
    frozen.flags.writeable = False
    assert_same(both_ways(keras.grad(lambda y: np.sum(y * frozen)), frozen), frozen)
    with keras.GradientTape() as tape:
        x = keras.ops.convert_to_tensor([2.0])
        tape.watch(x)
        y = keras.grad(lambda z: np.sum(z * x * x))(x)
    assert_same(tape.gradient(y, x), np.float32([4.0]))


def test_a_derivative_by_a_broadcast_array() -> None:
    x = ops.convert_to_tensor(np.arange(1, 4, dtype="float32").reshape(1, 3))
    with keras.GradientTape() as tape:
        tape.watch(x)
        wide = ops.broadcast_to(x, (2, 3))
        y = ops.sum(wide * wide)
    assert_same(tape.gradient(y, wide), np.repeat(2 * np.asarray(x), 2, 0))


def test_the_coordinates_of_one_element_stay_those_of_it() -> None:
    first = keras.function(lambda x: x * ops.cast(ops.equal(ops.arange(1), 0), "float32"))
    assert_same(first(X[0]), X[0])


def test_errors_name_the_arguments() -> None:
    with pytest.raises(ValueError, match=r"5 along axis 0 of `x` \(5, 3\), 4 along axis 0 of `y` \(4, 3\)"):
        keras.vmap(lambda x, y: x + y)(X, W)
    with pytest.raises(ValueError, match=r"`v` has the shape \(\), so it has no elements along axis 0"):
        keras.vmap(lambda v: v)(1.0)
    with pytest.raises(ValueError, match="it has 1, and the function was called with 2"):
        keras.vmap(lambda a, b: a + b, in_axes=(0,))(X, X)
    with pytest.raises(ValueError, match="all of them have None"):
        keras.vmap(lambda a: a, in_axes=None)(X)
    with pytest.raises(ValueError, match="must be the same for all elements"):
        keras.vmap(lambda a: a, out_axes=None)(X)
    with pytest.raises(ValueError, match="`out_axes` has the axis 3"):
        keras.vmap(lambda a: a, out_axes=3)(X)
    with pytest.raises(ValueError, match="for each part"):
        keras.vmap(lambda a: a, in_axes=((0, 0),))((X, X, X))
    with pytest.raises(TypeError, match="`argnums` is 1"):
        keras.jacobian(lambda a: a, argnums=1)(X)


def test_what_cannot_be_mapped_names_the_line() -> None:
    with pytest.raises(
        TypeError, match=r"test_vmap_and_jacobian\.py:\d+: <array of a function that vmap maps"
    ):
        keras.vmap(lambda v: float(v[0]))(X)
    weight, left = keras.Variable(np.ones(3, np.float32)), list[Any]()

    def assigned(v: Any) -> Any:
        weight.assign(weight * 2)
        return v

    for function in (keras.vmap(assigned), keras.function(keras.vmap(assigned))):
        with pytest.raises(
            TypeError, match=r"test_vmap_and_jacobian\.py:\d+: vmap can't map a function that changes"
        ):
            function(X)
    assert_same(weight, np.ones(3))
    keras.vmap(lambda v: left.append(v * 2) or v)(X)
    with pytest.raises(TypeError, match="used outside of it"):
        left[0] + 1


def test_samples_of_a_model_are_elements() -> None:
    """The number of samples, over which a layer maps a function, isn't known while the function is recorded."""

    class Mapped(layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.vmap(keras.jacobian(FUNCTIONS["matrix"]))(x)

    model = keras.Sequential([keras.Input((3,)), Mapped()])
    expected = np.stack([differences(FUNCTIONS["matrix"], x) for x in X])
    assert_same(model.predict(X, verbose=0), expected)
    assert_same(model.predict(X[:2], verbose=0), expected[:2])


def test_tapes_in_mapped_functions() -> None:
    def slope(v: Any) -> Any:
        with keras.GradientTape() as tape:
            tape.watch(v)
            y = ops.sum(v**3)
        return tape.gradient(y, v)

    assert_same(both_ways(keras.vmap(slope), X), 3 * X**2)
