"""What NumPy's functions record when they are called with symbols: the functions of `engine.ops` with other names."""

from __future__ import annotations

from typing import Any

from engine._tracing.dispatch import apply, can_record
from engine._tracing.symbolic import CannotRecordError, handlers, line_of_user

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
    "atleast_1d": "",
    "cumulative_sum": "cumsum",
    "permute_dims": "transpose",
    "concat": "concatenate",
}
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
}


def recorded_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Records a universal function of NumPy."""
    name = ufunc.__name__
    if method == "reduce" and name in _REDUCTIONS:
        axis, keepdims = options.get("axis", 0), options.get("keepdims", False)
        return apply(_REDUCTIONS[name], (inputs[0], axis, keepdims), {})
    out = options.get("out", ())
    if (
        len(out) == 1 and out[0] is inputs[0]
    ):  # `x += y`: x becomes the recorded sum, as with tensors of Keras
        options = {key: value for key, value in options.items() if key != "out"}
    if name == "divmod" and method == "__call__" and not options:
        return apply("floor_divide", inputs, {}), apply("mod", inputs, {})
    if name == "float_power":
        inputs = (inputs[0] * 1.0, *inputs[1:])
    operation = _UFUNCS.get(name, name)
    if method != "__call__" or options or not can_record(operation):
        called = name if method == "__call__" else f"{name}.{method}"
        with_options = f" with {', '.join(options)}" if options else ""
        msg = f"{line_of_user()}: NumPy's `{called}`{with_options} can't be recorded in a traced function: use keras.ops"
        raise CannotRecordError(msg)
    return apply(operation, inputs, {})


def recorded_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records another function of NumPy."""
    name = function.__name__
    operation = _FUNCTIONS.get(name, name)
    module = getattr(function, "__module__", "")
    if name == "norm" and "linalg" in module:
        operation = "norm"
    arguments = {
        key: value
        for key, value in kwargs.items()
        if not (key in ("out", "where", "dtype") and value is None)
    }
    arguments = {key: value for key, value in arguments.items() if not _is_no_value(value)}
    if name == "shape":
        return tuple(args[0].shape)
    if name == "ndim":
        return len(args[0].shape)
    if not can_record(operation) or "out" in arguments:
        msg = f"{line_of_user()}: NumPy's `{name}` can't be recorded in a traced function: use keras.ops, or compute it before"
        raise CannotRecordError(msg)
    names = {**_ARGUMENTS, **_OWN_NAMES.get(operation, {})}
    renamed = {names.get(key, key): value for key, value in arguments.items()}
    if operation in ("var", "std") and not renamed.get("ddof", 0):
        renamed.pop("ddof", None)
    if operation == "clip":
        return apply(
            "clip",
            (*args, None, None)[:3] if not renamed else args,
            {"x_min": None, "x_max": None, **renamed} if len(args) == 1 else renamed,
        )
    return apply(operation, args, renamed)


def _is_no_value(value: Any) -> bool:
    return type(value).__name__ == "_NoValueType"


handlers["ufunc"], handlers["function"] = recorded_ufunc, recorded_function
