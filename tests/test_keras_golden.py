"""Compares the engine with saved results of Keras, so that Keras need not be installed."""

from __future__ import annotations

import numpy as np
import pytest
from keras_cases import CASES, GOLDEN, run

import engine

# Tolerance after nine steps in float32, whose sums have other orders in the two libraries.
RTOL, ATOL = 1e-5, 2e-6


@pytest.mark.parametrize("name", CASES)
def test_as_keras(name: str) -> None:
    with np.load(GOLDEN) as golden:
        expected = {key.split("/", 1)[1]: golden[key] for key in golden.files if key.startswith(f"{name}/")}
    found = run(engine, CASES[name])
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=RTOL, atol=ATOL, err_msg=key)
