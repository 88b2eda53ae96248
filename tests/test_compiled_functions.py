"""`engine.function`: functions of the user that the core runs."""

from __future__ import annotations

import enum
import gc
import re
import weakref
from collections import OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
from common import assert_all_close

import engine as keras
from engine import layers, ops, optimizers

RNG = np.random.default_rng(7)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y = RNG.normal(size=(12, 2)).astype(np.float32)


def network() -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])


def updates(model: Any, optimizer: Any) -> Any:
    """Returns a training step as a plain function."""

    def update(x: Any, y: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x, training=True) - y))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return update


def test_it_does_what_the_function_does() -> None:
    one, two = network(), network()
    two.set_weights(one.get_weights())
    plain, compiled = updates(one, optimizers.Adam(0.01)), keras.function(updates(two, optimizers.Adam(0.01)))
    for turn in range(6):
        rows = slice(turn, turn + 5)
        assert float(compiled(X[rows], Y[rows])) == pytest.approx(float(plain(X[rows], Y[rows])), rel=1e-5)
    assert compiled.refusal is None
    assert_all_close(two.get_weights(), one.get_weights(), rtol=1e-4, atol=1e-6)


def test_its_python_runs_once_for_each_form() -> None:
    seen = list[Any]()

    @keras.function
    def scaled(x: Any, factor: Any = 2, *, mode: str = "a", more: Any = None) -> Any:
        seen.append((ops.shape(x), mode))
        return {
            "scaled": x * factor,
            "pair": [ops.sum(x), mode],
            "more": None if more is None else more[0] + 1,
        }

    for x in (X, X + 1, Y):
        found = scaled(x)
        np.testing.assert_allclose(found["scaled"], 2 * x)
        assert float(found["pair"][0]) == pytest.approx(x.sum(), rel=1e-5)
        assert found["pair"][1] == "a"
        assert found["more"] is None
    assert len(seen) == 2
    np.testing.assert_allclose(scaled(X, 3)["scaled"], 3 * X)
    np.testing.assert_allclose(scaled(X, factor=3.5)["scaled"], 3.5 * X)
    np.testing.assert_allclose(scaled(X, factor=0.25)["scaled"], 0.25 * X)
    assert scaled(X, mode="b")["pair"][1] == "b"
    np.testing.assert_allclose(scaled(X, more=(Y, 1))["more"], Y + 1)
    assert len(seen) == 6
    assert scaled.__name__ == "scaled"


def test_dtypes_of_arguments_and_results() -> None:
    @keras.function
    def looked_up(labels: Any, mask: Any) -> Any:
        return ops.one_hot(labels, 3), ops.cast(labels, "int32") + 1, ops.where(mask, 1.0, -1.0)

    labels = np.array([0, 2, 1])
    hot, following, signs = looked_up(labels, np.array([True, False, True]))
    np.testing.assert_array_equal(hot, np.eye(3)[labels])
    np.testing.assert_array_equal(following, labels + 1)
    assert np.asarray(following).dtype == np.int32
    np.testing.assert_array_equal(signs, [1, -1, 1])
    assert hot.numpy().shape == (3, 3)


def test_weights_and_variables_are_assigned() -> None:
    model, target, counter = network(), network(), keras.Variable(0.0)
    before = [np.array(each) for each in target.get_weights()]

    @keras.function
    def follow(rate: Any) -> Any:
        for mine, other in zip(target.variables, model.variables, strict=True):
            mine.assign(rate * other + (1 - rate) * mine)
        counter.assign_add(1.0)
        return counter.value + 0.0

    for turn in range(3):
        assert float(follow(0.25)) == turn + 1
    assert follow.refusal is None
    for old, new, aim in zip(before, target.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(new, aim + 0.75**3 * (old - aim), rtol=1e-5, atol=1e-6)
    assert float(counter) == 3.0


def test_an_assigned_weight_is_read_before_and_after() -> None:
    one, two = keras.Variable([1.0, 2.0]), keras.Variable([3.0, 4.0])

    @keras.function
    def swap() -> Any:
        first = one + 0.0
        one.assign(two)
        two.assign(first)
        two.assign_sub([10.0, 10.0])
        return first, one + two

    first, total = swap()
    np.testing.assert_array_equal(first, [1, 2])
    np.testing.assert_array_equal(total, [3 + 1 - 10, 4 + 2 - 10])
    np.testing.assert_array_equal(np.asarray(one), [3, 4])
    np.testing.assert_array_equal(np.asarray(two), [-9, -8])
    swap()
    np.testing.assert_array_equal(np.asarray(one), [-9, -8])
    np.testing.assert_array_equal(np.asarray(two), [-7, -6])
    assert swap.refusal is None


def test_random_numbers_are_new_in_each_call() -> None:
    seed = keras.random.SeedGenerator(3)
    drawn = keras.function(lambda: keras.random.normal((5,), seed=seed))
    one, two = np.asarray(drawn()), np.asarray(drawn())
    assert not np.array_equal(one, two)


def test_numbers_of_arguments_make_it_run_as_it_is_written() -> None:
    calls = list[float]()

    @keras.function
    def halved(x: Any) -> Any:
        if float(ops.max(x)) > 1.0:
            calls.append(1.0)
            return x / 2
        return x

    with pytest.warns(UserWarning, match="halved can't be compiled.*has no value"):
        np.testing.assert_allclose(halved(np.array([4.0])), [2.0])
    np.testing.assert_allclose(halved(np.array([0.5])), [0.5])
    assert halved.refusal is not None
    assert calls == [1.0]


def test_the_text_of_a_compiled_function() -> None:
    update = keras.function(updates(network(), optimizers.Adam(0.01)))
    with pytest.raises(ValueError, match="update was not called yet"):
        keras.utils.explain_batch(update)
    update(X, Y)
    text = keras.utils.explain_batch(update, threads=1)
    assert text.count("Graph:") == text.count("Schedule:") == 1, "nothing comes after the step"
    assert text.count("dense_weight_step") == 2 * 2, "the optimizer steps weights where their gradients arise"
    assert "/kernel[4,8]" in text


def test_results_that_a_later_operation_reads_are_kept() -> None:
    """A product and its sum with a vector, or its activation, may be one operation only if nobody sees the product."""
    kernel, bias = keras.Variable(RNG.normal(size=(4, 3))), keras.Variable(RNG.normal(size=3))
    dense, relu = layers.Dense(3), layers.Activation("relu")
    dense(X)

    def sums(x: Any) -> Any:
        product = ops.matmul(x, kernel)
        return product, product + bias

    def activations(x: Any) -> Any:
        product = dense(x)
        return product, relu(product)

    for function in (sums, activations):
        assert_all_close(keras.function(function)(X), function(X), rtol=1e-5, atol=1e-6)
    product, total = keras.function(sums)(X)
    np.testing.assert_allclose(total - product, np.broadcast_to(bias, (12, 3)), rtol=1e-4, atol=1e-5)
    product, activated = keras.function(activations)(X)
    np.testing.assert_allclose(np.maximum(product, 0), activated)
    assert (np.asarray(product) < 0).any()


def test_errors_are_those_of_the_function() -> None:
    @keras.function
    def wrong(x: Any) -> Any:
        return ops.matmul(x, ops.ones((3, 3)))

    with pytest.raises(ValueError, match=r"test_compiled_functions\.py:\d+: .*can't be multiplied"):
        wrong(X)

    @keras.function
    def divides(x: Any) -> Any:
        return x / (1 // 0)

    with pytest.raises(ZeroDivisionError):
        divides(X)


def test_a_wrong_shape_is_assigned_to_nothing() -> None:
    variable = keras.Variable([1.0, 2.0])

    @keras.function
    def assign(x: Any) -> None:
        variable.assign(x)

    with pytest.raises(ValueError, match="shape"):
        assign(np.zeros(3))
    np.testing.assert_array_equal(np.asarray(variable), [1.0, 2.0])


def test_methods_and_functions_within_functions() -> None:
    class Agent:
        def __init__(self) -> None:
            self.model = network()

        @keras.function
        def act(self, x: Any) -> Any:
            return ops.argmax(scores(self.model, x), axis=-1)

    @keras.function
    def scores(model: Any, x: Any) -> Any:
        return model(x)

    agents = Agent(), Agent()
    for agent in agents:
        np.testing.assert_array_equal(agent.act(X), np.argmax(agent.model.predict(X, verbose=0), axis=-1))
    assert Agent.act.refusal is None
    with keras.GradientTape() as tape:
        loss = ops.sum(scores(agents[0].model, X))
    assert tape.gradient(loss, agents[0].model.trainable_variables)[0].shape == (4, 8)


def test_variables_of_integers_are_not_frozen() -> None:
    """An integer variable can't be recorded, and must not be taken for a constant."""
    steps = keras.Variable(0, dtype="int32")

    @keras.function
    def count(x: Any) -> Any:
        steps.assign_add(1)
        return x * steps

    with pytest.warns(UserWarning, match="count can't be compiled"):
        count(X)
    for turn in range(2, 4):
        np.testing.assert_allclose(count(X), turn * X, rtol=1e-6)
    assert int(steps) == 3


def test_arguments_by_name_and_in_dicts_come_in_any_order() -> None:
    @keras.function
    def differences(pair: Any, *, more: Any, less: Any) -> Any:
        return pair["b"] - 10 * pair["a"], more - 10 * less

    for factor in (1, 2):
        one, other = factor * X[:1], factor * X[1:2]
        for pair in ({"b": one, "a": other}, {"a": other, "b": one}):
            for found in differences(pair, more=one, less=other):
                np.testing.assert_allclose(found, one - 10 * other, rtol=1e-5)
    assert differences.refusal is None


def test_a_dict_of_a_class_of_its_own_is_no_set_of_arrays() -> None:
    class Options(dict[str, Any]):
        """Its entries are read while the function is recorded, as attributes of objects are."""

    @keras.function
    def scaled(x: Any, options: Any) -> Any:
        return x * options["scale"]

    for scale in (2.0, 3.0):
        np.testing.assert_allclose(scaled(X, Options(scale=np.float32(scale))), scale * X, rtol=1e-6)


def test_results_in_a_named_tuple() -> None:
    class Parts(NamedTuple):
        total: Any
        doubled: Any

    found = keras.function(lambda x: Parts(ops.sum(x), {"x": 2 * x}))(X)
    assert isinstance(found, Parts)
    assert float(found.total) == pytest.approx(float(X.sum()), rel=1e-4)
    np.testing.assert_allclose(found.doubled["x"], 2 * X, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: layers.Dense(2), "activation", "softplus"),
        (lambda: layers.Activation("relu"), "activation", None),
        (lambda: layers.LeakyReLU(negative_slope=0.1), "negative_slope", 0.5),
        (layers.LayerNormalization, "epsilon", 1.0),
    ],
    ids=["dense", "activation", "leaky_relu", "layer_normalization"],
)
def test_a_function_follows_the_settings_of_its_layers(make: Any, name: str, value: Any) -> None:
    layer, runs = make(), list[int]()

    @keras.function
    def compiled(x: Any) -> Any:
        runs.append(1)
        return layer(x)

    before = np.asarray(compiled(X))
    setattr(layer, name, value)
    after = np.asarray(compiled(X))
    np.testing.assert_allclose(after, np.asarray(layer(X)), rtol=1e-6)
    assert not np.allclose(before, after)
    compiled(X)
    setattr(layer, name, getattr(layer, name))
    layer.trainable = True
    compiled(X)
    assert len(runs) == 2


def refused_line(function: Any, *args: Any) -> str:
    """Returns the reason in the warning of a function that can't be compiled, which is called."""
    compiled = keras.function(function)
    with pytest.warns(UserWarning, match="can't be compiled") as warned:
        compiled(*args)
    assert compiled.refusal is not None
    return str(warned[0].message).partition("The reason: ")[2]


def assigned(x: Any) -> Any:
    x = x.copy()
    x[0] = 1
    return x


REFUSED: dict[str, tuple[Any, str]] = {
    "float": (lambda x: float(np.sum(x)), "numbers that are there only when"),
    "if": (lambda x: x if x[0, 0] > 0 else -x, "numbers that are there only when"),
    "item": (lambda x: x[0, 0].item(), "numbers that are there only when"),
    "format": (lambda x: f"{x[0, 0]:.2f}", "numbers that are there only when"),
    "an array of it": (lambda x: np.asarray(x + 1), "numbers that are there only when"),
    "assignment": (assigned, r"x\[...\] = value changes an array"),
    "a function of NumPy": (lambda x: np.unique(x + 1), "NumPy's `unique` can't be recorded"),
    "a method of a ufunc": (lambda x: np.add.outer(x, x), "NumPy's `add.outer` can't be recorded"),
    "out": (lambda x: np.add(x, 1, out=np.zeros((12, 4))), "NumPy's `add` with out can't be recorded"),
    "bools as an index": (lambda x: x[x > 0], "an index of bools"),
    "an attribute": (lambda x: x.nonzero(), "no attribute 'nonzero'"),
    "complex numbers": (lambda x: x * 1j, "real numbers"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_names_the_line(what: str) -> None:
    function, reason = REFUSED[what]
    assert re.match(rf"test_compiled_functions\.py:\d+: .*{reason}", refused_line(function, X))


WRONG: dict[str, tuple[Any, str]] = {
    "matmul": (lambda x, y: x @ y, r"\(12, 4\) and \(12, 2\) can't be multiplied"),
    "einsum": (lambda x, y: np.einsum("ij,jk->ik", x, y), "can't be multiplied"),
    "add": (lambda x, y: x + y, "can't be broadcast"),
    "reshape": (lambda x, y: x.reshape(5) + y, r"can't have the shape \(5,\)"),
    "concatenate": (lambda x, y: np.concatenate([x, y]), "can't be joined"),
    "index": (lambda x, y: x[77] + y, "out of range"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_error_about_shapes_names_the_line(what: str) -> None:
    function, reason = WRONG[what]
    compiled, kind = keras.function(function), IndexError if what == "index" else ValueError
    with pytest.raises(kind, match=rf"^test_compiled_functions\.py:\d+: .*{reason}"):
        compiled(X, Y)
    assert compiled.refusal is None  # as it may be compiled for other arguments
    with pytest.raises(kind, match=rf"^test_compiled_functions\.py:\d+: .*{reason}"):
        keras.grad(function)(X, Y)


def test_errors_of_users_stay_theirs() -> None:
    def checked(x: Any) -> Any:
        if x.ndim == 2:
            msg = "not this shape"
            raise ValueError(msg)
        return x

    with pytest.raises(ValueError, match=r"^not this shape(\n.* raised it)?$"):  # the second line is a note
        keras.function(checked)(X)
    with pytest.raises(ValueError, match=r"^not this shape(\n.* raised it)?$"):  # the second line is a note
        keras.function(lambda x: ops.map(checked, x[None]))(X)
    with pytest.raises(TypeError, match=r"^only"):  # NumPy's, as a row is no number in Python either
        keras.function(lambda x: [float(row) for row in x])(X)


def test_complex_arguments_are_computed_by_numpy() -> None:
    assert "give its real and its imaginary part" in refused_line(lambda z: z * 2, np.ones(3, complex))
    with pytest.warns(UserWarning, match="can't be compiled"):
        np.testing.assert_array_equal(keras.function(lambda z: z * 2)(np.ones(3) * 1j), 2j * np.ones(3))


def test_choices_are_recorded() -> None:
    @keras.function
    def chosen(x: Any) -> Any:
        signed = ops.cond(ops.sum(x) > 0, lambda: [2 * x, x], lambda: [-x, x])
        return [*signed, ops.switch(ops.cast(x[0], "int32"), [lambda a: a, lambda a: 3 * a], x)]

    for x in (np.ones(3, "float32"), -np.ones(3, "float32")):
        assert_all_close(chosen(x), [2 * x if x[0] > 0 else -x, x, 3 * x if x[0] > 0 else x])
    assert chosen.refusal is None


# ---- Lengths that vary ------------------------------------------------------------------------------------------------

# Functions of a vector and of a matrix that has as many rows, in which both may have any length.
OF_ANY_LENGTH: dict[str, Any] = {
    "elementwise": lambda x, m: np.sin(x)[:, None] * m,
    "differences": lambda x, m: (np.sum(np.square(x[1:] - x[:-1])), m[::-1]),
    "means": lambda x, m: [np.mean(m, axis=0), np.sum(x) / x.shape[0], np.var(x)],
    "products": lambda x, m: np.matmul(np.transpose(m), np.matmul(x[:, None] * x, m)),
    "joined": lambda x, m: np.concatenate([x, x[:1], x * 2]),
    "sums so far": lambda x, m: np.cumsum(m, axis=0) + np.arange(4.0),
    "gradients": keras.value_and_grad(lambda x, m: np.sum(np.tanh(m) * x[:, None] ** 2), argnums=(0, 1)),
    "elements": lambda x, m: keras.vmap(lambda a, b: a * np.max(b))(x * 1, m),
}


@pytest.mark.parametrize("name", OF_ANY_LENGTH)
def test_any_length_is_recorded_once(name: str) -> None:
    calls = list[int]()

    def counted(x: Any, m: Any) -> Any:
        calls.append(1)
        return OF_ANY_LENGTH[name](x, m)

    compiled, exact = keras.function(counted, reduce_retracing=True), keras.function(OF_ANY_LENGTH[name])
    for length in (5, 7, 2, 33, 129, 7, 5):
        x, m = RNG.normal(size=length).astype("float32"), RNG.normal(size=(length, 4)).astype("float32")
        found, expected = keras.tree.flatten(compiled(x, m)), keras.tree.flatten(exact(x, m))
        assert [np.asarray(each).dtype for each in found] == [np.asarray(each).dtype for each in expected]
        assert_all_close(found, expected, rtol=1e-5, atol=1e-5)
    assert len(calls) == 2  # for the length 5, and for any other


def test_lengths_at_which_something_else_happens_are_recorded_themselves() -> None:
    @keras.function(reduce_retracing=True)
    def later(x: Any) -> Any:
        return np.sum(x[3:]) + x[2]

    for length in (6, 8, 9):
        x = np.arange(length, dtype="float32")
        assert float(later(x)) == x[3:].sum() + x[2]
    assert float(later(np.arange(3, dtype="float32"))) == 2.0  # a slice beyond the end is empty
    with pytest.raises(IndexError, match="out of range"):
        later(np.ones(2))
    assert float(later(np.arange(4, dtype="float32"))) == 5.0


def test_axes_that_vary_by_themselves() -> None:
    calls = list[int]()

    @keras.function(reduce_retracing=True)
    def outer(x: Any, y: Any) -> Any:
        calls.append(1)
        return x[:, None] * y

    for rows, columns in ((3, 4), (5, 4), (6, 4), (6, 7), (6, 9), (8, 4)):
        assert outer(np.ones(rows), np.ones(columns)).shape == (rows, columns)
    assert len(calls) == 4  # (3, 4), (n, 4), (6, 7) and (6, n)


def test_it_tells_why_each_length_is_recorded() -> None:
    def total(x: Any) -> Any:
        return sum(2 * row for row in x)

    compiled = keras.function(total, reduce_retracing=True)
    compiled(X)
    with pytest.warns(
        UserWarning, match=r"total is recorded for each length of None in the shapes \(None, 4\).*\.py:\d+: "
    ):
        compiled(X[1:])
    assert_all_close([compiled(X[2:])], [2 * X[2:].sum(0)], rtol=1e-5)
    dense = layers.Dense(2)
    of_layer = keras.function(dense.__call__, reduce_retracing=True)
    of_layer(X)
    with pytest.warns(UserWarning, match="it calls layers or reads weights"):
        of_layer(X[1:])
    assert of_layer(X[2:]).shape == (10, 2)


def test_many_recordings_are_told_once() -> None:
    @keras.function
    def scaled(x: Any, count: Any, *, part: Any = None) -> Any:
        return x * count

    for length in range(1, 10):
        scaled(np.ones(length), 2)
    with pytest.warns(
        UserWarning, match=r"scaled has been recorded 10 times.*`x` was float64 \(1,\),.*padding"
    ) as told:
        scaled(np.ones(10), 2)
    assert "count" not in str(told[0].message)
    scaled(np.ones(11), 2)

    counting = keras.function(lambda x, count: x * count)
    for count in range(9):
        counting(X, count)
    with pytest.warns(
        UserWarning, match=r"`count` was 0, 1, 2, 3, ...: pass a number that changes as an array or a float"
    ):
        counting(X, 9)
    keyword, kept = keras.function(lambda x, *, part: x), [object() for _ in range(10)]
    for part in kept[:9]:
        keyword(X, part=part)
    with pytest.warns(UserWarning, match=r"`part` was another object.*make an object that is passed once"):
        keyword(X, part=kept[9])


class Pair(NamedTuple):
    first: Any
    second: Any


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def _values() -> list[Any]:
    """Arguments of pairwise different forms."""
    x = np.zeros((2, 3), np.float32)
    return [
        x,
        x.T,
        x[0],
        x.reshape(2, 3, 1),
        x.astype(np.float64),
        x.astype(np.int32),
        x.astype(np.uint32),
        x.astype(bool),
        x.astype(">f4"),
        np.zeros((2, 3), "<U3"),
        np.zeros((2, 3), "<U4"),
        1.0,
        1,
        True,
        2,
        Level.LOW,
        2**64,
        2**64 + 1,
        -(2**64),
        None,
        "1",
        b"1",
        "\ud800",
        "",
        (),
        [],
        {},
        OrderedDict(),
        defaultdict(list),
        [x],
        (x,),
        {"a": x},
        {1: x},
        OrderedDict(a=x),
        [x, x],
        [[x], x],
        [[x, x]],
        [(), [()]],
        [1, 12],
        [11, 2],
        ["ab", "c"],
        ["a", "bc"],
        {"a": 1, "b": 2},
        {"a": 2, "b": 1},
        Pair(x, x),
        float,
        int,
        np.float32,
        keras.Variable(1.0),
    ]


def test_forms_tell_arguments_apart() -> None:
    table = keras.function(lambda x: x)._calls
    forms = [table.form((value,), {}) for value in _values()]
    assert len({form.key for form in forms}) == len(forms)
    by_name = [table.form((), {"x": value}) for value in _values()]
    assert len({form.key for form in [*forms, *by_name]}) == 2 * len(forms)


def test_forms_of_equal_arguments_are_equal() -> None:
    table = keras.function(lambda x: x)._calls
    x = np.zeros((2, 3), np.float32)
    pairs = [
        (x, np.ones((2, 3), np.float32)),
        (x, ops.ones((2, 3))),
        (x.T, np.ones((3, 2), np.float32)),
        (1.0, np.float64(3.0)),
        (2**70, 2**70),
        ({"a": x, "b": 1}, {"b": 1, "a": x}),
        ({"a": x, 2: x}, {2: x, "a": x}),
        (Pair(x, 1), Pair(x, 1)),
    ]
    for one, other in pairs:
        assert table.form((one,), {}).key == table.form((other,), {}).key
    assert table.form((), {"a": 1, "b": x}).key == table.form((), {"b": x, "a": 1}).key
    ordered = OrderedDict(b=x, a=x), OrderedDict(a=x, b=x)
    assert table.form(ordered[:1], {}).key != table.form(ordered[1:], {}).key
    (array,) = table.form((1.5,), {}).arrays
    assert (array.shape, array.dtype, float(array)) == ((), np.float64, 1.5)


@pytest.mark.filterwarnings("ignore:.*has been recorded 10 times")
def test_the_last_forms_stay_compiled() -> None:
    seen = list[int]()

    @keras.function
    def noted(x: Any, number: int) -> Any:
        seen.append(number)
        return x * number

    for number in [*range(70), *range(6, 70)]:
        np.testing.assert_array_equal(noted(X, number), X * number)
    assert seen == [*range(70)]
    noted(X, 0)
    assert seen[-1] == 0


def test_arrays_of_any_layout_and_dtype_are_read() -> None:
    doubled = keras.function(lambda x: 2 * x)
    wide = RNG.normal(size=(6, 8)).astype(np.float32)
    unaligned = np.frombuffer(b"\0" + wide.tobytes(), np.uint8)[1:].view(np.float32).reshape(wide.shape)
    readonly = wide.copy()
    readonly.flags.writeable = False
    for x in (
        wide[:, ::2],
        wide.T,
        wide[::-1],
        unaligned,
        readonly,
        wide.astype(">f4"),
        wide.astype(np.float64),
    ):
        np.testing.assert_allclose(doubled(x), 2 * x.astype(np.float32), rtol=1e-6)
    signs = wide > 0
    np.testing.assert_array_equal(doubled(signs[:, ::2]), 2 * signs[:, ::2])
    np.testing.assert_array_equal(doubled(signs.astype(np.uint8)), 2 * signs)
    assert doubled.refusal is None


def test_wrong_indices_change_no_weight() -> None:
    embedding = layers.Embedding(3, 2)
    embedding.build((None,))
    optimizer = optimizers.SGD(0.5)

    @keras.function
    def update(indices: Any) -> Any:
        with keras.GradientTape() as tape:
            loss = ops.sum(embedding(indices) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, embedding.weights), embedding.weights, strict=True))
        return loss

    update(np.array([0, 2]))
    before = np.array(embedding.embeddings)
    with pytest.raises(ValueError, match="indices"):
        update(np.array([0, 3]))
    np.testing.assert_array_equal(embedding.embeddings, before)
    assert int(optimizer.iterations) == 1


def test_an_optimizer_that_steps_twice_has_a_rate_for_each_step() -> None:
    one, two = keras.Variable(0.0), keras.Variable(0.0)
    schedule = optimizers.schedules.PiecewiseConstantDecay([1, 2, 3], [1.0, 0.1, 0.01, 0.001])
    optimizer = optimizers.SGD(schedule)
    optimizer.build([one, two])

    @keras.function
    def update() -> Any:
        optimizer.apply_gradients([(ops.ones(()), one)])
        optimizer.apply_gradients([(ops.ones(()), two)])
        return {"one": one + 0.0, "both": [(one + 0.0, two + 0.0)]}

    rates = [float(schedule(step)) for step in range(4)]
    update()
    found = update()
    assert update.refusal is None
    assert float(found["one"]) == pytest.approx(-rates[0] - rates[2])
    assert [float(each) for each in found["both"][0]] == pytest.approx(
        [-rates[0] - rates[2], -rates[1] - rates[3]]
    )


def test_an_object_that_calls_itself_is_collected() -> None:
    class Agent:
        def __init__(self) -> None:
            self.model = network()
            self.update = keras.function(self.outputs)
            self.of_agent = keras.function(lambda agent, x: agent.model(x))

        def outputs(self, x: Any) -> Any:
            return self.model(x)

    agent = Agent()
    np.testing.assert_array_equal(agent.update(X), agent.of_agent(agent, X))
    gone = weakref.ref(agent)
    del agent
    gc.collect()
    assert gone() is None


def test_calls_within_the_block_of_a_tape_are_recorded() -> None:
    squared = keras.function(lambda x: x * x)
    x = ops.convert_to_tensor(X)
    squared(x)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(squared(x))
    np.testing.assert_allclose(tape.gradient(y, x), 2 * X, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*has been recorded 10 times")
def test_threads_call_one_function() -> None:
    scaled = keras.function(lambda x, factor: x * factor)
    with ThreadPoolExecutor(4) as pool:
        turns = [(rows, factor) for factor in range(8) for rows in range(1, 13)] * 3
        found = list(pool.map(lambda turn: scaled(X[: turn[0]], turn[1]), turns))
    for (rows, factor), result in zip(turns, found, strict=True):
        np.testing.assert_array_equal(result, X[:rows] * factor)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"keras\.function compiles a function, got 3"):
        keras.function(3)  # type: ignore[call-overload] # the mistake
