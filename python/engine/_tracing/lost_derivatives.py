"""Derivatives that would be lost: arrays that a gradient tape watches whose numbers are read by what the tape can't record.

What is computed of such numbers is a constant for the tape. So a function without a rule for derivatives is refused where a tape
may ask for one, and a tape that finds no derivative says which line took the numbers.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine._tracing.errors import CannotRecordError, is_file_of_package, line_of_user, without_line
from engine._tracing.trace import Computed, Node, OfWeight, Origin, Trace, Use

# How the names of dtypes begin whose numbers have no derivatives.
_WITHOUT_DERIVATIVE = ("bool", "int", "uint")
# Functions of `engine.ops` and `engine.random` whose results are floats, but the same for all numbers around their arguments.
_FLAT = frozenset({"binomial"})
# Functions of NumPy that write into an array, and return nothing.
_WRITERS = frozenset({"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"})


class TakenNumbers(NamedTuple):
    """Numbers of a recorded array that the user has taken out of the recording."""

    origin: Origin
    action: str
    """Such as "float()"."""
    line: str
    """File and line of the user."""


def reachable(trace: Trace, end: Origin) -> tuple[set[Origin], set[Any]]:
    """Returns the origins that a value depends on in a differentiable way, and the layers whose weights it depends on."""
    dtypes: Any = getattr(trace, "dtypes", None)
    reached, layers = {end}, set[Any]()
    entries = {end.entry} if isinstance(end, Computed) else set[int]()
    for index in range(max(entries, default=-1), -1, -1):  # what an entry reads stands before it
        if index not in entries:
            continue
        entry = trace.entries[index]
        if isinstance(entry, Use):
            layers.update(entry.part._layers_of_weights)
        elif _stops(entry) or (dtypes is not None and dtypes[index].startswith(_WITHOUT_DERIVATIVE)):
            continue
        for origin, _ in entry.inputs:
            reached.add(origin)
            if type(origin) is Computed:
                entries.add(origin.entry)
    return reached, layers


def _stops(entry: Node) -> bool:
    """Returns whether no derivative goes through a node."""
    return entry.kind == "stop_gradient" or entry.fields.get("reduction") in ("argmax", "argmin")


def depends_on(trace: Any, end: Origin, is_source: Callable[[Any, Origin], bool]) -> bool:
    """Returns whether a value of a trace depends, in a differentiable way, on an origin for which `is_source` is true.

    The origins are those of the trace, and of earlier ones whose arrays it has as inputs.
    """
    reached, layers = reachable(trace, end)
    weights = (OfWeight(layer, number) for layer in layers for number in range(len(layer._specs)))
    if any(is_source(trace, origin) for origin in reached) or any(
        is_source(trace, origin) for origin in weights
    ):
        return True
    return any(
        depends_on(value.trace, value.origin, is_source)
        for value, argument in trace.earlier_arrays()
        if argument.origin in reached
    )


def has_derivative(array: Any) -> bool:
    """Returns whether a tape that is recording may be asked for a derivative through a recorded array."""
    tapes = array.trace.unfinished_tapes()
    return (
        bool(tapes)
        and np.dtype(array.dtype).kind == "f"
        and any(depends_on(array.trace, array.origin, tape._may_differentiate_by) for tape in tapes)
    )


def has_floats(function: str, result: Any) -> bool:
    """Returns whether the result of a function of arrays holds floats, or what it has written may do so."""
    if function in _FLAT:
        return False
    if result is None:
        return function in _WRITERS
    if isinstance(result, (list, tuple)):
        return any(has_floats(function, each) for each in result)
    if isinstance(result, dict):
        return any(has_floats(function, each) for each in result.values())
    dtype = getattr(result, "dtype", None)
    return isinstance(result, (float, complex)) if dtype is None else getattr(dtype, "kind", "") in "fc"


def no_rule(name: str, reason: Exception | None = None) -> CannotRecordError:
    """Returns the error for a function through which a derivative would be lost.

    Args:
        name: of the function, as users write it.
        reason: why it was refused, if it is not for lack of a rule alone.
    """
    why = "" if reason is None else f" ({without_line(reason)})"
    return CannotRecordError(
        f"{line_of_user()}: `{name}` has no rule for derivatives, which a gradient tape would need{why}: compute it of numbers, "
        f"such as {name}(x.numpy()), if no derivative goes through it, or write it as a layer with a `gradient`"
    )


def note_taken(array: Any, action: str) -> None:
    """Notes that the user takes the numbers of a recorded array while a tape is recording.

    Args:
        array: the array.
        action: what takes them, such as "numpy()".
    """
    if np.dtype(array.dtype).kind == "f":
        array.trace.taken.append(TakenNumbers(array.origin, action, line_of_user()))


def note_number(array: Any, action: str) -> None:
    """Notes that Python makes a number of a recorded array, and warns in a function whose gradient is computed.

    `float(x)` may be meant for a log, but `math.exp(x)` and `out[0] = x` call it as well.

    Args:
        array: the array.
        action: what makes it, such as "float()".
    """
    if _is_asked_by_package() or np.dtype(array.dtype).kind != "f":
        return
    note_taken(array, action)
    if _is_of_function(array):
        msg = (
            f"{action} took the number out of an array through which a gradient is computed, as functions of `math` and assignments "
            "such as `out[0] = x` do, too: what is computed of that number is constant for the derivative. Use keras.ops or NumPy's "
            "functions on the array itself, or x.item() if no derivative goes through it"
        )
        warnings.warn(msg, stacklevel=3)


def require_not_read_by_numpy(array: Any) -> None:
    """Notes that NumPy reads the numbers of a recorded array, and refuses it in a function whose gradient is computed.

    Raises:
        CannotRecordError: if the gradient is by something that the array depends on.
    """
    if _is_asked_by_package() or np.dtype(array.dtype).kind != "f":
        return
    note_taken(array, "np.asarray()")
    if _is_of_function(array):
        msg = (
            f"{line_of_user()}: NumPy would take the numbers of an array through which a gradient is computed, as np.asarray(x) and "
            "`out[:2] = x` do, and the derivative would be lost: use functions of keras.ops or NumPy on x itself, such as "
            "np.stack([...]) in place of assignments, or x.numpy() if no derivative goes through it"
        )
        raise CannotRecordError(msg)


def _is_asked_by_package() -> bool:
    """Returns whether a module of this package called the method of an array that calls a function of this module."""
    return is_file_of_package(sys._getframe(3).f_code.co_filename)


def _is_of_function(array: Any) -> bool:
    """Returns whether an array depends on what a function is differentiated by that runs now."""
    tapes = [tape for tape in array.trace.unfinished_tapes() if tape._of_function and tape._is_open]
    return any(depends_on(array.trace, array.origin, tape._may_differentiate_by) for tape in tapes)
