"""Checks that the functions of arrays, and their gradients, are those of NumPy in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.functions import FORMULAS, namespace
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
