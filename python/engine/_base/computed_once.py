"""Attributes that are computed on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["computed_once"]

T = TypeVar("T")


class computed_once(Generic[T]):  # noqa: N801, as it is used as a decorator, like `property`
    """Decorates a method whose result becomes an attribute of the object when it is first read.

    Unlike `functools.cached_property`, which has a lock until Python 3.12, it never waits for a thread, so a child may be forked
    at any moment. If two threads compute the result at once, both get that which was stored first.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        # Reading the attribute again finds it in `__dict__`, and doesn't come here.
        result: T = instance.__dict__.setdefault(self._name, self._compute(instance))
        return result
