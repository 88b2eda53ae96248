"""What traced functions can't do, as errors that name the line of the user."""

from __future__ import annotations

import re
import sys
from typing import Any

_PACKAGE = __file__.removesuffix("errors.py").removesuffix("_tracing/")


class NeedsValuesError(TypeError, ValueError):
    """A traced function did something that needs numbers. Keras raises one or the other of these two."""


class CannotRecordError(TypeError):
    """A traced function called a function that can't be recorded."""


def line_of_user() -> str:
    """Returns file and line of the innermost frame outside of this package, such as "model.py:12"."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE) and not name.startswith("<frozen"):
            file = re.split(r"[/\\]", name)[-1]
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


def needs_values(what: str, action: str) -> NeedsValuesError:
    """Returns the error for an action that needs the numbers of a symbol.

    Args:
        what: the symbol.
        action: such as "bool() of it".
    """
    return NeedsValuesError(
        f"{line_of_user()}: {what}, stands for numbers that are there only when a batch runs, so {action} has no value "
        "while the function is recorded: choose between values by ops.where(condition, a, b) or "
        "ops.cond(condition, f, g), and use ops.shape(x) for lengths"
    )
