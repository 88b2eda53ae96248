"""Workers for tests: the backends, and those of a cluster of Dask and of Ray, which last as long as a module's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine._cluster.workers import same_environment


@contextmanager
def cluster_of_dask(workers: int = 2, threads: int = 1) -> Iterator[Any]:
    """Yields a client of a Dask cluster with a process for each worker."""
    import distributed

    with (
        same_environment(),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=60,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def head_of_ray() -> Iterator[None]:
    """Runs a Ray with two CPUs in the block."""
    import ray

    modules = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}  # the classes of the tests
    with same_environment():
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # which Ray otherwise warns of
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=modules)
        try:
            yield
        finally:
            ray.shutdown()
