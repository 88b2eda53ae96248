"""Classes and functions of one's own: by which names configs know them, and what they override."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_registered: dict[str, Any] = {}  # by "package>name"
_scope: ContextVar[Mapping[str, Any]] = ContextVar("scope", default={})  # noqa: B039 # nobody writes to it


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """Decorator: let configs name a class or function from now on.

    Args:
        package: goes before the name, as in `package>name`.
        name: default that of the class or function.

    Raises:
        TypeError: for something that is neither a class nor a function.
        ValueError: for a class without `get_config`.
    """

    def register(arg: Any) -> Any:
        if not callable(arg):
            msg = f"only a class or a function can be registered, got {arg!r}"
            raise TypeError(msg)
        if isinstance(arg, type) and not hasattr(arg, "get_config"):
            msg = f"{arg.__name__} can't be registered: it has no `get_config`, which tells how to make it again"
            raise ValueError(msg)
        own = name if name is not None else arg.__name__
        _registered[f"{package}>{own}"] = arg
        return arg

    return register


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Let configs name `custom_objects` within a `with` block.

    Args:
        custom_objects: classes and functions by name.
    """
    token = _scope.set({**_scope.get(), **(custom_objects or {})})
    try:
        yield
    finally:
        _scope.reset(token)


def get_custom_objects() -> dict[str, Any]:
    """The registered classes and functions by `package>name`; may be written to."""
    return _registered


def get_registered_name(obj: Any) -> str | None:
    """`package>name` of the registered class or function `obj`, else its own name."""
    for name, registered in _registered.copy().items():  # others may register more meanwhile
        if registered is obj:
            return name
    return getattr(obj, "__name__", None)


def overrides(cls: type, method: str) -> bool:
    """Whether `cls` has a `method` of its own where a base class tells the core, by `_lower`, how to do the same."""
    places = [
        next(place for place, owner in enumerate(cls.__mro__) if name in vars(owner))
        for name in (method, "_lower")
    ]
    return places[0] < places[1]


def registered_by(config: Mapping[str, Any], name: str) -> Any:
    """The class or function of one's own that a config means by its `registered_name`, or by `name`; else None."""
    own = get_registered_object(str(config.get("registered_name") or name))
    return get_registered_object(name) if own is None else own


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """The class or function of that name, with or without its package; None if there is none.

    Args:
        name: `package>name`, or the name alone.
        custom_objects: looked through first.
        module_objects: looked through last.
    """
    for objects in (custom_objects or {}, _scope.get(), _registered):
        if name in objects:
            return objects[name]
    found = (found for full, found in _registered.copy().items() if full.split(">")[-1] == name)
    return next(found, (module_objects or {}).get(name))
