"""Helpers for the tests of damaged files: files to damage, and the check of the error."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import classifier

from engine import layers, models

FORMATS = [".keras", ".npz", ".safetensors", ".h5"]


@pytest.fixture(scope="module", name="saved")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns the contents of a file of a model, by format."""
    folder = tmp_path_factory.mktemp("saved")
    model = classifier(layers.BatchNormalization())
    model.train_on_batch(np.ones((2, 6), np.float32), [0, 1])
    found = {}
    for suffix in FORMATS:
        model.save(folder / f"m{suffix}")
        found[suffix] = (folder / f"m{suffix}").read_bytes()
    return found


def refused(path: Path, match: str | None = None) -> None:
    """Checks that loading the model raises an error whose message names the file."""
    with pytest.raises((ValueError, OSError), match=match) as caught:
        models.load_model(path)
    assert path.name in str(caught.value) or isinstance(caught.value, OSError)


def with_config(path: Path, saved: dict[str, bytes], change: Callable[[Any], object]) -> Path:
    """Writes a copy of the saved archive with a changed config."""
    with zipfile.ZipFile(io.BytesIO(saved[".npz"])) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                changed = change(config)
                content = (changed if isinstance(changed, str) else json.dumps(config)).encode()
            new.writestr(name, content)
    return path
