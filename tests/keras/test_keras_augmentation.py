"""Compares image augmentation with Keras, for fixed amounts instead of random ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import engine

CHANGES: dict[str, Callable[..., Any]] = {
    "moved": lambda k, **o: k.RandomTranslation((0.25, 0.25), (-0.3, -0.3), **o),
    "turned": lambda k, **o: k.RandomRotation((0.1, 0.1), **o),
    "turned_far": lambda k, **o: k.RandomRotation((-0.7, -0.7), **o),
    "zoomed": lambda k, **o: k.RandomZoom((0.3, 0.3), (-0.2, -0.2), **o),
    "zoomed_alike": lambda k, **o: k.RandomZoom((-0.4, -0.4), **o),
}


@pytest.mark.parametrize("shape", [(9, 11, 2), (1, 16, 1), (5, 15, 1), (4, 17, 1), (6, 35, 1)])
@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "reflect"])
@pytest.mark.parametrize("change", CHANGES)
def test_changes(change: str, fill_mode: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((3, *shape), np.float32)
    options = {"fill_mode": fill_mode, "fill_value": 0.5}
    theirs = np.asarray(CHANGES[change](keras.layers, **options)(x, training=True))
    layer = CHANGES[change](engine.layers, **options)
    model = engine.Sequential([engine.Input(x.shape[1:]), layer])
    ours = model(x, training=True)
    assert np.array_equal(model.predict(x), x)
    # Coordinates are rounded differently, and a pixel differs from its neighbour by up to 1.
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
