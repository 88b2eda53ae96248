"""The contenders. Each is a module with `MODULES` and `prepare`; its name is that on the command line.

A name such as `keras:jax` stands for the module `keras` and its variant "jax".
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.data import Data
from bench.tasks import ArrayFunction, Call, Graph, Product, Program, Task


class UnsupportedError(Exception):
    """Raised by `prepare` or a method if the contender cannot do a task. The message says why."""


class Training(NamedTuple):
    """The results of a training.

    Attributes:
        loss: mean training loss over the last epoch.
        accuracy: mean training accuracy over the last epoch; None for a regression, or if the contender has none.
        seconds: seconds per epoch, if the contender measures them itself.
    """

    loss: float
    accuracy: float | None = None
    seconds: float | None = None


class Learner(Protocol):
    """A network with its data. Methods return when the work is done, and not when it is queued."""

    def reset(self) -> None:
        """Resets weights and optimizer state. It is not timed, and must not cause a new compilation."""

    def train(self, epochs: int) -> Training:
        """Trains on all rows, in a new random order in every epoch, and computes loss and accuracy of each epoch."""


class Contender(Learner, Protocol):
    """A network that also predicts."""

    def predict(self) -> NDArray[Any]:
        """Returns outputs (test_rows, outputs) for the test rows; for classes, probabilities."""

    def predict_one(self) -> NDArray[Any]:
        """Returns outputs (1, outputs) for the first test row."""


Float32 = NDArray[np.float32]


class Module(Protocol):
    """The interface of a contender's module."""

    MODULES: tuple[str, ...]
    """Modules whose `__version__` is recorded if they are imported."""

    prepare: Callable[[Task, Data, str], Contender]
    """Makes a contender from the task, its data and the variant ("" if there is none); not timed."""


@runtime_checkable
class Multiplier(Protocol):
    """A module that can also do `Product` tasks."""

    multiply: Callable[[Product, Float32, Float32, Float32], Callable[[], object]]
    """Takes the task, `a` and `b` as they are stored, and the array for the result. Returns a function that computes it."""


@runtime_checkable
class Compiler(Protocol):
    """A module that can also do `ArrayFunction` tasks."""

    compile: Callable[[ArrayFunction, list[NDArray[Any]]], Callable[[], Any]]
    """Takes the task and the arguments. Returns a function that computes the result, and returns when it is there."""


def call_among(calls: Mapping[str, Callable[[int], Callable[[], Any]]], task: Call) -> Callable[[], Any]:
    """Returns what does the call of a task.

    Args:
        calls: by the name of the work, what makes its call for a number of rows.
        task: the task.

    Raises:
        UnsupportedError: the contender has no such call.
    """
    if task.what not in calls:
        msg = f"it has no {task.what}"
        raise UnsupportedError(msg)
    return calls[task.what](task.rows)


@runtime_checkable
class Caller(Protocol):
    """A module that can also do `Call` tasks."""

    small_call: Callable[[Call], Callable[[], Any]]
    """Takes the task. Returns a function that does the call, and returns an array or a number when it is there."""


@runtime_checkable
class Builder(Protocol):
    """A module that can also do `Graph` tasks."""

    build: Callable[[Graph, Path, str], Learner]
    """Makes a network from the task, the folder with MNIST and the variant; not timed. It has no accuracy."""


@runtime_checkable
class Launcher(Protocol):
    """A module that can also do `Program` tasks."""

    command: Callable[[Program, Path, str], list[str]]
    """Takes the task, the folder with MNIST and the variant. Returns the command that starts the process."""


def names() -> list[str]:
    """Returns the names of the modules."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> tuple[Module, str]:
    """Returns the module and the variant that a contender's name stands for.

    Raises:
        ModuleNotFoundError: what the contender needs is not installed.
    """
    import importlib

    module, _, variant = name.partition(":")
    return cast("Module", importlib.import_module(f"{__name__}.{module}")), variant
