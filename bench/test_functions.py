"""Checks that the functions of arrays, and their gradients, are those of NumPy in float64."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.functions import FORMULAS
from bench.tasks import RESULTS, ArrayFunction
from bench.worker import FunctionSession


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("function", FORMULAS)
def test_engine_computes_what_numpy_computes(function: str, result: str) -> None:
    if result != "value" and not FORMULAS[function].differentiable:
        pytest.skip("its gradient is not timed")
    session = FunctionSession("engine", ArrayFunction(function, 1_000, result, 2), Path())
    session.start()
    session.finish()
