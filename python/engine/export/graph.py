"""A model as a list of the steps of a prediction, from which every export format is written.

The steps are made from the operations of the core, so that a new layer that is made of existing operations needs no code
here or in the formats. All sizes are those of one sample, which consists of rows of equal width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, filled
from engine._base.spec import free_name
from engine._core_interface.cpp import Float32, Operation, Program
from engine.layers import InputLayer, Layer
from engine.layers.core import named_leaves
from engine.layers.layer import Part
from engine.layers.masking import masks_before


class Step(NamedTuple):
    """One operation of a prediction.

    Args:
        kind: "dense", "take", "mean", "max", "mask", "embedding", "encoding", "affine", "leaky", "standardize", "unit", or
            an activation's name in the core; or "row_mask", which changes nothing, but determines the mask of the next
            "masked_mean": it averages the rows that have a number other than `value`.
        groups: the number of rows in a sample.
        width: numbers in a row of the input.
        units: numbers in a row of the output.
        constants: the constants of the formula by name; those of an activation are under `parameters`.
        arrays: weights, and numbers for each column, by name.
    """

    kind: str
    groups: int
    width: int
    units: int
    constants: Mapping[str, Any]
    arrays: Mapping[str, Float32]


class Stage(NamedTuple):
    """A use of a layer: a unique name, the layer's name and class, the shapes of its input and output, and its steps."""

    name: str
    layer: str
    kind: str
    input_shape: Shape
    shape: Shape
    steps: list[Step]


class Graph(NamedTuple):
    """A model: its name, the name, dtype and shape of its input, its layers, and one sample with its outputs."""

    name: str
    input_name: str
    input_dtype: str
    input_shape: Shape
    stages: list[Stage]
    sample: Float32
    outputs: Float32

    @property
    def output_shape(self) -> Shape:
        """The shape of the output for one sample."""
        return self.stages[-1].shape


# The sample for checking an export has up to 1009 different numbers in [-1, 1], in the irregular order of the multiples of
# 617 modulo 1009.
_DIFFERENT, _STEP = 1009, 617
# The length of samples in the example of a message.
_EXAMPLE = 40


def graph_of(
    name: str, inputs: InputLayer, parts: Sequence[Part], program: Program, tokens: int | None
) -> Graph:
    """Returns the graph of a model.

    Args:
        name: the name of the model.
        inputs: its input layer.
        parts: its layers, and the models among them, once for each use.
        program: the program of the model.
        tokens: the number of different indices, if the inputs are indices; else None.

    Raises:
        ValueError: if the length of samples is not fixed, a layer is written in Python, or weights aren't finite.
    """
    shape = inputs.sample_shape
    if None in shape:
        msg = (
            f"model {name!r} takes samples of any length, {(None, *shape)}, but a file is for one of them: export "
            "a model of the same layers that begins with Input() of known lengths, such as "
            f"keras.Sequential([keras.Input({filled(shape, _EXAMPLE)}), *model.layers]), whose weights are the same"
        )
        raise ValueError(msg)
    stages = stages_of(named_leaves(parts), shape)
    numbers = np.arange(math.prod(shape)) * _STEP % min(tokens or _DIFFERENT, _DIFFERENT)
    sample = numbers.astype(np.float32)
    if tokens is None:
        sample = (sample - _DIFFERENT // 2) / np.float32(_DIFFERENT // 2)
    outputs = program.predict(sample[np.newaxis])[0]
    return Graph(name or "model", inputs.name or "inputs", inputs.dtype, shape, stages, sample, outputs)


def stages_of(layers: Iterable[tuple[str, Layer]], input_shape: Shape) -> list[Stage]:
    """Returns the steps of `layers`, which come with their names and are built for samples of `input_shape`.

    Raises:
        ValueError: if a layer is written in Python, or weights aren't finite.
    """
    # Layers may have empty names, which ONNX forbids.
    named = [(name or type(layer).__name__.lower(), layer) for name, layer in layers]
    shape, stages, free = input_shape, list[Stage](), _free_names([name for name, _ in named])
    for (name, layer), (masks, masked) in zip(named, _masks([layer for _, layer in named]), strict=True):
        out = layer._output_shape_for(shape)
        steps = list(_with_mask(_steps_of(layer, shape), masks, masked))
        stages.append(Stage(next(free), name, type(layer).__name__, shape, out, steps))
        shape = out
    return stages


def _free_names(names: list[str]) -> Iterator[str]:
    """Yields unique names for `names`: a name that is used before gets a number."""
    taken, found = set(names), set[str]()
    for name in names:
        unique = free_name(name, taken | found) if name in found else name
        found.add(unique)
        yield unique


def _masks(stack: list[Layer]) -> list[tuple[bool, bool]]:
    """Returns for each layer whether it makes a mask that a later mean uses, and whether its own means use a mask."""
    sources = zip(stack, masks_before(stack), strict=False)
    means = [layer._consumes_mask and source is not None for layer, source in sources]
    awaited, found = False, []
    for layer, masked in zip(reversed(stack), reversed(means), strict=True):
        found.append((layer._makes_mask and awaited, masked))
        awaited = masked or (awaited and not layer._makes_mask)
    return found[::-1]


def _with_mask(steps: list[Step], masks: bool, masked: bool) -> Iterator[Step]:
    for step in steps:
        if masks and step.kind in ("embedding", "mask"):
            value = step.constants.get("value", 0.0)
            yield Step("row_mask", step.groups, step.width, step.width, {"value": value}, {})
        yield step._replace(kind="masked_mean") if masked and step.kind == "mean" else step


def _steps_of(layer: Layer, shape: Shape) -> list[Step]:
    if not all(np.isfinite(array).all() for array in layer.weights):
        msg = f"layer {layer.name!r} has weights that are NaN or infinite, so that its outputs mean nothing: train it again"
        raise ValueError(msg)
    weights = iter(layer.weights)
    steps: list[Step] = []
    size = math.prod(shape)
    for operation in layer._operations_for(shape):
        lowering = LOWERINGS.get(operation["kind"])
        if lowering is None:
            msg = (
                f"layer {layer.name!r} ({type(layer).__name__}) computes its outputs in Python, so no other program can: "
                "make it of layers of engine.layers, or export a model of the layers before it"
            )
            raise ValueError(msg)
        groups = operation.get("groups", 1)
        for step in lowering(operation, weights, groups, size // groups):
            steps.append(step)
            size = step.groups * step.units
    return steps


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
