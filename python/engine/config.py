"""Settings of the whole process."""

from __future__ import annotations

from engine import _program
from engine._checks import integer


def set_threads(n: int | None) -> None:
    """Use exactly `n` threads in every later run; results don't depend on it.

    By default a run uses as many threads as its work is worth, at most as many as the process may use: its
    affinity mask, or OMP_NUM_THREADS.

    Args:
        n: number of threads, at least 1; None goes back to the default.
    """
    _program.set_threads(0 if n is None else integer(n, "n", 1))


def get_threads() -> int:
    """The number of threads in force."""
    return _program.get_threads()
