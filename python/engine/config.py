"""Settings of the whole process."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from engine import _program, _progress
from engine._checks import EPSILON, choice, integer, real
from engine._first_use import on_first_use

__all__ = [
    "backend",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "epsilon",
    "floatx",
    "get_threads",
    "image_data_format",
    "is_interactive_logging_enabled",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_threads",
]


def set_threads(n: int | None) -> None:
    """Use `n` threads in every later run whose work is worth them; results don't depend on it.

    By default there are as many as the process has CPUs, by its affinity mask, and no more than OMP_NUM_THREADS;
    while other programs keep some of these CPUs busy, or small batches are quicker so, a run makes do with fewer.
    `n` threads stay `n`.

    Args:
        n: number of threads, at least 1; None goes back to the default.
    """
    _program.set_threads(0 if n is None else integer(n, "n", 1))
    if n is not None and get_threads() != n:
        warnings.warn(
            "this build of the engine has no OpenMP: it uses one thread, whatever `n` is", stacklevel=2
        )


def get_threads() -> int:
    """The number of threads in force."""
    return _program.get_threads()


def enable_interactive_logging() -> None:
    """Print progress and messages to standard output, as at the start."""
    _progress.set_interactive(True)


def disable_interactive_logging() -> None:
    """Send progress and messages to the logger `engine` of Python's `logging`, level INFO, instead."""
    _progress.set_interactive(False)


def is_interactive_logging_enabled() -> bool:
    """Whether progress and messages go to standard output."""
    return _progress.is_interactive()


def backend() -> str:
    """What computes: "engine"."""
    return "engine"


def floatx() -> str:
    """The type of weights and results: "float32"."""
    return "float32"


def set_floatx(value: str) -> None:
    """Accept "float32" as `value`, the one type there is.

    Raises:
        ValueError: for another.
    """
    choice(value, "value", ("float32",))


def epsilon() -> float:
    """The guard against logarithms of 0 and divisions by it: 1e-7."""
    return EPSILON


def set_epsilon(value: float) -> None:
    """Accept 1e-7 as `value`, which is built into the core.

    Raises:
        ValueError: for another number.
    """
    if real(value, "value") != EPSILON:
        msg = f"`value` must be {EPSILON}, which is built into the core, got {value}"
        raise ValueError(msg)


def image_data_format() -> str:
    """Where an image has its channels: "channels_last"."""
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Accept "channels_last" as `data_format`, the one there is; `Permute` turns others into it.

    Raises:
        ValueError: for another.
    """
    choice(data_format, "data_format", ("channels_last",))


if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
