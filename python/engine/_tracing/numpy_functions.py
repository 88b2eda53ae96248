"""Recording of NumPy's functions that are called with symbols, as the functions of `engine.ops` with other names.

A call of a function is its name, its arguments by position, and those by name.
"""

from __future__ import annotations

from typing import Any

from engine._tracing.dispatch import can_record
from engine._tracing.errors import CannotRecordError, line_of_user

# Names of NumPy, and those of `engine.ops`, where they differ.
_UFUNCS = {
    "float_power": "power",
    "remainder": "mod",
    "positive": "copy",
    "invert": "bitwise_not",
    "degrees": "rad2deg",
    "radians": "deg2rad",
    "rint": "round",
}
_REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}
_FUNCTIONS = {
    "amax": "max",
    "amin": "min",
    "around": "round",
    "cumulative_sum": "cumsum",
    "permute_dims": "transpose",
    "concat": "concatenate",
    "fix": "trunc",
}
# Functions of NumPy's modules that have the names of other functions of `engine.ops`.
_OTHERS_IN_OPS = {"numpy.linalg": {"cond", "diagonal", "lstsq", "trace"}}
# What `engine.ops` calls arguments, by the names of NumPy; and the exceptions of single functions.
_ARGUMENTS = {
    "a": "x", "arr": "x", "ary": "x", "m": "x", "array": "x", "A": "x", "condition": "condition", "a_min": "x_min",
    "a_max": "x_max", "arrays": "xs", "newshape": "newshape", "shape": "newshape", "reps": "repeats",
}  # fmt: skip
_OWN_NAMES = {
    "broadcast_to": {"shape": "shape"},
    "full_like": {},
    "diff": {"a": "a"},
    "stack": {"arrays": "x"},
    "clip": {"min": "x_min", "max": "x_max"},
}


# The arguments of NumPy that functions of `engine.ops` lack, for which there is another function in `numpy_signatures`.
_BEYOND_OPS = {
    "sum": {"dtype"}, "prod": {"dtype"}, "mean": {"dtype"}, "var": {"dtype", "ddof", "correction"},
    "std": {"dtype", "ddof", "correction"}, "count_nonzero": {"keepdims"}, "sort": {"kind", "stable"},
    "argsort": {"kind", "stable"}, "cumulative_sum": {"include_initial"}, "diff": {"prepend", "append"}, "reshape": {"order", "copy"},
}  # fmt: skip


Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def calls_of_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> list[Call]:
    """Returns what a universal function of NumPy records: one call for each of its results.

    Raises:
        CannotRecordError: if it can't be recorded.
    """
    name = ufunc.__name__
    if method == "reduce" and name in _REDUCTIONS:
        axis, keepdims = options.get("axis", 0), options.get("keepdims", False)
        return [(_REDUCTIONS[name], (inputs[0], axis, keepdims), {})]
    out = options.get("out", ())
    if (
        len(out) == 1 and out[0] is inputs[0]
    ):  # `x += y`: x becomes the recorded sum, as with tensors of Keras
        options = {key: value for key, value in options.items() if key != "out"}
    if name == "divmod" and method == "__call__" and not options:
        return [("floor_divide", inputs, {}), ("mod", inputs, {})]
    if name == "float_power":
        inputs = (inputs[0] * 1.0, *inputs[1:])
    operation = _UFUNCS.get(name, name)
    if can_record(f"numpy.{name}") and method == "__call__" and not set(options) - {"axis"}:
        return [(f"numpy.{name}", inputs, options)]
    if method != "__call__" or options or not can_record(operation):
        called = name if method == "__call__" else f"{name}.{method}"
        with_options = f" with {', '.join(options)}" if options else ""
        msg = f"{line_of_user()}: NumPy's `{called}`{with_options} can't be recorded in a traced function: use keras.ops"
        raise CannotRecordError(msg)
    return [(operation, inputs, {})]


def call_of_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Returns what another function of NumPy records.

    Raises:
        CannotRecordError: if it can't be recorded.
    """
    name, module = function.__name__, getattr(function, "__module__", None) or "numpy"
    operation = _FUNCTIONS.get(name, name)
    arguments = {
        key: value
        for key, value in kwargs.items()
        if not (key in ("out", "where", "dtype") and value is None)
    }
    arguments = {key: value for key, value in arguments.items() if not _is_no_value(value)}
    beyond, is_another = (
        _BEYOND_OPS.get(name),
        name in _OTHERS_IN_OPS.get(module, ()) or module == "numpy.fft",
    )
    for own in (f"{module}.{name}",) if is_another else (f"{module}.{name}", f"numpy.{name}"):
        if can_record(own) and "out" not in arguments and (beyond is None or beyond & arguments.keys()):
            return own, args, arguments
    if not can_record(operation) or is_another or "out" in arguments:
        msg = f"{line_of_user()}: NumPy's `{name}` can't be recorded in a traced function: use keras.ops, or compute it before"
        raise CannotRecordError(msg)
    names = {**_ARGUMENTS, **_OWN_NAMES.get(operation, {})}
    renamed = {names.get(key, key): value for key, value in arguments.items()}
    if operation == "clip":
        by_position = (*args, None, None)[:3] if not renamed else args
        return (
            operation,
            by_position,
            {"x_min": None, "x_max": None, **renamed} if len(args) == 1 else renamed,
        )
    return operation, args, renamed


def _is_no_value(value: Any) -> bool:
    return type(value).__name__ == "_NoValueType"
