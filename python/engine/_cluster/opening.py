"""From the argument `backend` to workers."""

from __future__ import annotations

from typing import Any

from engine._cluster.same_versions import require_same_versions
from engine._cluster.workers import Workers

NAMES = ("joblib", "dask", "ray")


def opened(backend: Any) -> Workers:
    """Returns the workers that a user has asked for, which have the versions of this process.

    Args:
        backend: "joblib", processes of this machine; "dask", the Dask client of this process, or else a new cluster on this machine; a
            `distributed.Client`, or the address of a scheduler; or "ray", the Ray of this process or of the environment variable
            RAY_ADDRESS, or else a new one on this machine.

    Raises:
        ValueError: for another name.
        TypeError: for anything else.
        ImportError: if a package is missing.
        OtherVersionsError: if workers have other versions than this process.
    """
    workers = _workers(backend)
    try:
        require_same_versions(workers)
    except BaseException:
        workers.close()
        raise
    return workers


def picklable(backend: Any) -> Any:
    """Returns a backend that can be pickled: that of a client is the address of its scheduler."""
    return backend.scheduler.address if _is_client(backend) else backend


def _workers(backend: Any) -> Workers:
    is_text = isinstance(backend, str)
    if is_text and backend == "joblib":
        from engine._cluster.on_joblib import ProcessesOfJoblib

        return ProcessesOfJoblib()
    if is_text and backend == "ray":
        from engine._cluster.on_ray import WorkersOfRay

        return WorkersOfRay()
    if (is_text and (backend == "dask" or ":" in backend)) or _is_client(backend):
        from engine._cluster.on_dask import WorkersOfDask

        return WorkersOfDask(None if is_text and backend == "dask" else backend)
    names = ", ".join(repr(name) for name in NAMES)
    msg = f"`backend` must be None, {names}, a distributed.Client or the address of its scheduler, such as 'tcp://host:8786', got {backend!r}"
    raise ValueError(msg) if is_text else TypeError(msg)


def _is_client(value: Any) -> bool:
    return any(
        base.__name__ == "Client" and base.__module__.startswith("distributed.")
        for base in type(value).__mro__
    )
