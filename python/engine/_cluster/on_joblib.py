"""Processes of this machine, those of loky, joblib's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from engine import config
from engine._base.extras import extra
from engine._cluster.shares import at_work
from engine._cluster.workers import WorkerLostError, Workers


class ProcessesOfJoblib(Workers):
    """One process for each thread of the engine, so that each has a core.

    What they hold lies in files, which they map into their memory, so that they share it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._joblib = extra("joblib", "joblib", 'backend="joblib"')
        self._loky = extra("joblib.externals.loky", "joblib", 'backend="joblib"')
        self._count = config.get_threads()
        self._folder = tempfile.TemporaryDirectory(prefix="engine-")
        self._executor = self._begun()

    @property
    def slots(self) -> int:
        """How many processes there are."""
        return self._count

    def each(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Calls the function in this process, of whose machine and packages the others are."""
        return {"of joblib": function()}

    def hold(self, value: Any) -> _Stored:
        """Writes a value into a file."""
        stored = _Stored(Path(tempfile.mktemp(dir=self._folder.name)))  # in a folder of this process alone
        self._joblib.dump(value, stored.path)
        return stored

    def submit(self, function: Callable[..., Any], message: bytes, held: Sequence[Any]) -> Any:
        """Has a process run a job."""
        paths = [str(stored.path) for stored in held]
        try:
            return self._executor.submit(_in_process, function, message, paths)
        except RuntimeError:  # a process has ended, and with it, in loky, all others
            self._executor = self._begun()
            return self._executor.submit(_in_process, function, message, paths)

    def ended(self, jobs: Collection[Any], seconds: float) -> list[Any]:
        """Returns the jobs that have ended."""
        return list(wait(jobs, seconds, FIRST_COMPLETED).done)

    def result(self, job: Future[Any]) -> Any:
        """Returns what a job has returned."""
        try:
            return job.result()
        except self._loky.BrokenProcessPool as error:
            raise WorkerLostError(str(error).partition("\n")[0]) from error

    def stop(self, jobs: Collection[Any]) -> None:
        """Ends the processes."""
        self._executor.shutdown(wait=True, kill_workers=True)

    def for_joblib(self) -> AbstractContextManager[Any]:
        """Returns the block of joblib's own processes of this kind, which it keeps for later blocks."""
        block: AbstractContextManager[Any] = self._joblib.parallel_config(
            "loky", n_jobs=self._count, inner_max_num_threads=1
        )
        return block

    def close(self) -> None:
        """Ends the processes, and removes the files."""
        self._executor.shutdown(wait=True, kill_workers=True)
        self._folder.cleanup()

    def _begun(self) -> Any:
        return self._loky.ProcessPoolExecutor(self._count)


class _Stored:
    """A file that is removed when nothing refers to it any more.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __del__(self) -> None:
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class _Loaded:
    """The values that this process has loaded, by the paths of their files."""

    values: dict[str, Any] = {}  # noqa: RUF012 # one for the process


def _in_process(function: Callable[..., Any], message: bytes, paths: Sequence[str]) -> Any:
    """Runs a job on one thread. Values that the previous job had as well are not loaded again."""
    import joblib

    known = _Loaded.values
    _Loaded.values = {
        path: known[path] if path in known else joblib.load(path, mmap_mode="r") for path in paths
    }
    with at_work(1):
        return function(message, *(_Loaded.values[path] for path in paths))
