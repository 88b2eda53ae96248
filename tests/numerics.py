"""Helpers of the numerical tests: all instruction sets, exact float32 arithmetic, ulps, layouts, processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from core_for_tests import Kernels
from numpy.typing import ArrayLike, NDArray

from engine import _core

Array = NDArray[Any]

RUNNABLE: tuple[str, ...] = tuple(_core.build_info()["runnable"])
KERNELS = [Kernels(isa) for isa in RUNNABLE]
# Unit roundoff of float32: one correctly rounded operation errs by at most U relative to its result.
U = 2.0**-24
# Terms in one chain of multiply-adds (`kChain` in csrc/kernels/microtile.h).
CHAIN = 256
# Terms in one slice of the sums of a narrow layer, and the most units that such a layer has.
SLICE = 16
SMALLEST_NORMAL = 2.0**-126


def bits(a: Array) -> NDArray[np.uint32]:
    """Returns the bit patterns of float32 values. All NaNs get the same pattern."""
    return np.where(np.isnan(a), np.float32(np.nan), a).astype(np.float32).view(np.uint32)


def same_bits(a: Array, b: Array) -> bool:
    return np.array_equal(bits(a), bits(b))


def agreed(run: Callable[[Kernels], Sequence[Array]]) -> list[Array]:
    """Calls `run` with the kernels of every instruction set, checks that all give the same bits, and returns these."""
    first, *others = [list(run(kernels)) for kernels in KERNELS]
    for isa, other in zip(RUNNABLE[1:], others, strict=True):
        for i, (a, b) in enumerate(zip(first, other, strict=True)):
            assert same_bits(a, b), f"result {i} differs between {RUNNABLE[0]} and {isa}"
    return first


def unary(function: str, x: Array) -> Array:
    return agreed(lambda kernels: [kernels.unary(function, x)])[0]


def place(values: ArrayLike, offset: int = 0, fill: float = 0.5) -> NDArray[np.float32]:
    """Returns a copy of `values` (m, n) or (n,) in the layout of the engine's kernels.

    Args:
        values: the numbers to copy.
        offset: number of free columns before each row, so that rows are not aligned.
        fill: the number in the free columns. Kernels must not depend on it, as padding may contain any number.
    """
    rows = np.atleast_2d(np.asarray(values, np.float32))
    m, n = rows.shape
    if offset:
        storage = Kernels.padded(m, n + offset + 16)
        storage[...] = fill
        view = storage[:, offset : offset + n]
    else:
        view = Kernels.padded(m, n)
    view[...] = rows
    return view[0] if np.ndim(values) == 1 else view


def fma32(a: Array, b: Array, c: Array) -> Array:
    """Returns a * b + c, correctly rounded to float32.

    The product is exact in float64. Its sum with c is rounded to odd (an inexact even result moves one ulp towards
    the exact value), after which rounding to float32 cannot fall on a false tie (Boldo & Melquiond 2008).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        p = np.multiply(a, b, dtype=np.float64)
        d = np.broadcast_to(np.asarray(c, np.float64), p.shape)
        s = p + d
        t = s - p
        rest = (p - (s - t)) + (d - t)
        patterns = s.view(np.int64)
        inexact = np.isfinite(s) & (rest != 0) & (patterns % 2 == 0)
        odd = patterns + np.where(inexact, np.where((rest > 0) == (s > 0), 1, -1), 0)
        return odd.view(np.float64).astype(np.float32)


def chained_product(a: Array, b: Array) -> Array:
    """Returns a (m, k) @ b (k, n) in chains: each is a sequence of fma from zero, and they are added in order."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for begin in range(0, len(b), CHAIN):
        chain = np.zeros_like(total)
        for p in range(begin, min(begin + CHAIN, len(b))):
            chain = fma32(a[:, p, None], b[p], chain)
        total = chain if begin == 0 else total + chain
    return total + np.float32(0)


def sliced_product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Returns a (m, k) @ b (k, n) + bias, n <= SLICE, in slices: sums of SLICE terms, which are added in pairs."""
    sums = [chained_product(a[:, p : p + SLICE], b[p : p + SLICE]) for p in range(0, len(b), SLICE)]
    if bias is not None:
        sums[0] = sums[0] + bias
    return sum_in_pairs(sums)


def sum_in_pairs(sums: list[Array]) -> Array:
    while len(sums) > 1:
        pairs = [x + y for x, y in zip(sums[::2], sums[1::2], strict=False)]
        sums = pairs + sums[2 * len(pairs) :]
    return sums[0]


def layer_product(x: Array, kernel: Array, bias: Array | None) -> Array:
    """Returns x kernel + bias with the bits that a dense layer must compute."""
    if kernel.shape[1] <= SLICE:
        return sliced_product(x, kernel, bias)
    product = chained_product(x, kernel)
    return product if bias is None else product + bias


def input_gradient(dz: Array, kernel: Array) -> Array:
    """Returns dz kernel^T, the gradient of a dense layer by its input, with the bits that the layer must compute."""
    return chained_product(dz, kernel.T)


def product_bound(a: Array, b: Array) -> Array:
    """Returns a bound of the error of `chained_product`.

    A chain of j multiply-adds errs by at most j U |a||b| (Higham 2002, 3.1), each of the sums of chains by U more.
    """
    k = len(b)
    return (min(k, CHAIN) + -(-k // CHAIN)) * U * (np.abs(a).astype(float) @ np.abs(b).astype(float))


def ulps(got: Array, want: Array) -> Array:
    """Returns the errors of float32 `got` in ulps of float64 `want`. A zero for a denormal number is no error."""
    ulp = np.spacing(np.maximum(np.abs(want), SMALLEST_NORMAL).astype(np.float32)).astype(float)
    flushed = (got == 0) & (np.abs(want) < SMALLEST_NORMAL)
    return np.where(flushed | (got == want), 0, np.abs(got - want) / ulp)


def import_environment(**changes: str) -> dict[str, str]:
    """Returns environment variables with which a process finds the same modules as this one."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return {**os.environ, "PYTHONPATH": path, **changes}


def run_python(arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a new process that finds the same modules as this one."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=import_environment(**environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_script(script: str, **environment: str) -> str:
    """Runs a script in a new process, checks that it succeeds, and returns its output."""
    result = run_python(["-W", "error", "-c", textwrap.dedent(script)], **environment)
    assert result.returncode == 0, f"exit code {result.returncode}: {result.stderr}"
    assert not result.stderr
    return result.stdout
