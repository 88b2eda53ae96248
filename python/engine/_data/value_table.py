"""Tables of values that float32 can't hold: strings, and integers that it would round.

The core computes with float32 alone. So a model gives it the index of each such value in a table of this process, and the
layer that reads the values gets them back from the indices. The tables forget all values when no model uses them any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast

from engine._base.locks import Lock, Order

_Method = TypeVar("_Method", bound=Callable[..., Any])


class ValueTable:
    """Values, and the index of each different one."""

    _lock: ClassVar[Any] = Lock("the tables of values", Order.VALUES)
    _users: ClassVar[int] = 0
    _tables: ClassVar[list[ValueTable]] = []

    def __init__(self) -> None:
        self._indices: dict[Any, int] = {}
        self._values: list[Any] = []
        self._tables.append(self)

    def indices_of(self, values: Sequence[Any]) -> list[int]:
        """Returns the index of each value."""
        with self._lock.held():
            for value in dict.fromkeys(values):
                if value not in self._indices:
                    self._indices[value] = len(self._values)
                    self._values.append(value)
            return [*map(self._indices.__getitem__, values)]

    def value_at(self, index: int, otherwise: Any) -> Any:
        """Returns the value with an index; `otherwise` for the index of none."""
        values = self._values
        return values[index] if 0 <= index < len(values) else otherwise

    @classmethod
    @contextmanager
    def in_use(cls) -> Iterator[None]:
        """Keeps the values of all tables until the block ends, and those of other threads."""
        with cls._lock.held():
            cls._users += 1
        try:
            yield
        finally:
            with cls._lock.held():
                cls._users -= 1
                if not cls._users:
                    for table in cls._tables:
                        table._indices, table._values = {}, []


def keeping_values(method: _Method) -> _Method:
    """Decorates a method of a model, so that the values that it puts into tables stay there until it returns."""

    @wraps(method)
    def kept(self: Any, *args: Any, **options: Any) -> Any:
        if not self._built_graph.reads_values:
            return method(self, *args, **options)
        with ValueTable.in_use():
            return method(self, *args, **options)

    return cast("_Method", kept)
