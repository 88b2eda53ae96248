"""Steps on arrays in C: one function for each kind, which writes loops, and one expression for each instruction of a map.

A header has one sample, so that all lengths are known. Axes that every array of a loop goes through in the same way are
one loop.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine._base.checks import Shape
from engine.export.arrays import OF_NOTHING, Instruction, for_one_sample, is_empty, not_computable
from engine.export.c_writer import CWriter, broadcast_strides, index_text, literal
from engine.export.step import Step

# An expression of more characters gets a name.
_LONGEST = 90


def write_array_step(c: CWriter, step: Step, y: str, *inputs: str) -> None:
    """Writes a step on arrays.

    Raises:
        ValueError: if no program in C can compute it.
    """
    if step.kind not in ARRAYS:
        raise not_computable(step, c.stage, "a header in C")
    if step.kind in OF_NOTHING and any(map(is_empty, step.constants["views"])):
        c.loop({"i": step.size}, f"{y}[i] = {literal(OF_NOTHING[step.kind](step))};")
    elif step.size:
        ARRAYS[step.kind](c, step, y, *inputs)


def can_replace(step: Step, reads: Sequence[int]) -> bool:
    """Returns whether the output of a map may lie in the memory of its first input, which no other step reads later.

    Args:
        step: the map.
        reads: the values that it reads, by where they lie.
    """
    shape = for_one_sample(step.constants["shape"])
    views = zip(reads, map(for_one_sample, step.constants["views"]), strict=True)
    return all(
        broadcast_strides(view, shape) == broadcast_strides(shape, shape)
        for read, view in views
        if read == reads[0]
    )


class Loops(NamedTuple):
    """Nested loops: the names and lengths of their variables, and the index of an element in each of several arrays."""

    counts: dict[str, int]
    indices: list[str]


def loops(
    shape: Shape, strides: Sequence[Sequence[int]], name: str = "i", unmerged: Sequence[int] = ()
) -> Loops:
    """Returns loops over the axes of `shape`.

    Args:
        shape: the lengths.
        strides: for each array how far apart neighbours along each axis lie.
        name: the beginning of the names of the variables, which the number of the axis follows.
        unmerged: axes that have loops of their own.
    """
    merged: list[tuple[int, int, list[int]]] = []  # axis, length, strides
    for axis, length in enumerate(shape):
        strides_here = [strides_of_view[axis] for strides_of_view in strides]
        if length == 1 and axis not in unmerged:
            continue
        if merged and axis not in unmerged and merged[-1][0] not in unmerged:
            last, count, outer = merged[-1]
            if all(stride * length == before for stride, before in zip(strides_here, outer, strict=True)):
                merged[-1] = (last, count * length, strides_here)
                continue
        merged.append((axis, length, strides_here))
    names = [name] if len(merged) == 1 and not unmerged else [f"{name}{axis}" for axis, _, _ in merged]
    indices = [
        index_text(names, [strides_here[place] for _, _, strides_here in merged])
        for place in range(len(strides))
    ]
    return Loops(
        {index_name: length for index_name, (_, length, _) in zip(names, merged, strict=True)}, indices
    )


def _shapes(step: Step) -> tuple[Shape, list[Shape]]:
    """Returns the shapes of the output and of the inputs."""
    return for_one_sample(step.constants["shape"]), [for_one_sample(view) for view in step.constants["views"]]


def _moved(c: CWriter, shape: Shape, y: tuple[str, list[int], int], x: tuple[str, list[int], int]) -> None:
    """Writes a loop that copies elements; the arrays are given by their names, strides and first elements."""
    counts, (to, by) = loops(shape, [y[1], x[1]])
    to, by = (f"{first} + {at}" if first else at for first, at in ((y[2], to), (x[2], by)))
    c.loop(counts, f"{y[0]}[{to}] = {x[0]}[{by}];")


def _transpose(c: CWriter, step: Step, y: str, x: str) -> None:
    shape, (view,) = _shapes(step)
    strides = broadcast_strides(view, view)
    _moved(
        c,
        shape,
        (y, broadcast_strides(shape, shape), 0),
        (x, [strides[axis] for axis in step.constants["axes"]], 0),
    )


def _slice(c: CWriter, step: Step, y: str, x: str) -> None:
    shape, (view,) = _shapes(step)
    strides = [math.prod(view[axis + 1 :]) for axis in range(len(view))]
    begins = for_one_sample(step.constants["begin"])
    first = sum(begin * stride for begin, stride in zip(begins, strides, strict=True))
    steps = [by * stride for by, stride in zip(step.constants["step"], strides, strict=True)]
    _moved(c, shape, (y, broadcast_strides(shape, shape), 0), (x, steps, first))


def _join(c: CWriter, step: Step, y: str, *parts: str) -> None:
    shape, views = _shapes(step)
    axis, first = step.constants["axis"], 0
    strides = [math.prod(shape[index + 1 :]) for index in range(len(shape))]
    for part, view in zip(parts, views, strict=True):
        if math.prod(view):
            part_strides = [math.prod(view[index + 1 :]) for index in range(len(view))]
            _moved(c, view, (y, strides, first * strides[axis]), (part, part_strides, 0))
        first += view[axis]


# For each reduction the first value, and the next one from `value` and an element `x`.
_REDUCTIONS = {
    "prod": ("1.0f", "value * x"),
    "max": ("-INFINITY", "x > value || x != x ? x : value"),
    "min": ("INFINITY", "x < value || x != x ? x : value"),
}


def _reduce(c: CWriter, step: Step, y: str, x: str) -> None:
    shape, (view,) = _shapes(step)
    axes, kind = step.constants["axes"], step.constants["reduction"]
    strides = [math.prod(view[axis + 1 :]) for axis in range(len(view))]
    remaining = [axis for axis in range(len(view)) if axis not in axes]
    outer = loops(shape, [broadcast_strides(shape, shape), [strides[axis] for axis in remaining]])
    inner = loops(tuple(view[axis] for axis in axes), [[strides[axis] for axis in axes]], "j")
    at = " + ".join(offset for offset in (outer.indices[1], inner.indices[0]) if offset != "0") or "0"
    element = f"{x}[{at}]"
    if kind == "sum":
        lines = ["float sum[2] = {0.0f, 0.0f};", *c.nested(inner.counts, c.added("sum", element))]
        result = "sum[0]"
    elif kind in ("argmax", "argmin"):
        beyond = ">" if kind == "argmax" else "<"
        stride = strides[axes[0]]
        best = (
            f"{x}[{index_text(['best'], [stride])} + {outer.indices[1]}]"
            if outer.indices[1] != "0"
            else f"{x}[{index_text(['best'], [stride])}]"
        )
        better = f"if ({element} {beyond} {best}) best = {next(iter(inner.counts), '0')};"
        lines, result = ["long best = 0;", *c.nested(inner.counts, better)], "(float)best"
    else:
        first, following = _REDUCTIONS[kind]
        body = c.nested(inner.counts, f"const float x = {element};", f"value = {following};")
        lines, result = [f"float value = {first};", *body], "value"
    c.loop(outer.counts, *lines, f"{y}[{outer.indices[0]}] = {result};")


def _cumulative_sum(c: CWriter, step: Step, y: str, x: str) -> None:
    shape, _ = _shapes(step)
    axis = step.constants["axis"]
    strides = [math.prod(shape[index + 1 :]) for index in range(len(shape))]
    other_axes = [index for index in range(len(shape)) if index != axis]
    outer = loops(tuple(shape[index] for index in other_axes), [[strides[index] for index in other_axes]])
    row = f"{shape[axis] - 1} - j" if step.constants["reverse"] else "j"
    at = f"({row}) * {strides[axis]}" if step.constants["reverse"] else index_text(["j"], [strides[axis]])
    at = at if outer.indices[0] == "0" else f"{outer.indices[0]} + {at}"
    inner = c.nested({"j": shape[axis]}, f"sum += {x}[{at}];", f"{y}[{at}] = sum;")
    c.loop(outer.counts, "float sum = 0.0f;", *inner)


def _sort(c: CWriter, step: Step, y: str, x: str) -> None:
    """By insertion. NaN comes last."""
    shape, _ = _shapes(step)
    n = shape[-1]
    outer = loops(shape[:-1], [broadcast_strides(shape, shape)[:-1]])
    row = "" if outer.indices[0] == "0" else f"{outer.indices[0]} + "
    if step.constants["gives_places"]:
        before, moved, placed = f"{x}[{row}(long){y}[{row}to - 1]]", f"{y}[{row}to - 1]", "(float)j"
    else:
        before, moved, placed = f"{y}[{row}to - 1]", f"{y}[{row}to - 1]", "own"
    inner = c.nested(
        {"j": n},
        f"const float own = {x}[{row}j];",
        "long to = j;",
        f"for (; to > 0 && (own < {before} || ({before} != {before} && own == own)); --to) {y}[{row}to] = {moved};",
        f"{y}[{row}to] = {placed};",
    )
    c.loop(outer.counts, *inner)


def _gather(c: CWriter, step: Step, y: str, x: str, indices: str) -> None:
    """Rows whose index doesn't exist are NaN."""
    _, (rows, indices_shape) = _shapes(step)
    axes = step.constants["batch_axes"]
    of_row, count = math.prod(rows[axes + 1 :]), rows[axes]
    stored = [
        count * of_row * math.prod(rows[index + 1 : axes]) if index < axes else 0
        for index in range(len(indices_shape))
    ]
    strides_of_rows = broadcast_strides(indices_shape, indices_shape)
    row_strides = [stride * of_row for stride in strides_of_rows]
    outer = loops(indices_shape, [row_strides, stored, strides_of_rows])
    inner = {"j": of_row} if of_row > 1 else {}
    names = ["j"] if inner else []
    to, row = (
        " + ".join(offset for offset in (at, *names) if offset != "0") or "0" for at in outer.indices[:2]
    )
    element = f"{row} + at * {of_row}" if row != "0" else f"at * {of_row}"
    c.loop(
        outer.counts,
        f"const float place = {indices}[{outer.indices[2]}];",
        f"const long at = place >= 0.0f && place < {literal(float(count))} ? (long)place : -1;",
        *c.nested(inner, f"{y}[{to}] = at < 0 ? NAN : {x}[{element}];"),
    )


def _scatter(c: CWriter, step: Step, y: str, x: str, indices: str) -> None:
    """Rows whose index doesn't exist are left out."""
    shape, (_, indices_shape) = _shapes(step)
    axes = step.constants["batch_axes"]
    batches, count, of_row = math.prod(shape[:axes]), shape[axes], math.prod(shape[axes + 1 :])
    each = math.prod(indices_shape[axes:])
    c.loop({"i": math.prod(shape)}, f"{y}[i] = {literal(step.constants['initial'])};")
    change = (
        "*to += from"
        if step.constants["reduction"] == "sum"
        else "if (from > *to || from != from) *to = from"
    )
    c.loop(
        {"i": batches * each},
        f"const float place = {indices}[i];",
        f"const long at = place >= 0.0f && place < {literal(float(count))} ? (long)place : -1;",
        "if (at < 0) continue;",
        *c.nested(
            {"j": of_row},
            f"const float from = {x}[i * {of_row} + j];",
            f"float *const to = {y} + (i / {each} * {count} + at) * {of_row} + j;",
            f"{change};",
        ),
    )


def _contraction(c: CWriter, step: Step, y: str, a: str, b: str) -> None:
    shape, views = _shapes(step)
    a_letters, b_letters, y_letters = (step.constants[f"{name}_letters"] for name in "aby")
    lengths: dict[str, int] = {}
    for letters, view in ((a_letters, views[0]), (b_letters, views[1])):
        lengths |= dict(zip(letters, view, strict=True))
    summed = [letter for letter in a_letters if letter not in y_letters]
    inner, units = "".join(summed), "".join(letter for letter in b_letters if letter not in summed)
    if (
        a_letters.endswith(inner)
        and b_letters == inner + units
        and y_letters == a_letters[: len(a_letters) - len(inner)] + units
    ):
        sizes = (
            math.prod(lengths[letter] for letter in part)
            for part in (a_letters[: len(a_letters) - len(inner)], inner, units)
        )
        c.call("product", a, b, y, *sizes)
        return

    def strides(letters: str, view: Shape, along: Sequence[str]) -> list[int]:
        strides_by_letter = {letter: math.prod(view[index + 1 :]) for index, letter in enumerate(letters)}
        return [strides_by_letter.get(letter, 0) for letter in along]

    outer = loops(
        shape,
        [
            broadcast_strides(shape, shape),
            strides(a_letters, views[0], y_letters),
            strides(b_letters, views[1], y_letters),
        ],
    )
    within = loops(
        tuple(lengths[letter] for letter in summed),
        [strides(a_letters, views[0], summed), strides(b_letters, views[1], summed)],
        "j",
    )
    at = [
        " + ".join(offset for offset in pair if offset != "0") or "0"
        for pair in zip(outer.indices[1:], within.indices, strict=True)
    ]
    added = c.nested(within.counts, c.added("sum", f"{a}[{at[0]}] * {b}[{at[1]}]"))
    c.loop(outer.counts, "float sum[2] = {0.0f, 0.0f};", *added, f"{y}[{outer.indices[0]}] = sum[0];")


def _map(c: CWriter, step: Step, y: str, *inputs: str) -> None:
    shape, views = _shapes(step)
    code: Sequence[Instruction] = step.constants["code"]
    coordinates = sorted(
        {int(instruction.number) for instruction in code if instruction.operation == "coordinate"}
    )
    counts, (to, *at) = loops(
        shape,
        [broadcast_strides(shape, shape), *(broadcast_strides(view, shape) for view in views)],
        unmerged=coordinates,
    )
    elements = [f"{x}[{offset}]" for x, offset in zip(inputs, at, strict=True)]
    expressions = _Expressions(c, elements, code, [f"i{axis}" for axis in range(len(shape))])
    c.loop(counts, *expressions.lines, f"{y}[{to}] = {expressions.result};")


class _Expressions:
    """The code of a map in C.

    Args:
        c: the writer, which is told of functions that are called.
        elements: the inputs.
        code: the instructions.
        names: of the loops.

    Attributes:
        lines: the definitions of what is used more than once.
        result: the expression of the result.
    """

    def __init__(
        self, c: CWriter, elements: Sequence[str], code: Sequence[Instruction], names: Sequence[str]
    ) -> None:
        self.lines: list[str] = []
        self._c, self._names, self._elements = c, names, elements
        self._uses = Counter(operand for instruction in code for operand in _counted(instruction))
        self._texts: dict[int, str] = {}
        self._conditions: dict[int, str] = {}
        for register, element in enumerate(elements):
            self._texts[register] = self._named(
                register, element, "x" if len(elements) == 1 else f"x{register}"
            )
        for index, instruction in enumerate(code):
            self._add(len(elements) + index, instruction)
        self.result = _bare(self._texts[len(elements) + len(code) - 1])

    def _named(self, register: int, text: str, name: str = "", kind: str = "float") -> str:
        """Returns an expression, or the name that it gets, if it is used more than once."""
        if self._uses[register] <= 1 and len(text) <= _LONGEST:
            return text
        name = name or f"t{len(self.lines)}"
        self.lines.append(f"const {kind} {name} = {_bare(text)};")
        return name

    def _add(self, register: int, instruction: Instruction) -> None:
        operands = [self._texts[operand] for operand in instruction.operands]
        if instruction.operation == "constant":
            number = literal(instruction.number)
            text = f"({number})" if number.startswith("-") else number
        elif instruction.operation == "samples":
            text = "1.0f"
        elif instruction.operation == "add" and "0.0f" in operands:
            text = operands[operands[0] == "0.0f"]
        elif instruction.operation in CONDITIONS:
            condition = self._named(register, CONDITIONS[instruction.operation].format(*operands), kind="int")
            self._conditions[register], text = condition, f"({condition} ? 1.0f : 0.0f)"
        else:
            text = self._named(register, self._formula(instruction, operands))
        self._texts[register] = text

    def _formula(self, instruction: Instruction, operands: Sequence[str]) -> str:
        if instruction.operation == "coordinate":
            return f"(float){self._names[int(instruction.number)]}"
        if instruction.operation == "select":
            condition = self._conditions.get(instruction.operands[0], f"{operands[0]} != 0.0f")
            return f"({condition} ? {_bare(operands[1])} : {_bare(operands[2])})"
        for function in _CALLED.get(instruction.operation, ()):
            self._c.use(function)
        return INSTRUCTIONS[instruction.operation].format(*operands).replace("@", f"{self._c.prefix}_")


def _counted(instruction: Instruction) -> list[int]:
    """Returns the operands of an instruction, as often as its expression has them."""
    formula = INSTRUCTIONS.get(instruction.operation, "{0}{1}{2}")
    return [
        operand
        for index, operand in enumerate(instruction.operands)
        for _ in range(formula.count(f"{{{index}}}"))
    ]


def _bare(text: str) -> str:
    """Returns an expression without parentheses around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and index < len(text) - 1:
            return text
    return text[1:-1] if not text.startswith("(float)") else text


CONDITIONS = {"equal": "{0} == {1}", "less": "{0} < {1}", "less_equal": "{0} <= {1}"}

# One expression for each instruction of a map that has operands; `@` stands for the prefix of the header.
INSTRUCTIONS = {
    "negate": "(-{0})",
    "abs": "fabsf({0})",
    "sign": "({0} > 0.0f ? 1.0f : {0} < 0.0f ? -1.0f : {0})",
    "exp": "expf({0})",
    "expm1": "expm1f({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sqrt": "sqrtf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "tanh": "tanhf({0})",
    "sigmoid": "(1.0f / (1.0f + expf(-{0})))",
    "softplus": "(({0} > 0.0f ? {0} : 0.0f) + log1pf(expf(-fabsf({0}))))",
    "gaussian": "expf(-({0} * {0}))",
    "erf": "erff({0})",
    "erfinv": "@erfinv({0})",
    "floor": "floorf({0})",
    "round": "rintf({0})",
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": "({0} * {1})",
    "divide": "({0} / {1})",
    "power": "powf({0}, {1})",
    "remainder": "@remainder({0}, {1})",
    "minimum": "({1} < {0} || {1} != {1} ? {1} : {0})",
    "maximum": "({1} > {0} || {1} != {1} ? {1} : {0})",
    "atan2": "atan2f({0}, {1})",
    "bitwise_and": "(float)((int){0} & (int){1})",
}
_CALLED = {"erfinv": ("erfinv",), "remainder": ("remainder",)}

# One function for each kind of step on arrays. Constants and reshapes have no statements.
ARRAYS: dict[str, Callable[..., None]] = {
    "map": _map,
    "reduce": _reduce,
    "cumulative_sum": _cumulative_sum,
    "sort": _sort,
    "transpose": _transpose,
    "slice": _slice,
    "join": _join,
    "gather": _gather,
    "scatter": _scatter,
    "contraction": _contraction,
    "constants": lambda *_: None,
    "reshape": lambda *_: None,
}
