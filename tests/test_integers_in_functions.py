"""Integers in compiled functions: arguments of all dtypes and layouts, results, and numbers beyond those of float32."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import _core, ops

pytestmark = pytest.mark.usefixtures("threads_as_before")

# Around the vectors of each instruction set, around the share of a thread, and so many that several threads convert them.
LENGTHS = [0, 1, 3, 4, 5, 8, 15, 16, 17, 33, 1000, 2**14, 2**14 + 1, 2**17, 3 * 2**17 + 5]
DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]

# How an array may lie in memory.
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "plain": lambda x: x,
    "every second": lambda x: np.repeat(x, 2)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "other order of bytes": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype),
    "not aligned": lambda x: np.frombuffer(b"?" + x.tobytes(), x.dtype, len(x), 1),
}


def integers(dtype: str, length: int) -> NDArray[Any]:
    """Integers whose sums fit the dtype and are exact in float32."""
    limits = np.iinfo(dtype)
    low, high = max(int(limits.min), -(2**22)) // 2, min(int(limits.max), 2**22) // 2
    return np.random.default_rng(length).integers(low, high, length).astype(dtype)


# ---- Arguments and results --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arguments_of_all_dtypes_and_layouts(dtype: str, layout: str) -> None:
    add = keras.function(lambda x, y: x + y)
    for length in (0, 1, 5, 1000):
        x = integers(dtype, length)
        placed = LAYOUTS[layout](x)
        if length == 0 and layout == "not aligned":
            continue
        kept = placed.copy()
        found = add(placed, placed)
        np.testing.assert_array_equal(found, x + x)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(placed, kept)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_as_many_numbers_as_there_are_are_converted(length: int, threads: int) -> None:
    _core.set_threads(threads)
    x = integers("int32", length)
    sums, differences = keras.function(lambda x, y: (x + y, x - y))(x, x[::-1])
    np.testing.assert_array_equal(sums, x + x[::-1])
    np.testing.assert_array_equal(differences, x - x[::-1])


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (2, 0), (2, 3, 5)])
def test_integers_of_all_shapes(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
    found = keras.function(lambda x: {"twice": x * 2, "more": [x + 1]})(x)
    for one, other in ((found["twice"], x * 2), (found["more"][0], x + 1)):
        assert one.dtype == np.int32
        assert one.shape == shape
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("length", [7, 2**20])
def test_integers_that_are_returned_belong_to_the_caller(length: int) -> None:
    """Also those that are large enough for memory that is used again, and those that are returned as something else as well."""
    x = integers("int32", length)
    results = keras.function(lambda x: [y := x + 1, y, x, y * 2, y / 2, np.reshape(y, (1, -1))])(x)
    expected = [x + 1, x + 1, x, (x + 1) * 2, (x + 1) / 2, (x + 1).reshape(1, -1)]
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    results[0] += 1
    np.testing.assert_array_equal(results[3], expected[3])
    np.testing.assert_array_equal(x, integers("int32", length))
    function = keras.function(lambda x: x + 1)
    first = function(x)
    assert isinstance(first, np.ndarray)
    assert first.flags.writeable
    assert first.dtype == np.dtype(np.int32)
    kept = first.copy()
    first += 5
    second = function(x)
    np.testing.assert_array_equal(second, kept)
    assert not np.shares_memory(first, second)


def test_what_is_computed_once_is_returned_in_several_dtypes_and_shapes() -> None:
    def formula(x: Any) -> list[Any]:
        y = x + 1
        return [
            y,
            ops.cast(y, "float32"),
            np.reshape(y, (1, -1)),
            ops.cast(y, "float32")[None],
            y.astype(np.int8),
        ]

    x = integers("int8", 50).astype(np.int32)
    for found, expected in zip(keras.function(formula)(x), formula(x), strict=True):
        assert found.dtype == np.asarray(expected).dtype
        np.testing.assert_array_equal(found, expected)


def test_a_weight_that_is_returned_as_an_integer_stays_a_float() -> None:
    variable = keras.Variable([1.5, -2.5, 3.0])
    found = keras.function(lambda: (ops.cast(variable, "int32"), variable + 0.0))()
    np.testing.assert_array_equal(found[0], [1, -2, 3])
    np.testing.assert_array_equal(found[1], [1.5, -2.5, 3.0])
    np.testing.assert_array_equal(variable.numpy(), [1.5, -2.5, 3.0])


def test_numbers_beyond_int32_warn_as_in_numpy() -> None:
    x = np.array([1.5, np.nan, np.inf, -np.inf, 3e9, -3e9, -(2.0**31)], np.float32)
    function = keras.function(lambda x: ops.cast(x, "int32"))
    with pytest.warns(RuntimeWarning, match="invalid value encountered in cast"):
        found = function(x)
    assert found.tolist() == [1, *[-(2**31)] * 6]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with pytest.raises(RuntimeWarning, match="invalid value"):
                function(x)
        np.testing.assert_array_equal(function(np.zeros_like(x)), np.zeros(7, np.int32))


def test_dtypes_are_referred_to_as_often_as_they_are_used() -> None:
    function, x = keras.function(lambda x: x + 1), np.arange(5, dtype=np.int32)
    function(x)
    before = sys.getrefcount(np.dtype(np.int32))
    for _ in range(1000):
        function(x)
    assert abs(sys.getrefcount(np.dtype(np.int32)) - before) < 100


def test_threads_of_python_convert_at_once() -> None:
    function, x = keras.function(lambda x, y: x * 2 + y), integers("int32", 2**18)
    found = dict[int, Any]()

    def call(number: int) -> None:
        for _ in range(10):
            found[number] = function(x, x // (number + 2))

    function(x, x)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(found[number], x * 2 + x // (number + 2))


# ---- Numbers that float32 rounds --------------------------------------------------------------------------------------

LARGEST = 2**24
CORNERS = [
    0, 1, -1, 2, 3, 7, 100, 4095, 4096, 4097, 46340, 46341, 2**23, LARGEST - 1, LARGEST, LARGEST + 1, LARGEST + 2, LARGEST + 3,
    -LARGEST, -LARGEST - 1, 2**25 + 1, 2**31 - 1, -(2**31),
]  # fmt: skip

ONE: list[Callable[[Any], Any]] = [
    np.negative, np.abs, np.square, np.sign, np.invert, np.sum, np.max, np.min, np.ptp, np.prod, np.any, np.sort, np.diff,
    np.argmax, np.argmin,
    lambda x: np.argsort(x, kind="stable"),
    lambda x: np.cumsum(x, dtype=np.int64),
    lambda x: np.cumprod(x % 3, dtype=np.int64),
    lambda x: x[::-1],
    lambda x: x * 3,
    lambda x: x - 5,
    lambda x: x % 7,
    lambda x: np.mod(x, -5),
    lambda x: x // 3,
    lambda x: x << 2,
    lambda x: x >> 1,
    lambda x: x & 255,
    lambda x: x**3,
    lambda x: x * x * x,
    lambda x: np.where(x > 0, x, -x),
    lambda x: np.clip(x, -50, 50),
    lambda x: np.sum(np.concatenate([np.ravel(x), np.ravel(x)])),
    lambda x: np.sum(x > 3),
    lambda x: np.floor(x % 100 / 3).astype(np.int32) * 1000,
    lambda x: np.take(np.ravel(x), np.argmin(x)),
    lambda x: x.astype(np.int64),
    lambda x: x.astype(np.int16),
    lambda x: x.astype(np.int8),
]  # fmt: skip
TWO: list[Callable[[Any, Any], Any]] = [
    np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.floor_divide, np.mod, np.fmod, np.bitwise_and, np.bitwise_or,
    np.bitwise_xor, np.equal, np.not_equal, np.less, np.logical_and, np.gcd, np.lcm, np.isin, np.isclose,
    lambda a, b: np.where(a < b, a, b),
    lambda a, b: a * b + a,
    lambda a, b: np.dot(np.ravel(a)[:1], np.ravel(b)[:1]),
    lambda a, b: np.searchsorted(np.sort(np.ravel(b)), a),
    lambda a, b: np.power(a % 5, np.abs(b) % 6),
    lambda a, b: np.left_shift(a % 9, np.abs(b) % 4),
    lambda a, b: np.right_shift(a, np.abs(b) % 8),
]  # fmt: skip


def random_function(rng: np.random.Generator, depth: int) -> Callable[[Any, Any], Any]:
    """A composition of functions of integers, of two arrays."""
    if depth == 0:
        place = int(rng.integers(2))
        return lambda *arrays: arrays[place]
    inner = random_function(rng, depth - 1)
    if rng.random() < 0.5:  # the share of functions of one array
        one = ONE[rng.integers(len(ONE))]
        return lambda x, y: one(inner(x, y))
    two, other = TWO[rng.integers(len(TWO))], random_function(rng, int(rng.integers(depth)))
    return lambda x, y: two(inner(x, y), other(x, y))


def random_integers(rng: np.random.Generator, kind: int, count: int, dtype: str) -> NDArray[Any]:
    drawn = [
        rng.integers(-10, 10, count),
        rng.choice(CORNERS, count),
        rng.integers(-5000, 5000, count),
        rng.choice(CORNERS, count) * rng.integers(0, 2, count) + rng.integers(-2, 3, count),
    ][kind]
    return drawn.clip(np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.filterwarnings("ignore")  # of NumPy's overflows, and that functions run in Python
@pytest.mark.parametrize("seed", range(40))
def test_random_functions_of_integers_return_those_of_numpy(seed: int) -> None:
    """Ten functions, each of which is called with small integers, and with those that float32 rounds."""
    compared = 0
    for number in range(10):
        rng = np.random.default_rng((seed, number))
        function = random_function(rng, int(rng.integers(1, 4)))
        dtypes = rng.choice(
            ["int32", "int64", "int32", "int64", "int16", "int8", "uint8", "uint16", "uint32"], 2
        )
        count, compiled = int(rng.integers(1, 9)), keras.function(function)
        for kind in range(4):
            arrays = [random_integers(rng, kind, count, str(dtype)) for dtype in dtypes]
            try:
                expected = np.asarray(function(*arrays))
            except (ValueError, TypeError, OverflowError, IndexError):  # NumPy doesn't take these
                continue
            if expected.dtype.kind in "iub":
                found = np.asarray(compiled(*arrays))
                assert found.dtype.kind in "iub"
                np.testing.assert_array_equal(
                    found.astype(np.int64), expected.astype(np.int64), f"function {number}"
                )
                compared += compiled.refusal is None
    assert compared > 10


# Functions that are compiled, and the largest arguments for which they are.
EXACT: dict[str, tuple[Callable[[Any], Any], int]] = {
    "argument": (lambda x: x[::-1], LARGEST),
    "sum": (lambda x: x + 1, LARGEST // 2),
    "remainder of a product": (lambda x: x * x % 7, 4096),
    "total": (lambda x: np.sum(x, axis=0), LARGEST // 4),
    "running sums": (lambda x: np.cumsum(x, dtype=np.int32), LARGEST // 4),
    "matrix product": (lambda x: np.dot(x, x), 2048),
    "comparison of two": (lambda x: x == x[::-1], LARGEST),
    "remainder": (lambda x: x % 1000, LARGEST),
    "bits": (lambda x: (x ^ (x >> 3)) & 255, LARGEST // 2),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_calls_with_larger_integers_run_in_python(name: str, dtype: str) -> None:
    formula, most = EXACT[name]
    function = keras.function(formula)
    # These are computed by the core: not even a warning.
    for x in ([1, 2, -3, 4], [most, -most + 1, 5, most - 1], [most, most - 1, most, most - 2]):
        array = np.array(x, dtype)
        np.testing.assert_array_equal(function(array), formula(array))
    beyond = np.array([3, 1, 2 * LARGEST + 1, -2 * LARGEST - 1], dtype)
    with pytest.warns(
        UserWarning, match=r"runs in Python where integers may become large.*16,777,216"
    ) as told:
        np.testing.assert_array_equal(function(beyond), formula(beyond))
    assert told[0].filename == __file__
    np.testing.assert_array_equal(function(-beyond), formula(-beyond))  # told once
    assert function.refusal is None
    small = np.array([1, 2, 3, 4], dtype)
    assert isinstance(function(small), keras.tree.flatten(function(small))[0].__class__)
    assert "Segment" in keras.utils.explain_batch(function)


def test_limits_of_one_argument_depend_on_the_others() -> None:
    function = keras.function(lambda x, y: x * y)
    x, y = np.array([2**20, -(2**20)]), np.array([3, 5])
    for _ in range(2):  # within 2**24, though beyond what both may be
        np.testing.assert_array_equal(function(x, y), x * y)
    with pytest.warns(UserWarning, match="product of integers may be as large as 17,825,792"):
        np.testing.assert_array_equal(function(x, y + 12), x * (y + 12))


@pytest.mark.parametrize("number", [LARGEST + 1, 2**31 - 1, -(2**31), -LARGEST - 1])
def test_what_rounding_does_not_change_is_computed_by_the_core(number: int) -> None:
    """Integers that become floats, and comparisons with small ones: without a warning."""
    x = np.array([number, 1, 0, -5], np.int32)
    function = keras.function(
        lambda x: (x / 2, np.sqrt(np.abs(x / 1.0)), x > 0, x == 7, np.sign(x), np.mean(x))
    )
    expected = (x / 2, np.sqrt(np.abs(x / 1.0)), x > 0, x == 7, np.sign(x), np.mean(x))
    for found, other in zip(function(x), expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-6)


def test_integers_of_floats_are_measured() -> None:
    """How large these are isn't known before the core has computed them."""

    def formula(x: Any) -> Any:
        steps = np.floor(x * 10.0).astype(np.int32) + 1
        return steps * 3, np.sum(steps)

    function, x = keras.function(formula), np.linspace(-1, 1, 100, dtype=np.float32)
    for _ in range(3):
        for one, other in zip(function(x), formula(x), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.warns(UserWarning, match="may be of any size"):
        large = function(x * np.float32(1e7))
    for one, other in zip(large, formula(x * np.float32(1e7)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.warns(RuntimeWarning, match="invalid value"):
        function(np.full(100, np.nan, np.float32))
    for one, other in zip(function(x), formula(x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_loops_whose_bounds_grow_faster_than_their_numbers_are_measured() -> None:
    def formula(n: Any) -> Any:
        for _ in range(40):
            n = np.where(n % 2 == 0, n // 2, 3 * n + 1)
        return n

    function, n = keras.function(formula), np.arange(1, 100)
    np.testing.assert_array_equal(function(n), formula(n))
    n = np.arange(1, 200_000)
    with pytest.warns(UserWarning, match="product of integers"):
        np.testing.assert_array_equal(function(n), formula(n))


def test_functions_that_round_whatever_they_get_are_not_compiled() -> None:
    table = np.array([LARGEST + 1, LARGEST + 3])
    function = keras.function(lambda x: x % 10 + table)
    x = np.array([5, 6])
    with pytest.warns(UserWarning, match=r"can't be compiled.*16,777,216"):
        np.testing.assert_array_equal(function(x), x % 10 + table)
    assert function.refusal is not None


@pytest.mark.filterwarnings("ignore:.*runs in Python")
def test_other_ways_to_functions_of_integers() -> None:
    x = np.array([5000, 46340, 3], np.int32)
    expected = x * x % 7
    np.testing.assert_array_equal(keras.function(lambda given: given["x"][0] ** 2 % 7)({"x": [x]}), expected)
    np.testing.assert_array_equal(keras.function(lambda x: ops.mod(ops.multiply(x, x), 7))(x), expected)
    any_length = keras.function(lambda x: x * x % 7, reduce_retracing=True)
    for length in range(2, 6):
        for factor in (1, 5000):
            y = factor * np.arange(length, dtype=np.int32)
            np.testing.assert_array_equal(any_length(y), y * y % 7)
    gradient = keras.function(keras.grad(lambda w, i: np.sum(w * (i * i % 7))))
    np.testing.assert_array_equal(gradient(np.ones(3, np.float32), x), expected)


def test_integers_of_a_step_that_changes_weights() -> None:
    """It runs once: integers of arguments are checked before, and measured ones tell of rounding by a warning."""
    total = keras.Variable([0.0, 0.0])

    @keras.function
    def add(x: Any, y: Any) -> Any:
        whole = np.floor(y).astype(np.int32) + 1
        total.assign(total + whole)
        return x * x, whole

    x, y = np.array([3, 4], np.int32), np.array([1.5, 2.5], np.float32)
    add(x, y)
    assert total.numpy().tolist() == [2.0, 3.0]
    with pytest.warns(UserWarning, match="integers of a compiled step may have been rounded"):
        add(x, np.float32(2.0**26) * y)
    assert total.numpy().tolist() == [1.5 * 2**26, 2.5 * 2**26]  # added once, and rounded


@pytest.mark.parametrize("base", range(-10, 11))
def test_powers_of_integers_are_rounded_to_the_right_one(base: int) -> None:
    exponents = np.arange(24, dtype=np.int32)
    exponents = exponents[np.abs(float(base) ** exponents) <= 2**23]
    x = np.full(len(exponents), base, np.int32)
    np.testing.assert_array_equal(keras.function(lambda x, n: x**n)(x, exponents), x**exponents)


def test_integers_of_training_steps() -> None:
    """They go on as they are, since a batch can't be trained twice, and warn once."""

    class Counting(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            with keras.GradientTape() as tape:
                loss = ops.mean(ops.square(self(x) - ops.cast(y, "float32")))
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
            )
            return {"loss": loss, "digits": ops.sum(y * y % 7)}

    model, x = Counting(), np.ones((8, 2), np.float32)
    model.compile("sgd", jit_compile=False)
    y = np.arange(8, dtype=np.int32)[:, None]
    logs = model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert logs.history["digits"] == [float(np.sum(y * y % 7))] * 2
    with pytest.warns(
        UserWarning, match="integers of a compiled step may have been rounded.*product"
    ) as told:
        model.fit(x, y + 5000, batch_size=4, epochs=3, verbose=0)
    assert len(told) == 1


class Seen(keras.metrics.Metric):
    """A metric in Python, which keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(name="seen")
        self.got: list[tuple[str, Any]] = []

    def update_state(self, *arrays: Any) -> None:
        self.got += [(np.asarray(each).dtype.name, np.asarray(each).tolist()) for each in arrays]

    def result(self) -> Any:
        return float(len(self.got))


class Classifier(keras.Model):
    """A step with integers that metrics get, too."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(3, kernel_initializer="ones")
        self.seen, self.digits = Seen(), keras.metrics.Mean(name="digits")

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with keras.GradientTape() as tape:
            outputs = self(x)
            loss = ops.mean(ops.square(outputs - ops.cast(y, "float32")))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        remainders = y * y % 7
        digits = ops.sum(remainders)
        self.seen.update_state(remainders, digits, ops.cast(ops.sum(outputs) * 10.0, "int32"))
        self.digits.update_state(digits)
        return {"loss": loss, "now": digits, "mean": self.digits.result(), "calls": self.seen.result()}


def trained(way: str, y: NDArray[Any], **options: Any) -> tuple[Any, Any]:
    """Returns a model after two batches, and the last logs."""
    x = np.linspace(-1.0, 1.0, 2 * len(y), dtype=np.float32).reshape(len(y), 2)
    model, half = Classifier(), len(y) // 2
    model.compile("sgd", jit_compile=False, **options)
    batches = [(x[:half], y[:half]), (x[half:], y[half:])]
    if way == "train_on_batch":
        model.train_on_batch(*batches[0])  # the long way, after which the metrics are reset
        return model, model.train_on_batch(*batches[1], return_dict=True)
    given: Any = (x, y) if way == "arrays" else (iter(batches),)
    history = model.fit(*given, batch_size=half if way == "arrays" else None, verbose=0, shuffle=False)
    return model, {name: values[-1] for name, values in history.history.items()}


def test_a_training_step_that_rounds_whatever_it_gets_runs_in_python() -> None:
    table = np.array([LARGEST + 1, LARGEST + 3])

    class WithTable(Classifier):
        def train_step(self, data: Any) -> dict[str, Any]:
            return {**super().train_step(data), "largest": np.max(data[1] % 2 + table)}

    model, y = WithTable(), np.arange(4, dtype=np.int32)[:, None]
    model.compile("sgd", jit_compile=False)
    with pytest.warns(UserWarning, match=r"train_step can't be compiled.*16,777,216"):
        logs = model.train_on_batch(np.ones((4, 2), np.float32), y, return_dict=True)
    assert logs["largest"] == LARGEST + 4


@pytest.mark.parametrize("way", ["arrays", "batches", "train_on_batch"])
def test_integers_of_training_steps_are_returned_and_given_to_metrics(way: str) -> None:
    y = np.arange(12, dtype=np.int32)[:, None]
    model, logs = trained(way, y)
    eager, expected = trained(way, y, run_eagerly=True)
    assert model.seen.got == eager.seen.got
    assert [dtype for dtype, _ in model.seen.got] == ["int32"] * 6
    assert logs == pytest.approx(expected, rel=1e-6)
    assert logs["now"] == np.sum(y[6:] ** 2 % 7)
    with pytest.warns(UserWarning, match="may have been rounded.*product of integers") as told:
        model, logs = trained(way, y + 5000)
    assert len(told) == 1
    assert len(model.seen.got) == 6
    eager, _ = trained(way, y + 5000, run_eagerly=True)
    for found, other in zip(model.get_weights(), eager.get_weights(), strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-5)


def test_metrics_get_integers_once_where_a_call_is_left_to_python() -> None:
    """How large these are is known only when the core has computed them."""
    seen = Seen()

    @keras.function
    def steps_of(x: Any) -> Any:
        steps = np.floor(x).astype(np.int32) + 1
        seen.update_state(steps, np.reshape(steps, (1, -1)), ops.cast(steps, "float32"))
        return {"steps": steps, "calls": seen.result()}

    found = steps_of(np.array([1.5, -2.5], np.float32))
    assert found["steps"].tolist() == [2, -2]
    assert seen.got == [("int32", [2, -2]), ("int32", [[2, -2]]), ("float32", [2.0, -2.0])]
    assert found["calls"] == 3
    seen.got.clear()
    with pytest.warns(UserWarning, match="may be of any size"):
        found = steps_of(np.array([1.5, 2.0**25], np.float32))
    assert found["steps"].tolist() == [2, 2**25 + 1]
    assert [values for _, values in seen.got[:2]] == [[2, 2**25 + 1], [[2, 2**25 + 1]]]
    assert len(seen.got) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="invalid value"):
            steps_of(np.array([1.5, np.nan], np.float32))
    assert len(seen.got) == 3


@pytest.mark.filterwarnings("ignore:.*runs in Python")
def test_integers_of_arrays_that_are_recorded_before_they_are_computed() -> None:
    """Gradient tapes and `vmap` have no other way to compute them, and warn."""
    x = np.array([5000, 3], np.int32)
    for mapped in (keras.vmap(lambda x: x * x % 7), keras.function(keras.vmap(lambda x: x * x % 7))):
        np.testing.assert_array_equal(mapped(x // 2), (x // 2) * (x // 2) % 7)
        with pytest.warns(
            UserWarning, match="integers may be rounded.* product of integers may be as large as 25,000,000"
        ):
            np.asarray(mapped(x))
    with pytest.warns(UserWarning, match="integers may be rounded.*result of integers"):
        np.asarray(keras.vmap(lambda x: x[::-1])(np.array([[2**24 + 1, 5]])))
    with keras.GradientTape() as tape:
        w = keras.Variable([1.5, 2.5])
        whole = ops.cast(w * 10.0, "int32") + 1
        loss = ops.sum(w * ops.cast(whole, "float32"))
        large = ops.cast(w * 1e8, "int32") + 1
        with pytest.warns(UserWarning, match="integers may be rounded"):
            np.asarray(large)
    np.testing.assert_array_equal(np.asarray(whole), [16, 26])
    np.testing.assert_array_equal(tape.gradient(loss, w), [16.0, 26.0])


def test_quotients_of_integers_are_exact_beside_the_next_integer() -> None:
    """Of dividends up to 2**24 that are multiples of the divisor, or almost."""
    rng, divide = np.random.default_rng(1), keras.function(lambda a, b: a // b)
    for bits in range(1, 25):
        b = rng.integers(1, 2**bits, 10_000)
        multiple = (LARGEST // b - rng.integers(0, 3, 10_000)) * b
        a = (multiple + rng.integers(-2, 3, 10_000)).clip(-LARGEST, LARGEST)
        for one, other in ((a, b), (-a, b), (a, -b), (rng.integers(-LARGEST, LARGEST + 1, 10_000), b)):
            np.testing.assert_array_equal(divide(one, other), one // other)
