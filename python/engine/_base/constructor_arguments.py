"""The arguments with which an object of a user's class was made, as its config holds them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any


def arguments_by_name(cls: type[Any], args: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `cls(*args, **options)` by name, those of `**kwargs` among them.

    They are empty if the constructor doesn't take these arguments: it says itself what is wrong.
    """
    arguments: dict[str, Any] = {}
    with suppress(TypeError):
        bound = inspect.signature(cls.__init__).bind(None, *args, **options)
        for name, value in [*bound.arguments.items()][1:]:
            kind = bound.signature.parameters[name].kind
            arguments |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return arguments


def accepts_any_arguments(constructor: Any) -> bool:
    """Returns whether a constructor has `*args` and `**kwargs`, and so may pass on what it doesn't know."""
    kinds = {parameter.kind for parameter in inspect.signature(constructor).parameters.values()}
    return {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds


def plain_arguments(kind: type[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of the constructor of a user's class as its config holds them.

    Args:
        kind: the class.
        arguments: the arguments by name.

    Raises:
        NotImplementedError: if some aren't plain values.
    """
    unwritable = [name for name, value in arguments.items() if not is_plain(value)]
    if unwritable:
        msg = (
            f"{kind.__name__} has arguments that a config can't hold, {', '.join(unwritable)}: give it a method "
            "get_config() that returns the arguments of its constructor as plain values, and a class method from_config()"
        )
        raise NotImplementedError(msg)
    return dict(arguments)


def is_plain(value: Any) -> bool:
    """Returns whether a config can hold a value as it is."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
