"""The backend "engine" of joblib: Python threads, among which the threads of the core are shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from joblib import register_parallel_backend
from joblib.parallel import SequentialBackend, ThreadingBackend

from engine import config

NAME = "engine"
"""The backend's name: `joblib.parallel_config(backend="engine")`."""


class EngineThreads(ThreadingBackend):
    """Runs jobs on Python threads, so that data need not be copied or pickled.

    The core computes for several of them at once, and each gets an equal share of its threads. So cores are never
    oversubscribed, and models too small for several threads keep all cores busy. By default, and for `n_jobs=-1`, there are as
    many jobs at a time as threads.
    """

    default_n_jobs = -1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Returns how many jobs run at a time: at most the number of the core's threads."""
        threads = config.get_threads()
        if n_jobs == 0:
            raise ValueError(
                "`n_jobs` must not be 0: pass a number of jobs, or -1 for as many as there are threads"
            )
        if n_jobs is None:
            return 1
        return min(n_jobs, threads) if n_jobs > 0 else max(1, threads + 1 + n_jobs)

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        """Runs a job on a thread with its share of the core's threads."""
        return super().submit(_WithShare(func, max(1, config.get_threads() // self._n_jobs)), callback)

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Returns the backend within jobs, which runs theirs one after the other."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


class _WithShare:
    """A job that computes on some of the core's threads."""

    def __init__(self, job: Callable[[], Any], threads: int) -> None:
        self._job, self._threads = job, threads

    def __call__(self) -> Any:
        with config.threads(self._threads):
            return self._job()


def register_backend() -> None:
    """Makes the backend known to joblib."""
    register_parallel_backend(NAME, EngineThreads)
