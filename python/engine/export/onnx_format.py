"""The export format ONNX: a table with one entry for each operation, written in operators of opset 13.

Every runtime since 2021 has these. Operators of later opsets (Gelu, Mish, LayerNormalization) are written as several of
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine._base.atomic_files import replacing
from engine._base.checks import integer
from engine._base.extras import extra
from engine._core_interface.cpp import __version__
from engine.export.arrays import is_array_step
from engine.export.graph import Graph
from engine.export.onnx_arrays import write_array_step
from engine.export.onnx_writer import OnnxTensor, OnnxWriter
from engine.export.step import Step

OPSET = 13
# The largest size of a protocol buffer.
MOST_BYTES = 2**31 - 2**20
# What `Dot(normalize=True)` divides by at least.
_SMALLEST_LENGTH = 1e-7


def _dense(w: OnnxWriter, step: Step) -> None:
    w.rows(step)
    arrays = list(w.arrays(step).values())
    if len(w.shape) == 1 and len(arrays) > 1:
        w.x = w("Gemm", w.x, *arrays)
    else:
        w.x = w("MatMul", w.x, arrays[0])
        w.x = w("Add", w.x, arrays[1]) if len(arrays) > 1 else w.x
    w.shape = (*w.shape[:-1], step.units)


def _rearrange(w: OnnxWriter, step: Step) -> None:
    loops = step.constants["loops"]
    axes = sorted(((stride, count, at) for at, (count, stride) in enumerate(loops) if stride), reverse=True)
    w.reshape(tuple(count for _, count, _ in axes))
    order = [at for _, _, at in axes]
    turned = np.argsort(order).tolist()
    if turned != sorted(turned):
        w.x = w("Transpose", w.x, perm=[0, *(axis + 1 for axis in turned)])
        w.shape = tuple(w.shape[axis] for axis in turned)
    if len(loops) > len(axes):
        w.reshape(tuple(count if stride else 1 for count, stride in loops))
        counts = np.array([1, *(count for count, _ in loops)], np.int64)
        w.x = w("Expand", w.x, w.constant(counts, "counts"))
        w.shape = tuple(count for count, _ in loops)


def _pool(w: OnnxWriter, step: Step) -> None:
    w.reshape((step.constants["rows"], step.units))
    w.x = w("ReduceMean" if step.kind == "mean" else "ReduceMax", w.x, axes=[1], keepdims=0)
    w.shape = (step.units,)


def _masked_mean(w: OnnxWriter, step: Step) -> None:
    """Replaces the mean by 0 if the mask keeps no row."""
    w.reshape((step.constants["rows"], step.units))
    rows, mask = w.constant(np.array([1], np.int64), "axes"), w.others[0].name
    count = w("Max", w("ReduceSum", mask, rows, keepdims=0), 1.0)
    w.x = w("Div", w("ReduceSum", w("Mul", w.x, mask), rows, keepdims=0), count)
    w.shape = (step.units,)


def _row_mask(w: OnnxWriter, step: Step) -> None:
    w.reshape((step.rows, step.width))
    w.x, w.shape = _kept(w, step), (step.rows, 1)


def _mask(w: OnnxWriter, step: Step) -> None:
    w.rows(step)
    w.x = w("Mul", w.x, _kept(w, step))


def _kept(w: OnnxWriter, step: Step) -> str:
    empty = w("ReduceMin", w.cast(w("Equal", w.x, step.constants["value"]), "float32"), axes=[-1])
    return str(w("Sub", 1.0, empty))


def _embedding(w: OnnxWriter, step: Step) -> None:
    w.x = w("Gather", *w.arrays(step).values(), w.cast(w.x, "int64"), axis=0)
    w.shape = (*w.shape, step.units)


def _encoding(w: OnnxWriter, step: Step) -> None:
    w.rows(step)
    depth = w.constant(np.array(step.units, np.int64), "tokens")
    vectors = w("OneHot", w.cast(w.x, "int64"), depth, np.array([0.0, 1.0], np.float32), axis=-1)
    if step.constants["counts"]:
        w.x = w("ReduceSum", vectors, np.array([-2], np.int64), keepdims=0)
    else:
        w.x = w("ReduceMax", vectors, axes=[-2], keepdims=0)
    w.shape = (*w.shape[:-1], step.units)


def _affine(w: OnnxWriter, step: Step) -> None:
    if any(array.size > 1 for array in step.arrays.values()):
        w.rows(step)
    arrays = w.arrays(step)
    for name, kind in (("centre", "Sub"), ("factor", "Mul"), ("shift", "Add")):
        w.x = w(kind, w.x, arrays[name]) if name in arrays else w.x


def _leaky(w: OnnxWriter, step: Step) -> None:
    w.rows(step)
    w.x = w("PRelu", w.x, *w.arrays(step).values())


def _standardize(w: OnnxWriter, step: Step) -> None:
    w.rows(step)
    x = w.x
    if step.constants["centred"]:
        # The numbers are divided by a power of two, which is exact, so that no sum overflows, in whatever order a runtime adds.
        scale = 2.0 ** -step.width.bit_length()
        x = w("Sub", x, w("Mul", w("ReduceMean", w("Mul", x, scale), axes=[-1]), 1 / scale))
    squares = w("ReduceMean", w("Mul", x, x), axes=[-1])
    w.x = w("Div", x, w("Sqrt", w("Add", squares, step.constants["epsilon"])))


def _unit(w: OnnxWriter, step: Step) -> None:
    w.rows(step)
    length = w("Max", w("ReduceL2", w.x, axes=[-1]), step.constants["epsilon"])
    w.x = w("Div", w.x, length)


def _softmax(w: OnnxWriter, step: Step) -> None:
    w.rows(step)
    w.x = w("Softmax" if step.kind == "softmax" else "LogSoftmax", w.x, axis=-1)


def _sparsemax(w: OnnxWriter, step: Step) -> None:
    """Sparsemax: `max(x - tau, 0)`, where tau is (sum of the k largest - 1) / k for the k numbers that stay above tau."""
    w.rows(step)
    last = w.constant(np.array([-1], np.int64), "axes")
    x = w("Sub", w.x, w("ReduceMax", w.x, axes=[-1]))
    largest, _ = w("TopK", x, np.array([step.width], np.int64), outputs=2, axis=-1)
    ranks = w.constant(np.arange(1, step.width + 1, dtype=np.float32), "ranks")
    beyond = w(
        "Greater", w("Add", w("Mul", ranks, largest), 1.0), w("CumSum", largest, np.array(-1, np.int64))
    )
    above = w.cast(beyond, "float32")
    excess = w("Sub", w("ReduceSum", w("Mul", above, largest), last), 1.0)
    w.x = w("Relu", w("Sub", x, w("Div", excess, w("ReduceSum", above, last))))


def _merge(kind: str) -> Callable[[OnnxWriter, Step], None]:
    """Returns the function of an operator with two inputs, which joins any number of them, one after the other."""

    def emit(w: OnnxWriter, step: Step) -> None:
        first, *more = _broadcast(w, step)
        for other in more:
            first = w(kind, first, other)
        w.x, w.shape = first, step.constants["shape"]

    return emit


def _merge_at_once(kind: str) -> Callable[[OnnxWriter, Step], None]:
    """Returns the function of an operator with any number of inputs."""

    def emit(w: OnnxWriter, step: Step) -> None:
        w.x = w(kind, *_broadcast(w, step))
        w.shape = step.constants["shape"]

    return emit


def _average(w: OnnxWriter, step: Step) -> None:
    _merge("Add")(w, step)
    w.x = w("Div", w.x, float(len(step.reads)))


def _broadcast(w: OnnxWriter, step: Step) -> list[str]:
    """Returns the names of the inputs, to whose samples leading axes are added, since those of the batch must meet."""
    axes = len(step.constants["shape"])
    return [w.reshaped(tensor, (1,) * (axes - len(tensor.shape)) + tensor.shape) for tensor in _inputs(w)]


def _inputs(w: OnnxWriter) -> list[OnnxTensor]:
    return [OnnxTensor(w.x, w.shape), *w.others]


def _concatenate(w: OnnxWriter, step: Step) -> None:
    axis, tensors = step.constants["axis"], _inputs(w)
    w.x = w("Concat", *(tensor.name for tensor in tensors), axis=axis + 1)
    length = sum(tensor.shape[axis] for tensor in tensors)
    w.shape = (*tensors[0].shape[:axis], length, *tensors[0].shape[axis + 1 :])


def _dot(w: OnnxWriter, step: Step) -> None:
    """Brings the axes of the products to the end of the first input and to the front of the second, and multiplies them."""
    factors, sizes = list[str](), list[int]()
    for number, (tensor, axis) in enumerate(zip(_inputs(w), step.constants["axes"], strict=True)):
        shape = tensor.shape
        w.x, w.shape = tensor
        if step.constants["normalize"]:
            w.x = w("Div", w.x, w("Max", w("ReduceL2", w.x, axes=[axis + 1]), _SMALLEST_LENGTH))
        outer, length, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        if number == 0 and inner > 1:
            w.reshape((outer, length, inner))
            w.x, w.shape = w("Transpose", w.x, perm=[0, 1, 3, 2]), (outer, inner, length)
        elif number == 1 and outer > 1:
            w.reshape((outer, length, inner))
            w.x, w.shape = w("Transpose", w.x, perm=[0, 2, 1, 3]), (length, outer, inner)
        sizes.append(outer * inner)
        w.reshape((sizes[0], length) if number == 0 else (length, sizes[1]))
        factors.append(w.x)
    w.x, w.shape = w("MatMul", *factors), (sizes[0], sizes[1])


def _general_relu(w: OnnxWriter, x: str, *constants: float) -> str:
    slope, high, threshold, zero_to = constants
    above = w("Where", w("LessOrEqual", x, zero_to), 0.0, x)
    above = w("Min", above, high) if high < math.inf else above
    if not slope:
        return str(above)
    return str(w("Sub", above, w("Mul", w("Relu", w("Sub", threshold, x)), slope)))


def _gelu(w: OnnxWriter, x: str) -> str:
    return str(w("Mul", w("Mul", x, 0.5), w("Add", w("Erf", w("Mul", x, math.sqrt(0.5))), 1.0)))


def _gelu_tanh(w: OnnxWriter, x: str) -> str:
    cubic = w("Add", w("Mul", w("Mul", x, x), 0.044715), 1.0)
    return str(w("Mul", x, w("Sigmoid", w("Mul", w("Mul", x, math.sqrt(8.0 / math.pi)), cubic))))


def _log_sigmoid(w: OnnxWriter, x: str) -> str:
    return str(w("Neg", w("Softplus", w("Neg", x))))


def _sparse_plus(w: OnnxWriter, x: str) -> str:
    bend = w("Clip", w("Add", x, 1.0), 0.0, 2.0)
    return str(w("Add", w("Mul", w("Mul", bend, bend), 0.25), w("Relu", w("Sub", x, 1.0))))


def _squareplus(w: OnnxWriter, x: str, b: float) -> str:
    """Squareplus, for negative x as `b / (root - x) / 2`, which is no difference of two large numbers."""
    size = w("Abs", x)
    far = w("Less", 1e15, size)  # here the root is |x| to float precision, and the square could overflow
    root = w("Where", far, size, w("Sqrt", w("Add", w("Mul", x, x), b)))
    small = w("Div", b, w("Sub", root, w("Min", x, 0.0)))
    return str(w("Mul", w("Where", w("Less", x, 0.0), small, w("Add", x, root)), 0.5))


def _threshold(w: OnnxWriter, x: str, threshold: float, otherwise: float) -> str:
    return str(w("Where", w("LessOrEqual", x, threshold), otherwise, x))


# One function for each elementwise activation: it gets the name of x and the constants, and returns the result's name.
ACTIVATIONS: dict[str, Callable[..., str]] = {
    "relu": lambda w, x: w("Relu", x),
    "sigmoid": lambda w, x: w("Sigmoid", x),
    "tanh": lambda w, x: w("Tanh", x),
    "exponential": lambda w, x: w("Exp", x),
    "silu": lambda w, x: w("Mul", x, w("Sigmoid", x)),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "mish": lambda w, x: w("Mul", x, w("Tanh", w("Softplus", x))),
    "softplus": lambda w, x: w("Softplus", x),
    "log_sigmoid": _log_sigmoid,
    "softsign": lambda w, x: w("Softsign", x),
    "tanh_shrink": lambda w, x: w("Sub", x, w("Tanh", x)),
    "elu": lambda w, x, alpha: w("Elu", x, alpha=alpha),
    "selu": lambda w, x: w("Selu", x),
    "celu": lambda w, x, alpha: w("Celu", x, alpha=alpha),
    "squareplus": _squareplus,
    "relu6": lambda w, x: w("Clip", x, 0.0, 6.0),
    "leaky_relu": lambda w, x, slope: w("LeakyRelu", x, alpha=slope),
    "general_relu": _general_relu,
    "hard_tanh": lambda w, x: w("Clip", x, -1.0, 1.0),
    "hard_sigmoid": lambda w, x: w("HardSigmoid", x, alpha=1.0 / 6.0),
    "hard_silu": lambda w, x: w("Mul", x, w("HardSigmoid", x, alpha=1.0 / 6.0)),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda w, x: w("HardSigmoid", x, alpha=0.5),
    "soft_shrink": lambda w, x, limit: w("Shrink", x, lambd=limit, bias=limit),
    "hard_shrink": lambda w, x, limit: w("Shrink", x, lambd=limit),
    "threshold": _threshold,
}

# One function for each operation: it adds nodes for `w.x`, and sets `w.x` and `w.shape` to the result.
OPERATIONS: dict[str, Callable[[OnnxWriter, Step], None]] = {
    "dense": _dense,
    "rearrange": _rearrange,
    "mean": _pool,
    "max": _pool,
    "masked_mean": _masked_mean,
    "row_mask": _row_mask,
    "mask": _mask,
    "embedding": _embedding,
    "encoding": _encoding,
    "affine": _affine,
    "leaky": _leaky,
    "standardize": _standardize,
    "unit": _unit,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "sparsemax": _sparsemax,
    "identity": lambda *_: None,
    "add": _merge("Add"),
    "subtract": _merge("Sub"),
    "multiply": _merge("Mul"),
    "average": _average,
    "maximum": _merge_at_once("Max"),
    "minimum": _merge_at_once("Min"),
    "concatenate": _concatenate,
    "dot": _dot,
}


def write_onnx(graph: Graph, path: Path, opset_version: int = OPSET) -> None:
    """Writes `graph` as an ONNX model.

    Each input has the name of its input layer and its dtype, each output that of the layer that computes it or its key in
    a dict, and each tensor between that of its layer; the batch axis is free and called "batch".

    Args:
        graph: the model.
        path: the path of the file.
        opset_version: the version of the operators, at least 13; default 13.

    Raises:
        ImportError: if the package onnx is missing.
        ValueError: for a model of more than 2 GiB, which no file of this kind holds, or an opset that the package
            doesn't know.
    """
    onnx = extra("onnx", "onnx", "export to ONNX")
    helper = onnx.helper
    opset = integer(opset_version, "opset_version", OPSET, onnx.defs.onnx_opset_version())
    size = sum(array.nbytes for step in graph.steps for array in step.arrays.values())
    if size > MOST_BYTES:
        msg = f"model {graph.name!r} has {size:,} bytes of weights, but an ONNX file holds at most 2 GiB: save() it, or export fewer layers"
        raise ValueError(msg)
    writer = OnnxWriter(onnx, graph)
    _emit(writer, graph)
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(model_input.dtype)), ["batch", *model_input.shape]
        )
        for name, model_input in zip(writer.inputs, graph.inputs, strict=True)
    ]
    outputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *model_output.shape])
        for name, model_output in zip(writer.outputs(graph), graph.outputs, strict=True)
    ]
    body = helper.make_graph(
        writer.nodes,
        graph.name,
        inputs,
        outputs,
        writer.initializers,
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="mlp-engine",
        producer_version=__version__,
    )
    if opset > OPSET:
        model = onnx.version_converter.convert_version(model, opset)
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)  # older readers refuse newer files
    helper.set_model_props(model, {"mlp-engine": __version__, "model": graph.name})
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as file:
        file.write(model.SerializeToString(deterministic=True))


def _emit(writer: OnnxWriter, graph: Graph) -> None:
    for stage in graph.stages:
        writer.begin(stage)
        for step in stage.steps:
            writer.begin_step(step)
            if step.kind in ACTIVATIONS:
                writer.x = ACTIVATIONS[step.kind](writer, writer.x, *step.constants["parameters"])
            elif is_array_step(step):
                write_array_step(writer, step)
            else:
                OPERATIONS[step.kind](writer, step)
            writer.end_step()
        writer.end(stage)
