"""Activations of the core in recorded code: their formulas stand in `csrc/formulas/activations.h` alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from engine._core_interface.cpp import activation_code
from engine._core_interface.operations import ActivationFields
from engine._tracing.code import Term
from engine._tracing.primitives import elementwise, float_dtype
from engine._tracing.trace import TracedArray


def core_formula(fields: ActivationFields) -> Callable[[Term], Term]:
    """Returns the formula of an elementwise activation of the core, for `elementwise`.

    Args:
        fields: the fields of an operation that name the activation.
    """
    code = activation_code(fields)
    operands = iter(code["operands"])
    instructions = list(zip(code["operations"], operands, operands, operands, code["numbers"], strict=True))

    def formula(x: Term) -> Term:
        terms = [x]
        for operation, *read, number in instructions:
            registers = [terms[index].register for index in read if index >= 0]
            terms.append(Term(x.code, x.code.add(operation, *registers, number=number)))
        return terms[-1]

    return formula


def recorded_activation(
    function: Callable[..., Any], fields: Callable[..., ActivationFields]
) -> Callable[..., TracedArray]:
    """Returns what records an elementwise activation of the core.

    Args:
        function: the activation of arrays, whose arguments the result has.
        fields: what makes the core's fields from the arguments after `x`.
    """
    signature = inspect.signature(function)

    def recorded(*args: Any, **kwargs: Any) -> TracedArray:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        x, *constants = bound.arguments.values()
        return elementwise(core_formula(fields(*constants)), x, dtype=float_dtype(x))

    return recorded
