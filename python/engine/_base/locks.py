"""Locks that are free in a forked child, even if another thread held them in the parent.

After fork() only the thread that called it exists in the child, so a lock of another thread would stay locked for ever.
Models, layers and the random state use these locks instead of those of `threading`.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class _Resettable(Protocol):
    def _reset_in_child(self) -> None:
        """Unlocks what threads held or waited for that do not exist in the child."""


_resettable: WeakSet[_Resettable] = WeakSet()


def _reset_all() -> None:
    for each in _resettable:
        each._reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)


def reset_in_children(lock: _Resettable) -> None:
    """Registers `lock` to be reset in every child that this process forks. A weak reference keeps it."""
    _resettable.add(lock)


class Lock:
    """A reentrant lock for `with` statements."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._depth = 0
        reset_in_children(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
        self._lock.release()

    def _reset_in_child(self) -> None:
        if self._owner != threading.get_ident():
            self._lock, self._owner, self._depth = threading.RLock(), None, 0
