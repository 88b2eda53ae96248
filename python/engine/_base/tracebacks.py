"""Tracebacks without the package's own frames, which tell a user nothing about the script."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., Any])

PACKAGE_FOLDER = __file__.removesuffix(f"_base{os.sep}tracebacks.py")  # pathlib takes milliseconds to import


class _Setting:
    """Whether frames are left out."""

    filtered = True


def set_filtered(filtered: bool) -> None:
    """Choose whether the package's own frames are left out."""
    _Setting.filtered = filtered


def is_filtered() -> bool:
    """Whether the package's own frames are left out."""
    return _Setting.filtered


def without_own_frames(function: _Function) -> _Function:
    """Decorator: leave the package's frames out of the tracebacks of errors, but for that of the decorator."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not _Setting.filtered:
                raise
            raise error.with_traceback(_outside(error.__traceback__))  # noqa: B904 # it is the same error

    return cast(_Function, filtered)


def _outside(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that lies in other files."""
    frames = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
            frames.append(traceback)
        traceback = traceback.tb_next
    kept: TracebackType | None = None
    for each in reversed(frames):
        kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept
