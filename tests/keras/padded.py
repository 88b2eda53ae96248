"""Padded sequences, and models that mask the padding, for the tests of masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import Twins, assert_same_histories

RNG = np.random.default_rng(5)
LENGTHS = RNG.integers(1, 8, 60)
COUNTS = np.arange(7) < LENGTHS[:, np.newaxis]
TOKENS = RNG.integers(1, 20, (60, 7)) * COUNTS
STEPS = (RNG.normal(size=(60, 7, 3)) * COUNTS[..., np.newaxis]).astype(np.float32)
TARGETS = RNG.normal(size=(60, 2)).astype(np.float32)
NUMBERS = RNG.normal(size=(60, 7, 2)).astype(np.float32)
BITS = (NUMBERS > 0).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2.0, (60, 7)).astype(np.float32)
WEIGHINGS = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])


def steps(api: Any, *layers: Any) -> Any:
    """Returns a model with outputs of `layers` for each timestep, which masks padding."""
    return api.Sequential([api.Input((7, 3)), api.layers.Masking(), *layers])


def assert_twins(pair: Twins, x: Any, y: Any, weights: Any = None, **options: Any) -> None:
    """Checks that training, validation and evaluation agree, with batches some of which are smaller."""
    data = (x, y) if weights is None else (x, y, weights)
    named = {} if weights is None else {"sample_weight": weights}
    options = {"batch_size": 16, "epochs": 2, "validation_data": data} | named | options
    assert_same_histories(*pair.fit(x, y, **options), rtol=1e-4, atol=1e-6)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    theirs = pair.keras.evaluate(x, y, batch_size=25, verbose=0, **named)
    assert pair.engine.evaluate(x, y, batch_size=25, verbose=0, **named) == pytest.approx(theirs, rel=1e-4)
