"""Functions that compute without NumPy's warnings of infinite or NaN results: like Keras, operations give none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any, TypeVar

import numpy as np

from engine._core_interface.cpp import computed_within

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _error_state() -> tuple[Any, Any]:
    """Returns the context variable in which NumPy keeps what it does about floating-point errors, and its value for nothing.

    Without such a variable both are None.
    """
    before = copy_context()
    within = before.copy()
    within.run(np.seterr, all="ignore")
    changed = [variable for variable in within if within[variable] is not before.get(variable)]
    return (changed[0], within[changed[0]]) if changed else (None, None)


_SETTING, _VALUE = _error_state()


def quiet(
    function: _Function,
    direct: Any = None,
    dtypes: Iterable[np.dtype[Any]] = (),
    arity: int = 0,
    conditions: int = 0,
) -> _Function:
    """Returns a function that does the same without NumPy's warnings of infinite or NaN results.

    `np.errstate` would take longer than NumPy does for a small array.

    Args:
        function: the function of arrays.
        direct: a function of NumPy that does the same for arrays of one dtype, and for numbers beside float32 and int32.
        dtypes: those for which it does.
        arity: how many arguments it gets; default those that have no default.
        conditions: how many of the first arguments may have other dtypes than the rest.
    """
    if _SETTING is None:
        return np.errstate(all="ignore")(function)
    if direct and not arity:
        parameters = inspect.signature(function).parameters.values()
        arity = sum(parameter.default is parameter.empty for parameter in parameters)
    return computed_within(function, _SETTING, _VALUE, direct, arity, conditions, tuple(dtypes))  # type: ignore[return-value] # it has the same signature
