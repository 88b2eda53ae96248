"""Steps on arrays: what functions that users write compute in a prediction.

Unlike the steps of layers, each reads its inputs under shapes of its own, with all axes. Lengths may depend on the number of
samples: a header in C has one sample, and an ONNX file takes any number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._base.checks import Shape
from engine._tracing.extents import Extent, Extents
from engine.export.step import Step


class Instruction(NamedTuple):
    """An instruction of a map: `operation` of the registers `operands`.

    The first registers hold an element of each input, and each instruction fills the next one. `number` is that of a
    "constant", or the axis of a "coordinate".
    """

    operation: str
    operands: tuple[int, ...]
    number: float


# The kinds of nodes whose value is that of an input, by the number of the input.
PASSING = {"reshape": 0, "stop_gradient": 0, "choose": 1}


# The fields of nodes that no step has as they are.
_NOT_OF_STEPS = {"kind", "inputs", "input_shapes", "shape", "back", "groups", "begin"}


def array_step(operation: Mapping[str, Any], reads: Sequence[int] = (), line: str = "") -> Step:
    """Returns the step of a node of a recording.

    Args:
        operation: the node, as the core reads it.
        reads: the numbers of the values that it reads.
        line: where the user's code called it, for messages.
    """
    views, shape = tuple(map(_extents, operation["input_shapes"])), _extents(operation["shape"])
    kind = operation["kind"]
    constants: dict[str, Any] = {"views": views, "shape": shape, "line": line}
    arrays: dict[str, Any] = {}
    if kind in PASSING:
        passed = PASSING[kind]
        constants["views"], reads = (views[passed],), tuple(reads)[passed : passed + 1]
        kind = "reshape"
    elif kind == "map":
        constants["code"] = used(_instructions(operation), len(views))
    elif kind == "constants":
        numbers = np.asarray(operation["numbers"], np.float32)
        arrays["constants"] = numbers.reshape([extent.fixed for extent in shape])
    else:
        constants |= {name: field for name, field in operation.items() if name not in _NOT_OF_STEPS}
        if "begin" in operation:
            constants["begin"] = _extents(operation["begin"])
    width = math.prod(for_one_sample(views[0])) if views else 0
    return Step(kind, 1, width, math.prod(for_one_sample(shape)), constants, arrays, tuple(reads))


def weight_step(name: str, owner: str, array: Any) -> Step:
    """Returns the step whose value is a weight.

    Args:
        name: the name of the weight.
        owner: the name of its layer.
        array: the weight.
    """
    shape = tuple(map(Extent, array.shape))
    constants = {"views": (), "shape": shape, "line": "", "owner": owner}
    return Step("constants", 1, 0, array.size, constants, {name: np.asarray(array, np.float32)})


def is_array_step(step: Step) -> bool:
    """Returns whether a step reads arrays under shapes of its own."""
    return "views" in step.constants


def for_one_sample(extents: Extents) -> Shape:
    """Returns the lengths of axes for one sample."""
    return tuple(max(extent.fixed + extent.per_sample, 0) for extent in extents)


def is_empty(extents: Extents) -> bool:
    """Returns whether an array has no elements, whatever the number of samples."""
    return any(extent == Extent(0) for extent in extents)


def broadcast(*shapes: Extents) -> Extents:
    """Returns the shape of arrays that fit together when they are broadcast."""
    axes = max(map(len, shapes), default=0)
    extents = [Extent(1)] * axes
    for shape in shapes:
        for index, extent in enumerate(shape, axes - len(shape)):
            extents[index] = extent if extents[index] == Extent(1) else extents[index]
    return tuple(extents)


def computed_shape(step: Step) -> Extents:
    """Returns the shape that a map has before it is broadcast to that of its output."""
    shape = step.constants["shape"]
    alone = [
        tuple(extent if index == int(number) else Extent(1) for index, extent in enumerate(shape))
        for operation, _, number in step.constants["code"]
        if operation == "coordinate"
    ]
    return broadcast(*step.constants["views"], *alone)


def _of_no_elements(step: Step) -> float:
    """Returns what a reduction gives for no elements."""
    extremes = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}
    return extremes.get(step.constants["reduction"], 0.0)


# What the kinds of steps compute that read an array without elements.
OF_NOTHING: dict[str, Callable[[Step], float]] = {
    "reduce": _of_no_elements,
    "contraction": lambda _: 0.0,
    "gather": lambda _: math.nan,
    "scatter": lambda step: step.constants["initial"],
}

_RANDOM = "export a model that ends before them, such as that of the mean, or draw them only `if training`"


def not_computable(step: Step, layer: str, program: str) -> ValueError:
    """Returns the error for a step that a format can't compute.

    Args:
        step: the step.
        layer: the name of its layer.
        program: what the format is.
    """
    feature, instead = (
        ("random numbers", _RANDOM)
        if step.kind == "random"
        else ("a derivative", "export a model of the layers without it")
        if step.kind.startswith("gradient")
        else (f"the operation {step.kind!r}", "export a model of the layers before or after it")
    )
    return ValueError(
        f"{step.constants['line'] or 'a function'}: layer {layer!r} has {feature}, which {program} can't compute: {instead}"
    )


def used(code: Sequence[Instruction], inputs: int) -> tuple[Instruction, ...]:
    """Returns the instructions that the last one depends on.

    Args:
        code: the instructions of a map.
        inputs: the number of its inputs.
    """
    needed = {inputs + len(code) - 1}
    for index in range(len(code) - 1, -1, -1):
        if inputs + index in needed:
            needed.update(code[index].operands)
    registers = {register: register for register in range(inputs)}
    instructions = list[Instruction]()
    for index, instruction in enumerate(code):
        if inputs + index in needed:
            registers[inputs + index] = inputs + len(instructions)
            instructions.append(
                instruction._replace(operands=tuple(registers[operand] for operand in instruction.operands))
            )
    return tuple(instructions)


def _extents(pairs: Sequence[Sequence[int]]) -> Extents:
    return tuple(Extent(*pair) for pair in pairs)


def _instructions(operation: Mapping[str, Any]) -> tuple[Instruction, ...]:
    operands, numbers = operation["operands"], operation["numbers"]
    instructions = list[Instruction]()
    for index, name in enumerate(operation["operations"]):
        used_operands = tuple(operand for operand in operands[3 * index : 3 * index + 3] if operand >= 0)
        if name == "erf":  # whose second operand, exp(-x * x), other programs compute themselves
            used_operands = used_operands[:1]
        instructions.append(Instruction(name, used_operands, float(numbers[index])))
    return tuple(instructions)
