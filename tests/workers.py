"""Workers for tests: the backends, and those of a cluster of Dask and of Ray, which last as long as a module's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def cluster_of_dask(**environments: Any) -> Iterator[Any]:
    """Yields a client of a Dask cluster with two processes."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=60,
            **environments,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def head_of_ray() -> Iterator[None]:
    """Runs a Ray with two CPUs in the block."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # which Ray otherwise warns of
    import ray

    modules = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}  # the classes of the tests
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=modules)
    try:
        yield
    finally:
        ray.shutdown()
