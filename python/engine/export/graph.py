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
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from engine._base.checks import Shape, filled
from engine._base.spec import free_name
from engine._core_interface.cpp import Float32, Operation, Program, activation_code
from engine._core_interface.operations import ActivationFields
from engine._tracing.code import constant
from engine._tracing.extents import FullShape
from engine._tracing.recordings import lowered_node
from engine.export.arrays import PASSING, array_step, for_one_sample, is_array_step, weight_step
from engine.export.c_functions import ACTIVATIONS, FUNCTIONS
from engine.export.rewrites import rewritten
from engine.export.step import Step
from engine.layers import InputLayer, Layer
from engine.layers.leaf import Leaf
from engine.layers.masking import mask_sources
from engine.layers.nodes import InnerLeaf, MaskLeaf, NodeLeaf, PenaltyLeaf, WeightsLeaf


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


class ModelInput(NamedTuple):
    """An input of a model: its name, dtype and shape, and one sample for checking an export."""

    name: str
    dtype: str
    shape: Shape
    sample: Float32


class ModelOutput(NamedTuple):
    """An output of a model: its name and shape, the number of its value, and what it is for the samples of the inputs."""

    name: str
    shape: Shape
    value: int
    expected: Float32


class Graph(NamedTuple):
    """A model: its name, its inputs, its layers, its outputs, and whether those of a sample may depend on other samples."""

    name: str
    inputs: list[ModelInput]
    stages: list[Stage]
    outputs: list[ModelOutput]
    joins_samples: bool = False

    @property
    def steps(self) -> list[Step]:
        """The steps of all layers; each reads inputs of the model and values of steps before it."""
        return [step for stage in self.stages for step in stage.steps]


# The sample for checking an export has up to 1009 different numbers in [-1, 1], in the irregular order of the multiples of
# 617 modulo 1009.
_DIFFERENT, _STEP = 1009, 617
# The length of samples in the example of a message.
_EXAMPLE = 40


class NamedLayer(Protocol):
    """A layer, with its name and the name of its class."""

    @property
    def name(self) -> str:
        """The name, with those of the models and layers around it."""

    @property
    def kind(self) -> str:
        """The name of the class."""


class Parts(NamedTuple):
    """The parts of a model for an export.

    Args:
        starts: its input layers.
        leaves: its layers in the order in which they compute, once for each use, and the nodes that functions recorded.
        owners: the layer that each of `leaves` belongs to.
        training_of_leaves: the argument `training` with which Python code calls each leaf, whatever the batch is for; None is none.
        reads: for each of `leaves` the numbers of the leaves whose outputs it reads; negative ones are inputs.
        outputs: the numbers of the leaves whose outputs are those of the model.
        tokens: for each input the number of different indices, if it is indices; else None.
        input_names: the names of the inputs.
        output_names: the names of the outputs; None for those of the layers that compute them.
    """

    starts: Sequence[InputLayer]
    leaves: Sequence[Leaf]
    owners: Sequence[NamedLayer]
    training_of_leaves: Sequence[bool | None]
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
        ValueError: if the length of samples is not fixed, Python computes a layer in every batch, or weights aren't finite.
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
    parts = _predicting(parts)
    collected = _Stages(parts)
    samples, expected = _checked_samples(parts, program)
    inputs = [
        ModelInput(input_name or "inputs", start.dtype, start.sample_shape, sample)
        for input_name, start, sample in zip(parts.input_names, parts.starts, samples, strict=True)
    ]
    names = parts.output_names or [
        inputs[-1 - number].name if number < 0 else collected.name_of(number) for number in parts.outputs
    ]
    steps, values = rewritten([stage.steps for stage in collected.stages], collected.outputs)
    stages = [
        stage._replace(steps=own_steps)
        for stage, own_steps in zip(collected.stages, steps, strict=True)
        if own_steps
    ]
    outputs = list[ModelOutput]()
    for number, output_name, value in zip(parts.outputs, names, values, strict=True):
        shape = inputs[-1 - number].shape if number < 0 else collected.shapes[number]
        numbers, expected = np.split(expected, [math.prod(shape)])
        outputs.append(ModelOutput(output_name, shape, value, numbers))
    return Graph(name or "model", inputs, stages, outputs, program.joins_samples)


def _predicting(parts: Parts) -> Parts:
    """Returns the parts of a model without the leaves that lead to no output, such as those of `add_loss`."""
    needed = {number for number in parts.outputs if number >= 0}
    for number in reversed(range(len(parts.leaves))):
        if number in needed:
            needed |= {origin for origin in parts.reads[number] if origin >= 0}
    numbers_kept = sorted(needed)
    numbers = {number: new for new, number in enumerate(numbers_kept)}

    def moved(reads: Sequence[int]) -> list[int]:
        return [numbers.get(number, number) for number in reads]

    return parts._replace(
        leaves=[parts.leaves[number] for number in numbers_kept],
        owners=[parts.owners[number] for number in numbers_kept],
        training_of_leaves=[parts.training_of_leaves[number] for number in numbers_kept],
        reads=[moved(parts.reads[number]) for number in numbers_kept],
        outputs=moved(parts.outputs),
    )


def _checked_samples(parts: Parts, program: Program) -> tuple[list[Float32], Float32]:
    """Returns a sample of each input, and all outputs for them, which are numbers if that can be had."""
    shapes = [start.sample_shape for start in parts.starts]
    tokens = list(parts.tokens)
    for leaf, reads in zip(parts.leaves, parts.reads, strict=True):
        if isinstance(leaf, NodeLeaf) and leaf.node.kind == "gather":
            origin, rows = reads[1], leaf.node.inputs[0][1][leaf.node.fields["batch_axes"]].static or 1
            while origin >= 0 and parts.leaves[origin].name in PASSING:
                origin = parts.reads[origin][0]
            if origin < 0:
                tokens[-1 - origin] = min(rows, tokens[-1 - origin] or rows)
    samples = [_sample(shape, count) for shape, count in zip(shapes, tokens, strict=True)]
    for change in (np.copy, np.abs, np.zeros_like, np.ones_like):
        changed = [np.asarray(change(sample), np.float32) for sample in samples]
        expected = program.predict(np.concatenate(changed)[np.newaxis])[0]
        if np.isfinite(expected).all():
            break
    return changed, expected


def _sample(shape: Shape, tokens: int | None) -> Float32:
    """Returns the sample of an input of this shape, as a vector."""
    numbers = np.arange(math.prod(shape)) * _STEP % min(tokens or _DIFFERENT, _DIFFERENT)
    sample = numbers.astype(np.float32)
    return sample if tokens is not None else (sample - _DIFFERENT // 2) / np.float32(_DIFFERENT // 2)


class _Stages:
    """The stages of a model, one for each layer, and their steps.

    Attributes:
        stages: the stages.
        shapes: the shape of one sample of the value of each leaf.
        outputs: the numbers of the values that are the outputs of the model.
    """

    def __init__(self, parts: Parts) -> None:
        self.stages, self.shapes = list[Stage](), list[Any]()
        self._parts, self._masks = parts, _Masks(parts)
        self._values: list[int | list[int]] = []  # of each leaf; of weights the value of each
        self._stage_of_leaf: list[int] = []
        self._count = 0
        self._read = set[int]()  # what the current stage has read
        named = [
            owner.name or type(leaf).__name__.lower()
            for owner, leaf in zip(parts.owners, parts.leaves, strict=True)
        ]
        starts = [self._begins(number) for number in range(len(named))]
        stage_of_leaf = (np.cumsum(starts, dtype=int) - 1).tolist()
        reserved = {
            name: stage_of_leaf[number]
            for name, number in zip(parts.output_names or (), parts.outputs, strict=False)
            if number >= 0
        }
        reserved |= {
            name: -1
            for name, number in zip(parts.output_names or (), parts.outputs, strict=False)
            if number < 0
        }
        firsts = [name for name, start in zip(named, starts, strict=True) if start]
        self._free = _free_names(firsts, reserved)
        self._owners = dict(zip(reversed(parts.leaves), reversed(named), strict=True))
        for number, name in enumerate(named):
            self._add(number, name, starts[number])
        self.outputs = [number if number < 0 else self._value_of(number) for number in parts.outputs]

    def name_of(self, number: int) -> str:
        """Returns the name of the stage that computes the value of a leaf."""
        return self.stages[self._stage_of_leaf[number]].name

    def _begins(self, number: int) -> bool:
        """Returns whether a leaf begins a stage: nodes that one layer has recorded are one, unless an output is among them."""
        parts = self._parts
        if number == 0 or number - 1 in parts.outputs or parts.owners[number] != parts.owners[number - 1]:
            return True
        return not all(map(_is_recorded, (parts.leaves[number - 1 : number + 1])))

    def _add(self, number: int, name: str, starts: bool) -> None:
        """Adds the steps of a leaf."""
        parts, leaf = self._parts, self._parts.leaves[number]
        read = parts.reads[number]
        input_shapes = [
            parts.starts[-1 - origin].sample_shape if origin < 0 else self.shapes[origin] for origin in read
        ]
        (shape,) = leaf._output_shapes_for(input_shapes)
        self.shapes.append(shape)
        if starts:
            self._read = set()
            self.stages.append(Stage(next(self._free), name, parts.owners[number].kind, [], shape, []))
        self._stage_of_leaf.append(len(self.stages) - 1)
        stage = self.stages[-1]
        if not read and not isinstance(leaf, NodeLeaf):
            self._values.append(self._weights_of(leaf))
            return
        outside = [
            self._short(shape_read)
            for shape_read, origin in zip(input_shapes, read, strict=True)
            if self._is_outside(origin)
        ]
        self.stages[-1] = stage._replace(input_shapes=[*stage.input_shapes, *outside], shape=shape)
        if isinstance(leaf, NodeLeaf):
            self._add_node(number, leaf)
        else:
            self._add_layer(number, leaf, input_shapes, shape)

    def _is_outside(self, origin: int) -> bool:
        """Returns whether a value that the current stage reads is new to it: no weight, and computed by another one."""
        stage = len(self.stages) - 1
        if origin in self._read or (origin >= 0 and self._stage_of_leaf[origin] == stage):
            return False
        self._read.add(origin)
        return origin < 0 or not isinstance(self._values[origin], list)

    def _short(self, shape: Any) -> Shape:
        return for_one_sample(shape) if isinstance(shape, FullShape) else shape

    def _weights_of(self, leaf: Leaf) -> list[int]:
        """Adds a step for each weight of a layer that nodes read, and returns the numbers of their values."""
        layer = leaf.layer if isinstance(leaf, WeightsLeaf) else leaf
        first = self._count
        for weight, array in zip(layer._specs, _finite_weights(layer), strict=False):
            self._append(weight_step(weight.name, self._owners.get(layer, layer.name), array))
        return list(range(first, self._count))

    def _add_node(self, number: int, leaf: NodeLeaf) -> None:
        reads = [
            self._value_of(origin, pick)
            for origin, pick in zip(self._parts.reads[number], leaf.picks, strict=True)
        ]
        if leaf.node.kind == "mask_as_array":
            source = self._masks.of_input(number, self._parts.reads)
            mask = None if source is None else self._masks.values[source]
            self._append(array_step(_as_mask(lowered_node(leaf.node), mask), () if mask is None else (mask,)))
        else:
            self._append(array_step(lowered_node(leaf.node), reads, leaf.node.line))
        self._values.append(self._count - 1)

    def _add_layer(self, number: int, leaf: Leaf, input_shapes: Sequence[Shape], shape: Shape) -> None:
        read = tuple(self._value_of(origin) for origin in self._parts.reads[number])
        mask_shape = self._masks.shape_before(number, self.shapes)
        if self._parts.training_of_leaves[number]:
            _require_no_noise(self._parts.owners[number].name, leaf, input_shapes)
        before, incoming = self._count, read[0]
        for step in self._masks.around(number, _steps_of(leaf, input_shapes, mask_shape)):
            if step.kind == "row_mask":  # the step after it reads the same
                self._masks.values[number] = self._count
                self._append(step._replace(reads=read))
                continue
            if is_array_step(step):  # of a function that is recorded; it reads steps so many places before
                values = [self._count - origin for origin in step.reads]
                self._append(
                    step._replace(reads=tuple(origin if origin >= before else incoming for origin in values))
                )
            else:
                mask = self._masks.values[self._masks.before[number]] if step.kind == "masked_mean" else None
                self._append(step._replace(reads=read if mask is None else (*read, mask)))
            read = (self._count - 1,)
        if self._count == before:
            size = math.prod(shape)
            self._append(Step("identity", 1, size, size, {}, {}, read[:1]))
        self._values.append(self._count - 1)

    def _append(self, step: Step) -> None:
        stage = self.stages[-1]
        if step.kind == "host":
            msg = (
                f"{step.constants['line'] or 'a function'}: layer {stage.layer!r} has the operation {step.constants['function']!r}, "
                "which Python computes in every batch, so no other program can: export a model of the layers before or after it"
            )
            raise ValueError(msg)
        stage.steps.append(step)
        self._count += 1

    def _value_of(self, number: int, pick: int | None = None) -> int:
        """Returns the number of the value of a leaf or an input, or of one of the weights of a leaf."""
        value = number if number < 0 else self._values[number]
        return value[pick or 0] if isinstance(value, list) else value


def _require_no_noise(name: str, leaf: Leaf, shapes: Sequence[Shape]) -> None:
    """Raises ValueError if a layer that is called with training=True draws random numbers then."""
    if any(
        operation["kind"] in ("dropout", "noise", "image_augmentation")
        for operation in leaf._operations_for(shapes)
    ):
        msg = (
            f"layer {name!r} ({type(leaf).__name__}) is called with training=True, so that predictions are random, which no "
            "file can hold: call it without `training`, or export a model of the layers before or after it"
        )
        raise ValueError(msg)


def _is_recorded(leaf: Leaf) -> bool:
    """Returns whether a leaf is a part of what a layer has recorded."""
    return isinstance(leaf, InnerLeaf) or leaf._may_be_recorded


def _as_mask(node: Mapping[str, Any], mask: int | None) -> Mapping[str, Any]:
    """Returns the node of a mask as an array: that of the rows, or all ones if there is no mask."""
    if mask is not None:
        return {**node, "kind": "reshape", "input_shapes": [node["shape"]]}
    return {**node, "kind": "map", "input_shapes": [], **constant(1.0).fields}


def _free_names(names: Sequence[str], reserved: Mapping[str, int]) -> Iterator[str]:
    """Yields unique names for `names`: a name that is used before gets a number.

    Args:
        names: the wanted names.
        reserved: names that belong to one of them only, by its number in the list.
    """
    names_taken, unique_names = {*names, *reserved}, set[str]()
    for number, name in enumerate(names):
        refused = name in unique_names or reserved.get(name, number) != number
        unique = free_name(name, names_taken | unique_names) if refused else name
        unique_names.add(unique)
        yield unique


class _Masks:
    """Which masks a prediction computes, for the means that leave out masked rows.

    Attributes:
        before: for each layer the number of the layer that made the mask of its inputs; None is no mask.
        values: for each layer whose mask is computed, the number of the value of that mask.
    """

    def __init__(self, parts: Parts) -> None:
        leaves = parts.leaves
        sources, after = mask_sources(leaves, parts.reads)
        self.before: dict[int, int] = {
            number: source for number, source in enumerate(sources) if source is not None
        }
        self.values: dict[int, int] = {}
        self._after = after
        self._masked = {number for number in self.before if leaves[number]._consumes_mask}
        self._awaited = {self.before[number] for number in self._masked}
        for number, leaf in enumerate(leaves):
            if isinstance(leaf, NodeLeaf) and leaf.node.kind == "mask_as_array":
                source = self.of_input(number, parts.reads)
                self._awaited |= set() if source is None else {source}

    def of_input(self, number: int, reads: Sequence[Sequence[int]]) -> int | None:
        """Returns the number of the layer that made the mask of what a node reads; None is no mask."""
        (read,) = reads[number]
        return None if read < 0 else self._after[read]

    def shape_before(self, number: int, shapes: Sequence[Shape]) -> Shape | None:
        """Returns the shape of the mask of the inputs of a layer; None if there is no mask."""
        return shapes[self.before[number]][:-1] if number in self.before else None

    def around(self, number: int, steps: Iterator[Step]) -> Iterator[Step]:
        """Yields the steps of a layer with those that compute its mask, and with means that read one."""
        for step in steps:
            if number in self._awaited and step.kind in ("embedding", "mask"):
                value = step.constants.get("value", 0.0)
                yield Step("row_mask", step.rows, step.width, 1, {"value": value}, {})
            masked = number in self._masked and step.kind == "mean"
            yield step._replace(kind="masked_mean") if masked else step


def _steps_of(layer: Leaf, shapes: Sequence[Shape], mask_shape: Shape | None) -> Iterator[Step]:
    """Yields the steps of a layer.

    Args:
        layer: the layer.
        shapes: of one sample of each of its inputs.
        mask_shape: of the mask of its inputs; None if there is none.

    Raises:
        ValueError: if the layer is written in Python, or weights aren't finite.
    """
    if isinstance(layer, (PenaltyLeaf, MaskLeaf)):  # which compute nothing
        return
    weights = iter(_finite_weights(layer))
    merging = _merging_step(layer)
    if merging is not None and isinstance(layer, Layer):
        (shape,) = layer._output_shapes_for(shapes)
        yield merging(layer, shapes, shape)
        return
    size = math.prod(shapes[0])
    with_mask = None if mask_shape is None else layer._lower_masked(shapes[0], mask_shape)
    for operation in layer._operations_for(shapes, with_mask):
        if "back" in operation:  # a node of a function that is recorded
            step = array_step(operation, operation["back"])
            yield step
            size = step.size
            continue
        lowering = LOWERINGS.get(operation["kind"])
        if lowering is None:
            msg = (
                f"layer {layer.name!r} ({type(layer).__name__}) computes its outputs in Python in every batch, so no other "
                "program can: let it be recorded by using keras.ops or NumPy's functions on symbols alone, without a "
                f"`gradient` of its own, or export a model of the layers before or after it{_why_not(layer)}"
            )
            raise ValueError(msg)
        rows = operation.get("groups", 1)
        for step in lowering(operation, weights, rows, size // rows):
            yield step
            size = step.size


def _why_not(layer: Leaf) -> str:
    """Returns why a layer was not recorded, as the end of a message."""
    calls = getattr(layer, "_recorded_calls", None)
    error = None if calls is None else calls.last_error
    return "" if error is None else f". It isn't recorded because of this: {error}"


def _finite_weights(layer: Leaf) -> list[Float32]:
    """Returns the weights of a layer; ValueError if one isn't finite."""
    arrays = layer._values() if isinstance(layer, Layer) else []
    if not all(np.isfinite(array).all() for array in arrays):
        msg = f"layer {layer.name!r} has weights that are NaN or infinite, so that its outputs mean nothing: train it again"
        raise ValueError(msg)
    return arrays


def _dense(operation: Operation, weights: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    arrays = {"kernel": next(weights)}
    if operation["use_bias"]:
        arrays["bias"] = next(weights)
    units = operation["units"]
    yield Step("dense", rows, width, units, {}, arrays)
    yield from _activation(operation, weights, rows, units)


def _activation(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    name = operation.get("activation", "linear")
    if name != "linear":
        parameters = tuple(map(_rounded, operation.get("parameters", ())))
        if name == "general_relu":
            # Below the threshold the function is the line with the slope, if that isn't 0; up to the number that is added, the
            # other part is 0. With a maximum that is at least 0.
            slope, high, threshold = parameters
            zero_to = max(threshold, 0.0) if high < math.inf else threshold
            parameters = (slope, high, threshold if slope else -math.inf, zero_to)
        if name in ACTIVATIONS or name in FUNCTIONS:
            yield Step(name, rows, width, width, {"parameters": parameters}, {})
        else:  # by the formula of the core
            shape = [[0, 1], [rows * width, 0]]
            fields = cast("ActivationFields", operation)
            code = activation_code(fields)
            node = {"kind": "map", "input_shapes": [shape], "shape": shape, **code}
            yield array_step(node, reads=(1,))  # the step before it


def _permute(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    lengths, size = operation["lengths"], rows * width
    loops = [(lengths[axis], math.prod(lengths[axis + 1 :])) for axis in operation["axes"]]
    yield Step("rearrange", 1, size, size, {"loops": [loop for loop in loops if loop[0] > 1]}, {})


def _repeat(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    count, size = operation["count"], rows * width
    yield Step("rearrange", 1, size, count * size, {"loops": [(count, 0), (size, 1)]}, {})


def _pool(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    yield Step(operation["kind"], 1, rows * width, width, {"rows": rows}, {})


def _mask(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    yield Step("mask", rows, width, width, {"value": _rounded(operation["value"])}, {})


def _rescaling(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    yield _affine(rows, width, factor=operation["scale"], shift=operation["offset"] or None)


def _column_scale(operation: Operation, weights: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    if operation.get("rule") == "leaky":
        yield Step("leaky", rows, width, width, {}, {"slope": next(weights).reshape(-1)})
        return
    if "gain" in operation:
        yield _affine(rows, width, factor=operation["gain"], shift=operation["shift"])
        return
    gain = next(weights) if operation.get("use_gain", True) else None
    yield _affine(rows, width, factor=gain, shift=next(weights) if operation.get("use_shift", True) else None)


def _batch_normalization(
    operation: Operation, weights: Iterator[Float32], rows: int, width: int
) -> Iterator[Step]:
    gain = next(weights) if operation["use_gain"] else np.ones(1, np.float32)
    shift = next(weights) if operation["use_shift"] else None
    mean, variance = next(weights), next(weights)
    deviation = np.sqrt(variance.astype(float) + operation["epsilon"])
    yield _affine(rows, width, centre=mean, factor=gain / deviation, shift=shift)


def _standardize(operation: Operation, weights: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    mean, variance = (
        operation[name] if name in operation else next(weights) for name in ("mean", "variance")
    )
    deviation = np.maximum(np.sqrt(np.asarray(variance, float)), operation["epsilon"])
    if operation["spread"] == "inverse":
        yield _affine(rows, width, factor=deviation, shift=mean)
    else:
        yield _affine(rows, width, centre=mean, factor=1.0 / deviation)


def _row_normalization(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    constants = {"epsilon": _rounded(operation["epsilon"])}
    if operation.get("unit"):
        yield Step("unit", rows, width, width, constants, {})
    else:
        yield Step("standardize", rows, width, width, constants | {"centred": operation["centred"]}, {})


def _embedding(operation: Operation, weights: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    yield Step("embedding", rows * width, 1, operation["units"], {}, {"table": next(weights)})


def _encoding(operation: Operation, _: Iterator[Float32], rows: int, width: int) -> Iterator[Step]:
    yield Step("encoding", rows, width, operation["tokens"], {"counts": operation["counts"]}, {})


def _no_steps(*_: object) -> Iterator[Step]:
    """Yields no step, for operations that change nothing in a prediction."""
    return iter(())


# The function that makes the steps of each operation of the core. "custom" is missing, since it is written in Python.
LOWERINGS: dict[str, Callable[[Operation, Iterator[Float32], int, int], Iterator[Step]]] = {
    "dense": _dense,
    "activation": _activation,
    "dropout": _no_steps,
    "rescaling": _rescaling,
    "permute": _permute,
    "repeat": _repeat,
    "mean": _pool,
    "max": _pool,
    "mask": _mask,
    "noise": _no_steps,
    "column_scale": _column_scale,
    "batch_normalization": _batch_normalization,
    "standardize": _standardize,
    "row_normalization": _row_normalization,
    "embedding": _embedding,
    "encoding": _encoding,
    "image_augmentation": _no_steps,
    "activity_regularization": _no_steps,
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
    declared_axes, ranks = cast("Any", layer).axes, [len(input_shape) for input_shape in shapes]
    axes_of_both = (declared_axes, declared_axes) if isinstance(declared_axes, int) else tuple(declared_axes)
    axes = tuple(
        axis + rank if axis < 0 else axis - 1 for axis, rank in zip(axes_of_both, ranks, strict=True)
    )
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


def is_written_whole(part: object) -> bool:
    """Returns whether a layer is one step although its formula is recorded."""
    return _merging_step(part) is not None


def _merging_step(layer: object) -> Callable[[Layer, Sequence[Shape], Shape], Step] | None:
    """Returns the function that makes the step of a layer that merges several inputs; None for others."""
    if not isinstance(layer, Layer) or layer._is_by_call:
        return None
    return next((MERGING[cls.__name__] for cls in type(layer).__mro__ if cls.__name__ in MERGING), None)


def _affine(rows: int, width: int, **numbers: Any) -> Step:
    """Returns the step `(x - centre) * factor + shift` for each column. Each of the three may be None."""
    arrays = {
        name: np.asarray(array, np.float32).reshape(-1)
        for name, array in numbers.items()
        if array is not None
    }
    return Step("affine", rows, width, width, {}, arrays)


def _rounded(number: float) -> float:
    """Returns the number rounded to float32, as the core uses it."""
    return float(np.float32(number))
