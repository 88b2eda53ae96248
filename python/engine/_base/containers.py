"""Lists, tuples and dicts of a user's, which may hold each other, or themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def values_within(value: Any) -> Iterator[Any]:
    """Yields `value`, or what it holds if it is a list, tuple or dict, at any depth and in order.

    A list or dict that holds itself is searched once at each place.
    """
    return _values_within(value, frozenset())


def _values_within(value: Any, around: frozenset[int]) -> Iterator[Any]:
    if not isinstance(value, (list, tuple, dict)):
        yield value
    elif id(value) not in around:
        inner = around | {id(value)}
        for item in list(value.values() if isinstance(value, dict) else value):  # another thread may add some
            yield from _values_within(item, inner)
