"""`tf.distribute`: strategies, all of which train on this machine with one replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.tensorflow._arrays import no_effect

__all__ = [
    "CentralStorageStrategy",
    "MirroredStrategy",
    "MultiWorkerMirroredStrategy",
    "OneDeviceStrategy",
    "ReduceOp",
    "Strategy",
    "get_replica_context",
    "get_strategy",
]


class ReduceOp:
    """How values of replicas are put together."""

    SUM = "SUM"
    MEAN = "MEAN"


class Strategy:
    """One replica: all that is done with it is done once. The arguments are without effect."""

    num_replicas_in_sync = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def scope(self) -> Any:
        """Returns a context without effect."""
        return no_effect()

    def run(self, fn: Callable[..., Any], args: Any = (), kwargs: Any = None, options: Any = None) -> Any:
        """Calls a function."""
        return fn(*args, **({} if kwargs is None else kwargs))

    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """Returns the value, or its sum or mean along an axis."""
        from engine.tensorflow import math

        if axis is None:
            return value
        return (math.reduce_mean if "MEAN" in str(reduce_op).upper() else math.reduce_sum)(value, axis)

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """Returns the data set as it is."""
        return dataset

    def experimental_local_results(self, value: Any) -> tuple[Any]:
        """Returns the value in a tuple."""
        return (value,)


class MirroredStrategy(Strategy):
    """One replica."""


class OneDeviceStrategy(Strategy):
    """One replica."""


class CentralStorageStrategy(Strategy):
    """One replica."""


class MultiWorkerMirroredStrategy(Strategy):
    """One replica."""


class experimental:  # noqa: N801 # a module in TensorFlow
    """Older names."""

    MultiWorkerMirroredStrategy = MultiWorkerMirroredStrategy
    CentralStorageStrategy = CentralStorageStrategy


_STRATEGY = Strategy()


def get_strategy() -> Strategy:
    """Returns a strategy of one replica."""
    return _STRATEGY


class _ReplicaContext:
    """The only replica."""

    replica_id_in_sync_group = 0
    num_replicas_in_sync = 1

    @staticmethod
    def all_reduce(reduce_op: Any, value: Any) -> Any:
        """Returns the value."""
        return value


def get_replica_context() -> _ReplicaContext:
    """Returns the context of the only replica."""
    return _ReplicaContext()
