"""What traced functions can't do, as errors that name the line of the user."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
from numpy.exceptions import AxisError

# The folders of this package and of NumPy, whose functions call back.
_PACKAGE = __file__.removesuffix("errors.py").removesuffix("_tracing/")
_NUMPY = np.__file__.removesuffix("__init__.py")
# The line of the user in front of a message.
_LINE = re.compile(r"\S+:\d+: ")


class NeedsValuesError(TypeError, ValueError):
    """A traced function did something that needs numbers. Keras raises one or the other of these two."""


class CannotRecordError(TypeError):
    """A traced function called a function that can't be recorded."""


def line_of_user() -> str:
    """Returns file and line of the innermost frame outside of this package and NumPy, such as "model.py:12"."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if _is_of_user(frame):
            return _place(frame, frame.f_lineno)
        frame = frame.f_back
    return "?"


def line_of_error(error: BaseException) -> str:
    """Returns file and line of the user where an error was raised, as `line_of_user` does."""
    place, step = "?", error.__traceback__
    while step is not None:
        if _is_of_user(step.tb_frame):
            place = _place(step.tb_frame, step.tb_lineno)
        step = step.tb_next
    return place


def is_raised_by_package(error: BaseException) -> bool:
    """Returns whether this package raised an error, and not a function of the user that it called."""
    frame = _innermost_frame(error)
    return frame is not None and is_file_of_package(frame.f_code.co_filename)


def _innermost_frame(error: BaseException) -> Any:
    """Returns the frame that raised an error; None if it was not raised in Python."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return None if step is None else step.tb_frame


def name_line(error: Exception) -> None:
    """Puts the line of the user in front of the message of an error that this package raised, unless it is there."""
    if is_raised_by_package(error):
        _put_in_front(error, line_of_user())


def name_line_of_function(error: Exception) -> None:
    """Says where in a compiled function an error was raised, as it ran in Python.

    The line is in front of the message if a function of NumPy or of this package raised it, and else it is a note below that.
    """
    place = line_of_error(error)
    if _innermost_frame(error) is None or place == "?":
        return
    if not _is_of_user(_innermost_frame(error)):
        _put_in_front(error, place)
    elif hasattr(error, "add_note"):  # from Python 3.11 on
        error.add_note(f"{place}: this line of a function that keras.function compiles raised it")


def _put_in_front(error: Exception, place: str) -> None:
    if isinstance(error, AxisError):  # which makes its message when it is asked for it
        if not _begins_with_line(str(error)):
            before: Any = error
            before._msg = place if before._msg is None else f"{place}: {before._msg}"
        return
    text = error.args[0] if error.args else None
    if isinstance(text, str) and not _begins_with_line(text):
        error.args = (f"{place}: {text}", *error.args[1:])


def text_with_line(error: Exception) -> str:
    """Returns the message of an error that a function of the user raised, with the line in front."""
    text = str(error)
    return text if _begins_with_line(text) else f"{line_of_error(error)}: {text}"


def without_line(error: Exception) -> str:
    """Returns the message of an error without the line of the user in front."""
    text = str(error)
    found = _LINE.match(text)
    return text if found is None else text[found.end() :]


def _begins_with_line(text: str) -> bool:
    return _LINE.match(text) is not None


def is_file_of_package(name: str) -> bool:
    """Returns whether a file of Python is one of this package."""
    return name.startswith(_PACKAGE)


def _is_of_user(frame: Any) -> bool:
    name = frame.f_code.co_filename
    return not name.startswith((_PACKAGE, _NUMPY, "<frozen", "<__array_function__"))


def _place(frame: Any, line: int) -> str:
    file = re.split(r"[/\\]", frame.f_code.co_filename)[-1]
    return f"{file}:{line}"


_CHOOSE = "choose between values by ops.where(condition, a, b) or ops.cond(condition, f, g), and use ops.shape(x) for lengths"


def needs_values(what: str, action: str, advice: str = _CHOOSE) -> NeedsValuesError:
    """Returns the error for an action that needs the numbers of a symbol.

    Args:
        what: the symbol.
        action: such as "bool() of it".
        advice: what to do instead.
    """
    return NeedsValuesError(
        f"{line_of_user()}: {what}, stands for numbers that are there only when a batch runs, so {action} has no value "
        f"while the function is recorded: {advice}"
    )
