"""Locks of threads, and the order in which a thread acquires them.

`with lock.held():` holds a lock within the block. The core implements them (`csrc/bindings/locks.cpp`), for what the locks
of `threading` lack:

- An exception at any moment, such as that of Ctrl-C, releases a lock with the block that holds it. Keep the result of `held()`
  in no variable: a traceback would keep that, and the lock with it.
- After fork() only the thread that called it exists in the child. Locks that other threads held are free there.
- Threads get a lock in the order in which they ask for it.
- Threads that would wait for each other for ever get an error, and so does a thread that acquires locks in the wrong order.
"""

from __future__ import annotations

import os
import threading
from enum import IntEnum

from engine._core_interface.cpp import Lock, held_together

__all__ = ["IMPORTING", "JOINING", "Lock", "Order", "held_together"]


class Order(IntEnum):
    """The order of locks: who holds a lock may acquire those that come later in this list, and no others.

    Code of users, such as `call`, `build`, initializers, losses and callbacks, runs under locks of objects alone, since it
    may wait for other threads.
    """

    OBJECT = 0
    """A model, while its methods change it, or a layer, while it is built. An object's lock comes before those of its parts."""
    JOINING = 1
    """Which models a layer or model is a part of."""
    FUNCTIONS = 2
    """Tables of compiled functions and programs."""
    VALUES = 3
    """The tables of values that models know by their indices, such as strings."""
    RANDOM = 4
    """The numbers of calls that draw."""


JOINING = Lock("the models that share layers", Order.JOINING)
"""Held while layers and models become parts of models, or leave them."""

# Held during imports on first use, and during fork(), so that no fork happens in the middle of an import: the lock that
# CPython keeps for a module that is being imported by another thread would stay locked in the child for ever.
IMPORTING = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=IMPORTING.acquire, after_in_parent=IMPORTING.release, after_in_child=IMPORTING.release
    )
