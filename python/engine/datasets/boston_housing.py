"""Prices of houses in suburbs of Boston around 1975 (Harrison and Rubinfeld, 1978): 506 samples of 13 numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.datasets._archives import PublishedFile, Split, arrays_in, share_of_tests, shuffling, split

__all__ = ["load_data"]

_FILE = PublishedFile(
    "The data set of houses in Boston",
    "boston_housing.npz",
    "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
)


def load_data(
    path: str | os.PathLike[str] = "boston_housing.npz", test_split: float = 0.2, seed: int = 113
) -> Split:
    """Loads prices of houses in Boston from the user's cache folder, else from Keras', else from the network.

    The column "B" assumes that segregation by race influences prices. So use `california_housing` instead, unless that is your
    subject.

    Args:
        path: name of the file in the cache folder of `mnist.load_data`, or its absolute path.
        test_split: share of the samples for testing.
        seed: seed of the order of the samples, which is that of Keras.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: float64 (n, 13), and the median prices in 1,000 dollars, float64 (n,).

    Raises:
        OSError: if the file is not found and can't be downloaded. The message lists the places.
        ValueError: if `test_split` isn't in [0, 1).
    """
    test_fraction = share_of_tests(test_split)
    arrays = arrays_in(_FILE.contents(path), _FILE.name)
    return split(*shuffling(seed)(arrays["x"], arrays["y"]), test_split=test_fraction)


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
