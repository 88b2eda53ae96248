"""Tests against real Keras, on JAX: `make test-keras`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Before anything imports keras.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parent))  # for `twins`, which nobody else imports


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other people's warnings are not this suite's."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))
