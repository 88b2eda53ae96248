"""Tests of `engine.ops.matmul`: bits of the numerical contract, shapes, layouts, threads, memory."""

from __future__ import annotations

import gc
import hashlib
import importlib
import inspect
import os
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import core_for_tests
import numpy as np
import pytest
from numerics import CHAIN, RUNNABLE, SMALLEST_NORMAL, U, chained_product, run_script, same_bits, unary
from products import bound, everywhere, normal
from reference import ACTIVATIONS

from engine import activations, ops
from engine.ops import matmul

TRANSPOSES = list(product((False, True), repeat=2))
ELEMENTWISE = ["linear", "relu", "sigmoid", "tanh", "silu"]
# Tiles have 12, 8, 6 or 4 rows and 32, 16 or 8 columns, 128, 64 or 32 for a single row; a vector has 16, 8 or 4.
# From 49 rows or 65 columns on an operand is packed; blocks hold 192 rows, 512 columns, and 8 chains of 256. With up to
# 36 rows or 4, and 65 columns, contiguous columns are turned four terms at a time.
ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 23, 24, 25, 36, 37, 48, 49, 61]
COLUMNS = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 161]
INNER = [0, 1, 2, 15, 16, 17, 255, 256, 257, 513]
SHAPES = (
    [(m, 5, n) for m in ROWS for n in (1, 2, 17, 33, 66)]
    + [(m, 17, n) for m in (1, 2, 13, 50) for n in COLUMNS]
    + [(m, k, n) for m in (1, 7, 50) for k in INNER for n in (1, 37, 70)]
    + [(191, 300, 3), (193, 19, 67), (3, 19, 511), (50, 5, 513), (1, 600, 1030), (205, 257, 33)]
    + [(8, 600, 26), (5, 300, 12), (3, 258, 70), (4, 515, 65), (12, 257, 80), (24, 300, 130), (25, 259, 66)]
    + [(194, 2050, 34), (0, 3, 4), (3, 4, 0), (0, 0, 0), (2, 0, 3)]
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_the_contract_to_the_bit(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b, bias = normal(m, k), normal(k, n, seed=1), normal(n, seed=2)
    want = chained_product(a, b)
    for transpose_a, transpose_b in TRANSPOSES:
        first = np.ascontiguousarray(a.T) if transpose_a else a
        second = np.ascontiguousarray(b.T) if transpose_b else b
        flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        threads = [1, 3] if m * k * n < 10**5 else [2]
        assert same_bits(everywhere(first, second, threads=threads, **flags), want)
        assert same_bits(matmul(first, second, bias=bias, **flags), want + bias)


@pytest.mark.parametrize("shape", [(1, 70_000, 3), (5, 66_000, 2), (2, 70_000, 40)], ids=str)
def test_long_sums(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = np.abs(normal(m, k)), np.abs(normal(k, n, seed=1))
    got = everywhere(a, b, threads=[1, 2])
    assert same_bits(got, chained_product(a, b))
    assert (np.abs(got - a.astype(float) @ b) <= bound(a, b)).all()


@pytest.mark.parametrize("size", [97, 300, 700])
def test_threads_give_the_same_bits(size: int) -> None:
    a, b, bias = normal(size, size), normal(size, size + 9, seed=1), normal(size + 9, seed=2)
    isas = [isa for isa in RUNNABLE if isa != "baseline" or size < 300]
    first, *others = [
        core_for_tests.matmul(a, b, bias, {"activation": "tanh"}, False, False, None, isa, n)
        for isa in isas
        for n in range(1, 9)
    ]
    assert all(same_bits(first, other) for other in others)
    assert same_bits(first[:5], matmul(a[:5], b, bias=bias, activation="tanh"))
    assert same_bits(
        first.T[:7], unary("tanh", (matmul(b.T[:7], a.T) + bias[:7, None]).ravel()).reshape(7, -1)
    )


@pytest.mark.parametrize("isa", RUNNABLE)
def test_a_process_of_another_instruction_set_gives_the_same_bits(isa: str) -> None:
    digest = run_script(f"""
        import hashlib, os
        import numpy as np
        os.environ["ENGINE_ISA"] = {isa!r}
        import engine
        a, b = (np.random.default_rng(seed).standard_normal((150, 300), np.float32) for seed in (0, 1))
        print(hashlib.sha256(engine.ops.matmul(a, b, transpose_b=True)).hexdigest())
    """)
    a, b = normal(150, 300), normal(150, 300, seed=1)
    assert digest.strip() == hashlib.sha256(matmul(a, b, transpose_b=True)).hexdigest()


@pytest.mark.parametrize("activation", [*ELEMENTWISE, "softmax"])
@pytest.mark.parametrize("shape", [(1, 300, 133), (7, 17, 19), (60, 257, 35), (9, 3, 1), (5, 0, 3)], ids=str)
def test_bias_and_activation(activation: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b, bias = normal(m, k), normal(k, n, seed=1), normal(n, seed=2)
    for row in (None, bias):
        z = matmul(a, b, bias=row)
        y = everywhere(a, b, bias=row, activation=activation)
        assert same_bits(y, activations.get(activation)(z))
        exact = a.astype(float) @ b + (0 if row is None else row)
        # No activation here has a slope above 1.1; its own error is at most 8 ulp. Softmax divides sums of n.
        slack = 1.1 * (bound(a, b) + U * np.abs(exact)) + (8 + n * (activation == "softmax")) * U * np.abs(y)
        assert (np.abs(y - ACTIVATIONS[activation](exact)) <= slack + SMALLEST_NORMAL).all()


def test_activations_go_by_name_or_function() -> None:
    a = normal(3, 3)
    want = matmul(a, a, activation="silu")
    for activation in ("swish", "SiLU", activations.silu):
        assert same_bits(matmul(a, a, activation=activation), want)
    assert same_bits(matmul(a, a, activation=None), matmul(a, a, activation="linear"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((4,), (4,)),
        ((4,), (4, 3)),
        ((2, 4), (4,)),
        ((4,), (5, 4, 3)),
        ((5, 2, 4), (4,)),
        ((5, 2, 4), (4, 3)),
        ((2, 4), (5, 4, 3)),
        ((6, 1, 2, 4), (5, 4, 3)),
        ((1, 5, 2, 4), (6, 1, 4, 3)),
        ((0, 2, 4), (4, 3)),
        ((5, 0, 4), (5, 4, 3)),
        ((5, 2, 0), (5, 0, 3)),
        ((0,), (0,)),
        ((0,), (0, 3)),
        ((300, 2, 4), (300, 4, 3)),
        ((40, 9, 30), (30, 50)),
        ((3, 40, 1, 300), (300, 7)),
        ((1,) * 20 + (2, 4), (2,) * 3 + (4, 3)),
    ],
    ids=str,
)
def test_shapes_are_numpys(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    a, b = normal(*first), normal(*second, seed=1)
    want = np.matmul(a.astype(float), b.astype(float))
    got = everywhere(a, b)
    assert np.shape(got) == want.shape
    assert type(got) is (np.float32 if want.ndim == 0 else np.ndarray)
    assert got.dtype == np.float32
    assert (np.abs(got - want) <= bound(a, b)).all()
    last = want.shape[-1] if want.ndim else 1
    bias = normal(last, seed=2)
    for activation in ("relu", "softmax"):
        with_bias = everywhere(a, b, bias=bias, activation=activation)
        summed = got + (bias if want.ndim else bias[0])
        assert same_bits(np.asarray(with_bias), np.asarray(activations.get(activation)(summed)))
    for out in (np.empty(want.shape, np.float32), np.empty(want.shape[::-1], np.float32).T):
        assert matmul(a, b, out=out) is out
        assert same_bits(out, np.asarray(got))


def test_a_dot_product_sums_its_terms_in_chains() -> None:
    for k in (1, 3, 4, 63, 64, 65, CHAIN, CHAIN + 1, 1000, 16 * CHAIN, 16 * CHAIN + 77, 30_003):
        a, b = normal(k), normal(k, seed=1)
        assert everywhere(a, b) == chained_product(a[None], b[:, None])
        assert matmul(a[::-1], b[::-1]) == everywhere(a[::-1].copy(), b[::-1].copy())


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, np.int16, np.uint16, np.bool_])
def test_narrow_types_are_converted_exactly(dtype: type[np.generic]) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (9, 30)) if dtype is np.bool_ else rng.integers(-100, 100, (9, 30))
    x = values.astype(dtype)
    floats = x.astype(np.float32)
    bias = x[0, :9]
    want = matmul(floats, floats, transpose_b=True, bias=bias.astype(np.float32))
    assert same_bits(matmul(x, x, transpose_b=True, bias=bias), want)
    assert same_bits(matmul(x, floats.T, bias=bias), want)


def test_lists_are_arrays() -> None:
    assert matmul([[True, False]], np.float16([[2], [3]])).tolist() == [[2]]


def test_many_threads_may_call_at_once() -> None:
    a, b = normal(200, 300), normal(300, 150, seed=1)
    want, small = matmul(a, b, activation="tanh"), matmul(a[:5], b)

    def work(_: int) -> bool:
        for _ in range(20):
            if not (same_bits(matmul(a, b, activation="tanh"), want) and same_bits(matmul(a[:5], b), small)):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer keeps what is freed")
def test_no_memory_is_lost() -> None:
    a, b, out = normal(300, 700), normal(700, 300, seed=1), np.empty((300, 300), np.float32)

    def work(times: int) -> None:
        for _ in range(times):
            matmul(a, b, out=out)
            matmul(a, b.astype(np.float16), bias=out[0].copy(), activation="softmax")
            matmul(a[0], b[:, 0])
            with pytest.raises(ValueError, match="columns"):
                matmul(a, a)

    work(20)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(150)
    kilobytes = 1024 if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 10**9 else 1
    # A leak of 150 products of 360 kB each would be visible.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000 * kilobytes


# Tests of arguments of `engine.ops` that are seldom given, and of those that are refused.


def test_top_k_keeps_the_order_of_equal_numbers() -> None:
    numbers = np.array([3, 5, 5, 2, 5, 1], np.float32)
    for is_stable in (True, False):
        values, places = ops.top_k(numbers, 4, is_stable=is_stable)
        np.testing.assert_array_equal(values, [5, 5, 5, 3])
        np.testing.assert_array_equal(places, [1, 2, 4, 0])


def test_one_axis_may_be_given_in_a_sequence() -> None:
    x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]], np.float32)
    for axis in ((1,), [1]):
        np.testing.assert_array_equal(ops.nancumsum(x, axis=axis), np.nancumsum(x, axis=1))
        np.testing.assert_array_equal(ops.nancumprod(x, axis=axis), np.nancumprod(x, axis=1))
        weighted = ops.average(x[1:], axis=axis, weights=np.float32([1, 0, 1]))
        np.testing.assert_array_equal(weighted, [5.0])


@pytest.mark.parametrize("newshape", [(-2, 5), (-1, -1, 5), -3])
def test_reshape_refuses_negative_lengths(newshape: Any) -> None:
    with pytest.raises(ValueError, match="newshape"):
        ops.reshape(np.zeros(20, np.float32), newshape)


def test_axes_out_of_range() -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        ops.glu(np.ones((2, 4), np.float32), axis=5)
    with pytest.raises(ValueError, match="rank >= 1"):
        ops.rfft(np.float32(5))
    with pytest.raises(ValueError, match="rank >= 2"):
        ops.fft2((np.ones(3, np.float32), np.ones(3, np.float32)))


def test_a_window_of_one_number_loses_nothing() -> None:
    x = np.array([1.0, -2.0, 3.0], np.float32)
    spectra = ops.stft(x, 1, 1, 1)
    np.testing.assert_allclose(ops.istft(spectra, 1, 1, 1), x, rtol=1e-6)


def test_scaling_by_the_variance_is_deprecated() -> None:
    with pytest.warns(UserWarning, match="`rms_scaling=True`, which is deprecated"):
        ops.layer_normalization(np.arange(5, dtype=np.float32), rms_scaling=True)


def test_repeats_for_another_number_of_places_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        ops.repeat(np.ones((2, 3)), [1, 1, 1], axis=0)


def test_numbers_have_no_axes() -> None:
    assert ops.ndim(5) == ops.ndim(2.5) == 0
    assert ops.size(5) == 1


def test_the_list_of_all_functions_has_those_of_the_modules() -> None:
    places = (ops._control, ops._einops, ops._math, ops.linalg, ops.nn, ops.numpy)
    assert sorted(ops.__all__) == sorted(name for place in places for name in place.__all__)


@pytest.mark.parametrize("name", ops.__all__)
def test_functions_say_their_names_and_arguments(name: str) -> None:
    """Also those that come from a table, and those that do the same as another one."""
    function = getattr(ops, name)
    assert (function.__name__, function.__qualname__) == (name, name)
    assert getattr(importlib.import_module(function.__module__), name) is function
    assert function.__doc__
    assert inspect.signature(function).parameters
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, np.bool_, ">f4"])
def test_arrays_of_one_dtype_are_computed_as_others(dtype: Any) -> None:
    """Arrays of NumPy's own class take a short way through the rules of dtypes, and subclasses of it the long one."""

    class Other(np.ndarray[Any, Any]):
        pass

    x, y = np.array([3, 1, 2], dtype), np.array([1, 1, 2], dtype)
    for name in ("add", "multiply", "divide", "maximum", "less", "arctan2", "hypot", "floor_divide", "power"):
        found, expected = getattr(ops, name)(x, y), getattr(ops, name)(x.view(Other), y.view(Other))
        np.testing.assert_array_equal(found, np.asarray(expected))
        assert found.dtype == expected.dtype
        assert found.dtype.isnative
    for name in ("exp", "sqrt", "negative", "square", "floor", "isnan", "sum", "mean", "sort", "cumsum"):
        if name == "negative" and dtype is np.bool_:
            continue
        found, expected = getattr(ops, name)(x), getattr(ops, name)(x.view(Other))
        np.testing.assert_array_equal(found, np.asarray(expected))
        assert found.dtype == expected.dtype


def test_operands_of_several_dtypes_have_the_common_one() -> None:
    x, half, wide = np.ones(2, np.float32), np.ones(2, np.float16), np.ones(2, np.float64)
    assert ops.add(x, half).dtype == np.float32
    assert ops.add(x, wide).dtype == np.float64
    assert ops.add(half, wide).dtype == np.float64
    assert ops.add(x, np.ones(2, np.int64)).dtype == np.float32
    assert ops.add(half, 1.0).dtype == np.float16
    with pytest.raises(ValueError, match="got dtype object"):
        ops.add(np.array([None, 1]), np.array([None, 1]))


@pytest.mark.parametrize("number", [2, -3, 0.1, 1e300, float("nan"), True, 2**24 + 1])
def test_numbers_beside_an_array_of_floats(number: Any) -> None:
    """An array of NumPy's own class takes a short way, a subclass of it the long one."""

    class Other(np.ndarray[Any, Any]):
        pass

    for dtype in (np.float32, np.float64, np.float16):
        x = np.array([3, 1, 2], dtype)
        for name in ("add", "maximum", "power", "divide", "less", "floor_divide"):
            function = getattr(ops, name)
            for found, expected in (
                (function(x, number), function(x.view(Other), number)),
                (function(number, x), function(number, x.view(Other))),
            ):
                np.testing.assert_array_equal(found, np.asarray(expected))
                assert found.dtype == expected.dtype
    with pytest.raises(OverflowError):
        ops.add(np.ones(2, np.float32), 2**40)
