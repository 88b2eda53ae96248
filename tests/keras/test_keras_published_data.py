"""The data sets that Keras publishes as one file, made of small files, beside Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras.src.datasets import boston_housing, california_housing, imdb, reuters

from engine import datasets


def as_lists(parts: Any) -> Any:
    return [[np.asarray(each).tolist() for each in part] for part in parts]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the file that both libraries read."""
    path = tmp_path / "data.npz"
    for module in (boston_housing, california_housing, imdb, reuters):
        monkeypatch.setattr(module, "get_file", lambda *args, **options: str(path))
    return path


def texts(count: int) -> Any:
    rng = np.random.default_rng(count)
    found = np.empty(count, object)
    found[:] = [rng.integers(1, 60, length).tolist() for length in rng.integers(1, 12, count)]
    return found


OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_words": 30},
    {"num_words": 30, "skip_top": 5, "oov_char": None},
    {"maxlen": 6, "seed": 3},
    {"start_char": None, "index_from": 0},
    {"start_char": None, "num_words": 20, "oov_char": 7},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_texts(path: Path, options: Any) -> None:
    labels = np.arange(40) % 3
    np.savez(
        path, x_train=texts(40), y_train=labels, x_test=texts(40)[::-1], y_test=labels, x=texts(40), y=labels
    )
    for ours, theirs in ((datasets.imdb, imdb), (datasets.reuters, reuters)):
        assert as_lists(ours.load_data(path, **options)) == as_lists(theirs.load_data(str(path), **options))
    assert datasets.reuters.get_label_names() == reuters.get_label_names()


def test_houses(path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.normal(size=(700, 3)), y=rng.normal(size=700))
    for options in ({}, {"test_split": 0.35, "seed": 4}, {"test_split": 0}):
        ours, theirs = datasets.boston_housing.load_data(path, **options), boston_housing.load_data(**options)
        assert as_lists(ours) == as_lists(theirs)
        for version in ("small", "large"):
            ours = datasets.california_housing.load_data(version, path, **options)
            assert as_lists(ours) == as_lists(california_housing.load_data(version, **options))
