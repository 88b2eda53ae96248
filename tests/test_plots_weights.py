"""Tests of plots of weights, and of their labels from column names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Blobs, classifier
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import engine as keras
from engine import plots


@pytest.fixture(autouse=True)
def headless() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def ax() -> Axes:
    return plt.figure().add_subplot()


def title(ax: Axes) -> str:
    return ax.get_title(loc="left")


def test_column_names_are_kept(blobs: Blobs, ax: Axes) -> None:
    model = classifier()
    names = ["age", "height", "weight", "pulse", "steps", "sleep"]
    model.fit(pd.DataFrame(blobs.x, columns=names), blobs.y, verbose=0)
    assert model._feature_names == names
    plots.weight_images(model, ax=ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == names
    model.fit(blobs.x, blobs.y, verbose=0)
    assert model._feature_names is None
    model.fit(pd.DataFrame(blobs.x), blobs.y, verbose=0)
    assert model._feature_names is None


def test_weights_as_pictures(ax: Axes) -> None:
    model = keras.Sequential([keras.Input((6, 4)), keras.layers.Flatten(), keras.layers.Dense(20)])
    plots.weight_images(model, n=10, columns=4, ax=ax)
    assert len(ax.images) == 10
    kernel = model.get_weights()[0]
    np.testing.assert_array_equal(ax.images[3].get_array(), kernel[:, 3].reshape(6, 4))
    end = np.abs(kernel[:, :10]).max()
    assert ax.images[0].get_clim() == (-end, end)
    assert title(ax) == f"Weights of {model.layers[1].name}, the first 10 of 20 units"
    assert title(plots.weight_images(model.layers[1], image_shape=(4, 6))).startswith("Weights of dense")


def test_weights_of_what_is_no_picture(ax: Axes) -> None:
    plots.weight_images(np.zeros((5, 3)), feature_names="abcde", ax=ax)
    assert ax.images[0].get_array().shape == (3, 5)
    assert plots.weight_images(np.ones((9, 2)), feature_names=range(9)).images[0].get_array().shape == (2, 9)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (np.zeros(3), {}, "`weights` must be a model or layer .* got ndarray"),
        (np.full((2, 2), np.nan), {}, "a finite array"),
        (keras.Sequential([keras.layers.Dense(2)]), {}, "`weights` must be .* has been built"),
        (keras.layers.Flatten(), {}, "`weights` must be"),
        (np.zeros((4, 2)), {"feature_names": ["a"]}, "`feature_names` has 1 names, but .* 4 inputs"),
        (np.zeros((4, 2)), {"image_shape": (3, 3)}, "has 9 pixels, but there are 4"),
        (np.zeros((4, 2)), {"image_shape": (4,)}, "`image_shape` must be \\(height, width\\)"),
    ],
)
def test_what_weight_images_refuse(weights: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.weight_images(weights, **options)
