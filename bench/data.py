"""The data of the tasks. MNIST is read from a folder, so that no other library's process imports the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.tasks import Problem, Task


class Data(NamedTuple):
    """Samples and their targets.

    Attributes:
        x: (rows, inputs) uint8, float32 or float64, C-contiguous; for "words" a `scipy.sparse.csr_array` of float32.
        y: class indices as integers (rows,), or float32 (rows, outputs) for a regression.
        x_test: (test_rows, inputs), as `x`.
        y_test: as `y`.
    """

    x: Any
    y: NDArray[Any]
    x_test: Any
    y_test: NDArray[Any]

    def as_float32(self) -> Data:
        """Returns the data with rows in float32; uint8 rows are divided by 255."""
        return self._replace(x=as_float32(self.x), x_test=as_float32(self.x_test))


def as_float32(x: Any) -> Any:
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32, copy=False)


def save_mnist(folder: Path) -> None:
    """Writes MNIST, as it comes with the engine, into `folder`."""
    from engine.datasets import mnist

    (x, y), (x_test, y_test) = mnist.load_data()
    for name, array in zip(Data._fields, (x, y, x_test, y_test), strict=True):
        np.save(folder / f"{name}.npy", array)


def load_mnist(folder: Path) -> Data:
    """Reads the images (n, 28, 28), uint8, and classes that `save_mnist` has written."""
    return Data(*(np.load(folder / f"{name}.npy") for name in Data._fields))


def load(task: Task, folder: Path) -> Data:
    """Returns the data of a task.

    Args:
        task: the task.
        folder: where `save_mnist` has written MNIST.
    """
    if task.data == "normal":
        return normal(task.problem, task.rows, task.test_rows)
    if task.data == "words":
        return words(task.problem, task.rows, task.test_rows)
    if task.data in {"digits", "covertype"}:
        return of_sklearn(task)
    images = load_mnist(folder)
    x, x_test = (
        array[:rows].reshape(rows, task.problem.inputs)
        for array, rows in ((images.x, task.rows), (images.x_test, task.test_rows))
    )
    data = Data(x, images.y[: task.rows], x_test, images.y_test[: task.test_rows])
    if task.data == "mnist-float64":
        return data._replace(x=x / 255.0, x_test=x_test / 255.0)
    return data.as_float32() if task.data == "mnist-float32" else data


def of_sklearn(task: Task) -> Data:
    """Returns scikit-learn's digits, or generated rows of the shape of its covertype: 54 features, seven classes."""
    from sklearn import datasets

    if task.data == "digits":
        x, y = datasets.load_digits(return_X_y=True)
        x /= 16
    else:
        x, y = datasets.make_classification(
            task.rows + task.test_rows, 54, n_informative=20, n_classes=7, random_state=0
        )
        x /= x.std(axis=0)
    x, ends = np.ascontiguousarray(x, np.float32), (task.rows, task.rows + task.test_rows)
    return Data(x[: ends[0]], y[: ends[0]], x[slice(*ends)], y[slice(*ends)])


def normal(problem: Problem, rows: int, test_rows: int) -> Data:
    """Returns normally distributed rows, which have no zeros, and random targets."""
    rng = np.random.default_rng(0)
    total = rows + test_rows
    x = rng.standard_normal((total, problem.inputs), np.float32)
    y: NDArray[Any]
    if problem.classifies:
        kind = np.uint8 if problem.outputs <= 256 else np.int32
        y = rng.integers(0, max(2, problem.outputs), total, kind)
    else:
        y = rng.standard_normal((total, problem.outputs), np.float32)
    return Data(x[:rows], y[:rows], x[rows:], y[rows:])


def words(problem: Problem, rows: int, test_rows: int) -> Data:
    """Returns generated texts of 20 to 180 words as word counts, scaled to rows of length 1. Their topics are the classes.

    Half of the words of a text are drawn by Zipf's law, and half from a twentieth of the vocabulary that belongs to its
    topic.
    """
    from scipy import sparse
    from scipy.sparse import linalg

    rng = np.random.default_rng(0)
    total, columns = rows + test_rows, problem.inputs
    topics = rng.integers(0, problem.outputs, total, np.int32)
    text = np.repeat(np.arange(total), rng.integers(20, 181, total))
    frequency = 1 / np.arange(1, columns + 1)
    general = rng.choice(columns, len(text), p=frequency / frequency.sum())
    special = rng.integers(0, columns, (problem.outputs, columns // 20 + 1))
    own = special[topics[text], rng.integers(0, special.shape[1], len(text))]
    word = np.where(rng.random(len(text)) < 0.5, general, own)
    counts = sparse.csr_array((np.ones(len(text), np.float32), (text, word)), (total, columns))
    x = sparse.csr_array(counts.multiply(1 / linalg.norm(counts, axis=1)[:, None]), dtype=np.float32)
    return Data(x[:rows], topics[:rows], x[rows:], topics[rows:])
