"""Helpers for the tests of matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
from core_for_tests import matmul
from numerics import CHAIN, RUNNABLE, SMALLEST_NORMAL, U, same_bits
from numpy.typing import NDArray

from engine import activations

Array = NDArray[Any]

THREADS = [1, 2, 3, 8]


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def everywhere(a: Array, b: Array, *, threads: Any = THREADS, **options: Any) -> Array:
    """Returns a b, after checking that all instruction sets and numbers of threads give the same bits."""
    name = options.get("activation")
    arguments = [options.get("bias"), None if name is None else activations.lower(activations.get(name))]
    flags = [options.get(name, False) for name in ("transpose_a", "transpose_b")]
    results = [matmul(a, b, *arguments, *flags, None, isa, n) for isa in RUNNABLE for n in threads]
    assert all(same_bits(results[0], other) for other in results[1:])
    return results[0]


def bound(a: Array, b: Array) -> Array:
    """Returns a bound of the error of `chained_product` if terms may also be flushed to zero."""
    k = a.shape[-1]
    terms = np.matmul(np.abs(a.astype(float)), np.abs(b.astype(float)))
    return (min(k, CHAIN) + -(-k // CHAIN)) * (U * terms + SMALLEST_NORMAL)
