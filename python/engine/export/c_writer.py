"""Collects the parts of a C header: constant arrays, the functions that are used, and the statements of the prediction."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape
from engine._base.spec import free_name
from engine.export.c_functions import FUNCTIONS
from engine.export.graph import Stage
from engine.export.step import Step

# The name of an array begins with so many characters of the name of a layer, an input or an output.
KEPT = 40
_PER_LINE = 8
_INDENT = "    "


class CWriter:
    """The parts of a header.

    Args:
        prefix: the beginning of every name in the header.
        reserved: names, without the prefix, that no array of a layer may have.
    """

    def __init__(self, prefix: str, reserved: Iterable[str]) -> None:
        self.prefix = prefix
        self.statements: list[str] = []
        self._arrays: dict[str, NDArray[Any]] = {}
        self._functions: list[str] = []
        self._same: dict[str, list[str]] = {}  # for each wanted name the names that arrays got instead
        self._used_names = {*FUNCTIONS, "predict", "test", *reserved}
        self._layer = self.stage = ""

    def begin(self, stage: Stage) -> None:
        """Begins the statements of a layer, whose name the next arrays get."""
        self._layer, self.stage = identifier(stage.layer[:KEPT]) or "layer", stage.layer
        input_text = " and ".join(map(shape_in_comment, stage.input_shapes))
        shapes = (
            f"{input_text} to {shape_in_comment(stage.shape)}"
            if input_text
            else shape_in_comment(stage.shape)
        )
        self.statements.append(f"/* {harmless(stage.layer)} ({harmless(stage.kind)}): {shapes} */")

    def array(self, array: NDArray[Any], name: str, owner: str | None = None) -> str:
        """Adds a constant array and returns its name in the header.

        Args:
            array: the numbers.
            name: the end of its name.
            owner: the name of its layer; default the current one.
        """
        layer = self._layer if owner is None else identifier(owner[:KEPT]) or "layer"
        base = f"{layer}_{identifier(name) or 'weight'}"
        same = self._same.setdefault(base, [])
        same_values = [other for other in same if np.array_equal(self._arrays[other], array)]
        if same_values:  # another use of the layer has added it
            return f"{self.prefix}_{same_values[0]}"
        free = free_name(base, self._used_names, first=2)
        self._used_names.add(free)
        self._arrays[free] = array
        same.append(free)
        return f"{self.prefix}_{free}"

    def call(self, function: str, *arguments: object) -> None:
        """Adds a call of one of FUNCTIONS."""
        self._functions.append(function)
        self.statements.append(f"{self.prefix}_{function}({', '.join(map(str, arguments))});")

    def use(self, function: str) -> None:
        """Notes that one of FUNCTIONS is called in an expression."""
        self._functions.append(function)

    def loop(self, counts: Mapping[str, int], *statements: str) -> None:
        """Adds statements within nested loops, one for each name and count, the first outermost."""
        block = not counts and len(statements) > 1  # so that names within it are its own
        self.statements.extend(
            ["{", *(f"{_INDENT}{statement}" for statement in statements), "}"]
            if block
            else self.nested(counts, *statements)
        )

    @staticmethod
    def nested(counts: Mapping[str, int], *statements: str) -> list[str]:
        """Returns statements within nested loops."""
        lines = list(statements)
        for name, count in reversed([*counts.items()]):
            head = f"for (long {name} = 0; {name} < {count}; ++{name})"
            lines = [f"{head} {{", *(f"{_INDENT}{line}" for line in lines), "}"]
        return lines

    def added(self, name: str, term: str) -> str:
        """Returns the statement that adds a term to the sum `name`, which has two numbers."""
        self.use("add")
        return f"{self.prefix}_add({name}, {term});"

    def each(self, formula: str, x: str, y: str, count: int) -> None:
        """Adds a loop `y = formula` over `count` numbers; the formula contains `x`."""
        self.loop({"i": count}, f"const float x = {x}[i];", f"{y}[i] = {formula};")

    def columns(self, formula: str, x: str, y: str, step: Step) -> None:
        """Adds loops `y = formula` over rows and columns; the formula contains `x`, and `j` for the column."""
        rows = {} if step.rows == 1 else {"row": step.rows}
        at = f"row * {step.units} + j" if rows else "j"
        self.loop(rows | {"j": step.units}, f"const float x = {x}[{at}];", f"{y}[{at}] = {formula};")

    def used_functions(self) -> Iterator[str]:
        """Yields the text of the functions that were called, and of those that they call."""
        called = "".join(FUNCTIONS[name] for name in self._functions)
        for name, text in FUNCTIONS.items():
            if f"@{name}(" in called:
                yield text.replace("@", f"{self.prefix}_")

    def definitions(self) -> Iterator[str]:
        """Yields the definitions of the arrays."""
        for name, array in self._arrays.items():
            yield from definition(f"{self.prefix}_{name}", array)


def definition(name: str, array: NDArray[Any], size: str = "") -> Iterator[str]:
    """Yields the lines that define a constant array."""
    floats = array.dtype.kind == "f"
    flat = array.reshape(-1)
    yield f"static const {'float' if floats else 'long'} {name}[{size or flat.size}] = {{\n"
    for begin in range(0, flat.size, _PER_LINE):
        part = flat[begin : begin + _PER_LINE]
        yield f"    {', '.join(map(literal if floats else str, part.tolist()))},\n"
    yield "};\n"


def literal(number: float) -> str:
    """Returns the shortest decimal literal that reads as this float; C++ has hexadecimal literals only since 2017."""
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0.0 else "-INFINITY"
    return f"{np.float32(number)!s}f"


def with_constants(formula: str, constants: tuple[float, ...]) -> str:
    """Returns `formula` with its constants filled in."""
    return formula.format(
        *(literal(number) if number >= 0.0 else f"({literal(number)})" for number in constants)
    )


def identifier(name: str) -> str:
    """Returns `name` as an identifier of C and C++, which reserves names with two underscores in a row."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


def harmless(text: str) -> str:
    """Returns `text` without characters that could end a comment or the line."""
    return re.sub(r"[^A-Za-z0-9_ .,:+-]", "_", text)


def shape_in_comment(shape: Shape) -> str:
    """Returns the text of a shape: `(28, 28)`, or `1` for a single number."""
    return f"({', '.join(map(str, shape))})" if shape else "1"


def index_text(names: Sequence[str], strides: Sequence[int], first: int = 0) -> str:
    """Returns the text of `first + names[0] * strides[0] + ...`."""
    scaled = zip(names, strides, strict=True)
    terms = [name if stride == 1 else f"{name} * {stride}" for name, stride in scaled if stride]
    if first or not terms:
        terms.insert(0, str(first))
    return " + ".join(terms)


def broadcast_strides(shape: Sequence[int], full_shape: Sequence[int]) -> list[int]:
    """Returns the stride of an array of this shape along each axis of `full_shape`, to which it is broadcast."""
    padded = [1] * (len(full_shape) - len(shape)) + list(shape)
    return [0 if size == 1 else math.prod(padded[axis + 1 :]) for axis, size in enumerate(padded)]
