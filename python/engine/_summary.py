"""The table that `summary` prints, in Keras' form."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from engine._checks import integer

HEADER = ("Layer (type)", "Output Shape", "Param #")
# Where columns end, as shares of the line, and what borders and padding take from each.
ENDS = (0.45, 0.80, 1.0)
BORDERS = (3, 4, 3)
FULL_WIDTH, NARROWEST = 88, 40
BYTES_PER_PARAM = 4
# What each column shows in color: the kind of layer, sizes and None in shapes, numbers.
COLORED = (r"(?<=\()\w+(?=\)$)", r"None|\d+", r"[\d,]+")
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


class Style(NamedTuple):
    """How a terminal is told of colors: the codes of kinds, Nones and numbers; empty for plain text."""

    kind: str = ""
    none: str = ""
    number: str = ""
    bold: bool = False

    @classmethod
    def of_terminal(cls) -> Style:
        """What standard output can show, judged as the library rich does, which Keras prints with."""
        import os

        term = os.environ.get("TERM", "")
        if sys.stdout is None or not sys.stdout.isatty() or term.lower() in ("dumb", "unknown"):
            return cls()
        if os.environ.get("NO_COLOR"):
            return cls(bold=True)
        if os.environ.get("COLORTERM") in ("truecolor", "24bit") or term.endswith(("256color", "kitty")):
            return cls("38;5;33", "38;5;45", "38;5;34", True)
        return cls("94", "96", "32", True)

    def heading(self, text: str) -> str:
        """`text` in bold."""
        return f"{BOLD}{text}{PLAIN}" if self.bold else text

    def colored(self, text: str, column: int) -> list[str]:
        """The characters of a cell in colors."""
        characters = list(text)
        for found in re.finditer(COLORED[column], text):
            color = self.kind if column == 0 else self.none if found[0] == "None" else self.number
            for position in range(*found.span()) if color else ():
                characters[position] = f"\x1b[{color}m{text[position]}{PLAIN}"
        return characters


class Counts(NamedTuple):
    """Numbers of parameters; `optimizer` is None before the first step."""

    trainable: int
    non_trainable: int
    optimizer: int | None


def table(
    name: str,
    rows: Sequence[tuple[str, str, str]],
    counts: Counts,
    line_length: int | None,
    style: Style,
) -> str:
    """The summary of a model, lines ending in newlines.

    Args:
        name: the model's name.
        rows: layer, output shape and number of parameters of each layer.
        counts: what stands below the table.
        line_length: width in characters; None is that of the terminal, at most 88.
        style: plain, or what a terminal can show.
    """
    if line_length is None:
        import shutil  # it brings the compression modules along

        line_length = max(min(FULL_WIDTH, shutil.get_terminal_size().columns - 4), NARROWEST)
    widths = _column_widths(integer(line_length, "line_length", NARROWEST))
    separator = _rule("├─┼┤", widths)
    lines = [style.heading(f'Model: "{name}"')]
    lines += [_rule("┏━┳┓", widths), _header(widths, style), _rule("┡━╇┩", widths)]
    for index, row in enumerate(rows):
        lines += [separator] if index else []
        lines += _row(row, widths, style)
    lines += [_rule("└─┴┘", widths), *_totals(counts, style)]
    return "\n".join(lines) + "\n"


def _column_widths(line_length: int) -> list[int]:
    ends = [int(end * line_length) for end in ENDS]
    starts = [0, *ends[:-1]]
    return [end - start - border for start, end, border in zip(starts, ends, BORDERS, strict=True)]


def _rule(characters: str, widths: Sequence[int]) -> str:
    """A horizontal line; `characters` are its left end, body, crossing and right end."""
    left, body, crossing, right = tuple(characters)
    return left + crossing.join(body * (width + 2) for width in widths) + right


def _header(widths: Sequence[int], style: Style) -> str:
    cells = [HEADER[0].ljust(widths[0]), HEADER[1].ljust(widths[1]), HEADER[2].rjust(widths[2])]
    space = style.heading(" ")
    return f"┃{'┃'.join(f'{space}{style.heading(cell)}{space}' for cell in cells)}┃"


def _row(texts: Sequence[str], widths: Sequence[int], style: Style) -> list[str]:
    """One row of the table, on as many lines as its longest text needs."""
    from itertools import zip_longest

    columns = [_cell(text, column, widths[column], style) for column, text in enumerate(texts)]
    blank = [" " * width for width in widths]
    lines = zip_longest(*columns)
    return [f"│ {' │ '.join(cell or blank[i] for i, cell in enumerate(line))} │" for line in lines]


def _cell(text: str, column: int, width: int, style: Style) -> list[str]:
    """The lines of a cell, `width` wide and in colors."""
    from textwrap import wrap

    characters, begin, lines = style.colored(text, column), 0, []
    for line in wrap(text, width):
        begin = text.index(line, begin)
        shown = "".join(characters[begin : begin + len(line)])
        for color in {style.kind, style.none, style.number} - {""}:
            shown = shown.replace(f"{PLAIN}\x1b[{color}m", "")  # neighbours share a color
        padding = " " * (width - len(line))
        lines.append(padding + shown if column == len(ENDS) - 1 else shown + padding)
        begin += len(line)
    return lines


def _totals(counts: Counts, style: Style) -> list[str]:
    shown = {
        "Total params": counts.trainable + counts.non_trainable + (counts.optimizer or 0),
        "Trainable params": counts.trainable,
        "Non-trainable params": counts.non_trainable,
    }
    if counts.optimizer is not None:
        shown["Optimizer params"] = counts.optimizer
    lines = []
    for label, count in shown.items():
        number = f"\x1b[{style.number}m{count:,}{PLAIN}" if style.number else f"{count:,}"
        lines.append(f"{style.heading(f' {label}: ')}{number} ({_size(count * BYTES_PER_PARAM)})")
    return lines


def _size(count: float) -> str:
    """Bytes in the largest unit that gives at least 1."""
    step = 1024
    for unit in ("B", "KB", "MB", "GB"):
        if count < step:
            return f"{count:.2f} {unit}"
        count /= step
    return f"{count:.2f} TB"
