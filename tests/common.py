"""What many tests use: comparisons of several arrays at once, and models that are compiled where they are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def assert_all_close(found: Iterable[Any], expected: Iterable[Any], **tolerance: Any) -> None:
    """Compares arrays one by one; `tolerance` goes to `np.testing.assert_allclose`."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def assert_all_equal(found: Iterable[Any], expected: Iterable[Any]) -> None:
    """Checks that arrays, one by one, have the same numbers."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def compiled(model: Any, *args: Any, **options: Any) -> Any:
    """Returns a model after its `compile`."""
    model.compile(*args, **options)
    return model
