"""Data and estimators for the tests of `engine.sklearn`."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.sklearn import MLPClassifier

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 240)
X = RNG.normal(size=(3, 6))[Y] * 2 + RNG.normal(0, 0.7, (240, 6))


def small(**options: Any) -> MLPClassifier:
    return MLPClassifier((8,), **({"max_iter": 20, "batch_size": 50, "random_state": 0} | options))


def same(one: Any, other: Any) -> bool:
    """Returns whether the weights of two estimators have the same bits."""
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)
