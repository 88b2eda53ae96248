"""The lock of a model, held by methods that change the model or its metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager

from engine._base.locks import Lock, Order, held_together

# A thread that waits for a callback longer than this, in seconds, gets an error: the callback may be waiting for it.
PATIENCE = 60.0


class ModelLock:
    """A reentrant lock that can be lent. Predictions don't hold it.

    Threads get it in the order in which they ask. A thread that holds it lends it while methods of callbacks run: threads
    that are started meanwhile may borrow it to evaluate the model, since the callback may wait for them. All others wait
    until the holder releases it, so that they never see metrics that are half computed.
    """

    def __init__(self) -> None:
        self._lock = Lock("a model", Order.OBJECT)

    def held(self) -> AbstractContextManager[None]:
        """Holds the lock within the block."""
        return self._lock.held(PATIENCE)

    def borrowed(self) -> AbstractContextManager[None]:
        """Holds the lock within the block, also while another thread has lent it."""
        return self._lock.held(PATIENCE, threading.current_thread())

    def lent(self) -> AbstractContextManager[None]:
        """Within the block, lets other threads borrow the lock if this thread holds it; then waits until they have finished."""
        return self._lock.lent(frozenset(threading.enumerate()))


def all_held(locks: Iterable[ModelLock]) -> AbstractContextManager[None]:
    """Holds the locks of several models within the block. They are acquired in the order given."""
    return held_together([each._lock for each in locks], PATIENCE)
