"""NumPy's functions in compiled functions and on tapes: those that `engine.ops` don't have, and what is lost where one can't be recorded."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import ops
from engine._tracing.errors import CannotRecordError

RNG = np.random.default_rng(5)
VECTOR = RNG.uniform(0.5, 2.0, 6)
MATRIX = RNG.uniform(0.5, 2.0, (3, 4))
SQUARES = RNG.uniform(0.5, 2.0, (2, 3, 3))

# By name: the function, and an argument.
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], NDArray[np.float64]]] = {
    "atleast_1d": (lambda x: np.atleast_1d(x[0, 0]), MATRIX),
    "atleast_2d": (np.atleast_2d, VECTOR),
    "atleast_3d of a vector": (np.atleast_3d, VECTOR),
    "atleast_3d of a matrix": (np.atleast_3d, MATRIX),
    "atleast_2d of several": (lambda x: np.atleast_2d(x, x[0])[1], MATRIX),
    "column_stack": (lambda x: np.column_stack([x[:3], MATRIX[:, :2], x[3:]]), VECTOR),
    "block": (lambda x: np.block([[x, x * x], [np.ones((1, 4)), x[:1]]]), MATRIX),
    "block of vectors": (lambda x: np.block([x, 2 * x]), VECTOR),
    "rollaxis": (lambda x: np.rollaxis(x, 2, 1), SQUARES),
    "rollaxis to the end": (lambda x: np.rollaxis(x, 0, 3), SQUARES),
    "ediff1d": (np.ediff1d, MATRIX),
    "ediff1d with ends": (lambda x: np.ediff1d(x, to_begin=x[:1, 0], to_end=[3.0]), MATRIX),
    "gradient": (lambda x: np.gradient(x)[0] + np.gradient(x)[1], MATRIX),
    "gradient along an axis": (lambda x: np.gradient(x, 0.5, axis=1, edge_order=2), MATRIX),
    "polyval": (lambda x: np.polyval([2.0, -1.0, 0.5], x), MATRIX),
    "polyval by coefficients": (lambda x: np.polyval(x, [0.5, 2.0]), VECTOR),
    "interp": (lambda x: np.interp(x, [0.0, 0.7, 1.3, 1.9], [1.0, 3.0, -1.0, 2.0]), VECTOR),
    "interp by values": (lambda x: np.interp([-1.0, 0.2, 2.5, 9.0], np.arange(6), x, left=4.0), VECTOR),
    "interp by places": (lambda x: np.interp(np.cumsum(x)[1:3] + 0.1, np.cumsum(x), [1, 4, 2, 3, 5, 0]), VECTOR),
    "convolve": (lambda x: np.convolve(x, [1.0, 2.0, -1.0]), VECTOR),
    "convolve with a longer one": (lambda x: np.convolve(x, np.arange(8.0), mode="valid"), VECTOR),
    "convolve with itself": (lambda x: np.convolve(x, x, "same"), VECTOR),
    "matvec": (lambda x: np.matvec(x, x[0, 0]), SQUARES),
    "vecmat": (lambda x: np.vecmat(x[0, 0], x), SQUARES),
    "cov": (np.cov, MATRIX),
    "cov of columns": (lambda x: np.cov(x, rowvar=False, ddof=0), MATRIX),
    "cov of two": (lambda x: np.cov(x, x * x, bias=True), VECTOR),
    "fix": (lambda x: x * np.fix(2 * x), MATRIX),
    "linalg.diagonal": (lambda x: np.linalg.diagonal(x, offset=1), SQUARES),
    "linalg.trace": (np.linalg.trace, SQUARES),
    "linalg.multi_dot": (lambda x: np.linalg.multi_dot([x[0], x[1], x[0]]), SQUARES),
    "fft.fftshift": (np.fft.fftshift, MATRIX),
    "fft.ifftshift": (lambda x: np.fft.ifftshift(x, axes=(1,)), SQUARES),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.int32([[0], [3], [1]]), 1), MATRIX),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_numpy_are_recorded_with_their_derivatives(name: str) -> None:
    function, x = FUNCTIONS[name]
    compiled = keras.function(function)
    expected = function(x)
    found = compiled(x)
    assert compiled.refusal is None
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)

    factors = RNG.normal(size=np.shape(expected))
    steps = 1e-6 * np.eye(x.size).reshape(x.size, *x.shape)
    slopes = [np.sum(factors * (function(x + h) - function(x - h))) / 2e-6 for h in steps]
    gradient = keras.grad(lambda x: np.sum(np.float32(factors) * function(x)))(np.float32(x))
    np.testing.assert_allclose(gradient, np.reshape(slopes, x.shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["linalg.cond", "linalg.lstsq", "fft.rfft", "fft.fft", "fft.irfft"])
def test_functions_that_ops_have_under_the_same_name_are_not_mistaken_for_them(name: str) -> None:
    """`ops.cond` chooses a branch, `ops.lstsq` returns one array, and `ops.rfft` pairs of arrays."""
    module, _, last = name.partition(".")
    function = getattr(getattr(np, module), last)
    arguments = [np.float32(SQUARES[0])] * (2 if last == "lstsq" else 1)
    compiled = keras.function(function)
    with pytest.warns(UserWarning, match=rf"NumPy's `{last}` can't be recorded"):
        found = compiled(*arguments)
    for each, expected in zip(
        keras.tree.flatten(found), keras.tree.flatten(function(*arguments)), strict=True
    ):
        np.testing.assert_array_equal(each, expected)


METHODS: dict[str, Callable[[Any], Any]] = {
    "astype": lambda x: x.astype("float32"),
    "cumprod": lambda x: x.cumprod(1),
    "cumsum": lambda x: x.cumsum(axis=0),
    "diagonal": lambda x: x.diagonal(1),
    "dot": lambda x: x.dot(x.T),
    "flatten": lambda x: x.flatten(),
    "max": lambda x: x.max(axis=1),
    "mean": lambda x: x.mean(0),
    "ravel": lambda x: x.ravel(),
    "repeat": lambda x: x.repeat(2, axis=1),
    "reshape": lambda x: x.reshape(2, -1),
    "squeeze": lambda x: x.squeeze(),
    "std": lambda x: x.std(axis=1),
    "sum": lambda x: x.sum(1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "take": lambda x: x.take([0, 2], axis=1),
    "transpose": lambda x: x.transpose(1, 0),
    "var": lambda x: x.var(),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_a_watched_tensor_are_recorded(name: str) -> None:
    tensor = ops.convert_to_tensor(np.float32(MATRIX))
    expected = METHODS[name](np.float32(MATRIX))
    np.testing.assert_array_equal(METHODS[name](tensor), expected)
    factors = np.float32(RNG.normal(size=np.shape(expected)))
    with keras.GradientTape() as tape:
        tape.watch(tensor)
        found = METHODS[name](tensor)
        loss = np.sum(found * factors)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    gradient = keras.grad(lambda x: np.sum(METHODS[name](x) * factors))(np.float32(MATRIX))
    np.testing.assert_array_equal(tape.gradient(loss, tensor), gradient)
    assert np.any(gradient)


def test_the_trace_of_a_watched_tensor_is_recorded() -> None:
    tensor = ops.convert_to_tensor(np.float32(MATRIX))
    assert tensor.trace() == np.float32(MATRIX).trace()
    with keras.GradientTape() as tape:
        tape.watch(tensor)
        loss = tensor.trace()
    np.testing.assert_array_equal(tape.gradient(loss, tensor), np.eye(3, 4))


# ---- Numbers that leave the recording --------------------------------------------------------------------------------


def assigned_slice(x: Any) -> Any:
    out = np.zeros(3, np.float32)
    out[1:] = x[1:] ** 2
    return out.sum()


@pytest.mark.parametrize(
    "function",
    [
        assigned_slice,
        lambda x: np.sum(np.asarray(x) ** 2),
        lambda x: np.float32([1, 2, 3]).dot(x * x),
        lambda x: np.array([x[0], x[1]]).sum(),
    ],
)
def test_numbers_that_numpy_takes_out_of_a_function_are_refused_where_its_gradient_is_computed(
    function: Any,
) -> None:
    x = np.float32([1, 2, 3])
    message = r"test_numpy_functions.py:\d+: NumPy would take the numbers of an array through which a gradient is computed"
    with pytest.raises(CannotRecordError, match=message):
        keras.grad(function)(x)
    with pytest.raises(CannotRecordError, match=message):
        keras.value_and_grad(lambda a, b: a * function(b), argnums=(0, 1))(np.float32(2), x)
    gradient = keras.grad(lambda a, b: a * function(b))(np.float32(2), x)  # by another argument
    np.testing.assert_allclose(gradient, function(x), rtol=1e-6)
    assert float(keras.grad(lambda a: a * function(ops.stop_gradient(a * x)))(np.float32(2))) > 0


def assigned(x: Any) -> Any:
    out = np.zeros(3)
    out[0] = x[0] ** 2
    return np.sum(out) + x[1]


@pytest.mark.parametrize("function", [assigned, lambda x: math.exp(x[0]) * x[1], lambda x: int(x[0]) * x[1]])
def test_python_numbers_warn_in_a_function_whose_gradient_is_computed(function: Any) -> None:
    x = np.float32([1, 2])
    with pytest.warns(
        UserWarning, match="took the number out of an array through which a gradient is computed"
    ):
        keras.grad(function)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with keras.GradientTape() as tape:  # as in TensorFlow
            tape.watch(tensor := ops.convert_to_tensor(x))
            loss = function(tensor * 1.0)
        assert tape.gradient(loss, tensor)[1] > 0


@pytest.mark.filterwarnings("ignore:.* took the number out of an array")
@pytest.mark.parametrize("take", ["float(x[0])", "int(x[0])", "x[0].item()", "x.numpy()[0]", "x.tolist()[0]"])
def test_a_gradient_that_is_lost_by_taking_numbers_out_warns(take: str) -> None:
    function = eval(f"lambda x: {take} ** 2", {})
    x = np.float32([3, 4])
    with pytest.warns(
        UserWarning, match=r"no derivative by an array of shape \(2,\), though .*\(\) took numbers .*:\d+"
    ):
        gradient = keras.grad(function)(x)
    np.testing.assert_array_equal(gradient, [0, 0])
    tensor, other = ops.convert_to_tensor(x), keras.Variable(1.0)
    with keras.GradientTape() as tape:
        tape.watch(tensor)
        loss = other * function(tensor * 1.0)
    with pytest.warns(UserWarning, match="no derivative by an array"):
        assert tape.gradient(loss, tensor) is None


def test_numbers_may_be_looked_at() -> None:
    """For a log, for a branch, or as constants, and also by those who know no tapes."""
    log = []

    def function(x: Any) -> Any:
        log.append(np.sum(x).item())
        if x[0] > 1 and x[1].item() > 1:
            return np.sum(x**2) * x.numpy()[0]
        return 0.0

    weight = keras.Variable([3.0, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(keras.grad(function)(np.float32([3, 4])), [18, 24])
        np.testing.assert_array_equal(
            keras.grad(lambda x: 0.0 if x[0] < 9 else x[0])(np.float32([3, 4])), [0, 0]
        )
        with keras.GradientTape() as tape:
            loss = ops.sum(weight * 2.0)
            log.append(np.asarray(loss).round())
            assert repr(loss)
        np.testing.assert_array_equal(tape.gradient(loss, weight), [2, 2])
        assert float(loss) == 14
    assert log == [7.0, 14.0]


# ---- Errors ----------------------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "axis": (lambda x: np.sum(x, axis=5), "axis 5 is out of bounds"),
    "axis of a method": (lambda x: x.sum(axis=4), "axis 4 is out of bounds"),
    "expand_dims": (lambda x: np.expand_dims(x, 7), "axis 7 is out of bounds"),
    "moveaxis": (lambda x: np.moveaxis(x, 0, 4), "axis 4 is out of bounds"),
    "split": (lambda x: np.split(x, 2), "(equal division|[^$]*2 equal parts)"),
    "ops.split": (lambda x: ops.split(x, 2), "(equal division|[^$]*2 equal parts)"),
    "squeeze": (lambda x: np.squeeze(x, axis=0), "(squeeze|length 1)"),
    "inv": (np.linalg.inv, "square"),
    "stack": (lambda x: np.stack([x, x[0]]), "(one|same) shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_errors_of_numpy_in_a_compiled_function_name_the_line(name: str) -> None:
    function, message = MISTAKES[name]
    place = "" if name == "inv" else r"test_numpy_functions\.py:\d+: "  # which is NumPy's function itself
    for compiled in (
        keras.function(lambda x: function(x)),  # noqa: PLW0108 # a line of the user
        keras.function(keras.grad(lambda x: np.sum(function(x)))),
    ):
        with pytest.raises(Exception, match=f"{place}.*{message}"):
            compiled(np.float32(MATRIX))


def test_an_axis_error_of_a_compiled_function_has_its_attributes() -> None:
    with pytest.raises(np.exceptions.AxisError) as caught:
        keras.function(lambda x: np.sum(x, axis=5))(MATRIX)
    assert (caught.value.axis, caught.value.ndim) == (5, 2)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes of errors came with Python 3.11")
def test_errors_of_the_function_itself_have_a_note_with_the_line() -> None:
    def function(x: Any) -> Any:
        return {"a": np.sum(x)}["b"]

    with pytest.raises(KeyError) as caught:
        keras.function(function)(MATRIX)
    assert caught.value.args == ("b",)
    (note,) = caught.value.__notes__
    assert note.startswith("test_numpy_functions.py:")
