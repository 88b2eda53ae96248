"""A limit of the numbers that are made while a file is read, since a small file can describe a model that fills the memory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

from engine._core_interface.cpp import ContextValue

_left: ContextVar[list[int] | None] = ContextVar("_left", default=None)


def numbers_at_most(count: int) -> AbstractContextManager[Any]:
    """Lets `spend` raise within the block, in this thread, as soon as it has been asked for more than `count` numbers."""
    return ContextValue(_left, [count])


def spend(count: int, subject: str) -> None:
    """Raises ValueError within a block of `numbers_at_most` if too many numbers were asked for. Elsewhere it does nothing.

    Args:
        count: how many numbers the caller is about to make.
        subject: what they are, for the message.
    """
    left = _left.get()
    if left is None:
        return
    left[0] -= count
    if left[0] < 0:
        msg = f"{subject} would have {count} numbers, and with all before it more than a file of this size may ask for"
        raise ValueError(msg)
