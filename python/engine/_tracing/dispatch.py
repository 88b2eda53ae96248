"""The one place where a function of `engine.ops` that is called with a symbol finds what it records."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from importlib import import_module
from types import FunctionType
from typing import Any, TypeVar

from engine._core_interface.cpp import ContextValue
from engine._tracing.symbolic import (
    CannotRecordError,
    Symbolic,
    contains_symbolic,
    current,
    handlers,
    line_of_user,
    mapped,
    open_recorder,
    symbolics_in,
)

# By the name of a function of `engine.ops`: what records it, what answers its question, and what computes it for arrays.
_table: dict[str, Callable[..., Any]] = {}
_immediate: dict[str, Callable[..., Any]] = {}
_of_arrays: dict[str, Callable[..., Any]] = {}
# The modules that fill the tables. They are imported when the first symbol is used.
_MODULES = (
    "elementwise",
    "reductions",
    "arrangement",
    "sorting",
    "products",
    "networks",
    "random",
    "custom_gradients",
    "counting",
    "linear_algebra",
    "fourier",
    "branches",
)
# `branches` must be the last one: it alone fills `_immediate`, by which `_fill` knows that all are imported.

_Function = TypeVar("_Function", bound=Callable[..., Any])


def records(*names: str) -> Callable[[_Function], _Function]:
    """A decorator: the function says what `engine.ops` records under these names, with the same parameters."""

    def register(function: _Function) -> _Function:
        _table.update(dict.fromkeys(names, function))
        return function

    return register


def answers(*names: str) -> Callable[[_Function], _Function]:
    """A decorator: the function answers a question about shapes or dtypes, so that nothing is recorded."""

    def register(function: _Function) -> _Function:
        _immediate.update(dict.fromkeys(names, function))
        return function

    return register


def implementation(name: str) -> Callable[..., Any]:
    """Returns what records the function `name` of `engine.ops`.

    Raises:
        TypeError: if it can't be recorded.
    """
    _fill()
    if name not in _table:
        msg = (
            f"{line_of_user()}: `{name}` can't be recorded in a traced function: compute it before, and pass the result as an "
            "input, or write the function as a layer with a `gradient`, which NumPy computes"
        )
        raise CannotRecordError(msg)
    return _table[name]


def implementation_of(name: str) -> Callable[..., Any]:
    """Returns what records the function `name`, without importing modules: for those that fill the table themselves."""
    return _table[name]


def function_of_arrays(name: str) -> Callable[..., Any]:
    """Returns the function `name` of `engine.ops` or `engine.random`, which computes at once."""
    return _of_arrays[name]


def can_record(name: str) -> bool:
    """Returns whether there is a function of that name that can be recorded."""
    _fill()
    return name in _table


def operation_names() -> list[str]:
    """Returns the names of all functions that can be recorded."""
    _fill()
    return list(_table)


def _fill() -> None:
    if not _immediate:
        for module in _MODULES:
            import_module(f"engine._tracing.{module}")


_values: ContextVar[Mapping[int, Any] | None] = ContextVar("values", default=None)


def values_by_symbol(values: Mapping[int, Any]) -> AbstractContextManager[Any]:
    """Lets operations within the block read values in place of symbols.

    Args:
        values: the value of each symbol, by the `id` of the symbol.
    """
    return ContextValue(_values, values)


def apply(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records a call of the function `name` of `engine.ops` with symbols among its arguments."""
    _fill()
    values = _values.get()
    if values:
        args, kwargs = mapped(lambda value: values.get(id(value), value), (args, kwargs))
        if not contains_symbolic((args, kwargs)):
            return function_of_arrays(name)(*args, **kwargs)
    if name in _immediate:
        return _immediate[name](*args, **kwargs)
    for value in symbolics_in([*args, *kwargs.values()]):
        if isinstance(value, Symbolic):
            return value._as_tensor._record(name, args, kwargs)
    if current.get() is None and open_recorder.get() is not None:
        return handlers["weights"](name, args, kwargs)
    if current.get() is None:
        msg = f"a length that depends on the batch can be used only in the function that it comes from, not in `{name}`"
        raise CannotRecordError(msg)
    return implementation(name)(*args, **kwargs)


def class_name(name: str) -> str:
    """Returns the name of Keras' class of an operation, such as "ExpandDims" of `expand_dims`."""
    name = name.rpartition(".")[2]
    return _CLASSES.get(name) or "".join(part[:1].upper() + part[1:] for part in re.split("_", name))


_CLASSES = {
    "abs": "Absolute",
    "batch_normalization": "BatchNorm",
    "layer_normalization": "LayerNorm",
    "rms_normalization": "RMSNorm",
    "psnr": "PSNR",
    "swish": "Silu",
    "hard_swish": "HardSilu",
}


def traceable(function: _Function, always: bool = False, prefix: str = "") -> _Function:
    """Returns a function of `engine.ops` that is recorded if it is called with a symbol.

    Args:
        function: the function of arrays.
        always: whether it is recorded in every traced function, also without a symbol, as random numbers are, unless its argument
            `seed` is an int, with which it returns the same numbers at each call.
        prefix: of its name in the table, such as "activations.".
    """
    name = prefix + function.__name__
    _of_arrays[name] = function

    @functools.wraps(function)
    def recorded_or_computed(*args: Any, **kwargs: Any) -> Any:
        if contains_symbolic(args) or (kwargs and contains_symbolic(kwargs)):
            return apply(name, args, kwargs)
        if always and not (_is_traced() and _has_fixed_seed(function, args, kwargs)):
            if current.get() is not None:
                return implementation(name)(*args, **kwargs)
            recorder = open_recorder.get()
            if recorder is not None and recorder.captures and can_record(name):
                return handlers["weights"](name, args, kwargs)
        return function(*args, **kwargs)

    return recorded_or_computed  # type: ignore[return-value] # it has the same signature


def _is_traced() -> bool:
    return current.get() is not None or open_recorder.get() is not None


def _has_fixed_seed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether the argument `seed` of a call is an int."""
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
    functions = [
        name for name, value in module.items() if getattr(value, "__module__", "") == module["__name__"]
    ]
    module["__all__"] = sorted(
        name for name in functions if name[0] != "_" and isinstance(module[name], FunctionType)
    )
    make_traceable(module, module["__all__"])


handlers["apply"], handlers["implementation"] = apply, implementation
