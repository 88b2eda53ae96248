"""Runs the scripts in `examples/`, with fewer images and epochs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
TRAIN, TEST, EPOCHS = 6000, 1000, 2

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture
def shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    load, fit = keras.datasets.mnist.load_data, keras.Sequential.fit

    def load_some() -> tuple[Split, Split]:
        (x_train, y_train), (x_test, y_test) = load()
        return (x_train[:TRAIN], y_train[:TRAIN]), (x_test[:TEST], y_test[:TEST])

    def fit_briefly(self: keras.Sequential, *arguments: Any, **options: Any) -> keras.callbacks.History:
        return fit(self, *arguments, **(options | {"epochs": EPOCHS}))

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_some)
    monkeypatch.setattr(keras.Sequential, "fit", fit_briefly)


@pytest.mark.usefixtures("shortened")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    accuracy = re.search(r"^Test accuracy: (\d\.\d{4})$", printed, flags=re.MULTILINE)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.7
    # These print a table: a heading, and a line for each of three ways.
    if path.stem in (
        "dropout",
        "early_stopping",
        "l1_l2",
    ):
        assert len(printed.splitlines()) == 5
    else:
        assert f"Epoch {EPOCHS}/{EPOCHS}" in printed


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
