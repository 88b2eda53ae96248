"""Steps on arrays in ONNX: one function for each kind, and one for each instruction of a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine._tracing.extents import SAMPLES, Extent, sample_shape
from engine.export.arrays import OF_NOTHING, computed_shape, is_empty, not_computable
from engine.export.onnx_writer import OnnxTensor, OnnxWriter
from engine.export.step import Step

# What stands for "before the first element" in a slice with a negative step.
_BEFORE_FIRST = -(2**62)
# From this magnitude on, exp(x) - 1 and log(1 + x) lose no bits.
_NOT_SMALL = 0.5


def write_array_step(w: OnnxWriter, step: Step) -> None:
    """Adds the nodes of a step on arrays, whose value becomes the current tensor.

    Raises:
        ValueError: if an ONNX file can't compute it.
    """
    shape = step.constants["shape"]
    views = step.constants["views"]
    if is_empty(shape):
        w.x = w.filled(shape, 0.0)
    elif step.kind in OF_NOTHING and any(map(is_empty, views)):
        w.x = w.filled(shape, OF_NOTHING[step.kind](step))
    else:
        if step.kind not in ARRAYS:
            raise not_computable(step, w.stage, "an ONNX file")
        inputs = [w.viewed(tensor, view) for tensor, view in zip(w.inputs_of(step), views, strict=True)]
        w.x = ARRAYS[step.kind](w, step, *inputs)
    w.shape = sample_shape(shape)


def _constants(w: OnnxWriter, step: Step) -> str:
    ((name, array),) = step.arrays.items()
    return w.constant(array, name, step.constants.get("owner"))


def _reduce(w: OnnxWriter, step: Step, x: str) -> str:
    reduction, axes = step.constants["reduction"], list(step.constants["axes"])
    if reduction == "sum":
        return str(w("ReduceSum", x, w.constant(np.array(axes, np.int64), "axes"), keepdims=0))
    if reduction in ("argmax", "argmin"):
        kind = "ArgMax" if reduction == "argmax" else "ArgMin"
        return w.cast(w(kind, x, axis=axes[0], keepdims=0), "float32")
    kinds = {"max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd"}
    return str(w(kinds[reduction], x, axes=axes, keepdims=0))


def _cumulative_sum(w: OnnxWriter, step: Step, x: str) -> str:
    axis = np.array(step.constants["axis"], np.int64)
    return str(w("CumSum", x, axis, reverse=int(step.constants["reverse"])))


def _sort(w: OnnxWriter, step: Step, x: str) -> str:
    length = w.lengths([step.constants["shape"][-1]])
    numbers, places = w("TopK", x, length, axis=-1, largest=0, sorted=1, outputs=2)
    return w.cast(places, "float32") if step.constants["gives_places"] else str(numbers)


def _transpose(w: OnnxWriter, step: Step, x: str) -> str:
    return str(w("Transpose", x, perm=list(step.constants["axes"])))


def _slice(w: OnnxWriter, step: Step, x: str) -> str:
    begins, steps, lengths = (step.constants[name] for name in ("begin", "step", "shape"))
    (view,) = step.constants["views"]
    axes = [
        axis
        for axis, (begin, by, length) in enumerate(zip(begins, steps, lengths, strict=True))
        if (begin, by, length) != (Extent(0), 1, view[axis])
    ]
    ends = [begins[axis].plus(lengths[axis], steps[axis]) for axis in axes]
    ends = [
        Extent(_BEFORE_FIRST) if steps[axis] < 0 and not end.per_sample and end.fixed < 0 else end
        for axis, end in zip(axes, ends, strict=True)
    ]
    to = w.lengths(ends)
    if any(end.per_sample and steps[axis] < 0 for axis, end in zip(axes, ends, strict=True)):
        nothing = np.zeros(1, np.int64)
        to = w("Where", w("Less", to, nothing), np.full(1, _BEFORE_FIRST, np.int64), to)
    numbers = [w.constant(np.array(bounds, np.int64), name) for name, bounds in
               (("axes", axes), ("steps", [steps[axis] for axis in axes]))]  # fmt: skip
    return str(w("Slice", x, w.lengths([begins[axis] for axis in axes]), to, *numbers))


def _join(w: OnnxWriter, step: Step, *parts: str) -> str:
    some = [part for part, view in zip(parts, step.constants["views"], strict=True) if not is_empty(view)]
    return str(w("Concat", *some, axis=step.constants["axis"])) if len(some) > 1 else some[0]


def _gather(w: OnnxWriter, step: Step, x: str, indices: str) -> str:
    """Rows whose index doesn't exist are NaN."""
    rows, indices_shape = step.constants["views"]
    axes, shape = step.constants["batch_axes"], step.constants["shape"]
    constants = w.constants_of(indices)
    count = rows[axes]
    indices_or_zero = w.cast(indices, "int64")
    sure = (
        constants is not None
        and not count.per_sample
        and bool(((constants >= 0) & (constants < count.fixed)).all())
    )
    if not sure:
        above = w.length(count)
        exists = w("And", w("Not", w("Less", indices, 0.0)), w("Less", indices, above))
        indices_or_zero = w("Where", exists, indices_or_zero, np.array(0, np.int64))
    if axes:
        last = w("Unsqueeze", indices_or_zero, np.array([-1], np.int64))
        gathered = w("GatherND", x, last, batch_dims=axes)
    else:
        gathered = w("Gather", x, indices_or_zero, axis=0)
    if not sure:
        longer = (*indices_shape, *(Extent(1),) * (len(shape) - len(indices_shape)))
        exists = exists if longer == indices_shape else w("Reshape", exists, w.target(longer, indices_shape))
        gathered = w("Where", exists, gathered, math.nan)
    return str(gathered)


def _scatter(w: OnnxWriter, step: Step, x: str, indices: str) -> str:
    """By comparing each index with each row: before opset 18 no operator combines rows with equal indices."""
    rows, indices_shape = step.constants["views"]
    shape, axes, initial = (step.constants[name] for name in ("shape", "batch_axes", "initial"))
    if axes or len(indices_shape) != 1:
        raise not_computable(step, w.stage, "an ONNX file")
    numbers = w.coordinates((shape[0], *rows), 0)
    ones = np.arange(1, len(rows), dtype=np.int64)
    wide = w("Unsqueeze", indices, ones) if len(rows) > 1 else indices
    chosen = w("Where", w("Equal", wide, numbers), x, initial)
    if step.constants["reduction"] == "sum":
        return str(w("ReduceSum", chosen, w.constant(np.array([1], np.int64), "axes"), keepdims=0))
    return str(w("Max", w("ReduceMax", chosen, axes=[1], keepdims=0), initial))


def _contraction(w: OnnxWriter, step: Step, a: str, b: str) -> str:
    a_letters, b_letters, y_letters = (step.constants[f"{name}_letters"] for name in "aby")
    row, inner, column = a_letters[:-1], a_letters[-1:], b_letters[1:]
    if inner and len(column) == 1 and b_letters == inner + column and y_letters == row + column:
        return str(w("MatMul", a, b))
    return str(w("Einsum", a, b, equation=f"{a_letters},{b_letters}->{y_letters}"))


def _random(w: OnnxWriter, step: Step) -> str:
    """Random numbers, other ones in each run."""
    like = w.filled(step.constants["shape"], 0.0)
    low, high = step.constants["low"], step.constants["high"]
    if step.constants["distribution"] == "uniform":
        return str(w("RandomUniformLike", like, low=low, high=high))
    if step.constants["distribution"] == "normal":
        return str(w("RandomNormalLike", like, mean=low, scale=high))
    # Within two standard deviations: the normal quantile of a uniform number. These are the ends, as erf(2 / sqrt(2)).
    end = math.erf(math.sqrt(2.0))
    uniform = w("RandomUniformLike", like, low=-end, high=end)
    return str(w("Add", w("Mul", _erfinv(w, uniform), math.sqrt(2.0) * high), low))


def _map(w: OnnxWriter, step: Step, *inputs: str) -> str:
    shape = step.constants["shape"]
    registers, zero = list(inputs), set[str]()
    for operation, operands, number in step.constants["code"]:
        read = [registers[register] for register in operands]
        if operation == "constant":
            registers.append(w.constant(number))
            zero |= {registers[-1]} if number == 0.0 else set()
        elif operation == "samples":
            registers.append(w.length(SAMPLES))
        elif operation == "coordinate":
            registers.append(w.coordinates(shape, int(number)))
        elif operation == "add" and any(register in zero for register in read):
            registers.append(read[read[0] in zero])
        elif operation == "select":
            condition = read[0] if w.is_bool(read[0]) else w.cast(read[0], "bool")
            registers.append(w("Where", condition, *map(w.as_float, read[1:])))
        else:
            registers.append(INSTRUCTIONS[operation](w, *map(w.as_float, read)))
    x = w.as_float(registers[-1])
    return x if computed_shape(step) == shape else str(w("Expand", x, w.lengths(shape)))


def _compare(kind: str) -> Callable[..., str]:
    def emit(w: OnnxWriter, a: str, b: str) -> str:
        return w.marked_bool(w(kind, a, b))

    return emit


def _expm1(w: OnnxWriter, x: str) -> str:
    """exp(x) - 1, for small x as 2 t / (1 - t) with t = tanh(x / 2), which loses no bits."""
    t = w("Tanh", w("Mul", x, 0.5))
    small = w("Div", w("Mul", t, 2.0), w("Sub", 1.0, t))
    return str(w("Where", w("Less", w("Abs", x), _NOT_SMALL), small, w("Sub", w("Exp", x), 1.0)))


def _log1p(w: OnnxWriter, x: str) -> str:
    """log(1 + x), for small x as 2 artanh(x / (2 + x)), which loses no bits."""
    small = w("Mul", w("Atanh", w("Div", x, w("Add", x, 2.0))), 2.0)
    return str(w("Where", w("Less", w("Abs", x), _NOT_SMALL), small, w("Log", w("Add", x, 1.0))))


# The polynomials of M. Giles, "Approximating the erfinv function" (2012), the highest power first.
_CENTRE = [2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
           -0.00417768164, 0.246640727, 1.50140941]  # fmt: skip
_TAIL = [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
         0.00943887047, 1.00167406, 2.83297682]  # fmt: skip


def _erfinv(w: OnnxWriter, x: str) -> str:
    size = w("Neg", w("Log", w("Mul", w("Sub", 1.0, x), w("Add", x, 1.0))))
    centre = _polynomial(w, w("Sub", size, 2.5), _CENTRE)
    tail = _polynomial(w, w("Sub", w("Sqrt", size), 3.0), _TAIL)
    inside = w("Mul", w("Where", w("Less", size, 5.0), centre, tail), x)
    return str(w("Where", w("Equal", w("Abs", x), 1.0), w("Mul", x, math.inf), inside))


def _polynomial(w: OnnxWriter, x: str, factors: Sequence[float]) -> str:
    first, *rest = factors
    value: Any = first
    for factor in rest:
        value = w("Add", w("Mul", x, value), factor)
    return str(value)


def _remainder(w: OnnxWriter, a: str, b: str) -> str:
    """Python's a % b, which is a - b floor(a / b): the remainder of C, moved by b where the signs differ."""
    rest = w("Mod", a, b, fmod=1)
    differ = w("Xor", w("Less", rest, 0.0), w("Less", b, 0.0))
    moved = w("And", differ, w("Not", w("Equal", rest, 0.0)))
    return str(w("Where", moved, w("Add", rest, b), rest))


def _atan2(w: OnnxWriter, y: str, x: str) -> str:
    half = w("Where", w("Less", y, 0.0), -math.pi, math.pi)
    turned = w("Add", w("Atan", w("Div", y, x)), w("Where", w("Less", x, 0.0), half, 0.0))
    upright = w("Mul", w("Sign", y), math.pi / 2)
    return str(w("Where", w("Equal", x, 0.0), upright, turned))


def _bitwise_and(w: OnnxWriter, a: str, b: str) -> str:
    """The bits that two integers between -2^24 and 2^24 share: the sum of those that both have in two's complement."""
    powers = np.float32(2.0) ** np.arange(25, dtype=np.float32)

    def digits(x: str) -> str:
        above = w("Floor", w("Div", w("Unsqueeze", x, np.array([-1], np.int64)), powers))
        return str(w("Sub", above, w("Mul", w("Floor", w("Mul", above, 0.5)), 2.0)))

    weights = np.append(powers[:-1], -powers[-1])
    products = w("Mul", w("Mul", digits(a), digits(b)), weights)
    return str(w("ReduceSum", products, np.array([-1], np.int64), keepdims=0))


def _operator(kind: str) -> Callable[..., str]:
    return lambda w, *inputs: str(w(kind, *inputs))


# One function for each instruction of a map that has operands; it returns the name of the result.
INSTRUCTIONS: dict[str, Callable[..., str]] = {
    "negate": _operator("Neg"),
    "abs": _operator("Abs"),
    "sign": _operator("Sign"),
    "exp": _operator("Exp"),
    "expm1": _expm1,
    "log": _operator("Log"),
    "log1p": _log1p,
    "sqrt": _operator("Sqrt"),
    "sin": _operator("Sin"),
    "cos": _operator("Cos"),
    "tanh": _operator("Tanh"),
    "sigmoid": _operator("Sigmoid"),
    "softplus": _operator("Softplus"),
    "gaussian": lambda w, x: str(w("Exp", w("Neg", w("Mul", x, x)))),
    "erf": _operator("Erf"),
    "erfinv": _erfinv,
    "floor": _operator("Floor"),
    "round": _operator("Round"),
    "add": _operator("Add"),
    "subtract": _operator("Sub"),
    "multiply": _operator("Mul"),
    "divide": _operator("Div"),
    "power": _operator("Pow"),
    "remainder": _remainder,
    "minimum": _operator("Min"),
    "maximum": _operator("Max"),
    "atan2": _atan2,
    "equal": _compare("Equal"),
    "less": _compare("Less"),
    "less_equal": _compare("LessOrEqual"),
    "bitwise_and": _bitwise_and,
}


# One function for each kind of step on arrays: it gets the names of the inputs, and returns that of the result.
ARRAYS: dict[str, Callable[..., str]] = {
    "constants": _constants,
    "map": _map,
    "reduce": _reduce,
    "cumulative_sum": _cumulative_sum,
    "sort": _sort,
    "reshape": lambda w, step, x: w.viewed(
        OnnxTensor(x, sample_shape(step.constants["views"][0])), step.constants["shape"]
    ),
    "transpose": _transpose,
    "slice": _slice,
    "join": _join,
    "gather": _gather,
    "scatter": _scatter,
    "contraction": _contraction,
    "random": _random,
}
