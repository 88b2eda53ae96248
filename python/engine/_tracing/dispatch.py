"""The one place where a function of `engine.ops` that is called with a symbol finds what it records, by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from engine._tracing.errors import CannotRecordError, line_of_user

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
    "numpy_signatures",
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


def answer_of(name: str) -> Callable[..., Any] | None:
    """Returns what answers the function `name` if that is a question about shapes or dtypes; else None."""
    _fill()
    return _immediate.get(name)


def computes_arrays(name: str, function: Callable[..., Any]) -> None:
    """Says which function computes `name` for arrays."""
    _of_arrays[name] = function


def function_of_arrays(name: str) -> Callable[..., Any]:
    """Returns the function `name` of `engine.ops` or `engine.random`, which computes at once."""
    return _of_arrays[name]


def can_record(name: str) -> bool:
    """Returns whether there is a function of that name that can be recorded."""
    _fill()
    return name in _table


def operation_names() -> list[str]:
    """Returns the names of all functions that can be recorded, without those of NumPy or the core alone."""
    _fill()
    return [name for name in _table if not name.startswith(("numpy.", "core."))]


def _fill() -> None:
    if not _immediate:
        for module in _MODULES:
            import_module(f"engine._tracing.{module}")


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
