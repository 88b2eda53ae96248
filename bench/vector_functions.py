"""Times functions of single numbers, and finds their errors: `python -m bench.vector_functions`.

Each library computes a function of 100,000 float32 numbers on one thread, in a process of its own. The times are the shortest of many
calls, for one number; the errors are the largest difference from float64 in units of the last place.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import confine, environment
from bench.table import markdown

NUMBERS = 100_000
SECONDS = 0.3
LIBRARIES = ("engine", "numpy", "jax", "torch")
# The functions, with the ranges of their arguments.
FUNCTIONS: dict[str, list[tuple[float, float]]] = {
    "exp": [(-80, 80)],
    "log": [(1e-6, 1e6)],
    "tanh": [(-6, 6)],
    "erf": [(-4, 4)],
    "sin": [(-30, 30)],
    "power": [(0.1, 10), (-5, 5)],
}


def arguments(function: str) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.uniform(low, high, NUMBERS).astype(np.float32) for low, high in FUNCTIONS[function]]


def exact(function: str) -> NDArray[np.float64]:
    """Returns the results in float64."""
    from scipy.special import erf

    wide = [each.astype(np.float64) for each in arguments(function)]
    return np.asarray((erf if function == "erf" else getattr(np, function))(*wide), np.float64)


def prepared(library: str, function: str) -> Callable[[], Any]:
    """Returns a call that computes the function of its arguments."""
    given: list[Any] = list(arguments(function))
    if library == "engine":
        import engine

        compiled = engine.function(getattr(engine.ops, function))
        return lambda: compiled(*given)
    if library == "numpy":
        from scipy.special import erf

        out = np.empty(NUMBERS, np.float32)
        call = erf if function == "erf" else getattr(np, function)
        return lambda: call(*given, out=out)
    if library == "jax":
        import jax

        jitted = jax.jit(jax.scipy.special.erf if function == "erf" else getattr(jax.numpy, function))
        there = [jax.numpy.asarray(each) for each in given]
        return lambda: jitted(*there).block_until_ready()
    import torch

    tensors, result = [torch.from_numpy(each) for each in given], torch.empty(NUMBERS)
    call = getattr(torch, "pow" if function == "power" else function)
    return lambda: call(*tensors, out=result)


def measured(library: str, function: str) -> tuple[float, float]:
    """Returns the nanoseconds for a number, and the largest error in units of the last place."""
    call, wanted = prepared(library, function), exact(function)
    found = np.asarray(call(), np.float64)
    error = float(np.max(np.abs(found - wanted) / np.spacing(np.abs(wanted).astype(np.float32))))
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best / NUMBERS * 1e9, error


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps({function: measured(sys.argv[1], function) for function in FUNCTIONS}))
        return
    confine(1)  # XLA takes all CPUs of its process
    rows = [["ns for a number (error in ulp)", *LIBRARIES], *([function] for function in FUNCTIONS)]
    for library in LIBRARIES:
        command = [sys.executable, "-m", "bench.vector_functions", library]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(1))
        for row, (ns, error) in zip(rows[1:], json.loads(told.stdout).values(), strict=True):
            row.append(f"{ns:.2f} ({error:.1f})")
    print("\n".join(markdown(rows)))


if __name__ == "__main__":
    main()
