"""Checks that the functions of arrays, and their gradients, are those of NumPy in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.bounds import bound, speeds_of, work
from bench.functions import FORMULAS, WIDTH, namespace
from bench.tasks import RESULTS, ArrayFunction
from bench.worker import FunctionSession

# What a contender writes in its own way.
OWN = ("gelu", "scan", "while loop", "fori loop", "sums of groups", "rows replaced")


def check(contender: str, function: str, result: str) -> Any:
    """Returns the result after it was compared with float64."""
    session = FunctionSession(contender, ArrayFunction(function, 1_000, result, 2), Path())
    session.start()
    session.finish()
    return session.call()


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("function", FORMULAS)
def test_engine_computes_what_numpy_computes(function: str, result: str) -> None:
    if result != "value" and not FORMULAS[function].differentiable:
        pytest.skip("its gradient is not timed")
    check("engine", function, result)


@pytest.mark.parametrize("function", OWN)
def test_jax_computes_what_numpy_computes(function: str) -> None:
    pytest.importorskip("jax")
    check("jax", function, "value and gradient" if FORMULAS[function].differentiable else "value")


@pytest.mark.parametrize("function", FORMULAS)
def test_numpy_computes_in_float32(function: str) -> None:
    found = check("numpy", function, "value")
    whole = FORMULAS[function].integers or function == "index of the largest"
    assert found.dtype.kind == "i" if whole else found.dtype == np.float32


def test_namespace_has_all_functions() -> None:
    with pytest.raises(TypeError, match="while_loop"):
        namespace(np, erf=np.tanh)


def test_work_counts_bytes_and_operations() -> None:
    numbers = 25 * 40
    assert work("x + y", 1_000) == (8 * numbers, 4 * numbers, 4 * numbers, numbers)
    arguments = 4 * WIDTH * (25 + 40)
    assert work("product", 1_000) == (arguments, 4 * WIDTH * 25, 4 * numbers, WIDTH * numbers)
    # A quotient, a sum, a negative and an `exp`.
    assert work("sigmoid", 1_000)[-1] == 13 * numbers


def test_bound_is_the_longer_time() -> None:
    speeds = {"bytes": [(8_000, 1e-9, 2e-9), (9_000, 2e-9, 3e-9)], "multiply_adds": 1e6}
    many, few = ArrayFunction("x + y", 1_000, "value", 2), ArrayFunction("sorted rows", 1_000, "value", 2)
    assert bound(many, speeds) == pytest.approx(1_000 / 1e6)
    assert bound(few, speeds) == pytest.approx(4_000 * 1e-9 + 4_000 * (2 * 2e-9 - 1e-9))
    gradient = ArrayFunction("x + y", 1_000, "gradient", 2)
    assert bound(gradient, speeds) == pytest.approx(2 * 1_000 / 1e6)


def test_speeds_are_measured() -> None:
    speeds = speeds_of(1)
    assert speeds["multiply_adds"] > 1e8
    assert all(1e-13 < read < 1e-8 and 1e-13 < copied < 1e-8 for _, read, copied in speeds["bytes"])
