"""How long the bytes and the operations of a function of arrays take at least on this machine.

The bound of a cell is the longer of two times: that of reading each argument and writing each result once, at the measured speed of
the cache or memory that holds them, and that of the operations at the measured peak of products. A gradient by one
argument takes the operations twice: those of the value, and as many on the way back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bench.functions import FORMULAS, NUMPY
from bench.machine import environment
from bench.tasks import ArrayFunction

SECONDS = 0.05  # of each measurement
WORKING_SETS = tuple(2**power for power in range(15, 28))  # bytes, from 32 KiB to 128 MiB
SIDES = (512, 1024, 2048)  # of the products that measure the peak

# Multiply-adds that a function takes for a number: about the degree of its polynomial. All other operations count as one.
COSTS = dict.fromkeys(("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "erf"), 10) | {"power": 20}


class _Counted(np.ndarray):  # type: ignore[type-arg] # its arrays may have any shape and dtype
    """An array that adds up the operations of what is computed from it."""

    operations = 0.0

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        plain = [np.asarray(each) if isinstance(each, np.ndarray) else each for each in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(each) for each in out)
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            _Counted.operations += np.size(result) * plain[0].shape[-1]
        else:
            largest = max(np.size(each) for each in (result, *plain))
            _Counted.operations += largest * COSTS.get(ufunc.__name__, 1)
        return result.view(_Counted) if isinstance(result, np.ndarray) else result


@cache
def work(function: str, size: int) -> tuple[int, int, int, float]:
    """Returns the bytes of all arguments, of the first one and of the value, and the multiply-adds of the value."""
    formula = FORMULAS[function]
    arguments = formula.arguments(size)
    _Counted.operations = 0.0
    value = formula.compute(NUMPY, *(each.view(_Counted) for each in arguments))
    return (
        sum(each.nbytes for each in arguments),
        arguments[0].nbytes,
        4 * np.size(value),
        _Counted.operations,
    )


def bound(task: ArrayFunction, speeds: dict[str, Any]) -> float:
    """Returns the seconds that a task takes at least, at the speeds that `speeds_of` has returned."""
    arguments, first, value, operations = work(task.function, task.size)
    written = {"value": value, "gradient": first, "value and gradient": first + 4}[task.result]
    together = arguments + written
    # The next smaller working set, which no larger one is faster than.
    _, read, copied = [row for row in speeds["bytes"] if row[0] <= together or row is speeds["bytes"][0]][-1]
    times = 1 if task.result == "value" else 2
    # A copy reads as many bytes as it writes.
    moved = arguments * read + written * (2 * copied - read)
    return max(moved, times * operations / speeds["multiply_adds"])


def speeds_of(threads: int) -> dict[str, Any]:
    """Measures how fast so many threads read, copy and multiply, in a process with the environment of the contenders.

    Returns:
        "bytes": for each working set its bytes, the seconds for a byte that is read, and for one that a copy reads or writes;
        "multiply_adds": of the quickest large product in a second.
    """
    command = [sys.executable, "-m", "bench.bounds", str(threads)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(threads))
    return json.loads(told.stdout)  # type: ignore[no-any-return] # as `_measure` returns it


def _measure(threads: int) -> dict[str, Any]:
    return {
        "bytes": [
            (size, _together(_reading, size, threads), _together(_copying, size, threads))
            for size in WORKING_SETS
        ],
        "multiply_adds": max(map(_multiply_adds, SIDES)),
    }


def _multiply_adds(side: int) -> float:
    """Returns the multiply-adds of a product in a second."""
    a = np.ones((side, side), np.float32)
    out = np.empty_like(a)
    return side**3 / min(_seconds(partial(np.matmul, a, a, out=out)) for _ in range(5))


def _together(kind: Callable[[int], float], size: int, threads: int) -> float:
    """Returns the seconds for a byte while each thread works on its part of so many bytes."""
    with ThreadPoolExecutor(threads) as pool:
        return float(1 / sum(pool.map(lambda part: part / kind(part), [size // threads] * threads)))


def _reading(size: int) -> float:
    x = np.ones(size // 4, np.float32)
    # Several passes in one call, since small arrays would measure the call.
    passes = max(1, 2**20 // size)
    rows, out = as_strided(x, (passes, len(x)), (0, 4)), np.empty(passes, np.float32)
    return _seconds(lambda: np.max(rows, axis=1, out=out)) / passes


def _copying(size: int) -> float:
    x = np.ones(size // 8, np.float32)
    y = np.ones_like(x)
    return min(_seconds(partial(each, x, out=y)) for each in (np.negative, np.square, np.positive))


def _seconds(call: Callable[[], object]) -> float:
    """Returns the shortest of many times."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end or best == float("inf"):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
