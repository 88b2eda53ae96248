"""A model as a list of the steps of a prediction, from which every export format is written.

The steps are made from the operations of the core, so that a new layer that is made of existing operations needs no code
here or in the formats. Layers that merge several inputs have a table of their own. All sizes are those of one sample,
which consists of rows of equal width.

Each step computes one *value*, and the values have the numbers of their steps. Negative numbers are the inputs of the
model: -1 is the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, filled
from engine._base.spec import free_name
from engine._core_interface.cpp import Float32, Operation, Program
from engine.layers import InputLayer, Layer
from engine.layers.layer import Part
from engine.layers.masking import mask_sources


class Step(NamedTuple):
    """One operation of a prediction.

    Args:
        kind: "dense", "take", "mean", "max", "mask", "embedding", "encoding", "affine", "leaky", "standardize", "unit",
            "identity", the name of a merging operation or an activation's name in the core; or "row_mask", whose value
            is a mask for "masked_mean": 1 for rows that have a number other than `value`, else 0.
        groups: the number of rows in a sample.
        width: numbers in a row of the (first) input.
        units: numbers in a row of the output.
        constants: the constants of the formula by name; those of an activation are under `parameters`.
        arrays: weights, and numbers for each column, by name.
        reads: the numbers of the values that it reads.
    """

    kind: str
    groups: int
    width: int
    units: int
    constants: Mapping[str, Any]
    arrays: Mapping[str, Float32]
    reads: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers its value has."""
        return self.groups * self.units


class Stage(NamedTuple):
    """A use of a layer: a unique name, the layer's name and class, the shapes of its inputs and output, and its steps.

    There is one step at least. The value of the last one is the output.
    """

    name: str
    layer: str
    kind: str
    input_shapes: list[Shape]
    shape: Shape
    steps: list[Step]


class Input(NamedTuple):
    """An input of a model: its name, dtype and shape, and one sample for checking an export."""

    name: str
    dtype: str
    shape: Shape
    sample: Float32


class Output(NamedTuple):
    """An output of a model: its name and shape, the number of its value, and what it is for the samples of the inputs."""

    name: str
    shape: Shape
    value: int
    expected: Float32


class Graph(NamedTuple):
    """A model: its name, its inputs, its layers, and its outputs."""

    name: str
    inputs: list[Input]
    stages: list[Stage]
    outputs: list[Output]

    @property
    def steps(self) -> list[Step]:
        """The steps of all layers; each reads inputs of the model and values of steps before it."""
        return [step for stage in self.stages for step in stage.steps]


# The sample for checking an export has up to 1009 different numbers in [-1, 1], in the irregular order of the multiples of
# 617 modulo 1009.
_DIFFERENT, _STEP = 1009, 617
# The length of samples in the example of a message.
_EXAMPLE = 40


class Parts(NamedTuple):
    """The parts of a model for an export.

    Args:
        starts: its input layers.
        parts: its layers, and the models among them, in the order in which they compute, once for each use.
        leaves: the layers alone, without the models around them, in the same order.
        reads: for each of `leaves` the numbers of the leaves whose outputs it reads; negative ones are inputs.
        outputs: the numbers of the leaves whose outputs are those of the model.
        tokens: for each input the number of different indices, if it is indices; else None.
        input_names: the names of the inputs.
        output_names: the names of the outputs; None for those of the layers that compute them.
    """

    starts: Sequence[InputLayer]
    parts: Sequence[Part]
    leaves: Sequence[Layer]
    reads: Sequence[Sequence[int]]
    outputs: Sequence[int]
    tokens: Sequence[int | None]
    input_names: Sequence[str]
    output_names: Sequence[str] | None


def graph_of(name: str, parts: Parts, program: Program) -> Graph:
    """Returns the graph of a model.

    Args:
        name: the name of the model.
        parts: its parts.
        program: the program of the model.

    Raises:
        ValueError: if the length of samples is not fixed, a layer is written in Python, or weights aren't finite.
    """
    for start in parts.starts:
        if None in start.sample_shape:
            msg = (
                f"model {name!r} takes samples of any length, {start.shape}, but a file is for one of them: export "
                "a model of the same layers that begins with Input() of known lengths, such as "
                f"keras.Sequential([keras.Input({filled(start.sample_shape, _EXAMPLE)}), *model.layers]), whose "
                "weights are the same"
            )
            raise ValueError(msg)
    inputs = [
        Input(given or "inputs", start.dtype, start.sample_shape, _sample(start.sample_shape, tokens))
        for given, start, tokens in zip(parts.input_names, parts.starts, parts.tokens, strict=True)
    ]
    stages, values = _stages_of(parts)
    shapes = [stage.shape for stage in stages]
    names = parts.output_names or [
        inputs[-1 - number].name if number < 0 else stages[number].name for number in parts.outputs
    ]
    expected = program.predict(np.concatenate([each.sample for each in inputs])[np.newaxis])[0]
    outputs = list[Output]()
    for number, given in zip(parts.outputs, names, strict=True):
        shape = inputs[-1 - number].shape if number < 0 else shapes[number]
        found, expected = np.split(expected, [math.prod(shape)])
        outputs.append(Output(given, shape, number if number < 0 else values[number], found))
    return Graph(name or "model", inputs, stages, outputs)


def _sample(shape: Shape, tokens: int | None) -> Float32:
    """Returns the sample of an input of this shape, as a vector."""
    numbers = np.arange(math.prod(shape)) * _STEP % min(tokens or _DIFFERENT, _DIFFERENT)
    sample = numbers.astype(np.float32)
    return sample if tokens is not None else (sample - _DIFFERENT // 2) / np.float32(_DIFFERENT // 2)


def _stages_of(parts: Parts) -> tuple[list[Stage], list[int]]:
    """Returns the stages of all layers, and the number of the value that each of them has as its output."""
    reserved = dict(zip(parts.output_names or (), parts.outputs, strict=False))
    # Layers may have empty names, which ONNX forbids.
    named = [
        name or type(leaf).__name__.lower()
        for name, leaf in zip(_names_of_leaves(parts.parts), parts.leaves, strict=True)
    ]
    masks = _Masks(parts)
    stages, values, free = list[Stage](), list[int](), _free_names(named, reserved)
    count = 0
    for number, (layer, reads) in enumerate(zip(parts.leaves, parts.reads, strict=True)):
        shapes = [parts.starts[-1 - each].sample_shape if each < 0 else stages[each].shape for each in reads]
        (shape,) = layer._output_shapes_for(shapes)
        read = tuple(each if each < 0 else values[each] for each in reads)
        steps = list[Step]()
        for step in masks.around(number, _steps_of(layer, shapes, masks.shape_before(number, stages))):
            if step.kind == "row_mask":  # the step after it reads the same
                masks.values[number] = count + len(steps)
                steps.append(step._replace(reads=read))
                continue
            mask = masks.values[masks.before[number]] if step.kind == "masked_mean" else None
            steps.append(step._replace(reads=read if mask is None else (*read, mask)))
            read = (count + len(steps) - 1,)
        if not steps:
            size = math.prod(shape)
            steps.append(Step("identity", 1, size, size, {}, {}, read))
        count += len(steps)
        values.append(count - 1)
        stages.append(Stage(next(free), named[number], type(layer).__name__, shapes, shape, steps))
    return stages, values


def _names_of_leaves(parts: Sequence[Part], root: str = "") -> Iterator[str]:
    """Yields the names of the layers in `parts`, with those of the models around them, once for each use."""
    for part in parts:
        if isinstance(part, Layer):
            yield f"{root}{part.name}"
        else:
            yield from _names_of_leaves(part._parts(), f"{root}{part.name}/")


def _free_names(names: Sequence[str], reserved: Mapping[str, int]) -> Iterator[str]:
    """Yields unique names for `names`: a name that is used before gets a number.

    Args:
        names: the wanted names.
        reserved: names that belong to one of them only, by its number in the list.
    """
    taken, found = {*names, *reserved}, set[str]()
    for number, name in enumerate(names):
        refused = name in found or reserved.get(name, number) != number
        unique = free_name(name, taken | found) if refused else name
        found.add(unique)
        yield unique


class _Masks:
    """Which masks a prediction computes, for the means that leave out masked rows.

    Attributes:
        before: for each layer the number of the layer that made the mask of its inputs; None is no mask.
        values: for each layer whose mask is computed, the number of the value of that mask.
    """

    def __init__(self, parts: Parts) -> None:
        leaves = parts.leaves
        sources, _ = mask_sources(leaves, parts.reads)
        self.before: dict[int, int] = {
            number: source for number, source in enumerate(sources) if source is not None
        }
        self.values: dict[int, int] = {}
        self._masked = {number for number in self.before if leaves[number]._consumes_mask}
        self._awaited = {self.before[number] for number in self._masked}

    def shape_before(self, number: int, stages: Sequence[Stage]) -> Shape | None:
        """Returns the shape of the mask of the inputs of a layer; None if there is no mask."""
        return stages[self.before[number]].shape[:-1] if number in self.before else None

    def around(self, number: int, steps: Iterator[Step]) -> Iterator[Step]:
        """Yields the steps of a layer with those that compute its mask, and with means that read one."""
        for step in steps:
            if number in self._awaited and step.kind in ("embedding", "mask"):
                value = step.constants.get("value", 0.0)
                yield Step("row_mask", step.groups, step.width, 1, {"value": value}, {})
            masked = number in self._masked and step.kind == "mean"
            yield step._replace(kind="masked_mean") if masked else step


def _steps_of(layer: Layer, shapes: Sequence[Shape], mask_shape: Shape | None) -> Iterator[Step]:
    """Yields the steps of a layer.

    Args:
        layer: the layer.
        shapes: of one sample of each of its inputs.
        mask_shape: of the mask of its inputs; None if there is none.

    Raises:
        ValueError: if the layer is written in Python, or weights aren't finite.
    """
    if not all(np.isfinite(array).all() for array in layer.weights):
        msg = f"layer {layer.name!r} has weights that are NaN or infinite, so that its outputs mean nothing: train it again"
        raise ValueError(msg)
    merging = next((MERGING[cls.__name__] for cls in type(layer).__mro__ if cls.__name__ in MERGING), None)
    if merging is not None and not layer._is_custom:
        (shape,) = layer._output_shapes_for(shapes)
        yield merging(layer, shapes, shape)
        return
    weights = iter(layer.weights)
    size = math.prod(shapes[0])
    with_mask = None if mask_shape is None else layer._lower_masked(shapes[0], mask_shape)
    for operation in layer._operations_for_inputs(shapes, with_mask):
        lowering = LOWERINGS.get(operation["kind"])
        if lowering is None:
            msg = (
                f"layer {layer.name!r} ({type(layer).__name__}) computes its outputs in Python, so no other program can: "
                "make it of layers of engine.layers, or export a model of the layers before or after it"
            )
            raise ValueError(msg)
        groups = operation.get("groups", 1)
        for step in lowering(operation, weights, groups, size // groups):
            yield step
            size = step.size


def _dense(operation: Operation, weights: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    arrays = {"kernel": next(weights)}
    if operation["use_bias"]:
        arrays["bias"] = next(weights)
    units = operation["units"]
    yield Step("dense", groups, width, units, {}, arrays)
    yield from _activation(operation, weights, groups, units)


def _activation(operation: Operation, _: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    name = operation.get("activation", "linear")
    if name != "linear":
        parameters = tuple(map(_rounded, operation.get("parameters", ())))
        if name == "general_relu":
            # Below this number the function is the line with the slope. With a maximum it is at least 0.
            high, threshold = parameters[1:]
            parameters += (max(threshold, 0.0) if high < math.inf else threshold,)
        yield Step(name, groups, width, width, {"parameters": parameters}, {})


def _take(operation: Operation, _: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    places = np.asarray(operation["from"], np.int64)
    yield Step("take", 1, groups * width, len(places), {"from": places}, {})


def _pool(operation: Operation, _: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    yield Step(operation["kind"], 1, groups * width, width, {"rows": groups}, {})


def _mask(operation: Operation, _: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    yield Step("mask", groups, width, width, {"value": _rounded(operation["value"])}, {})


def _rescaling(operation: Operation, _: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    yield _affine(groups, width, factor=operation["scale"], shift=operation["offset"] or None)


def _learned(operation: Operation, weights: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    if operation.get("rule") == "leaky":
        yield Step("leaky", groups, width, width, {}, {"slope": next(weights).reshape(-1)})
        return
    if "gain" in operation:
        yield _affine(groups, width, factor=operation["gain"], shift=operation["shift"])
        return
    gain = next(weights) if operation.get("use_gain", True) else None
    yield _affine(
        groups, width, factor=gain, shift=next(weights) if operation.get("use_shift", True) else None
    )


def _batch_normalization(
    operation: Operation, weights: Iterator[Float32], groups: int, width: int
) -> Iterator[Step]:
    gain = next(weights) if operation["use_gain"] else np.ones(1, np.float32)
    shift = next(weights) if operation["use_shift"] else None
    mean, variance = next(weights), next(weights)
    deviation = np.sqrt(variance.astype(float) + operation["epsilon"])
    yield _affine(groups, width, centre=mean, factor=gain / deviation, shift=shift)


def _standardize(operation: Operation, weights: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    mean, variance = (
        operation[name] if name in operation else next(weights) for name in ("mean", "variance")
    )
    deviation = np.maximum(np.sqrt(np.asarray(variance, float)), operation["epsilon"])
    if operation["spread"] == "inverse":
        yield _affine(groups, width, factor=deviation, shift=mean)
    else:
        yield _affine(groups, width, centre=mean, factor=1.0 / deviation)


def _row_normalization(operation: Operation, _: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    constants = {"epsilon": _rounded(operation["epsilon"])}
    if operation.get("unit"):
        yield Step("unit", groups, width, width, constants, {})
    else:
        yield Step("standardize", groups, width, width, constants | {"centred": operation["centred"]}, {})


def _embedding(operation: Operation, weights: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    yield Step("embedding", groups * width, 1, operation["units"], {}, {"table": next(weights)})


def _encoding(operation: Operation, _: Iterator[Float32], groups: int, width: int) -> Iterator[Step]:
    yield Step("encoding", groups, width, operation["tokens"], {"counts": operation["counts"]}, {})


def _nothing(*_: object) -> Iterator[Step]:
    """Yields no step, for operations that change nothing in a prediction."""
    return iter(())


# The function that makes the steps of each operation of the core. "custom" is missing, since it is written in Python.
LOWERINGS: dict[str, Callable[[Operation, Iterator[Float32], int, int], Iterator[Step]]] = {
    "dense": _dense,
    "activation": _activation,
    "dropout": _nothing,
    "rescaling": _rescaling,
    "take": _take,
    "mean": _pool,
    "max": _pool,
    "mask": _mask,
    "noise": _nothing,
    "learned": _learned,
    "batch_normalization": _batch_normalization,
    "standardize": _standardize,
    "row_normalization": _row_normalization,
    "embedding": _embedding,
    "encoding": _encoding,
    "warp": _nothing,
    "activity_regularization": _nothing,
}


def _elementwise(layer: Layer, shapes: Sequence[Shape], shape: Shape) -> Step:
    """Returns the step of a layer that computes each number of its output from one of each input, which it broadcasts."""
    kind = next(cls.__name__.lower() for cls in type(layer).__mro__ if cls.__name__ in MERGING)
    size = math.prod(shape)
    return Step(kind, 1, math.prod(shapes[0]), size, {"shapes": list(shapes), "shape": shape}, {})


def _concatenate(layer: Layer, shapes: Sequence[Shape], shape: Shape) -> Step:
    axis = cast("Any", layer).axis
    axis = axis + len(shape) if axis < 0 else axis - 1
    size = math.prod(shape)
    return Step("concatenate", 1, math.prod(shapes[0]), size, {"shapes": list(shapes), "axis": axis}, {})


def _dot(layer: Layer, shapes: Sequence[Shape], shape: Shape) -> Step:
    """Returns the step of a layer `Dot`: sums of products along one axis of each of its two inputs."""
    given, ranks = cast("Any", layer).axes, [len(each) for each in shapes]
    both = (given, given) if isinstance(given, int) else tuple(given)
    axes = tuple(axis + rank if axis < 0 else axis - 1 for axis, rank in zip(both, ranks, strict=True))
    constants = {"shapes": list(shapes), "axes": axes, "normalize": bool(cast("Any", layer).normalize)}
    return Step("dot", 1, math.prod(shapes[0]), math.prod(shape), constants, {})


# The function that makes the step of each layer that merges several inputs, by the name of its class.
MERGING: dict[str, Callable[[Layer, Sequence[Shape], Shape], Step]] = {
    "Add": _elementwise,
    "Subtract": _elementwise,
    "Multiply": _elementwise,
    "Average": _elementwise,
    "Maximum": _elementwise,
    "Minimum": _elementwise,
    "Concatenate": _concatenate,
    "Dot": _dot,
}


def _affine(groups: int, width: int, **numbers: Any) -> Step:
    """Returns the step `(x - centre) * factor + shift` for each column. Each of the three may be None."""
    arrays = {
        name: np.asarray(array, np.float32).reshape(-1)
        for name, array in numbers.items()
        if array is not None
    }
    return Step("affine", groups, width, width, {}, arrays)


def _rounded(number: float) -> float:
    """Returns the number rounded to float32, as the core uses it."""
    return float(np.float32(number))


def loops_of(places: NDArray[np.int64]) -> list[tuple[int, int]] | None:
    """Returns nested loops that visit `places` in order, as (count, stride) with the outermost first; None if impossible.

    A transposition gives one loop for each axis, or for several axes that stay together. A repetition has the stride 0.
    """
    loops: list[tuple[int, int]] = []
    rest = places
    while len(rest) > 1:
        steps = np.diff(rest)
        turns = np.flatnonzero(steps != steps[0])
        count = int(turns[0]) + 1 if len(turns) else len(rest)
        if steps[0] < 0 or len(rest) % count:
            return None
        rows = rest.reshape(-1, count)
        if (np.diff(rows, axis=1) != steps[0]).any():
            return None
        loops.insert(0, (count, int(steps[0])))
        rest = rows[:, 0]
    return loops if rest[0] == 0 else None
