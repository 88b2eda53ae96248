"""Prices of houses in California, from the census of 1990 (Pace and Barry, 1997): 20,640 samples of 8 numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.datasets._archives import (
    PublishedFile,
    Split,
    arrays_in,
    share_of_tests,
    shuffling,
    split,
    version_of,
)

__all__ = ["load_data"]

_FILE = PublishedFile(
    "The data set of houses in California",
    "california_housing.npz",
    "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
)
_SMALL = 600


def load_data(
    version: str = "large",
    path: str | os.PathLike[str] = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> Split:
    """Loads prices of houses in California from the user's cache folder, else from Keras', else from the network.

    The columns are the median income, the median age of houses, rooms, bedrooms, people and members per household, latitude and
    longitude of a block group.

    Args:
        version: "large" for 20,640 samples, "small" for the first 600.
        path: name of the file in the cache folder of `mnist.load_data`, or its absolute path.
        test_split: share of the samples for testing.
        seed: seed of the order of the samples, which is that of Keras.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: numbers (n, 8), and the median prices in dollars (n,).

    Raises:
        OSError: if the file is not found and can't be downloaded. The message lists the places.
        ValueError: for another `version`, or if `test_split` isn't in [0, 1).
    """
    test_fraction, sample_limit = (
        share_of_tests(test_split),
        _SMALL if version_of(version) == "small" else None,
    )
    arrays = arrays_in(_FILE.contents(path), _FILE.name)
    return split(
        *shuffling(seed)(arrays["x"][:sample_limit], arrays["y"][:sample_limit]), test_split=test_fraction
    )


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
