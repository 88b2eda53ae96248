"""Runs scripts like published ones for dense networks in both libraries, and compares the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scripts_books
import scripts_guides
import scripts_habits
import scripts_models
import scripts_networks
import scripts_own_parts
import scripts_pieces
import scripts_runs
import scripts_tasks
import scripts_training
from scripting import SCRIPTS, Script

import engine

# The imports above have filled the list.
__all__ = [
    "scripts_books",
    "scripts_guides",
    "scripts_habits",
    "scripts_models",
    "scripts_networks",
    "scripts_own_parts",
    "scripts_pieces",
    "scripts_runs",
    "scripts_tasks",
    "scripts_training",
]


def same(theirs: Any, ours: Any, where: str) -> None:
    """Compares numbers in nested containers of any type."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key, value in theirs.items():
            same(value, ours[key], f"{where}[{key!r}]")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), where
        for index, (a, b) in enumerate(zip(theirs, ours, strict=True)):
            same(a, b, f"{where}[{index}]")
    elif isinstance(theirs, (str, bool)) or theirs is None:
        assert ours == theirs, where
    else:
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-4, atol=2e-5, err_msg=where)


@pytest.mark.parametrize("run", SCRIPTS, ids=lambda run: run.__name__)
def test_script(run: Script, tmp_path: Path) -> None:
    try:
        theirs = run(keras, tmp_path)
    except ImportError as error:  # in Keras, some data sets need TensorFlow
        pytest.skip(str(error))
    same(theirs, run(engine, tmp_path), run.__name__)
