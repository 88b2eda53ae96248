"""Tests of `engine.ops.matmul` with operands and results of any layout, dtype and shape."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerics import chained_product, run_script, same_bits
from numpy.typing import NDArray
from products import bound, everywhere, normal

from engine.ops import matmul

Array = NDArray[Any]


def shifted(x: Array) -> Array:
    """Returns a copy whose address is not aligned."""
    storage = np.empty(x.nbytes + 1, np.uint8)
    view = storage[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def fields(x: Array) -> Array:
    """Returns a copy whose strides are not multiples of four bytes."""
    records = np.zeros(x.shape, [("x", x.dtype), ("between", np.uint8)])
    records["x"] = x
    return records["x"]


LAYOUTS: dict[str, Any] = {
    "plain": lambda x: x,
    "columns": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1],
    "every other": lambda x: np.repeat(np.repeat(x, 2, -1), 3, -2)[..., ::3, ::2],
    "part": lambda x: np.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 3), (5, 2)])[..., 1:-3, 5:-2],
    "broadcast rows": lambda x: np.broadcast_to(x[..., :1, :], x.shape) if x.size else x,
    "broadcast columns": lambda x: np.broadcast_to(x[..., :1], x.shape) if x.size else x,
    "unaligned": shifted,
    "odd strides": fields,
    "other endian": lambda x: x.astype(x.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 7, 5), (13, 17, 33), (66, 30, 70), (1, 300, 130), (20, 9, 1)], ids=str)
def test_any_layout(layout: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = LAYOUTS[layout](normal(m, k)), LAYOUTS[layout](normal(k, n, seed=1))
    for first, second in ((a, b), (np.array(a, np.float32), b), (a, np.array(b, np.float32))):
        want = chained_product(np.array(first, np.float32), np.array(second, np.float32))
        assert same_bits(everywhere(first, second, threads=[1, 2]), want)
        assert same_bits(matmul(first.T, second.T, transpose_a=True, transpose_b=True), want)


@pytest.mark.parametrize(
    "layout", ["plain", "columns", "backwards", "every other", "part", "unaligned", "odd strides"]
)
@pytest.mark.parametrize("activation", ["relu", "softmax"])
def test_out_of_any_layout(layout: str, activation: str) -> None:
    for m, k, n in ((1, 7, 5), (13, 300, 33), (66, 600, 70), (20, 9, 1)):
        a, b, bias = normal(m, k), normal(k, n, seed=1), normal(n, seed=2)
        out = LAYOUTS[layout](np.full((m, n), np.nan, np.float32))
        assert matmul(a, b, bias=bias, activation=activation, out=out) is out
        assert same_bits(out, matmul(a, b, bias=bias, activation=activation))


def test_out_writes_nowhere_else() -> None:
    storage = np.full((80, 100), 7, np.float32)
    inside = storage[10:70:2, 5:75]
    want = matmul(normal(30, 300), normal(300, 70, seed=1), out=inside).copy()
    assert same_bits(inside, want)
    inside[...] = 7
    assert (storage == 7).all()


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="protects pages as POSIX does")
def test_nothing_beyond_an_operand_is_read_or_written() -> None:
    """All arrays end at the end of a page, behind which any access is an error."""
    run_script(
        """
        import ctypes
        import mmap
        from itertools import product

        import numpy as np
        from core_for_tests import matmul
        from numerics import RUNNABLE

        protect = ctypes.CDLL(None).mprotect
        protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

        def at_the_end(*shape):
            size = 4 * int(np.prod(shape))
            end = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            storage = np.frombuffer(mmap.mmap(-1, end + mmap.PAGESIZE), np.uint8)
            assert protect(storage.ctypes.data + end, mmap.PAGESIZE, 0) == 0
            return storage[end - size : end].view(np.float32).reshape(shape)

        SHAPES = [(1, 7, 5), (1, 299, 17), (9, 300, 26), (12, 258, 70), (23, 37, 70), (50, 99, 101), (196, 601, 69)]
        for m, k, n in SHAPES:
            bias, out = at_the_end(n), at_the_end(m, n)
            for flags in product((False, True), repeat=2):
                a = at_the_end(k, m) if flags[0] else at_the_end(m, k)
                b = at_the_end(n, k) if flags[1] else at_the_end(k, n)
                for isa in RUNNABLE:
                    matmul(a, b, bias, None, *flags, out, isa, 1)
        """
    )


def test_axes_of_one_element_may_have_any_stride() -> None:
    strange = np.lib.stride_tricks.as_strided
    a, b = normal(1, 300), normal(300, 1, seed=1)
    odd = 12345677
    one_row = strange(a, a.shape, (odd, 4))
    one_column = strange(b, b.shape, (4, -odd))
    assert same_bits(matmul(one_row, one_column), matmul(a, b))
    assert same_bits(matmul(one_column, one_row), matmul(b, a))
    out = np.empty((1, 1), np.float32)
    assert same_bits(matmul(one_row, one_column, out=strange(out, (1, 1), (odd, odd + 3))), matmul(a, b))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_against_float64(data: st.DataObject) -> None:
    """Products of any shapes, stacks, layouts and dtypes are compared with NumPy in double precision."""
    draw = data.draw
    m, k, n = (draw(st.integers(0, 70)) for _ in range(3))
    stack = draw(st.lists(st.integers(0, 3), max_size=2))
    operands, flags = [], {}
    for name, rows, columns in (("a", m, k), ("b", k, n)):
        dtype = draw(st.sampled_from([np.float32, np.float32, np.float16, np.int8, np.uint16]))
        vector = draw(st.integers(0, 9)) == 0
        axes = (
            []
            if vector
            else [draw(st.sampled_from([1, extent])) for extent in stack[draw(st.integers(0, 2)) :]]
        )
        shape = [k] if vector else [*axes, rows, columns]
        values = (
            np.random.default_rng(draw(st.integers(0, 99))).normal(0, 50, shape).astype(np.int8).astype(dtype)
        )
        if not vector:
            values = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](values)
        transposed = not vector and draw(st.booleans())
        flags[f"transpose_{name}"] = transposed
        operands.append((values, values.swapaxes(-1, -2) if transposed else values))
    (x, a), (y, b) = operands
    want = np.matmul(x.astype(float), y.astype(float))
    # With a bias, two operands of narrow types are multiplied in float32.
    zero = np.zeros(want.shape[-1:] or (1,), np.float32)
    got = matmul(a, b, bias=None if np.float32 in (a.dtype, b.dtype) else zero, **flags)
    assert np.shape(got) == want.shape
    assert (np.abs(got - want) <= bound(x, y)).all()
