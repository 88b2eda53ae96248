"""The data of the tasks. MNIST comes from a folder, so that no rival's process has to import the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.tasks import INPUTS, OUTPUTS, SAMPLES, TESTS


class Data(NamedTuple):
    """Rows and labels.

    Attributes:
        x: (60000, 784) uint8 or float32, C-contiguous.
        y: (60000,) uint8, classes 0 to 9.
        x_test: (10000, 784), as `x`.
        y_test: (10000,) uint8.
    """

    x: NDArray[Any]
    y: NDArray[np.uint8]
    x_test: NDArray[Any]
    y_test: NDArray[np.uint8]

    def as_float32(self) -> Data:
        """With rows in float32, uint8 ones divided by 255."""
        return self._replace(x=as_float32(self.x), x_test=as_float32(self.x_test))


def as_float32(x: NDArray[Any]) -> NDArray[np.float32]:
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x


def save_mnist(folder: Path) -> None:
    """Put MNIST, as the engine brings it, into `folder`."""
    from engine.datasets import mnist

    (x, y), (x_test, y_test) = mnist.load_data()
    np.save(folder / "x.npy", x.reshape(len(x), INPUTS))
    np.save(folder / "y.npy", y)
    np.save(folder / "x_test.npy", x_test.reshape(len(x_test), INPUTS))
    np.save(folder / "y_test.npy", y_test)


def load(kind: str, folder: Path) -> Data:
    """The data of one kind.

    Args:
        kind: of `tasks.DATA`.
        folder: where `save_mnist` has put MNIST.
    """
    if kind == "normal":
        rng = np.random.default_rng(0)
        x = rng.standard_normal((SAMPLES + TESTS, INPUTS), np.float32)
        y = rng.integers(0, OUTPUTS, len(x), np.uint8)
        return Data(x[:SAMPLES], y[:SAMPLES], x[SAMPLES:], y[SAMPLES:])
    data = Data(*(np.load(folder / f"{name}.npy") for name in Data._fields))
    return data.as_float32() if kind == "mnist-float32" else data
