"""Functions of `engine.ops` as objects, and what each call of one decides before it computes."""

from __future__ import annotations

import copy
import gc
import inspect
import itertools
import pickle
import pydoc
import sys
import threading
import tracemalloc
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import ops
from engine._base import quiet
from engine._base.promotion import KEPT
from engine._core_interface.cpp import computed_within

X = np.array([0.5, 2.0, -3.0], np.float32)
Y = np.array([4.0, -0.25, 1.0], np.float32)

UNARY = [
    "exp",
    "tanh",
    "sinc",
    "isnan",
    "isreal",
    "absolute",
    "negative",
    "bitwise_invert",
    "square",
    "reciprocal",
    "trunc",
    "conjugate",
]
BINARY = [
    "add",
    "multiply",
    "floor_divide",
    "mod",
    "arctan2",
    "divide",
    "power",
    "equal",
    "less",
    "logical_and",
    "bitwise_xor",
    "bitwise_left_shift",
    "gcd",
]


def values_of(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return (
        np.array([1, 0, 3, 1, 2], dtype)
        if dtype.kind != "f"
        else np.array([1, -0.0, 3.5, np.nan, np.inf], dtype)
    )


def outcome(function: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """Returns what describes the result of a call, or its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            result = function(*args)
        except (TypeError, ValueError, OverflowError) as error:
            return (type(error),)
    return type(result), result.dtype, result.shape, result.tobytes()


def silent(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what a function of `ops` runs in Python."""
    return np.errstate(all="ignore")(inspect.unwrap(function))  # type: ignore[return-value,arg-type] # a decorator


# What a call returns, by whichever way.


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", KEPT, ids=str)
def test_a_function_of_one_array_returns_the_same_by_each_way(name: str, dtype: np.dtype[Any]) -> None:
    function, values = getattr(ops, name), values_of(dtype)
    for array in (
        values,
        values[::2],
        values.reshape(5, 1).T,
        values[:0],
        values[0],
        values[0:1].reshape(()),
    ):
        assert outcome(function, array) == outcome(silent(function), array)


@pytest.mark.parametrize("name", BINARY)
def test_a_function_of_two_arrays_returns_the_same_by_each_way(name: str) -> None:
    function = getattr(ops, name)
    arrays = [values_of(dtype)[:4] for dtype in KEPT] + [values_of(np.dtype(">f4"))[:4], X[:1].reshape(())]
    for first, second in itertools.product(arrays, repeat=2):
        assert outcome(function, first, second) == outcome(silent(function), first, second)


def test_a_condition_has_a_dtype_of_its_own() -> None:
    arrays = [values_of(dtype)[:4] for dtype in KEPT]
    numbers: list[Any] = [2, 2**31, 0.1, True]
    conditions = [*arrays, np.array([[True], [False]]), [1, 0, 0, 1], 1, np.array(["a", ""])]
    for condition, (first, second) in itertools.product(
        conditions, itertools.product(arrays[:5], [*arrays[:5], *numbers])
    ):
        assert outcome(ops.where, condition, first, second) == outcome(
            silent(ops.where), condition, first, second
        )
        assert outcome(ops.where, condition, second, first) == outcome(
            silent(ops.where), condition, second, first
        )


@pytest.mark.parametrize("name", BINARY)
def test_numbers_of_python_beside_arrays_mean_the_same_by_each_way(name: str) -> None:
    function = getattr(ops, name)
    numbers: list[Any] = [
        0,
        2,
        -7,
        2**24 + 1,
        2**31 - 1,
        -(2**31),
        2**31,
        2**70,
        True,
        0.1,
        -0.0,
        1e300,
        float("nan"),
    ]
    for dtype, number in itertools.product(KEPT, numbers):
        array = values_of(dtype)
        assert outcome(function, array, number) == outcome(silent(function), array, number)
        assert outcome(function, number, array) == outcome(silent(function), number, array)


def test_a_float_of_a_loss_beside_integers_is_a_float() -> None:
    loss = keras.losses.MeanSquaredError()(np.zeros(2), np.full(2, 0.5))
    result = ops.add(np.arange(2, dtype=np.int32), loss)
    assert result.dtype == np.float32
    assert result.tolist() == [0.25, 1.25]


class Named(np.ndarray[Any, Any]):
    """A subclass of arrays."""


def test_arrays_of_other_classes_give_plain_arrays() -> None:
    for array in (X.view(Named), np.ma.masked_array(X, X > 1)):
        for result in (ops.add(array, Y), ops.add(Y, array), ops.exp(array), ops.maximum(array, 0.0)):
            assert type(result) is np.ndarray
    assert np.array_equal(ops.add(X.view(Named), Y), X + Y)


# What is computed in another way than by the function of NumPy of that name.

SPECIAL = np.array([0.0, -0.0, 1.0, 1.00001, -1.0, np.inf, -np.inf, np.nan, 3e38, 1e-45], np.float32)


@pytest.mark.parametrize("equal_nan", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int32, bool])
def test_close_numbers_are_those_of_numpy(dtype: Any, equal_nan: bool) -> None:
    with np.errstate(all="ignore"):
        values = (
            SPECIAL.astype(dtype) if np.dtype(dtype).kind == "f" else np.arange(-128, 128, 15).astype(dtype)
        )
        first, second = values[:, None], values[None, :]
        if dtype is bool:
            first = first.astype(np.float32)
        expected = np.isclose(first, second, rtol=1e-5, atol=1e-3, equal_nan=equal_nan)
    found = ops.isclose(first, second, rtol=1e-5, atol=1e-3, equal_nan=equal_nan)
    assert np.array_equal(found, expected)
    assert ops.allclose(first, first, equal_nan=equal_nan) == np.allclose(first, first, equal_nan=equal_nan)


@pytest.mark.parametrize(
    "places", [1, 2, 3, 5, 7, [2], [1, 4], [0, 6], [-2], [4, 2], [9], [], np.int64(3), np.array([2, 3])]
)
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_parts_are_those_of_numpy(places: Any, axis: int) -> None:
    x = np.arange(36, dtype=np.float32).reshape(6, 6)[:, ::-1]
    for name in ("split", "array_split"):
        try:
            expected = getattr(np, name)(x, places, axis)
        except ValueError:
            with pytest.raises(ValueError, match="no equal division"):
                getattr(ops, name)(x, places, axis)
            continue
        found = getattr(ops, name)(x, places, axis)
        assert [part.tolist() for part in found] == [part.tolist() for part in expected]
        assert not any(np.shares_memory(part, x) for part in found)


def test_parts_along_an_axis_need_that_axis() -> None:
    cube = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    for name, axes in (("hsplit", 1), ("vsplit", 2), ("dsplit", 3)):
        assert np.array_equal(getattr(ops, name)(cube, 2), getattr(np, name)(cube, 2))
        with pytest.raises(ValueError, match=f"at least {axes} axes"):
            getattr(ops, name)(np.ones((1,) * (axes - 1), np.float32), 1)
    assert np.array_equal(ops.hsplit(X[:2], 2), np.hsplit(X[:2], 2))
    for count in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            ops.split(X, count)


def test_the_first_condition_that_holds_selects() -> None:
    conditions = [X > 1, np.array([[1.0], [0.0]], np.float32), [True, False, True]]
    choices = [X, Y, 7]
    found = ops.select(conditions, choices, default=-1)
    expected = np.select(
        [np.asarray(each, bool) for each in conditions], [X, Y, np.float32(7)], np.float32(-1)
    )
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    for wrong in (([], []), (conditions, choices[:2])):
        with pytest.raises(ValueError, match="must have one length"):
            ops.select(*wrong)


@pytest.mark.parametrize(("first", "second"), [(3, 3), (2, 3), (3, 2), (2, 2)])
def test_cross_products_are_those_of_padded_vectors(first: int, second: int) -> None:
    a = np.random.default_rng(0).normal(size=(4, first)).astype(np.float32)
    b = np.random.default_rng(1).normal(size=(5, 1, second)).astype(np.float32)
    padded = [np.pad(each, [(0, 0)] * (each.ndim - 1) + [(0, 3 - each.shape[-1])]) for each in (a, b)]
    expected = np.cross(*padded)
    found = ops.cross(a, b)
    assert np.array_equal(found, expected[..., 2] if first == second == 2 else expected)
    if first == second == 3:
        assert np.array_equal(ops.cross(a.T, b, axisa=0, axisc=1), np.moveaxis(expected, -1, 1))


@pytest.mark.parametrize(
    "shape", [(6,), [2, -1], (-1,), 6, -1, np.array([3, 2]), np.int64(6), (3, np.int32(2)), (1, 6, 1)]
)
def test_shapes_of_each_kind_are_taken(shape: Any) -> None:
    x = np.arange(6, dtype=np.float32)
    assert np.array_equal(ops.reshape(x, shape), x.reshape(shape))


def test_no_zero_is_found_twice() -> None:
    for values in ([-0.0, 0.0, -0.0], [-1.0, -0.0, 0.0], [0.0, -0.0], [np.nan, 0.0], [1.0, 2.0, 2.0]):
        x = np.array(values, np.float32)
        exact = x.astype(np.float64) + np.where(np.signbit(x) & (x == 0), -1e-300, 0.0)
        assert ops.argmax(x) == np.argmax(exact)
        assert ops.argmin(x[None], axis=1, keepdims=True) == np.argmin(exact)
        assert ops.argmax(x).dtype == np.int32


def test_counts_take_weights_and_lengths() -> None:
    i = np.array([3, 1, 1], np.uint8)
    assert ops.bincount(i).tolist() == [0, 2, 0, 1]
    assert ops.bincount(i, minlength=6).tolist() == [0, 2, 0, 1, 0, 0]
    assert ops.bincount(i, weights=X).tolist() == [0.0, -1.0, 0.0, 0.5]
    assert ops.bincount(i[:0], minlength=2).tolist() == [0, 0]
    assert ops.bincount(i).dtype == np.int32
    assert ops.bincount([i, i], weights=np.float16([X, Y])).dtype == np.float16


# Warnings.


def test_nothing_warns_and_the_state_of_numpy_stays() -> None:
    huge = np.full(3, 3e38, np.float32)
    with np.errstate(all="raise"):
        for _ in range(2):
            assert np.isinf(ops.add(huge, huge)).all()
            assert np.isinf(ops.exp(huge)).all()
        with pytest.raises(FloatingPointError):
            np.add(huge, huge)
    assert np.geterr()["over"] == "warn"


def test_the_state_of_numpy_stays_after_an_error() -> None:
    before = np.geterr()
    with pytest.raises(ValueError, match="broadcast"):
        ops.add(X, Y[:2])
    with pytest.raises(TypeError, match="add"):
        ops.add(X)  # type: ignore[call-arg] # an argument is missing
    assert np.geterr() == before


def test_conditions_are_arguments() -> None:
    for conditions in (-1, 2):
        with pytest.raises(ValueError, match="among the arguments"):
            computed_within(abs, ContextVar("setting"), 1, abs, 1, conditions)


def test_functions_within_functions_do_not_warn_either() -> None:
    with np.errstate(all="raise"):
        assert np.isnan(ops.std(np.array([np.inf, 1.0], np.float32)))
        assert np.isinf(ops.logsumexp(np.array([np.inf, 1.0], np.float32)))


def test_a_thread_has_a_state_of_its_own() -> None:
    raised, wait = [], threading.Barrier(2, timeout=60)

    def warn_in_another_thread() -> None:
        with np.errstate(all="raise"):
            wait.wait()
            for _ in range(200):
                ops.add(X, np.inf)
                try:
                    np.divide(X, np.float32(0))
                except FloatingPointError:
                    raised.append(1)

    thread = threading.Thread(target=warn_in_another_thread)
    thread.start()
    wait.wait()
    for _ in range(200):
        assert ops.divide(X, np.zeros_like(X)).shape == X.shape
    thread.join()
    assert len(raised) == 200


def test_without_a_variable_of_numpy_its_decorator_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "seterr", lambda **_: None)
    monkeypatch.setattr(quiet, "_SETTING", quiet._error_state()[0])

    @quiet.quiet
    def quotient(x: Any) -> Any:
        return x / np.float32(0)

    with np.errstate(all="raise"):
        assert np.isinf(quotient(X)).all()


# Recording.


def test_symbols_are_found_in_each_place() -> None:
    x = keras.Input((3,))
    for made in (
        ops.add(x, 1.0),
        ops.add(x1=Y, x2=x),
        ops.add(Y, x2=x),
        ops.concatenate([Y.reshape(1, 3), x]),
        ops.concatenate(xs=(Y.reshape(1, 3), x)),
        ops.where(x > 0, x, 0.0),
        ops.einsum("ij,kj->ik", x, Y.reshape(1, 3)),
        ops.select([Y > 0, x > 0], [Y, Y]),
        ops.square(x),
    ):
        assert isinstance(made, keras.KerasTensor)


def test_symbols_are_found_however_deep_they_lie() -> None:
    nested: Any = keras.Input((3,))
    for _ in range(20):
        nested = [nested]
    with pytest.raises((TypeError, ValueError)) as caught:
        ops.exp(nested)
    assert "symbol" in str(caught.value) or "record" in str(caught.value)


def test_lists_of_any_depth_end_in_an_error() -> None:
    nested: Any = 1.0
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises((ValueError, RecursionError)):
        ops.add(nested, 1.0)
    while isinstance(nested, list):  # else its end would take as many levels of the stack
        nested = nested[0]


def test_a_slice_with_a_length_of_the_batch_is_recorded() -> None:
    @keras.function(reduce_retracing=True)
    def without_last(x: Any) -> Any:
        return ops.get_item(x, slice(0, x.shape[0] - 1))

    for rows in (3, 4, 5):
        assert without_last(np.ones((rows, 2), np.float32)).shape == (rows - 1, 2)


def test_tapes_record_what_they_watch_alone() -> None:
    x = keras.ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        assert type(ops.add(X, Y)) is np.ndarray
        tape.watch(x)
        y = ops.sum(ops.multiply(x, x2=ops.add(x, 1.0)))
    assert np.allclose(tape.gradient(y, x), 2 * X + 1)
    assert type(ops.add(x, Y)) is np.ndarray


def test_tapes_of_other_threads_do_not_record() -> None:
    found: list[Any] = []
    x = keras.ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        thread = threading.Thread(target=lambda: found.append(ops.multiply(x, x)))
        thread.start()
        thread.join()
    assert type(found[0]) is np.ndarray


def test_weights_and_numbers_that_are_drawn_are_recorded() -> None:
    weight = keras.Variable(X)

    @keras.function
    def product(x: Any) -> Any:
        return ops.multiply(weight, x) + 0.0 * keras.random.uniform((3,))

    first = product(Y)
    weight.assign(2 * X)
    assert np.allclose(product(Y), 2 * first)
    drawn = keras.function(lambda x: x + keras.random.uniform((3,)))
    assert not np.array_equal(drawn(X), drawn(X))


# As objects.


def test_errors_about_arguments_are_those_of_functions() -> None:
    with pytest.raises(TypeError, match=r"add\(\) got an unexpected keyword argument 'x3'"):
        ops.add(X, x3=Y)  # type: ignore[call-arg] # that is the error
    with pytest.raises(TypeError, match=r"add\(\) takes 2 positional arguments but 3 were given"):
        ops.add(X, Y, Y)  # type: ignore[call-arg] # that is the error
    with pytest.raises(TypeError, match=r"exp\(\) missing 1 required positional argument: 'x'"):
        ops.exp()  # type: ignore[call-arg] # that is the error
    with pytest.raises(TypeError, match=r"matmul\(\) takes 2 positional arguments but 3 were given"):
        ops.matmul(X, Y, Y)  # type: ignore[misc] # `bias` must be named
    with pytest.raises(TypeError, match="multiple values for argument 'x1'"):
        ops.add(X, x1=Y)  # type: ignore[misc] # that is the error


@pytest.mark.parametrize(
    "function", [ops.add, ops.max, ops.softmax, ops.matmul, keras.random.normal, keras.activations.relu]
)
def test_a_function_is_copied_and_pickled_by_its_name(function: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function


def test_a_function_says_what_functions_say() -> None:
    assert (
        str(inspect.signature(ops.sum))
        == "(x: 'ArrayLike', axis: 'Axis' = None, keepdims: 'bool' = False) -> 'Result'"
    )
    assert inspect.isfunction(ops.add)
    assert inspect.isroutine(ops.add)
    assert ops.sum.__defaults__ == (None, False)
    assert ops.sum.__code__.co_name == "sum"
    assert inspect.getsource(ops.sum).startswith("@quiet\ndef sum(")
    assert pydoc.plain(pydoc.render_doc(ops.amax)).startswith(
        "Python Library Documentation: function amax in module engine.ops"
    )
    assert repr(ops.add).startswith("<function add at 0x")
    assert ops.add.__doc__ is not None
    assert set(inspect.get_annotations(ops.add)) == {"x1", "x2", "return"}
    with pytest.raises(AttributeError, match="nothing_like_that"):
        ops.add.nothing_like_that  # type: ignore[attr-defined] # noqa: B018 # that is the error


def test_a_function_is_a_method_of_the_class_it_is_an_attribute_of() -> None:
    class Holder:
        doubled = ops.negative
        static = staticmethod(ops.negative)

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return X

    assert np.array_equal(Holder().doubled(), -X)
    assert np.array_equal(Holder.static(X), -X)


def test_a_function_takes_attributes() -> None:
    ops.add.mark = 1  # type: ignore[attr-defined] # as functions do
    try:
        assert ops.add.mark == 1  # type: ignore[attr-defined] # as above
    finally:
        del ops.add.mark  # type: ignore[attr-defined] # as above


# Memory.


@pytest.fixture
def collected() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


def test_calls_leave_no_references(collected: None) -> None:
    def calls() -> None:
        ops.add(X, Y)
        ops.add(X, 2.0)
        ops.add(x1=X, x2=Y)
        ops.sum(ops.concatenate([X, Y], axis=0), axis=0, keepdims=True)
        ops.get_item(X, slice(0, 2))
        for wrong in ((X, Y[:2]), (X, "x"), (X,)):
            with pytest.raises((ValueError, TypeError)):
                ops.add(*wrong)

    calls()
    objects: tuple[Any, ...] = (X, Y, X.dtype, None, ops.add, inspect.unwrap(ops.add), np.add, *KEPT)
    before = [sys.getrefcount(each) for each in objects]
    tracemalloc.start()
    try:
        calls()
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            calls()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - first
    finally:
        tracemalloc.stop()
    after = [sys.getrefcount(each) for each in objects]
    assert max(b - a for a, b in zip(before, after, strict=True)) < 100
    assert grown < 20_000


def test_a_function_that_refers_to_itself_is_freed() -> None:
    @quiet.quiet
    def own(x: Any) -> Any:
        return x

    own.itself = own  # type: ignore[attr-defined] # as functions do
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert gone() is None
