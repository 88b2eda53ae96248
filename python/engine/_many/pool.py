"""Tasks on several Python threads, which share the threads of the core."""

from __future__ import annotations

import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

from engine import config
from engine._core_interface import cpp

_Result = TypeVar("_Result")

# The part of the machine's memory that tasks may fill together.
_SHARE_OF_MEMORY = 0.5
# Tasks for each Python thread that are handed out: while it runs one, the next waits for it, so that it need not wait itself.
_TASKS_PER_THREAD = 2
# After how many seconds an interrupt is noticed.
_SECONDS_TO_NOTICE = 0.1


class Task(ABC, Generic[_Result]):
    """What a pool runs on one of its threads."""

    @property
    @abstractmethod
    def size(self) -> int:
        """About how many bytes of memory it fills; 0 if that is unknown until it runs."""

    @abstractmethod
    def run(self, pool: Pool[_Result]) -> _Result:
        """Does the work and returns its result. It raises nothing."""

    @abstractmethod
    def stop(self) -> None:
        """Called in another thread than `run`, which should return soon."""


class Pool(Generic[_Result]):
    """Runs tasks on Python threads, while the core computes for several of them at once.

    As long as there are more tasks than threads, each task has one thread of the core. The last tasks share them all.

    Args:
        tasks: what is run.
        memory_limit: bytes that the tasks at work may fill together; a task that fills more works alone. None is half of the
            machine's memory.
    """

    def __init__(self, tasks: Sequence[Task[_Result]], memory_limit: int | None = None) -> None:
        self._tasks = tasks
        self._threads = config.get_threads()
        self._limit = _machine_memory() * _SHARE_OF_MEMORY if memory_limit is None else memory_limit
        self._has_own_limit = memory_limit is not None
        self._left = len(tasks)
        self._largest = 0
        self.stopping = False
        """Whether the tasks should end, since the user has interrupted them."""

    def run(self, ended: Callable[[_Result], None]) -> None:
        """Runs all tasks, and returns when they have ended.

        Args:
            ended: called in this thread with what each task has returned, in the order in which they end.

        Raises:
            KeyboardInterrupt: if the user has interrupted the tasks, after those that had begun have ended.
        """
        device, waiting, running = cpp.get_device(), deque(range(self._left)), dict[Future[_Result], int]()
        threads = min(self._threads, self._left)
        with ThreadPoolExecutor(threads) as executor, noting_interrupts() as interrupts:
            try:
                while waiting or running:
                    if interrupts:
                        raise KeyboardInterrupt
                    while (
                        waiting
                        and len(running) < threads * _TASKS_PER_THREAD
                        and self._fits(waiting[0], running)
                    ):
                        number = waiting.popleft()
                        running[executor.submit(self._run, self._tasks[number], device)] = number
                    for future in wait(running, _SECONDS_TO_NOTICE, FIRST_COMPLETED).done:
                        self._left -= 1
                        del running[future]
                        ended(future.result())
                if interrupts:
                    raise KeyboardInterrupt
            except BaseException:
                self.stopping = True
                for number in running.values():
                    self._tasks[number].stop()
                executor.shutdown(cancel_futures=True)
                for future in running:
                    if not future.cancelled():
                        ended(future.result())
                raise

    def take_share(self) -> None:
        """Sets the number of threads on which this Python thread's next calls of the core compute."""
        cpp.set_threads_here(max(1, self._threads // max(1, min(self._left, self._threads))))

    def _fits(self, number: int, running: dict[Future[_Result], int]) -> bool:
        """Whether a task has room beside those at work.

        One of unknown size is taken for as large as the largest known. Within a limit that the user has set, nothing runs
        beside the first one before its size is known.
        """
        sizes = [self._tasks[other].size for other in running.values()]
        self._largest = max([self._largest, self._tasks[number].size, *sizes])
        if self._has_own_limit and not self._largest:
            return not running
        each = [size or self._largest for size in (*sizes, self._tasks[number].size)]
        return not running or sum(each) <= self._limit

    def _run(self, task: Task[_Result], device: str) -> _Result:
        self.take_share()
        try:
            with cpp.on_device(device):
                return task.run(self)
        finally:
            cpp.set_threads_here(0)


@contextmanager
def noting_interrupts() -> Iterator[list[int]]:
    """Within the block, the first Ctrl-C adds to a list, so that it interrupts nothing in the middle; a second one raises."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            signal.default_int_handler(number, frame)
        noted.append(number)

    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield noted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _machine_memory() -> int:
    """Returns the bytes of this machine's memory; 16 GiB where the system doesn't tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 34
