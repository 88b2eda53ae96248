"""Lists, tuples and dicts of a user's, which may hold each other, or themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def values_within(value: Any) -> Iterator[Any]:
    """Yields `value`, or what it holds if it is a list, tuple or dict, at any depth and in order.

    A list or dict that holds itself is searched once at each place.
    """
    if not isinstance(value, (list, tuple, dict)):
        return iter([value])
    found = list[Any]()
    _add_values(value, frozenset(), found)
    return iter(found)


def _add_values(container: Any, around: frozenset[int], found: list[Any]) -> None:
    if id(container) in around:
        return
    inner = around | {id(container)}
    for each in list(
        container.values() if isinstance(container, dict) else container
    ):  # another thread may add some
        if isinstance(each, (list, tuple, dict)):
            _add_values(each, inner, found)
        else:
            found.append(each)
