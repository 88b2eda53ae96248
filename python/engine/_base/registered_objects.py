"""Classes and functions of the user, which configs refer to by name.

A class is found by its name if it was registered with `register_keras_serializable`, or within a `custom_object_scope`.
`engine.utils` and `engine.saving` make these functions public; whatever reads a config looks names up here first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from engine._base.checks import WrongTypeError

_registered: dict[str, Any] = {}  # by "package>name"
_scope: ContextVar[Mapping[str, Any]] = ContextVar("scope", default={})  # noqa: B039 # nobody writes to it


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """Decorates a class or a function so that configs can refer to it by name.

    Args:
        package: comes before the name, as in `package>name`.
        name: the name in configs, by default that of the class or function.

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
        registered_name = name if name is not None else arg.__name__
        _registered[f"{package}>{registered_name}"] = arg
        return arg

    return register


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Lets configs refer to `custom_objects` by name within a `with` block.

    Args:
        custom_objects: classes and functions by name.
    """
    token = _scope.set({**_scope.get(), **(custom_objects or {})})
    try:
        yield
    finally:
        _scope.reset(token)


def get_custom_objects() -> dict[str, Any]:
    """Returns the registered classes and functions by `package>name`, in a dict that may be changed."""
    return _registered


def get_registered_name(obj: Any) -> str | None:
    """Returns `package>name` of the registered class or function `obj`; for others their own name."""
    for name, registered in _registered.copy().items():  # a copy, as other threads may register more
        if registered is obj:
            return name
    return getattr(obj, "__name__", None)


def is_of_engine(value: Any) -> bool:
    """Returns whether a class or function is one of this package. Code that runs in a namespace without a name has no module."""
    return str(value.__module__).startswith("engine.")


def instance_from_config(cls: Any, config: Any) -> Any:
    """Returns the object of a class, one of the library or of the user's, that a config describes.

    Raises:
        TypeError: if the class has no `from_config`.
    """
    if not hasattr(cls, "from_config"):
        msg = (
            f"{cls!r} has no `from_config`: give the class a method get_config(self) that returns the arguments of __init__, "
            "and a class method from_config(cls, config)"
        )
        raise WrongTypeError(msg)
    return cls.from_config(config)


def overrides(cls: type, method: str) -> bool:
    """Returns whether `cls` overrides `method` in a class further down than the one that defines `_lower`.

    `_lower` tells the core how to compute what the method does, so then the core would not compute what the method says.
    """
    positions = [
        next(position for position, owner in enumerate(cls.__mro__) if name in vars(owner))
        for name in (method, "_lower")
    ]
    return positions[0] < positions[1]


def registered_by(
    config: Mapping[str, Any], name: str, is_built_in: Callable[[str], bool] = lambda _: False
) -> Any:
    """Returns the user's class or function that a config refers to by its `registered_name` or by `name`; else None.

    Args:
        config: the config.
        name: the name in it.
        is_built_in: whether the library has something of a name, which one of the user's in a package doesn't replace.
    """
    full = str(config.get("registered_name") or name)
    for candidate in (full, name):
        registered = _registered_as(candidate)
        if registered is not None:
            return registered
    of_library = str(config.get("module")).partition(".")[0] in _LIBRARIES or is_built_in(name)
    return None if of_library and full == name else _in_a_package(name)


def registered_or_built_in(name: str, is_built_in: Callable[[str], bool]) -> Any:
    """Returns the user's class or function of a name; None if there is none, or if the name means one of the library.

    Args:
        name: as for `get_registered_object`.
        is_built_in: as for `registered_by`.
    """
    registered = _registered_as(name)
    return _in_a_package(name) if registered is None and not is_built_in(name) else registered


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Returns the registered class or function of a name; None if there is none.

    Args:
        name: `package>name`, or the name without the package.
        custom_objects: classes and functions by name, which are searched first.
        module_objects: classes and functions by name, which come before those that are registered in a package.
    """
    registered = (custom_objects or {}).get(name, _registered_as(name))
    if registered is None:
        registered = (module_objects or {}).get(name)
    return _in_a_package(name) if registered is None else registered


# The first part of the name of a module of the library in a config.
_LIBRARIES = frozenset(("keras", "engine"))


def _registered_as(name: str) -> Any:
    """Returns what has exactly this name in a scope or among the registered objects; else None."""
    return _scope.get().get(name, _registered.get(name))


def _in_a_package(name: str) -> Any:
    """Returns the first registered object whose name behind its package is `name`; else None."""
    every = _registered.copy().items()
    return next((registered for full, registered in every if full.split(">")[-1] == name), None)
