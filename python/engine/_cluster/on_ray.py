"""The workers of Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

from engine import config
from engine._base.extras import extra
from engine._cluster.shares import at_work
from engine._cluster.workers import WorkerLostError, Workers, same_environment


class WorkersOfRay(Workers):
    """The CPUs of the Ray of this process, of the one at RAY_ADDRESS, or of a new one on this machine."""

    def __init__(self) -> None:
        super().__init__()
        self._ray = extra("ray", "ray", 'backend="ray"')
        self._is_own = not self._ray.is_initialized()
        if self._is_own:
            address = os.environ.get("RAY_ADDRESS")
            of_machine = {} if address else {"num_cpus": config.get_threads(), "include_dashboard": False}
            with same_environment():
                self._ray.init(address=address, log_to_driver=False, **of_machine)
        # A worker that ends is noticed here, as with other backends, so that what it held is sent again.
        self._run = self._ray.remote(max_retries=0, num_cpus=1)(_in_worker)

    @property
    def slots(self) -> int:
        """How many CPUs there are."""
        return int(self._ray.cluster_resources().get("CPU", 0))

    def each(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Calls the function in a process of each machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        run = self._ray.remote(max_retries=0, num_cpus=0)(_called)
        jobs = {
            node["NodeManagerAddress"]: run.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(function)
            for node in self._ray.nodes()
            if node["Alive"]
        }
        try:
            return dict(zip(jobs, self._ray.get(list(jobs.values())), strict=True))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error

    def hold(self, value: Any) -> Any:
        """Puts a value into the object store."""
        return self._ray.put(value)

    def submit(self, function: Callable[..., Any], message: bytes, held: Sequence[Any]) -> Any:
        """Submits a task for one CPU."""
        return self._run.remote(function, message, *held)

    def ended(self, jobs: Collection[Any], seconds: float) -> list[Any]:
        """Returns the tasks that have ended."""
        ended: list[Any] = self._ray.wait(list(jobs), num_returns=1, timeout=seconds)[0]
        return ended

    def result(self, job: Any) -> Any:
        """Returns what a task has returned."""
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(job)
        except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
            raise WorkerLostError(str(error).partition("\n")[0]) from error
        except exceptions.RayTaskError as error:
            raise error.cause from error

    def stop(self, jobs: Collection[Any]) -> None:
        """Interrupts tasks."""
        for job in jobs:
            self._ray.cancel(job)

    def for_joblib(self) -> AbstractContextManager[Any]:
        """Returns the block of Ray's own backend of joblib."""
        joblib = extra("joblib", "joblib", "scikit-learn on Ray")
        extra("ray.util.joblib", "ray", "scikit-learn on Ray").register_ray()
        block: AbstractContextManager[Any] = joblib.parallel_config("ray", n_jobs=-1)
        return block

    def close(self) -> None:
        """Ends Ray, if it was begun here."""
        if self._is_own:
            self._ray.shutdown()


def _in_worker(function: Callable[..., Any], message: bytes, *values: Any) -> Any:
    """Runs a job on the threads that Ray has given it."""
    with at_work(1):
        return function(message, *values)


def _called(function: Callable[[], Any]) -> Any:
    return function()
