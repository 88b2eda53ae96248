"""Routed parameters: `optimizer__learning_rate=0.1` is the argument `learning_rate` of the optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

SEPARATOR = "__"
"""It stands between the name of what gets a parameter and the name of the parameter."""


def routed(params: Mapping[str, Any], destination: str, plain: Collection[str] = ()) -> dict[str, Any]:
    """Returns the parameters for one destination.

    Args:
        params: all parameters, for example `{"epochs": 5, "fit__batch_size": 8, "verbose": 0}`.
        destination: the prefix of parameters to take, as "fit". Their names lose it.
        plain: the names without a prefix to take too. A parameter with the prefix comes before one without.

    Returns:
        For this example and `plain={"epochs"}`, `{"epochs": 5, "batch_size": 8}`.
    """
    prefix = destination + SEPARATOR
    arguments = {name: value for name, value in params.items() if name in plain}
    arguments.update(
        {name[len(prefix) :]: value for name, value in params.items() if name.startswith(prefix)}
    )
    return arguments


def instantiated(
    items: Any,
    params: Mapping[str, Any],
    class_of: Callable[[str], Any],
    shared: Mapping[str, Any] | None = None,
) -> Any:
    """Makes objects from classes and names with the parameters that are routed to them.

    Args:
        items: a class, a name, any other object, or a list, tuple or dict of these. Other objects, and names without
            parameters, stay what they are.
        params: arguments of the constructor. Within a list, a prefix as in `0__threshold` addresses one item, within a
            dict its key; a parameter without such a prefix is for all classes in it. A name that is a number, as in
            `0=...`, stands for a positional argument. If a parameter is a class itself, parameters with its name as
            prefix are for its constructor.
        class_of: returns the class of a name, or the name itself if it stands for no class.
        shared: parameters for all classes of the list or dict around `items`.

    Raises:
        TypeError: if a parameter is routed to an object that is not a class.
    """
    plain = {name: value for name, value in params.items() if SEPARATOR not in name}
    if isinstance(items, list | tuple | dict):
        parts = items.items() if isinstance(items, dict) else enumerate(items)
        common = {**(shared or {}), **plain}
        instances = {
            key: instantiated(item, routed(params, str(key)), class_of, common) for key, item in parts
        }
        return instances if isinstance(items, dict) else type(items)(instances.values())
    arguments = {**(shared or {}), **plain}
    if isinstance(items, str) and (arguments or params):
        items = class_of(items)
    if not isinstance(items, type):
        if params or (arguments and items is not None and not isinstance(items, str)):
            msg = (
                f"the parameters {', '.join(map(repr, arguments or params))} are for a class or its name, got {items!r}: pass "
                "the class instead of an object, or set them in the object"
            )
            raise TypeError(msg)
        return items
    for name, value in arguments.items():
        if isinstance(value, type) or (isinstance(value, list | tuple | dict) and routed(params, name)):
            arguments[name] = instantiated(value, routed(params, name), class_of)
    positions = sorted((name for name in arguments if name.isdigit()), key=int)
    return items(
        *(arguments[name] for name in positions),
        **{name: value for name, value in arguments.items() if not name.isdigit()},
    )


def accepted_by(function: Callable[..., Any], name: str) -> bool:
    """Returns whether a function has an argument `name`, or takes arguments of any name."""
    parameters = inspect.signature(function).parameters.values()
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (
            parameter.name == name
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        )
        for parameter in parameters
    )
