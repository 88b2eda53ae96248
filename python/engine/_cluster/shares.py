"""The threads on which a job computes, in the process of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine._core_interface import cpp


class _Process:
    """The jobs that this process runs at the moment, each an object of its own."""

    jobs: set[object] = set()  # noqa: RUF012 # one for the process
    threads = 1
    stopped: set[str] = set()  # noqa: RUF012 # one for the process
    """The names of runs whose jobs should end."""


@contextmanager
def at_work(threads: int) -> Iterator[None]:
    """Counts a job within the block.

    Args:
        threads: how many threads the worker owns, for all its jobs together.
    """
    job = object()
    former = cpp.set_threads_here(0)
    _Process.jobs.add(job)
    _Process.threads = threads
    try:
        take_share()
        yield
    finally:
        cpp.set_threads_here(former)
        _Process.jobs.discard(job)


def take_share() -> None:
    """Sets the number of threads on which this Python thread computes: its part of those that the worker owns."""
    cpp.set_threads_here(max(1, _Process.threads // max(1, len(_Process.jobs))))


def stop_jobs(run: str) -> None:
    """Asks the jobs of a run in this process to end, since nobody wants their results any more."""
    _Process.stopped.add(run)


def is_stopped(run: str) -> bool:
    """Whether the jobs of a run should end."""
    return run in _Process.stopped
