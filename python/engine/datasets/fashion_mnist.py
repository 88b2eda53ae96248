"""Fashion-MNIST: 70,000 grey images of 28 x 28 pixels, of clothes of ten kinds (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine._base.checks import path_of
from engine._base.lazy_imports import on_first_use
from engine.datasets._published import Published

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["load_data"]

_FASHION_MNIST = Published(
    title="Fashion-MNIST",
    name="fashion-mnist",
    shapes=((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)),
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    folders=("/usr/share/datasets/fashion-mnist",),
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    hint=(
        "Install Debian's package dataset-fashion-mnist, or pass the folder of the four IDX files, plain or with "
        ".gz, as `path`"
    ),
)


def load_data(
    path: str | os.PathLike[str] | None = None,
) -> tuple[tuple[NDArray[np.uint8], NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Loads Fashion-MNIST from the user's cache folder, else from Debian's package, else from the network.

    The cache folder is that of `mnist.load_data`. Downloads are checked by their SHA-256.

    The classes 0 to 9 are T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot. The
    data are Zalando's, under the MIT licence.

    Args:
        path: a folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
            `t10k-labels-idx1-ubyte`, each plain or with `.gz`. The data set is read from there instead.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images uint8 (60000, 28, 28) and (10000, 28, 28); labels uint8
        (60000,) and (10000,).

    Raises:
        TypeError: if `path` isn't a path.
        FileNotFoundError: if `path` lacks one of the files.
        ValueError: if a file in `path` isn't an IDX file of a uint8 array.
        OSError: if the data is not found and can't be downloaded. The message lists the places.
    """
    folder = None if path is None else path_of(path, "path")
    x_train, y_train, x_test, y_test = _FASHION_MNIST.load(folder)
    return (x_train, y_train), (x_test, y_test)


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
