"""Jobs for workers: each is handed out when one is about to be free, and again if its worker has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from engine._cluster.workers import WorkerLostError, Workers

_Item = TypeVar("_Item")

# Jobs for each thread of the workers that are handed out: while one runs, the next is on its way.
_JOBS_PER_SLOT = 2
# How many times a job is handed out whose worker has ended before it.
ATTEMPTS = 3
# After how many seconds `answers` looks whether to go on.
_SECONDS_TO_NOTICE = 0.1


class Answer(NamedTuple):
    """What has become of a job."""

    value: Any
    error: Exception | None
    """Why there is no value: what the job has raised, or WorkerLostError if `ATTEMPTS` workers have ended at it."""


class JobQueue(Generic[_Item]):
    """Has workers do a job for each of some items.

    Args:
        workers: the workers.
        items: what there is to do.
        submit: gives the job for an item to the workers, and returns it. It is called again if a worker has ended.
        lost: called when a worker has ended, before anything is submitted again.

    Attributes:
        running: the items whose jobs were handed out and have not ended, by job.
    """

    def __init__(
        self,
        workers: Workers,
        items: Iterable[_Item],
        submit: Callable[[_Item], Any],
        lost: Callable[[], object] = lambda: None,
    ) -> None:
        self.running: dict[Any, _Item] = {}
        self._workers = workers
        self._waiting = deque((item, 1) for item in items)
        self._submit = submit
        self._lost = lost
        self._attempts: dict[Any, int] = {}

    def answers(self, check: Callable[[], object] = lambda: None) -> Iterator[tuple[_Item, Answer]]:
        """Yields each item with its answer, in the order in which they come.

        Args:
            check: called often. What it raises ends this.
        """
        while self._waiting or self.running:
            check()
            yield from self._handed_out()
            ended = self._workers.ended(self.running, _SECONDS_TO_NOTICE) if self.running else []
            for job in ended:
                item, attempt = self.running.pop(job), self._attempts.pop(job)
                try:
                    answer = Answer(self._workers.result(job), None)
                except WorkerLostError as error:
                    self._lost()
                    if attempt < ATTEMPTS:
                        self._waiting.append((item, attempt + 1))
                        continue
                    answer = Answer(None, error)
                except Exception as error:
                    answer = Answer(None, error)
                yield item, answer
        check()

    def stop(self) -> None:
        """Ends the jobs that were handed out, whose answers nobody wants any more."""
        self._workers.stop(self.running)

    def _handed_out(self) -> Iterator[tuple[_Item, Answer]]:
        """Submits as many jobs as the workers should have; yields the items for which that was not possible."""
        while self._waiting and len(self.running) < max(1, self._workers.slots) * _JOBS_PER_SLOT:
            item, attempt = self._waiting.popleft()
            try:
                job = self._submit(item)
            except Exception as error:
                yield item, Answer(None, error)
            else:
                self.running[job], self._attempts[job] = item, attempt
