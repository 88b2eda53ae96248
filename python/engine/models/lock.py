"""Who may change a model, or fill its metrics, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds that a hook may take before a thread that can't go on until it ends is told so: the hook may be waiting for it.
PATIENCE = 60.0


class ModelLock:
    """Held by what changes a model or fills its metrics, not by predictions.

    Whoever holds it lends it while hooks of callbacks run: other threads may evaluate then, for which a hook may wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: int | None = None
        self._depth = 0
        self._lenders: list[int] = []
        self._lent_at = 0.0

    def __enter__(self) -> None:
        self._acquire(borrows=False)

    def __exit__(self, *_: object) -> None:
        self._release()

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Hold it, although a thread may have lent it."""
        self._acquire(borrows=True)
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let others borrow it meanwhile, if this thread holds it; then wait until they are through."""
        me = threading.get_ident()
        if self._owner != me:
            yield
            return
        depth = self._depth
        with self._changed:
            self._lenders.append(me)
            self._lent_at = time.monotonic()
            self._give(None, 0)
        try:
            yield
        finally:
            with self._changed:
                self._take_back(me, depth)

    def _acquire(self, borrows: bool) -> None:
        """Hold it, once more if this thread does already.

        Raises:
            RuntimeError: if a hook takes so long that it may be waiting for this thread, which may not borrow.
        """
        me = threading.get_ident()
        with self._changed:
            while not self._free_for(me, borrows):
                self._changed.wait(PATIENCE / 60 if self._lenders else None)
                if self._lenders and self._owner is None and time.monotonic() - self._lent_at > PATIENCE:
                    msg = (
                        f"a callback has been running for {PATIENCE:.0f} s while its model is in use, and may wait for "
                        "this thread: let threads that callbacks start evaluate or predict, but not change the model"
                    )
                    raise RuntimeError(msg)
            self._give(me, self._depth + 1)

    def _take_back(self, thread: int, depth: int) -> None:
        """Wait for those who have borrowed; Ctrl-C is heard after that."""
        try:
            self._changed.wait_for(lambda: self._owner is None and self._lenders[-1] == thread)
        except BaseException:
            self._take_back(thread, depth)
            raise
        self._lenders.pop()
        self._give(thread, depth)

    def _free_for(self, thread: int, borrows: bool) -> bool:
        if self._owner is not None:
            return self._owner == thread
        return borrows or not self._lenders or self._lenders[-1] == thread

    def _release(self) -> None:
        with self._changed:
            self._give(self._owner if self._depth > 1 else None, self._depth - 1)

    def _give(self, owner: int | None, depth: int) -> None:
        self._owner, self._depth = owner, depth
        if owner is None:
            self._changed.notify_all()
