"""Whether workers have the versions of this process, without which models would not travel, or have other bits."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import numpy as np

from engine._base.checks import listing
from engine._cluster.workers import Workers
from engine._core_interface.cpp import __version__

Versions = Mapping[str, str]


class OtherVersionsError(RuntimeError):
    """A worker has other versions than this process."""


def versions() -> Versions:
    """Returns those that must be the same everywhere, by name. Python's is without the number of the patch."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python, "NumPy": np.__version__, "engine": __version__}


def require_same_versions(workers: Workers) -> None:
    """Raises OtherVersionsError unless all workers have the versions of this process.

    Raises:
        OtherVersionsError: names the first worker that has not, its versions and those here.
    """
    try:
        found = workers.each(versions)
    except ImportError as error:
        msg = (
            f"workers can't import what this process has, engine {__version__} ({error}): install the same version on each of "
            "them"
        )
        raise OtherVersionsError(msg) from error
    for worker, theirs in found.items():
        require_same(versions(), theirs, f"worker {worker}")


def require_same(ours: Versions, theirs: Versions, worker: str) -> None:
    """Raises OtherVersionsError unless a worker has the versions of the process that gives it jobs.

    Args:
        ours: those of the process.
        theirs: those of the worker.
        worker: the name of the worker, for the message.
    """
    differing = [name for name in ours if theirs.get(name) != ours[name]]
    if differing:
        here = listing(f"{name} {ours[name]}" for name in differing)
        there = listing(f"{name} {theirs.get(name)}" for name in differing)
        msg = f"{worker} has {there}, but this process has {here}: install the same versions on both"
        raise OtherVersionsError(msg)
