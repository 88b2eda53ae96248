"""The threads on which a job computes, in the process of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine._core_interface import cpp


class _Process:
    """The jobs that this process runs at the moment, each an object of its own."""

    jobs: set[object] = set()  # noqa: RUF012 # one for the process
    threads = 1
    stopping = False


@contextmanager
def at_work(threads: int) -> Iterator[None]:
    """Counts a job within the block.

    Args:
        threads: how many threads the worker owns, for all its jobs together.
    """
    job = object()
    if not _Process.jobs:
        _Process.stopping = False
    _Process.jobs.add(job)
    _Process.threads = threads
    try:
        take_share()
        yield
    finally:
        cpp.set_threads_here(0)
        _Process.jobs.discard(job)


def take_share() -> None:
    """Sets the number of threads on which this Python thread computes: its part of those that the worker owns."""
    cpp.set_threads_here(max(1, _Process.threads // max(1, len(_Process.jobs))))


def stop_jobs() -> None:
    """Asks the jobs of this process to end, since nobody wants their results any more. Later ones are not meant."""
    _Process.stopping = bool(_Process.jobs)


def stopping() -> bool:
    """Whether the jobs of this process should end."""
    return _Process.stopping
