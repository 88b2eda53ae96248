"""Tests of the errors of `engine.ops.matmul`."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.ops import matmul

Array = NDArray[Any]
ONES = np.ones((2, 3), np.float32)
SQUARE = np.ones((3, 3), np.float32)


def refused(error: type[Exception], message: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(error, match=message):
        matmul(*arguments, **options)


@pytest.mark.parametrize("name", ["x1", "x2", "bias"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(3), r"float64; the engine computes in float32 .*np\.asarray\({name}, np\.float32\)"),
        (np.ones(3, np.longdouble), "drop digits"),
        (np.ones(3, np.int32), r"int32; .* 2\*\*24 .*np\.asarray\({name}, np\.float32\)"),
        (np.ones(3, np.uint64), r"2\*\*24"),
        (np.ones(3, complex), "complex128; .*real numbers"),
        (np.ones(3, object), "object; expected float32"),
        (np.array(["1", "2", "3"]), "expected float32"),
        (np.zeros(3, "M8[s]"), "expected float32"),
        (np.zeros(3, "f4,f4"), "expected float32"),
        ([1.0, 2.0, 3.0], "float64"),
        ([1, 2, 3], "int64"),
        ({}, "object; expected float32"),
        ("abc", "expected float32"),
    ],
    ids=str,
)
def test_types_that_would_lose_digits(name: str, values: Any, message: str) -> None:
    """This holds with a bias and other parts of the fused product, which computes in float32."""
    arguments = {"x1": ONES, "x2": SQUARE, "bias": np.zeros(3, np.float32)} | {name: values}
    refused(TypeError, f"`{name}` is .*{message.format(name=name)}", **arguments)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((2, 3), (2, 3), r"`x1` \(2, 3\) has 3 columns and `x2` \(2, 3\) has 2 rows"),
        ((3,), (2,), r"`x1` \(3,\) has 3 columns and `x2` \(2,\) has 2 rows"),
        ((2, 2, 3), (3, 3, 1), r"`x1` \(2, 2, 3\) and `x2` \(3, 3, 1\) are stacks"),
        ((0, 2, 3), (2, 3, 1), "stacks"),
        ((), (3,), "`x1` must have one axis at least, got the scalar 1.0"),
        ((3,), (), "`x2` must have one axis at least"),
    ],
    ids=str,
)
def test_shapes_that_do_not_go_together(a: tuple[int, ...], b: tuple[int, ...], message: str) -> None:
    refused(ValueError, message, np.ones(a, np.float32), np.ones(b, np.float32))
    with pytest.raises(ValueError):  # noqa: PT011 # only whether NumPy refuses it too
        np.matmul(np.ones(a), np.ones(b))


@pytest.mark.parametrize(
    "values", [np.ones(3, object), np.array(["1", "2", "3"]), np.zeros(3, "M8[s]"), {}, "abc"]
)
def test_types_that_are_no_numbers(values: Any) -> None:
    refused(ValueError, "expected an array of bools, integers, .*got dtype", ONES, values)
    refused(ValueError, "expected an array of bools", values, SQUARE)


def test_stacks_of_other_types_do_not_go_together_either() -> None:
    refused(ValueError, "mismatch", np.ones((2, 3)), np.ones((2, 3)))
    refused(ValueError, r"`transpose_b` swaps", np.ones((2, 3)), np.ones(3), transpose_b=True)
    refused(TypeError, "`transpose_a` must be True or False", np.ones((2, 3)), np.ones(3), transpose_a="yes")


def test_transposed_shapes_are_told() -> None:
    refused(
        ValueError,
        r"`x1` \(2, 3\), transposed, has 2 columns and `x2` \(3, 3\) has 3",
        ONES,
        SQUARE,
        transpose_a=True,
    )


def test_vectors_cannot_be_transposed() -> None:
    v = np.ones(3, np.float32)
    refused(
        ValueError,
        r"`transpose_a` swaps the last two axes, and `x1` has shape \(3,\)",
        v,
        SQUARE,
        transpose_a=True,
    )
    refused(ValueError, "`transpose_b` swaps", SQUARE, v, transpose_b=True)


@pytest.mark.parametrize("flag", ["yes", 2, None, 1.0, np.ones(2)])
def test_flags_are_true_or_false(flag: Any) -> None:
    refused(TypeError, "`transpose_a` must be True or False, got", SQUARE, SQUARE, transpose_a=flag)
    refused(TypeError, "`transpose_b` must be True or False, got", SQUARE, SQUARE, transpose_b=flag)
    assert matmul(SQUARE, SQUARE, transpose_a=np.True_).tolist() == matmul(SQUARE, SQUARE).tolist()


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 3), (), (4,)], ids=str)
def test_bias_of_another_shape(shape: tuple[int, ...]) -> None:
    message = r"`bias` must have shape \(3,\), one for each .*got " + re.escape(str(shape))
    refused(ValueError, message, ONES, SQUARE, bias=np.ones(shape, np.float32))


def test_unknown_activations() -> None:
    refused(ValueError, "unknown `activation` 'rleu'; did you mean 'relu'", ONES, SQUARE, activation="rleu")
    refused(TypeError, "`activation` must be a name", ONES, SQUARE, activation=np.tanh)


def read_only() -> Array:
    out = np.empty((2, 3), np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty((3, 2), np.float32), ValueError, r"`out` must have .* \(2, 3\), got \(3, 2\)"),
        (np.empty((1, 2, 3), np.float32), ValueError, "shape of the product"),
        (np.empty(3, np.float32), ValueError, "shape of the product"),
        (np.empty((2, 3)), TypeError, "`out` must be a float32 array.*float64"),
        (np.empty((2, 3), np.dtype(np.float32).newbyteorder()), TypeError, "byte order"),
        ([[0.0] * 3] * 2, TypeError, "`out` must be a float32 array, got list"),
        (read_only(), ValueError, "read-only"),
        (
            np.lib.stride_tricks.as_strided(np.empty(3, np.float32), (2, 3), (0, 4)),
            ValueError,
            "lie on each other",
        ),
        (
            np.lib.stride_tricks.as_strided(np.empty(9, np.float32), (2, 3), (4, 4)),
            ValueError,
            "lie on each other",
        ),
        (
            np.lib.stride_tricks.as_strided(np.empty(9, np.float32), (2, 3), (12, 2)),
            ValueError,
            "lie on each other",
        ),
        (
            np.lib.stride_tricks.as_strided(np.empty(9, np.float32), (2, 3), (8, 4)),
            ValueError,
            "lie on each other",
        ),
    ],
)
def test_out_that_cannot_take_the_product(out: Any, error: type[Exception], message: str) -> None:
    refused(error, message, ONES, SQUARE, out=out)


def test_strange_but_separate_elements_will_do() -> None:
    """The axes interleave, and yet no two elements overlap."""
    out = np.lib.stride_tricks.as_strided(np.zeros(20, np.float32), (2, 3), (12, 8))
    assert matmul(ONES, SQUARE, out=out).tolist() == [[3] * 3] * 2


@pytest.mark.parametrize("name", ["x1", "x2", "bias"])
def test_out_in_memory_of_an_argument(name: str) -> None:
    storage = np.ones((6, 6), np.float32)
    arguments = {"x1": SQUARE, "x2": SQUARE, "bias": np.ones(3, np.float32)}
    arguments[name] = storage[1, :3] if name == "bias" else storage[:3, :3]
    message = rf"`out` shares memory with `{name}`: .*{name}\.copy\(\)"
    for out in (storage[:3, :3], storage[1:4, 2:5], storage[::-1, ::-1][2:5, 3:6], storage[:3, ::2].T):
        refused(ValueError, message, **arguments, out=out)
    # Arrays whose bounds overlap need not share elements.
    for out in (storage[:3, 3:], storage[3:, :3], storage[3:, 3:], storage[::-1, 5:2:-1][:3]):
        assert matmul(**arguments, out=out) is out
        storage[...] = 1


def test_an_argument_of_another_type_counts_as_well() -> None:
    out = np.zeros((3, 3), np.float32)
    refused(ValueError, "shares memory with `x1`", out.view(np.uint8)[:, :3], SQUARE, out=out)


def test_too_large_a_product_is_an_error() -> None:
    huge = np.broadcast_to(np.float32(1), (2**40, 1))
    with pytest.raises((MemoryError, ValueError)):
        matmul(huge, huge.T)
    with pytest.raises((MemoryError, ValueError)):
        matmul(np.broadcast_to(np.int8(1), (1, 2**45)), np.broadcast_to(np.int8(1), (2**45, 1)))


def test_subclasses_give_arrays() -> None:
    class Named(np.ndarray[Any, Any]):
        pass

    assert type(matmul(ONES.view(Named), SQUARE)) is np.ndarray
