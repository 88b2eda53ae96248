"""Tests of arguments of `engine.ops` that are seldom given, and of those that are refused."""

from __future__ import annotations

import importlib
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

from engine import ops


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
