"""The contenders: one module each, named as on the command line, with `MODULES` and `prepare`.

A name such as `keras:jax` stands for the module `keras` and its variant "jax".
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.data import Data
from bench.tasks import Product, Program, Task


class UnsupportedError(Exception):
    """Raised by `prepare`, or by a method, for what the contender can't do; the message says why."""


class Training(NamedTuple):
    """What a training tells.

    Attributes:
        loss: mean training loss over the last epoch.
        accuracy: mean training accuracy over the last epoch; None of a regression, or from a contender that can't tell.
        seconds: per epoch, only from a contender with a clock of its own.
    """

    loss: float
    accuracy: float | None = None
    seconds: float | None = None


class Contender(Protocol):
    """A network on its data, ready to go. Methods return when the work is done, not when it is queued."""

    def reset(self) -> None:
        """Make weights and optimizer state fresh; not timed, and not a reason to compile anew."""

    def train(self, epochs: int) -> Training:
        """Train on all rows in a new random order every epoch, with mean loss and accuracy of every epoch."""

    def predict(self) -> NDArray[Any]:
        """Outputs (test_rows, outputs) for the test rows, probabilities of classes, as a NumPy array."""

    def predict_one(self) -> NDArray[Any]:
        """Outputs (1, outputs) for the first test row, as a NumPy array."""


Float32 = NDArray[np.float32]


class Module(Protocol):
    """What a contender's module holds."""

    MODULES: tuple[str, ...]
    """Modules whose `__version__` belongs in the record, as far as they are imported."""

    prepare: Callable[[Task, Data, str], Contender]
    """From the task, its data and the name's variant ("" without one); not timed."""


@runtime_checkable
class Multiplier(Protocol):
    """A module that competes in `Product` tasks as well."""

    multiply: Callable[[Product, Float32, Float32, Float32], Callable[[], object]]
    """From the task, `a` and `b` as they are stored, and where the product goes; a call of what it returns makes it."""


@runtime_checkable
class Launcher(Protocol):
    """A module that competes in `Program` tasks as well."""

    command: Callable[[Program, Path, str], list[str]]
    """From the task, the folder with MNIST and the variant: what starts the process."""


def names() -> list[str]:
    """The names of the modules."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> tuple[Module, str]:
    """The module and the variant of a contender's name.

    Raises:
        ModuleNotFoundError: what the contender needs is not installed.
    """
    import importlib

    module, _, variant = name.partition(":")
    return cast("Module", importlib.import_module(f"{__name__}.{module}")), variant
