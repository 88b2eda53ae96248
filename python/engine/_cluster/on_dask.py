"""The workers of a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine import config
from engine._base.extras import extra
from engine._cluster.shares import at_work, stop_jobs
from engine._cluster.workers import WorkerLostError, Workers, same_environment

# Messages of more bytes are sent beside the description of the task, as Dask wants it.
_LONG = 1 << 20
# What a worker answers that can't import a function.
_NO_FUNCTION = ("ModuleNotFoundError(", "ImportError(", "AttributeError(")
# For how many seconds the number of threads is remembered, since workers seldom come or go.
_SECONDS_KNOWN = 1.0


class WorkersOfDask(Workers):
    """The workers of a cluster of Dask.

    Args:
        client: a `distributed.Client`, or the address of a scheduler; None is the client of this process, or else a new cluster with
            a process for each thread of the engine.
    """

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._distributed = extra("distributed", "dask", 'backend="dask"')
        self._own: list[Any] = []
        if client is None:
            client = self._present() or self._begun()
        elif isinstance(client, str):
            client = self._distributed.Client(client, set_as_default=False)
            self._own.append(client)
        self._client = client
        self._slots, self._known_until = 0, 0.0

    @property
    def slots(self) -> int:
        """How many threads the workers have."""
        if time.monotonic() > self._known_until:
            self._slots = sum(self._client.nthreads().values())
            self._known_until = time.monotonic() + _SECONDS_KNOWN
        return self._slots

    def each(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Calls the function in each worker's process."""
        try:
            found: dict[str, Any] = self._client.run(function)
        except Exception as error:
            if str(error).startswith(_NO_FUNCTION):  # Dask tells so by an Exception with the text alone
                raise ImportError(str(error)) from error
            raise
        return found

    def hold(self, value: Any) -> Any:
        """Scatters a value to all workers."""
        broadcast = self.slots > 0  # with no worker yet, it waits for the first one
        return self._client.scatter([value], broadcast=broadcast, hash=False)[0]

    def submit(self, function: Callable[..., Any], message: bytes, held: Sequence[Any]) -> Any:
        """Submits a task."""
        sent = self._client.scatter([message], hash=False)[0] if len(message) > _LONG else message
        return self._client.submit(_in_worker, function, sent, list(held), pure=False)

    def ended(self, jobs: Collection[Any], seconds: float) -> list[Any]:
        """Returns the tasks that have ended."""
        try:
            with self._client.as_current():
                return list(self._distributed.wait(list(jobs), seconds, "FIRST_COMPLETED").done)
        except TimeoutError:
            return []
        except self._distributed.CancelledError:  # raised for what is lost, which is not pending any more
            return [job for job in jobs if job.status != "pending"]

    def result(self, job: Any) -> Any:
        """Returns what a task has returned."""
        try:
            return job.result()
        except self._distributed.CancelledError as error:
            raise WorkerLostError(str(error)) from error

    def stop(self, jobs: Collection[Any]) -> None:
        """Cancels tasks, and asks those at work to end."""
        self._client.cancel(list(jobs))
        self._client.run(stop_jobs, self.run)

    @contextmanager
    def for_joblib(self) -> Iterator[None]:
        """Sets the threads of the workers to one for each job within the block."""
        joblib = extra("joblib", "joblib", "scikit-learn on Dask")
        self._client.run(config.set_threads, 1)
        try:
            with joblib.parallel_config("dask", client=self._client, n_jobs=-1):
                yield
        finally:
            self._client.run(config.set_threads, None)

    def close(self) -> None:
        """Closes the client and the cluster, if they were made here."""
        for opened in self._own:
            opened.close()

    def _present(self) -> Any:
        """Returns the client of this process; None if there is none."""
        try:
            return self._distributed.get_client()
        except ValueError:
            return None

    def _begun(self) -> Any:
        """Returns the client of a new cluster."""
        with same_environment():
            cluster = self._distributed.LocalCluster(
                n_workers=config.get_threads(),
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
            )
        client = self._distributed.Client(cluster, set_as_default=False)
        self._own += [client, cluster]
        return client


def _in_worker(function: Callable[..., Any], message: bytes, values: Sequence[Any]) -> Any:
    """Runs a job on its share of the worker's threads."""
    from distributed import get_worker

    with at_work(get_worker().state.nthreads):
        return function(message, *values)
