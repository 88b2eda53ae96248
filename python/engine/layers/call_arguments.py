"""The arguments of a layer's `call`: which ones it takes, and how arrays among them are passed on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import numpy as np

from engine._base.checks import flag
from engine._core_interface.cpp import ContextValue
from engine._data.exact_integers import in_dtype
from engine._tracing.symbolic import Symbolic, contains, current
from engine.layers.symbols import CallArguments

_training_around: ContextVar[bool | None] = ContextVar("_training_around", default=None)
"""The argument `training` of the call whose Python code is running."""


def within_call(training: bool | None) -> AbstractContextManager[Any]:
    """Within the block, which runs the code of a `call`, calls that give no `training` have this one, as in Keras."""
    return ContextValue(_training_around, training)


def training_of(value: Any) -> bool | None:
    """Returns the argument `training` of a call: what it is given, or else that of the call around it; None if there is none.

    In a function that is recorded it is None: then what uses the recording decides.
    """
    if value is not None:
        return flag(value, "training")
    return None if current.get() is not None else _training_around.get()


def training_argument(call: Callable[..., Any], training: bool | None) -> dict[str, bool]:
    """Returns the argument `training` for `call`, by name; nothing where the default that `call` has for it holds, as in Keras."""
    parameter = inspect.signature(call).parameters.get("training")
    if parameter is None or (training is None and parameter.default is not parameter.empty):
        return {}
    return {"training": bool(training)}


def call_arguments(
    name: str,
    call: Callable[..., Any],
    args: Sequence[Any],
    options: Mapping[str, Any],
    kind: str = "layer",
) -> CallArguments:
    """Returns the arguments of `layer(inputs, *args, **options)` without the inputs, by name.

    Arrays among them are converted as Keras does (see `canonical`).

    Args:
        name: of the layer, for messages.
        call: the method `call` of the layer.
        args: the arguments by position.
        options: the arguments by name.
        kind: "layer" or "model", for messages.

    Raises:
        TypeError: for an argument that `call` doesn't take.
    """
    parameters = list(inspect.signature(call).parameters.values())
    free = {option: value for option, value in options.items() if option in ("training", "mask")}
    places = [
        each for each in parameters[1:] if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    if not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        # Every layer takes `training` and `mask`, also one whose `call` has no such parameters.
        others = [option for option in ("training", "mask") if option not in {each.name for each in places}]
        free |= dict(zip(others, args[len(places) :], strict=False))
        args = args[: len(places)] if len(args) <= len(places) + len(others) else args
    rest = {option: value for option, value in options.items() if option not in free}
    try:
        bound = inspect.signature(call).bind_partial(None, *args, **rest).arguments
    except TypeError as error:
        msg = f"call() of {kind} {name!r}, which takes {inspect.signature(call)}, {error}"
        raise TypeError(msg) from None
    found = CallArguments()
    for parameter in parameters[1:]:
        if parameter.name not in bound:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= bound[parameter.name]
        elif parameter.kind is parameter.VAR_POSITIONAL:
            msg = f"layer {name!r} must be given arguments beside its inputs by name, got {bound[parameter.name]!r}"
            raise TypeError(msg)
        else:
            found[parameter.name] = bound[parameter.name]
    found |= free
    for option, value in found.items():
        found[option] = canonical(value)
    return found


def require_no_symbols(name: str, arguments: CallArguments) -> None:
    """Raises ValueError if one of the further arguments of layer `name`, whose gradient is written by hand, holds a symbol."""
    for option, value in arguments.items():
        if contains(value, Symbolic):
            msg = (
                f"`{option}` of layer {name!r} stands for what will come out of a model, {value!r}, but a layer "
                "whose gradient is written by hand has one such input: join the two by layers.Concatenate() before it, or leave out `gradient`"
            )
            raise ValueError(msg)


def canonical(value: Any) -> Any:
    """Returns an array in the dtype in which Keras passes it to layers; other values as they are.

    Integers that need 64 bits keep them.
    """
    if not isinstance(value, np.ndarray):
        return value
    dtype = canonical_dtype(value.dtype)
    return in_dtype(value, dtype) if dtype.kind in "iu" else value.astype(dtype, copy=False)


def canonical_dtype(dtype: Any) -> np.dtype[Any]:
    """Returns the dtype in which Keras passes an array of `dtype` to a layer: float32, and 32 bits for integers of 64.

    For "string" it is the dtype of strings.
    """
    given = np.dtype(np.str_ if isinstance(dtype, str) and dtype == "string" else dtype)
    if given.kind == "f":
        return np.dtype(np.float32)
    halved: np.dtype[Any] = np.dtype({"int64": "int32", "uint64": "uint32"}.get(given.name, given.name))
    return halved


def default_of(function: Any, argument: str) -> Any:
    """Returns the default of an argument of `function`; None if there is no such argument, or it has no default."""
    parameter = inspect.signature(function).parameters.get(argument)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def accepts(function: Any, argument: str) -> bool:
    """Whether `function` takes an argument of that name."""
    try:
        return argument in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtin functions have no signature
        return False
