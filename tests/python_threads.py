"""Helpers that run functions in several Python threads at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SECONDS = 0.5


def at_once(*works: Callable[[], object]) -> None:
    """Calls each of `works` again and again in its own thread for `SECONDS`, and raises the first error."""
    stop, errors = threading.Event(), list[BaseException]()

    def loop(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:  # raised again in the main thread, where pytest sees it
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=loop, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    stop.wait(SECONDS)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def side_by_side(work: Callable[[], Any], threads: int = 4) -> list[Any]:
    """Calls `work` in several threads that start at the same moment, and returns the results."""
    start = threading.Barrier(threads)

    def begin(_: int) -> Any:
        start.wait()
        return work()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def again_and_again() -> Iterator[None]:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield
