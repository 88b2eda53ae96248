"""Tracebacks without the package's own frames, which tell a user nothing about the script.

The methods of models are decorated with `without_engine_frames`. `engine.config` switches the filter on and off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., Any])

PACKAGE_FOLDER = __file__.removesuffix(f"_base{os.sep}tracebacks.py")  # pathlib takes milliseconds to import


# Python's message for a call with an unknown parameter.
_UNKNOWN_PARAMETER = re.compile(r"(.+)\(\) got an unexpected keyword argument '(\w+)'")


class _Setting:
    """Whether the package's own frames are removed from tracebacks."""

    filtered = True


def set_filtered(filtered: bool) -> None:
    """Sets whether the package's own frames are removed."""
    _Setting.filtered = filtered


def is_filtered() -> bool:
    """Returns whether the package's own frames are removed."""
    return _Setting.filtered


def without_engine_frames(function: _Function) -> _Function:
    """Decorates a function to raise its errors without the package's frames in the traceback, except the decorator's own."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not _Setting.filtered:
                raise
            _suggest_parameter(function, error)
            # Not `from error`: it is the same error, with another traceback.
            raise error.with_traceback(_without_package(error.__traceback__))  # noqa: B904

    return cast(_Function, filtered)


def _suggest_parameter(function: Callable[..., Any], error: Exception) -> None:
    """Adds the nearest parameter of a function to the error of a call with an unknown one, unless Python has done so."""
    unknown = _UNKNOWN_PARAMETER.fullmatch(str(error)) if type(error) is TypeError else None
    if unknown is None or unknown[1] != function.__qualname__:
        return
    import inspect  # as for nearly all scripts, only an error needs these

    from engine._base.checks import suggestion

    closest = suggestion(unknown[2], inspect.signature(function).parameters)
    if closest:
        error.args = (f"{error}; did you mean {closest!r}?",)


def line_of_users_code(error: BaseException) -> str | None:
    """Returns the last line of the user's code that an error passed through, such as "model.py:12".

    Returns:
        None if all code on its way belongs to this package, to Python, or to an installed package.
    """
    location, traceback = None, error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if _is_of_users(file):
            location = f"{file.rpartition(os.sep)[2]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return location


def _is_of_users(file: str) -> bool:
    """Returns whether code in a file belongs neither to this package, nor to Python, nor to an installed package."""
    of_python = file.startswith((os.__file__.removesuffix("os.py"), "<frozen"))
    installed = any(f"{os.sep}{folder}{os.sep}" in file for folder in ("site-packages", "dist-packages"))
    return not (
        of_python or installed or file.startswith(PACKAGE_FOLDER) or file.endswith((".pyx", ".pxd", ".pxi"))
    )


def _without_package(traceback: TracebackType | None) -> TracebackType | None:
    """Returns a traceback of the frames that are in files outside the package."""
    frames = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
            frames.append(traceback)
        traceback = traceback.tb_next
    shortened: TracebackType | None = None
    for entry in reversed(frames):
        shortened = TracebackType(shortened, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return shortened
