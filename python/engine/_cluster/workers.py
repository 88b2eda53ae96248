"""What joblib, Dask and Ray have in common: processes that run jobs and hold data."""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


@contextmanager
def same_environment() -> Iterator[None]:
    """Sets the environment variables of this process back at the end of the block.

    Dask and Ray set some for the processes that they start, such as OMP_NUM_THREADS, and leave them.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


class WorkerLostError(Exception):
    """The process that ran a job has ended, or what it held is gone. The job can be given to another one."""


class Workers(ABC):
    """Processes that run jobs. A context manager, which ends those that it has started itself.

    Attributes:
        run: a name that no other run of jobs has, on whichever machine.
    """

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many jobs run at a time: one on each thread that the workers own. Workers may come and go."""

    @abstractmethod
    def each(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Calls a function once on each worker, or on each machine, at once, and returns what they return, by their names."""

    @abstractmethod
    def hold(self, value: Any) -> Any:
        """Puts a value where workers read it without its being sent again, and returns what stands for it in `submit`.

        The workers forget it when the object returned is gone.
        """

    @abstractmethod
    def submit(self, function: Callable[..., Any], message: bytes, held: Sequence[Any]) -> Any:
        """Has a worker call `function(message, *values)` with the values that `held` stands for, and returns the job."""

    @abstractmethod
    def ended(self, jobs: Collection[Any], seconds: float) -> list[Any]:
        """Returns those of the jobs that have ended. Waits for at most `seconds` for the first one."""

    @abstractmethod
    def result(self, job: Any) -> Any:
        """Returns what a job has returned.

        Raises:
            WorkerLostError: if its worker has ended, so that it is to be submitted again.
            Exception: what its function has raised.
        """

    @abstractmethod
    def stop(self, jobs: Collection[Any]) -> None:
        """Ends jobs early, whose results nobody wants any more."""

    @abstractmethod
    def for_joblib(self) -> AbstractContextManager[Any]:
        """Returns a block in which joblib, and so scikit-learn, runs its jobs on these workers, each on one thread."""

    @abstractmethod
    def close(self) -> None:
        """Ends what was started for these workers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
