"""MNIST: 70,000 handwritten digits, 28 x 28 pixels, in ten classes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine._base.checks import path_of
from engine._base.lazy_imports import on_first_use
from engine.datasets._packed import Packed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["load_data"]

_MNIST = Packed(
    name="mnist",
    shapes=((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)),
    sha256=(
        "4fe40314d40e80ea89a70046f5f9ac4df5e07a3d81e15e378b2e0e40d8868774",
        "77425618bef52cd05fe22d8b3da4338756b133b475f71341c1b22934dbd5f90f",
    ),
)


def load_data(
    path: str | os.PathLike[str] | None = None,
) -> tuple[tuple[NDArray[np.uint8], NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Loads MNIST from the package, without the network, and caches it in the user's cache folder.

    The cache folder is `mlp-engine` in `$ENGINE_CACHE_DIR`, else `$XDG_CACHE_HOME`, else `~/.cache`
    (macOS: `~/Library/Caches`, Windows: `%LOCALAPPDATA%`). A damaged cache is replaced. If the folder can't be
    written, the data isn't cached.

    The data are Yann LeCun's, Corinna Cortes's and Christopher J. C. Burges's, under CC BY-SA 3.0.

    Args:
        path: cache file: a file name in the cache folder, or an absolute path. Any name will do (Keras scripts use
            "mnist.npz"); the contents have a format of this package. An existing file outside of the cache folder
            that isn't such a cache is neither read nor replaced.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images uint8 (60000, 28, 28) and (10000, 28, 28) with
        values from 0 (background) to 255 (ink); labels uint8 (60000,) and (10000,) from 0 to 9.

    Raises:
        TypeError: if `path` isn't a path.
        ImportError: if Python has no `lzma` module, and the data isn't in the cache.
        OSError: if the data files of the package are missing or damaged.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, y_train[:5].tolist()
        ((60000, 28, 28), [5, 0, 4, 1, 9])
    """
    x_train, y_train, x_test, y_test = _MNIST.load(None if path is None else path_of(path, "path"))
    return (x_train, y_train), (x_test, y_test)


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
