"""The lock of a model, held by methods that change the model or its metrics."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from engine._base.locks import reset_in_children

# A thread that waits for a callback longer than this, in seconds, gets an error: the callback may be waiting for it.
PATIENCE = 60.0


class _Waiter:  # not a named tuple: two waiters must not be equal
    def __init__(self, thread: threading.Thread, borrows: bool) -> None:
        self.thread, self.borrows = thread, borrows


class _Loan(NamedTuple):
    lender: threading.Thread
    began: float
    before: frozenset[threading.Thread]  # the threads that were running when it began


class ModelLock:
    """A reentrant lock that can be lent. Predictions don't hold it.

    Threads get it in the order in which they ask. A thread that holds it lends it while methods of callbacks run: threads
    that are started meanwhile may borrow it to evaluate the model, since the callback may wait for them. All others wait
    until the holder releases it, so that they never see metrics that are half computed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: threading.Thread | None = None
        self._depth = 0
        self._waiting: list[_Waiter] = []
        self._loans: list[_Loan] = []
        reset_in_children(self)

    def __enter__(self) -> None:
        self._acquire(borrows=False)

    def __exit__(self, *_: object) -> None:
        self._release()

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Holds the lock within the block, also while another thread has lent it."""
        self._acquire(borrows=True)
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within the block, lets other threads borrow the lock if this thread holds it; then waits until they have finished."""
        me = threading.current_thread()
        if self._owner is not me:
            yield
            return
        depth = self._depth
        with self._changed:
            self._loans.append(_Loan(me, time.monotonic(), frozenset(threading.enumerate())))
            self._give(None, 0)
        try:
            yield
        finally:
            with self._changed:
                self._take_back(me, depth)

    def _acquire(self, borrows: bool) -> None:
        """Acquires the lock; a thread that holds it may acquire it again.

        Raises:
            RuntimeError: if a callback runs so long that it may be waiting for this thread, which may not borrow.
        """
        me = threading.current_thread()
        with self._changed:
            if self._owner is not me:
                self._wait(_Waiter(me, borrows), PATIENCE)
            self._give(me, self._depth + 1)

    def _take_back(self, lender: threading.Thread, depth: int) -> None:
        """Waits for the threads that have borrowed the lock. KeyboardInterrupt is raised after that."""
        try:
            self._wait(_Waiter(lender, borrows=False), math.inf)
        except BaseException:
            self._take_back(lender, depth)
            raise
        self._loans.pop()
        self._give(lender, depth)

    def _wait(self, waiter: _Waiter, patience: float) -> None:
        """Waits until the lock is free and no thread that may have it asked earlier; `patience` is in seconds."""
        if self._owner is None and not self._waiting and self._may(waiter):
            return
        self._waiting.append(waiter)
        try:
            while self._owner is not None or not self._is_next(waiter):
                self._changed.wait(PATIENCE / 60 if self._loans else None)
                if self._owner is not None or self._may(waiter):
                    continue
                if time.monotonic() - self._loans[-1].began > patience:
                    msg = (
                        f"a callback has been running for {PATIENCE:.0f} s while its model is in use, and may wait for "
                        "this thread: let threads that callbacks start evaluate or predict, but not change the model"
                    )
                    raise RuntimeError(msg)
        finally:
            self._waiting.remove(waiter)
            self._changed.notify_all()

    def _may(self, waiter: _Waiter) -> bool:
        if not self._loans:
            return True
        loan = self._loans[-1]
        return loan.lender is waiter.thread or (waiter.borrows and waiter.thread not in loan.before)

    def _is_next(self, waiter: _Waiter) -> bool:
        return next(filter(self._may, self._waiting), None) is waiter

    def _release(self) -> None:
        with self._changed:
            self._give(self._owner if self._depth > 1 else None, self._depth - 1)

    def _reset_in_child(self) -> None:
        me = threading.current_thread()
        self._changed = threading.Condition()
        if self._owner is not me:
            self._owner, self._depth = None, 0
        self._waiting = []
        self._loans = [loan for loan in self._loans if loan.lender is me]

    def _give(self, owner: threading.Thread | None, depth: int) -> None:
        self._owner, self._depth = owner, depth
        if owner is None:
            self._changed.notify_all()
