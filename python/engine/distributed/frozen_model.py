"""A model that travels to the processes that compute its outputs, partition by partition."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Sized
from functools import lru_cache, partial
from typing import Any

import numpy as np

from engine import config, tree
from engine._base.extras import extra
from engine._cluster.same_versions import require_same, versions
from engine._cluster.shares import at_work
from engine.models import Model


class FrozenModel:
    """A model as it is now: training it further changes nothing here.

    It is unpickled once in each process that uses it, however many partitions that process computes.

    Args:
        model: a model, or anything else with the method.
        method: the name of the method that returns outputs for samples.
        outputs: what the method returns for one sample.
    """

    def __init__(self, model: Any, method: str, outputs: Any) -> None:
        try:
            self._content: bytes = extra("cloudpickle", "joblib", "prediction on workers").dumps(
                (model, versions())
            )
        except Exception as error:
            if isinstance(error, ImportError):
                raise
            msg = f"the model can't travel to a worker ({type(error).__name__}: {error}): define its parts in a module, and register them"
            raise TypeError(msg) from error
        self._method = method
        self._outputs = tree.map_structure(lambda output: np.asarray(output)[:0], outputs)
        self._digest = hashlib.sha256(self._content + method.encode()).hexdigest()

    def __call__(self, samples: Any, threads: int | None = None) -> Any:
        """Returns the outputs for the samples of a partition, which may be empty.

        Args:
            samples: what the method takes.
            threads: those that all predictions in this process share; None asks the process.
        """
        if not number_of(samples):
            return self._outputs
        with at_work(_threads_of_process() if threads is None else threads):
            return self.made_once()(samples)

    def made_once(self) -> Callable[[Any], Any]:
        """Returns the function that returns outputs for samples, of which there is at least one."""
        return partial(outputs_of, _made(self), self._method)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenModel) and other._digest == self._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __dask_tokenize__(self) -> str:
        return self._digest

    def made(self) -> Any:
        """Returns the model itself.

        Raises:
            OtherVersionsError: if this process has other versions than the one that froze it.
        """
        model, theirs = pickle.loads(self._content)
        require_same(theirs, versions(), "a worker")
        return model


@lru_cache(maxsize=2)
def _made(frozen: FrozenModel) -> Any:
    return frozen.made()


def outputs_of(model: Any, method: str, samples: Any) -> Any:
    """Returns the outputs for samples, of which there is at least one."""
    if isinstance(model, Model):
        return model.predict(samples, verbose=0)
    return getattr(model, method)(samples)


def number_of(samples: Any) -> int:
    """Returns the number of samples in an array, a frame, a table, or a dict of columns."""
    first: Sized = next(iter(samples.values())) if isinstance(samples, dict) else samples
    return len(first)


def _threads_of_process() -> int:
    """Returns how many threads the predictions of this process may use together."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            return int(distributed.get_worker().state.nthreads)
        except ValueError:  # this is no worker
            pass
    return config.get_threads() if multiprocessing.parent_process() is None else 1
