"""Functions of `engine.ops` that are recorded where they are called with symbols, and computed where they are not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, MutableMapping
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from engine._base.tensor_like import Tensor, open_recorder
from engine._core_interface.cpp import recordable
from engine._tracing.dispatch import can_record, computes_arrays, implementation
from engine._tracing.symbolic import apply, contains_symbolic, current

# Classes of which no object is a symbol, or is recorded where no tape is open. Almost all arguments are of the first ones.
_PLAIN = (
    np.ndarray,
    int,
    float,
    type(None),
    str,
    bool,
    Tensor,
    np.float32,
    np.int32,
    np.float64,
    np.int64,
    np.bool_,
    type,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def traceable(function: _Function, always: bool = False, prefix: str = "") -> _Function:
    """Returns a function of `engine.ops` that is recorded if it is called with a symbol.

    Args:
        function: the function of arrays.
        always: whether it is recorded in every traced function, also without a symbol, as random numbers are, unless its argument
            `seed` is an int, with which it returns the same numbers at each call.
        prefix: of its name in the table, such as "activations.".
    """
    name = prefix + function.__name__
    computes_arrays(name, function)

    def recorded_or_computed(*args: Any, **kwargs: Any) -> Any:
        if contains_symbolic(args) or (kwargs and contains_symbolic(kwargs)):
            return apply(name, args, kwargs)
        if always and not (_is_traced() and _has_fixed_seed(function, args, kwargs)):
            if current.get() is not None:
                return implementation(name)(*args, **kwargs)
            found = open_recorder.get()
            if found is not None and not found.trace.computes and can_record(name):
                return found.apply(name, args, kwargs)
        return function(*args, **kwargs)

    # Functions that are always recorded have no plain arguments.
    plain = () if always else _PLAIN
    return recordable(function, recorded_or_computed, open_recorder, plain)  # type: ignore[return-value] # it has the same signature


def _is_traced() -> bool:
    return current.get() is not None or open_recorder.get() is not None


def _has_fixed_seed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the argument `seed` of a call is an int."""
    try:
        seed = inspect.signature(function).bind_partial(*args, **kwargs).arguments.get("seed")
    except TypeError:  # the call itself says what is wrong
        return False
    return hasattr(seed, "__index__")


def make_traceable(
    module: MutableMapping[str, Any], names: Iterable[str], always: bool = False, prefix: str = ""
) -> None:
    """Makes functions of a module traceable.

    Args:
        module: its `globals()`.
        names: of the functions. Those of other objects are left as they are.
        always: see `traceable`.
        prefix: see `traceable`.
    """
    for name in names:
        if isinstance(module[name], FunctionType):
            module[name] = traceable(module[name], always, prefix)


def make_all_traceable(module: MutableMapping[str, Any]) -> None:
    """Makes all public functions that a module defines traceable, and lists them in its `__all__`.

    Args:
        module: its `globals()`.
    """
    own = [name for name, value in module.items() if getattr(value, "__module__", "") == module["__name__"]]
    module["__all__"] = sorted(
        name for name in own if name[0] != "_" and isinstance(module[name], FunctionType)
    )
    make_traceable(module, module["__all__"])
