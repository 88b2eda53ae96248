"""The export format C: a table with one entry for each operation, and the header that contains the statements."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from engine._base.atomic_files import replacing
from engine._base.checks import Shape
from engine._base.spec import free_name
from engine._core_interface.cpp import Float32, __version__
from engine.export.arrays import is_array_step
from engine.export.c_arrays import can_replace, write_array_step
from engine.export.c_functions import ACTIVATIONS
from engine.export.c_memory import Place, planned
from engine.export.c_writer import (
    KEPT,
    CWriter,
    broadcast_strides,
    definition,
    harmless,
    identifier,
    index_text,
    literal,
    shape_in_comment,
    with_constants,
)
from engine.export.graph import Graph
from engine.export.step import Step


def _dense(c: CWriter, step: Step, y: str, x: str) -> None:
    c.call("product", x, c.array(step.arrays["kernel"], "kernel"), y, step.rows, step.width, step.units)
    if "bias" in step.arrays:
        c.columns(f"x + {c.array(step.arrays['bias'], 'bias')}[j]", y, y, step)


def _rearrange(c: CWriter, step: Step, y: str, x: str) -> None:
    loops = step.constants["loops"]
    names = [f"i{number}" for number in range(len(loops))]
    strides = [stride for _, stride in loops]
    to = [math.prod(count for count, _ in loops[at + 1 :]) for at in range(len(loops))]
    counts = {name: count for name, (count, _) in zip(names, loops, strict=True)}
    c.loop(counts, f"{y}[{index_text(names, to)}] = {x}[{index_text(names, strides)}];")


def _embedding(c: CWriter, step: Step, y: str, x: str) -> None:
    table = step.arrays["table"]
    c.call("embed", x, c.array(table, "table"), y, step.rows, len(table), step.units)


def _encoding(c: CWriter, step: Step, y: str, x: str) -> None:
    c.call("encode", x, y, step.rows, step.width, step.units, int(step.constants["counts"]))


def _affine(c: CWriter, step: Step, y: str, x: str) -> None:
    formula = "x"
    for name, pattern in (("centre", "({} - {})"), ("factor", "{} * {}"), ("shift", "{} + {}")):
        if name in step.arrays:
            array = step.arrays[name]
            number = literal(array[0]) if array.size == 1 else f"{c.array(array, name)}[j]"
            formula = pattern.format(formula, number)
    c.columns(formula, x, y, step)


def _leaky(c: CWriter, step: Step, y: str, x: str) -> None:
    c.columns(f"x < 0.0f ? x * {c.array(step.arrays['slope'], 'slope')}[j] : x", x, y, step)


def _pool(c: CWriter, step: Step, y: str, x: str) -> None:
    c.call(step.kind, x, y, step.constants["rows"], step.units)


def _masked_mean(c: CWriter, step: Step, y: str, x: str, mask: str) -> None:
    c.call("masked_mean", x, mask, y, step.constants["rows"], step.units)


def _row_mask(c: CWriter, step: Step, y: str, x: str) -> None:
    c.call("row_mask", x, y, step.rows, step.width, literal(step.constants["value"]))


def _mask(c: CWriter, step: Step, y: str, x: str) -> None:
    c.call("mask", x, y, step.rows, step.width, literal(step.constants["value"]))


def _standardize(c: CWriter, step: Step, y: str, x: str) -> None:
    epsilon, centred = literal(step.constants["epsilon"]), int(step.constants["centred"])
    c.call("standardize", x, y, step.rows, step.width, epsilon, centred)


def _unit(c: CWriter, step: Step, y: str, x: str) -> None:
    c.call("unit", x, y, step.rows, step.width, literal(step.constants["epsilon"]))


def _of_rows(c: CWriter, step: Step, y: str, x: str) -> None:
    c.call(step.kind, x, y, step.rows, step.width)


def _elementwise(c: CWriter, step: Step, y: str, x: str) -> None:
    formula = with_constants(ACTIVATIONS[step.kind], step.constants["parameters"])
    c.each(formula, x, y, step.rows * step.units)


def _merge(formula: str, last: str = "{0}") -> Callable[..., None]:
    """Returns the function that writes an elementwise operation of several inputs, which are broadcast to one shape.

    Args:
        formula: of the next result, from the one before, {0}, and the number of the next input, {1}.
        last: the formula of the output, from the last result, {0}, and the number of inputs, {1}.
    """

    def write(c: CWriter, step: Step, y: str, *inputs: str) -> None:
        shapes, shape = step.constants["shapes"], step.constants["shape"]
        if all(other == shape for other in shapes):
            counts, at, offsets = {"i": step.units}, "i", ["i"] * len(inputs)
        else:
            names = [f"i{axis}" for axis in range(len(shape))]
            counts, at = (
                dict(zip(names, shape, strict=True)),
                index_text(names, broadcast_strides(shape, shape)),
            )
            offsets = [index_text(names, broadcast_strides(input_shape, shape)) for input_shape in shapes]
        first, *more = (f"{x}[{offset}]" for x, offset in zip(inputs, offsets, strict=True))
        declared = f"float merged = {first};" if more else f"const float merged = {first};"
        lines = [f"merged = {formula.format('merged', other)};" for other in more]
        c.loop(counts, declared, *lines, f"{y}[{at}] = {last.format('merged', literal(len(inputs)))};")

    return write


def _concatenate(c: CWriter, step: Step, y: str, *inputs: str) -> None:
    shapes, axis = step.constants["shapes"], step.constants["axis"]
    rows = math.prod(shapes[0][:axis])
    widths = [math.prod(shape[axis:]) for shape in shapes]
    first = 0
    for x, width in zip(inputs, widths, strict=True):
        to = index_text(["row", "j"], [sum(widths), 1]) if rows > 1 else "j"
        counts = {"row": rows, "j": width} if rows > 1 else {"j": width}
        at = f"{to} + {first}" if first else to
        c.loop(counts, f"{y}[{at}] = {x}[{index_text(['row', 'j'], [width, 1]) if rows > 1 else 'j'}];")
        first += width


def _dot(c: CWriter, step: Step, y: str, a: str, b: str) -> None:
    """Writes sums of products along one axis of each input: that axis has axes before it, `outer`, and axes after it, `inner`."""
    arguments: list[int] = []
    for shape, axis in zip(step.constants["shapes"], step.constants["axes"], strict=True):
        arguments += [math.prod(shape[:axis]), math.prod(shape[axis + 1 :])]
    length = step.constants["shapes"][0][step.constants["axes"][0]]
    c.call("dot", a, b, y, *arguments, length, int(step.constants["normalize"]))


def _same(*_: object) -> None:
    """Writes nothing: the value is that which it reads."""


class Emission(NamedTuple):
    """How an operation is written.

    Args:
        write: the function that writes it. Its arguments are the writer, the step, the array of the output and those of
            the inputs.
        in_place: whether the output may be the same array as the first input, if both have one size.
    """

    write: Callable[..., None]
    in_place: bool = True


OPERATIONS = {
    "dense": Emission(_dense, in_place=False),
    "rearrange": Emission(_rearrange, in_place=False),
    "mean": Emission(_pool, in_place=False),
    "max": Emission(_pool, in_place=False),
    "masked_mean": Emission(_masked_mean, in_place=False),
    "row_mask": Emission(_row_mask, in_place=False),
    "mask": Emission(_mask),
    "embedding": Emission(_embedding, in_place=False),
    "encoding": Emission(_encoding, in_place=False),
    "affine": Emission(_affine),
    "leaky": Emission(_leaky),
    "standardize": Emission(_standardize),
    "unit": Emission(_unit),
    "softmax": Emission(_of_rows),
    "log_softmax": Emission(_of_rows),
    "sparsemax": Emission(_of_rows),
    "identity": Emission(_same),
    "add": Emission(_merge("{0} + {1}")),
    "subtract": Emission(_merge("{0} - {1}")),
    "multiply": Emission(_merge("{0} * {1}")),
    "average": Emission(_merge("{0} + {1}", "{0} / {1}")),
    "maximum": Emission(_merge("{1} > {0} ? {1} : {0}")),
    "minimum": Emission(_merge("{1} < {0} ? {1} : {0}")),
    "concatenate": Emission(_concatenate, in_place=False),
    "dot": Emission(_dot, in_place=False),
    **dict.fromkeys(ACTIVATIONS, Emission(_elementwise)),
}

_HEADER = """\
/* Predictions of the model {name}. Written by mlp-engine {version}.
 *
 * C99 or C++, any number of source files; needs nothing but math.h (link with -lm). Nothing is allocated, nothing is
 * kept between calls: threads may predict side by side, each with a scratch of its own.
 *
 *     static float scratch[{upper}_SCRATCH_SIZE];
{usage}
 *     {prefix}_predict({arrays}, scratch);
 *
 * The arrays must not overlap. {prefix}_test({outputs}, scratch) predicts a sample whose outputs are known and returns
 * the largest deviation from them. What a source file doesn't call takes no room in it.
 */
#ifndef {upper}_H
#define {upper}_H

#include <math.h>

{sizes}
#define {upper}_SCRATCH_SIZE {scratch_size}

"""
_PREDICT = """
/* {described} */
static inline void {prefix}_predict({parameters}, float *scratch)
{{
{body}
}}

"""
_TEST = """
/* How far the outputs of the sample above are from those that they should be, at most */
static inline float {prefix}_test({out_parameters}, float *scratch)
{{
    float most = 0.0f;
    {prefix}_predict({test_inputs}, {outputs}, scratch);
{comparisons}
    return most;
}}

#endif
"""
_ALONE = (
    "the outputs of model {name!r} for a sample may depend on the other samples of its batch, as with a mean over axis 0, but "
    "a header has one sample: it computes what predict(x, batch_size=1) does. Export to ONNX for whole batches"
)
_COMPARISON = """\
    for (long i = 0; i < {upper}_{size}_SIZE; ++i) {{
        const float deviation = fabsf({name}[i] - {prefix}_test_{name}[i]);
        most = most != most || deviation <= most ? most : deviation;
    }}"""


class _Parameter(NamedTuple):
    """An input or output of the function: the name of its parameter, its shape, and its numbers for checking an export."""

    name: str
    shape: Shape
    sample: Float32

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def _names(kind: str, names: Sequence[str]) -> Iterator[str]:
    """Yields the parameters for inputs or outputs: `kind` alone if there is one, else with the name of each."""
    used = set[str]()
    for number, name in enumerate(names, 1):
        base = kind if len(names) == 1 else f"{kind}_{identifier(name[:KEPT]) or number}"
        free = free_name(base, used, first=2)
        used.add(free)
        yield free


def write_c(graph: Graph, path: Path, prefix: object = None) -> None:
    """Writes `graph` as a header in C99.

    Args:
        graph: the model.
        path: the path of the file.
        prefix: the beginning of every name in the header; default the name of the file.

    Warns:
        UserWarning: if the outputs of a sample may depend on other samples, which the header doesn't have.

    Raises:
        ValueError: if no name in C can start with the prefix.
    """
    prefix = prefix_of(path.stem) if prefix is None else prefix
    if not isinstance(prefix, str) or prefix != prefix_of(prefix):
        msg = f"`prefix` must start with a letter and hold letters, digits and underscores alone, got {prefix!r}"
        raise ValueError(msg)
    named = zip(
        _names("input", [model_input.name for model_input in graph.inputs]), graph.inputs, strict=True
    )
    inputs = [_Parameter(name, model_input.shape, model_input.sample) for name, model_input in named]
    ends = zip(
        _names("output", [model_output.name for model_output in graph.outputs]), graph.outputs, strict=True
    )
    outputs = [_Parameter(name, model_output.shape, model_output.expected) for name, model_output in ends]
    arrays, upper = [*inputs, *outputs], prefix.upper()
    c = CWriter(prefix, {f"test_{array.name}" for array in arrays})
    scratch = _write_body(c, graph, [array.name for array in inputs], [array.name for array in outputs])
    fields = {
        "name": harmless(graph.name),
        "version": __version__,
        "prefix": prefix,
        "upper": upper,
        "usage": "\n".join(_usage(upper, inputs, outputs)),
        "arrays": ", ".join(array.name for array in arrays),
        "outputs": ", ".join(array.name for array in outputs),
        "sizes": "\n".join(f"#define {upper}_{array.name.upper()}_SIZE {array.size}" for array in arrays),
        "scratch_size": scratch,
        "described": _described(inputs, outputs),
        "parameters": ", ".join(
            [
                *(f"const float *{array.name}" for array in inputs),
                *(f"float *{array.name}" for array in outputs),
            ]
        ),
        "out_parameters": ", ".join(f"float *{array.name}" for array in outputs),
        "test_inputs": ", ".join(f"{prefix}_test_{array.name}" for array in inputs),
        "comparisons": "\n".join(
            _COMPARISON.format(upper=upper, size=array.name.upper(), name=array.name, prefix=prefix)
            for array in outputs
        ),
        "body": "\n".join(f"    {line}" for line in c.statements),
    }
    with replacing(path, "w") as file:
        file.write(_HEADER.format(**fields))
        file.writelines(c.definitions())
        file.writelines(f"\n{text}" for text in c.used_functions())
        file.write(_PREDICT.format(**fields))
        for array in arrays:
            file.writelines(definition(f"{prefix}_test_{array.name}", array.sample))
        file.write(_TEST.format(**fields))
    if graph.joins_samples:
        warnings.warn(_ALONE.format(name=graph.name), stacklevel=4)


def _usage(upper: str, inputs: Sequence[_Parameter], outputs: Sequence[_Parameter]) -> Iterator[str]:
    """Yields the lines of the comment that declare the arrays, with their meaning side by side."""
    declared = [f"float {array.name}[{upper}_{array.name.upper()}_SIZE];" for array in (*inputs, *outputs)]
    meanings = [
        *(f"one sample {shape_in_comment(array.shape)}, row by row" for array in inputs),
        *(f"its outputs {shape_in_comment(array.shape)}" for array in outputs),
    ]
    width = max(map(len, declared))
    for line, meaning in zip(declared, meanings, strict=True):
        yield f" *     {line:<{width}}    {meaning}"


def _described(inputs: Sequence[_Parameter], outputs: Sequence[_Parameter]) -> str:
    ends = (
        " and ".join(f"{array.name} ({array.size} numbers)" for array in ends) for ends in (outputs, inputs)
    )
    return " for ".join(ends)


def _may_replace(step: Step, reads: Sequence[int]) -> bool:
    """Returns whether the output of a step may lie in the memory of its first input."""
    if is_array_step(step):
        return step.kind == "map" and can_replace(step, reads)
    return OPERATIONS[step.kind].in_place


def _write_body(c: CWriter, graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> int:
    """Writes the statements of a prediction, and returns how many numbers of scratch memory it needs.

    Args:
        c: the writer.
        graph: the model.
        inputs: the names of its inputs.
        outputs: the names of its outputs.
    """
    plan = planned(graph, _may_replace)
    steps = graph.steps
    parts = [f"part_{number}" for number in range(len(plan.parts))]
    for name, offset in zip(parts, plan.parts, strict=True):
        c.statements.append(f"float *const {name} = scratch{f' + {offset}' if offset else ''};")
    arrays = {"input": inputs, "output": outputs, "scratch": parts}

    def name_of(number: int) -> str:
        kind, index = plan.places[number]
        if kind != "constant":
            return arrays[kind][index]
        ((name, array),) = steps[index].arrays.items()
        return c.array(array, name, steps[index].constants.get("owner")) if array.size else ""

    at = 0
    for stage in graph.stages:
        c.begin(stage)
        for step in stage.steps:
            names = () if step.kind == "constants" else tuple(map(name_of, (at, *step.reads)))
            write = write_array_step if is_array_step(step) else OPERATIONS[step.kind].write
            if names:
                write(c, step, *names)
            at += 1
    for number, output in enumerate(graph.outputs):
        if plan.places[output.value] != Place("output", number):
            c.loop({"i": math.prod(output.shape)}, f"{outputs[number]}[i] = {name_of(output.value)}[i];")
    body = "\n".join(c.statements)
    for name in inputs:
        if not re.search(rf"\b{name}\b", body):
            c.statements.append(f"(void){name};")
    if not plan.size:
        c.statements.append("(void)scratch;")
    return max(plan.size, 1)


def prefix_of(stem: str) -> str:
    """Returns the prefix of all names in a header, made from the stem of its file name."""
    name = identifier(stem)
    return name if name[:1].isalpha() else f"model_{name}".rstrip("_")
