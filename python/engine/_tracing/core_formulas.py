"""Activations and losses of the core in recorded code: their formulas stand in `csrc/formulas` alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine._core_interface.cpp import activation_code, loss_code
from engine._core_interface.operations import ActivationFields
from engine._tracing.code import Term
from engine._tracing.dispatch import function_of_arrays, records
from engine._tracing.primitives import elementwise, float_dtype
from engine._tracing.symbolic import apply, contains_symbolic
from engine._tracing.trace import TracedArray


def _steps(code: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Returns instructions as the operation, the three registers that it reads, -1 for none, and a number."""
    operands = iter(code["operands"])
    return list(zip(code["operations"], operands, operands, operands, code["numbers"], strict=True))


def core_formula(fields: ActivationFields) -> Callable[[Term], Term]:
    """Returns the formula of an elementwise activation of the core, for `elementwise`.

    Args:
        fields: the fields of an operation that name the activation.
    """
    instructions = _steps(activation_code(fields))

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


# Functions of `engine.ops` that have another name than the core's instruction.
_NAMES = {"negate": "negative", "select": "where"}
_REDUCTIONS = ("sum", "mean", "max")
# By this name traces know how to record a loss, which is no function of `engine.ops`.
_LOSS = "core.loss"


def recorded_loss(formula: Mapping[str, Any], targets: Any, predictions: Any, axis: Any) -> Any:
    """Records a formula of the core (`csrc/formulas/losses.h`), and returns the losses as a symbol.

    Args:
        formula: the loss, as the core reads it.
        targets: one number for each prediction, or one for all.
        predictions: numbers. Both or one of them are symbols.
        axis: axis of the outputs, or several, or None for all. Without axes, (), each output is a row.
    """
    args = predictions, targets, axis, tuple(formula.items())
    if isinstance(targets, TracedArray) or isinstance(predictions, TracedArray):
        return apply(_LOSS, args, {})
    return _loss(*args)


@records(_LOSS)
def _loss(predictions: Any, targets: Any, axis: Any, items: Sequence[tuple[str, Any]]) -> Any:
    """Records a loss for `recorded_loss`. The last argument has the items of its formula."""
    formula = dict(items)
    columns = predictions.shape[axis] if formula["label_smoothing"] else 1
    steps = _steps(loss_code(formula, columns if isinstance(columns, int) else 0))
    # By register: the values, and whether there is one for each output of a row.
    values: dict[int, tuple[Any, bool]] = {0: (predictions, True), 1: (targets, True)}
    inputs = len(values)

    def value(register: int) -> tuple[Any, bool]:
        if register not in values:
            operation, *reads, number = steps[register - inputs]
            read = [value(operand) for operand in reads if operand >= 0]
            values[register] = (number, False) if operation == "constant" else applied(operation, read)
        return values[register]

    def applied(operation: str, read: list[tuple[Any, bool]]) -> tuple[Any, bool]:
        if operation in _REDUCTIONS:
            return _call(operation, read[0][0], axis=axis), False
        by_output = any(wide for _, wide in read)
        arrays = [
            array if wide == by_output or isinstance(array, float) else _call("expand_dims", array, axis)
            for array, wide in read
        ]
        return _call(_NAMES.get(operation, operation), *arrays), by_output

    return value(inputs + len(steps) - 1)[0]


def _call(name: str, *args: Any, **options: Any) -> Any:
    """Calls a function of `engine.ops`."""
    return (
        apply(name, args, options) if contains_symbolic(args) else function_of_arrays(name)(*args, **options)
    )
