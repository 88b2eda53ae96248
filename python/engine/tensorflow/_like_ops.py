"""Functions of TensorFlow that compute what one of `engine.ops` computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import ops
from engine.tensorflow._tensor import alike, tensors


def like_ops(table: str, module: str) -> dict[str, Callable[..., Any]]:
    """Returns functions of TensorFlow by their names.

    Args:
        table: a line for each function: its name in TensorFlow, that in `engine.ops`, and the names of its arguments in
            TensorFlow. They are those of the other function in the same order.
        module: the module of the functions.
    """
    made = {}
    for line in table.strip().splitlines():
        name, of_ops, *parameters = line.split()
        made[name] = _renamed(name, of_ops, tuple(parameters), module)
    return made


def _renamed(name: str, of_ops: str, parameters: tuple[str, ...], module: str) -> Callable[..., Any]:
    function = ops
    for part in of_ops.split("."):
        function = getattr(function, part)
    compute: Any = function

    def called(*args: Any, **options: Any) -> Any:
        options.pop("name", None)
        if len(args) > len(parameters):
            args = args[: len(parameters)]  # the last of TensorFlow's arguments is a name
        for parameter in parameters[len(args) :]:
            if parameter not in options:
                break
            args += (options.pop(parameter),)
        if options:
            unknown = ", ".join(options)
            msg = f"{name}() has no argument {unknown}; there are {', '.join(parameters)}"
            raise TypeError(msg)
        return tensors(compute(*(alike(args) if parameters == ("x", "y") else args)))

    called.__name__ = called.__qualname__ = name
    called.__module__ = module
    called.__doc__ = f"The same as `engine.ops.{of_ops}`, with the arguments ({', '.join(parameters)})."
    return called
