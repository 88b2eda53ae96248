"""The export format C: a table with one entry for each operation, and the header that contains the statements."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from engine._base.atomic_files import replacing
from engine._core_interface.cpp import __version__
from engine.export.c_functions import ACTIVATIONS
from engine.export.c_writer import (
    CWriter,
    definition,
    harmless,
    identifier,
    literal,
    shape_in_comment,
    with_constants,
)
from engine.export.graph import Graph, Step, loops_of


def _dense(c: CWriter, step: Step, x: str, y: str) -> None:
    c.call("product", x, c.array(step.arrays["kernel"], "kernel"), y, step.groups, step.width, step.units)
    if "bias" in step.arrays:
        c.columns(f"x + {c.array(step.arrays['bias'], 'bias')}[j]", y, y, step)


def _take(c: CWriter, step: Step, x: str, y: str) -> None:
    found = loops_of(step.constants["from"])
    if found is None:
        places = c.array(step.constants["from"], "from")
        c.loop({"i": step.units}, f"{y}[i] = {places}[i] < 0 ? 0.0f : {x}[{places}[i]];")
        return
    names = [f"i{number}" for number in range(len(found))]
    strides = [stride for _, stride in found]
    to = [math.prod(count for count, _ in found[at + 1 :]) for at in range(len(found))]
    counts = {name: count for name, (count, _) in zip(names, found, strict=True)}
    c.loop(counts, f"{y}[{_index(names, to)}] = {x}[{_index(names, strides)}];")


def _index(names: list[str], strides: list[int]) -> str:
    scaled = zip(names, strides, strict=True)
    terms = [name if stride == 1 else f"{name} * {stride}" for name, stride in scaled if stride]
    return " + ".join(terms) or "0"


def _embedding(c: CWriter, step: Step, x: str, y: str) -> None:
    table = step.arrays["table"]
    c.call("embed", x, c.array(table, "table"), y, step.groups, len(table), step.units)


def _encoding(c: CWriter, step: Step, x: str, y: str) -> None:
    c.call("encode", x, y, step.groups, step.width, step.units, int(step.constants["counts"]))


def _affine(c: CWriter, step: Step, x: str, y: str) -> None:
    formula = "x"
    for name, pattern in (("centre", "({} - {})"), ("factor", "{} * {}"), ("shift", "{} + {}")):
        if name in step.arrays:
            array = step.arrays[name]
            number = literal(array[0]) if array.size == 1 else f"{c.array(array, name)}[j]"
            formula = pattern.format(formula, number)
    c.columns(formula, x, y, step)


def _leaky(c: CWriter, step: Step, x: str, y: str) -> None:
    c.columns(f"x < 0.0f ? x * {c.array(step.arrays['slope'], 'slope')}[j] : x", x, y, step)


def _pool(c: CWriter, step: Step, x: str, y: str) -> None:
    c.call(step.kind, x, y, step.constants["rows"], step.units)


def _masked_mean(c: CWriter, step: Step, x: str, y: str) -> None:
    c.call("masked_mean", x, "row_mask", y, step.constants["rows"], step.units)


def _row_mask(c: CWriter, step: Step, x: str, _: str) -> None:
    c.call("row_mask", x, "row_mask", step.groups, step.width, literal(step.constants["value"]))


def _mask(c: CWriter, step: Step, x: str, y: str) -> None:
    c.call("mask", x, y, step.groups, step.width, literal(step.constants["value"]))


def _standardize(c: CWriter, step: Step, x: str, y: str) -> None:
    epsilon, centred = literal(step.constants["epsilon"]), int(step.constants["centred"])
    c.call("standardize", x, y, step.groups, step.width, epsilon, centred)


def _unit(c: CWriter, step: Step, x: str, y: str) -> None:
    c.call("unit", x, y, step.groups, step.width, literal(step.constants["epsilon"]))


def _of_rows(c: CWriter, step: Step, x: str, y: str) -> None:
    c.call(step.kind, x, y, step.groups, step.width)


def _elementwise(c: CWriter, step: Step, x: str, y: str) -> None:
    formula = with_constants(ACTIVATIONS[step.kind], step.constants["parameters"])
    c.each(formula, x, y, step.groups * step.units)


class Emission(NamedTuple):
    """The function that writes an operation from the array x to the array y, and whether x and y may be the same."""

    write: Callable[[CWriter, Step, str, str], None]
    in_place: bool = True


OPERATIONS = {
    "dense": Emission(_dense, in_place=False),
    "take": Emission(_take, in_place=False),
    "mean": Emission(_pool, in_place=False),
    "max": Emission(_pool, in_place=False),
    "masked_mean": Emission(_masked_mean, in_place=False),
    "row_mask": Emission(_row_mask),
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
    **dict.fromkeys(ACTIVATIONS, Emission(_elementwise)),
}

_HEADER = """\
/* Predictions of the model {name}. Written by mlp-engine {version}.
 *
 * C99 or C++, any number of source files; needs nothing but math.h (link with -lm). Nothing is allocated, nothing is
 * kept between calls: threads may predict side by side, each with a scratch of its own.
 *
 *     static float scratch[{upper}_SCRATCH_SIZE];
 *     float input[{upper}_INPUT_SIZE];    one sample {input}, row by row
 *     float output[{upper}_OUTPUT_SIZE];  its outputs {output}
 *     {prefix}_predict(input, output, scratch);
 *
 * The three arrays must not overlap. {prefix}_test(output, scratch) predicts a sample whose outputs are known and returns
 * the largest deviation from them. What a source file doesn't call takes no room in it.
 */
#ifndef {upper}_H
#define {upper}_H

#include <math.h>

#define {upper}_INPUT_SIZE {input_size}
#define {upper}_OUTPUT_SIZE {output_size}
#define {upper}_SCRATCH_SIZE {scratch_size}

"""
_PREDICT = """
/* output ({output_size} numbers) for input ({input_size} numbers) */
static inline void {prefix}_predict(const float *input, float *output, float *scratch)
{{
{body}
}}

"""
_TEST = """
/* How far the outputs of the sample above are from those that they should be, at most */
static inline float {prefix}_test(float *output, float *scratch)
{{
    float most = 0.0f;
    {prefix}_predict({prefix}_test_input, output, scratch);
    for (long i = 0; i < {upper}_OUTPUT_SIZE; ++i) {{
        const float deviation = fabsf(output[i] - {prefix}_test_output[i]);
        most = most != most || deviation <= most ? most : deviation;
    }}
    return most;
}}

#endif
"""


def write_c(graph: Graph, path: Path, prefix: object = None) -> None:
    """Writes `graph` as a header in C99.

    Args:
        graph: the model.
        path: the path of the file.
        prefix: the beginning of every name in the header; default the name of the file.

    Raises:
        ValueError: if no name in C can start with the prefix.
    """
    prefix = prefix_of(path.stem) if prefix is None else prefix
    if not isinstance(prefix, str) or prefix != prefix_of(prefix):
        msg = f"`prefix` must start with a letter and hold letters, digits and underscores alone, got {prefix!r}"
        raise ValueError(msg)
    c = CWriter(prefix)
    scratch = _write_body(c, graph)
    fields = {
        "name": harmless(graph.name),
        "version": __version__,
        "prefix": prefix,
        "upper": prefix.upper(),
        "input": shape_in_comment(graph.input_shape),
        "output": shape_in_comment(graph.output_shape),
        "input_size": math.prod(graph.input_shape),
        "output_size": math.prod(graph.output_shape),
        "scratch_size": scratch,
        "body": "\n".join(f"    {line}" for line in c.statements),
    }
    with replacing(path, "w") as file:
        file.write(_HEADER.format(**fields))
        file.writelines(c.definitions())
        file.writelines(f"\n{text}" for text in c.used_functions())
        file.write(_PREDICT.format(**fields))
        for name, array in (("test_input", graph.sample), ("test_output", graph.outputs)):
            file.writelines(definition(f"{prefix}_{name}", array))
        file.write(_TEST.format(**fields))


def _write_body(c: CWriter, graph: Graph) -> int:
    """Writes the statements of a prediction, and returns how many numbers of scratch memory it needs.

    What works in place does so, but for the input. The last to move numbers moves them to the output, those before it
    to one of two parts of the scratch, a and b, in turn. A third part says which rows a mean is of.
    """
    steps = [step for stage in graph.stages for step in stage.steps]
    first = next((at for at, step in enumerate(steps) if step.kind != "row_mask"), 0)
    moving = [at for at, step in enumerate(steps) if at == first or not OPERATIONS[step.kind].in_place]
    between = [steps[at].groups * steps[at].units for at in moving[:-1]]
    masked_rows = max((step.groups for step in steps if step.kind == "row_mask"), default=0)
    size = 0
    for name, part in (
        ("a", max(between[::2], default=0)),
        ("b", max(between[1::2], default=0)),
        ("row_mask", masked_rows),
    ):
        if part:
            c.statements.append(f"float *const {name} = scratch{f' + {size}' if size else ''};")
        size += part
    x, at = "input", 0
    for stage in graph.stages:
        c.begin(stage)
        for step in stage.steps:
            y = x
            if at in moving:
                y = "output" if at == moving[-1] else "ab"[moving.index(at) % 2]
            OPERATIONS[step.kind].write(c, step, x, y)
            x, at = y, at + 1
    if x == "input":
        c.loop({"i": math.prod(graph.output_shape)}, "output[i] = input[i];")
    if not size:
        c.statements.append("(void)scratch;")
    return max(size, 1)


def prefix_of(stem: str) -> str:
    """Returns the prefix of all names in a header, made from the stem of its file name."""
    name = identifier(stem)
    return name if name[:1].isalpha() else f"model_{name}".rstrip("_")
