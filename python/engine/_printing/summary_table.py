"""The table that `Model.summary` prints, in Keras' form, and the same in HTML for notebooks."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from engine._base.checks import integer, listing, real

HEADER = ("Layer (type)", "Output Shape", "Param #", "Connected to", "Trainable")
ALIGN = (str.ljust, str.ljust, str.rjust, str.ljust, str.center)
# Where the columns end, as shares of the line. The column "Trainable", if shown, takes the last tenth of the line.
ENDS, CONNECTED_ENDS = (0.45, 0.80, 1.0), (0.3, 0.56, 0.74, 1.0)
FULL_WIDTH, CONNECTED_WIDTH, TRAINABLE_WIDTH, NARROWEST = 88, 108, 12, 40
NARROWEST_COLUMN = 4
BYTES_PER_PARAM = 4
# The parts of each column that are in color: the class of the layer, sizes and None in shapes, numbers, Y or N.
COLORED = (r"(?<=\()\w+(?=\)$)", r"None|\d+", r"[\d,]+", r"(?<=\[)\d+(?=\])", r"[YN]")
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


class Style(NamedTuple):
    """The terminal's codes for the colors of classes, None and numbers. Empty strings give plain text."""

    kind: str = ""
    none: str = ""
    number: str = ""
    bold: bool = False

    @classmethod
    def of_terminal(cls) -> Style:
        """Returns the style for standard output. The rules are those of the library rich, with which Keras prints."""
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
        """Returns `text` in bold, if the style has it."""
        return f"{BOLD}{text}{PLAIN}" if self.bold else text

    def colored(self, text: str, column: int) -> list[str]:
        """Returns the characters of a cell, each with the codes of its color."""
        characters = list(text)
        for match in re.finditer(COLORED[column], text):
            color = self.kind if column == 0 else self.none if match[0] == "None" else self.number
            for position in range(*match.span()) if color else ():
                characters[position] = f"\x1b[{color}m{text[position]}{PLAIN}"
        return characters


class WeightCounts(NamedTuple):
    """The numbers of parameters below the table; `optimizer` is None before the first step of training."""

    trainable: int
    non_trainable: int
    optimizer: int | None


class Layout(NamedTuple):
    """The layout of a table.

    Args:
        line_length: width in characters. None takes that of the terminal, at most 88, or 100 with the column "Trainable".
        positions: where the columns end, as shares of the line; None for `ENDS`.
        show_trainable: whether there is a column "Trainable".
        connected: whether there is a column "Connected to".
    """

    line_length: int | None = None
    positions: Sequence[float] | None = None
    show_trainable: bool = False
    connected: bool = False

    @property
    def columns(self) -> list[int]:
        """The numbers of the columns in `HEADER` that are shown."""
        return [0, 1, 2, *([3] if self.connected else []), *([4] if self.show_trainable else [])]


def table(
    name: str, rows: Sequence[Sequence[str]], counts: WeightCounts, layout: Layout, style: Style
) -> str:
    """Returns the summary of a model, whose lines end in newlines.

    Args:
        name: the model's name.
        rows: for each layer its name, output shape, number of parameters and, if shown, what it is connected to, and
            whether it is trainable.
        counts: the numbers below the table.
        layout: the layout of the table.
        style: the colors.
    """
    line_length = layout.line_length
    if line_length is None:
        import shutil  # imported here, since it imports the compression modules

        full = CONNECTED_WIDTH if layout.connected else FULL_WIDTH
        full += TRAINABLE_WIDTH * layout.show_trainable
        line_length = max(min(full, shutil.get_terminal_size().columns - 4), NARROWEST)
    widths = _column_widths(integer(line_length, "line_length", NARROWEST), layout)
    separator = _rule("├─┼┤", widths)
    lines = [style.heading(f'Model: "{name}"')]
    lines += [_rule("┏━┳┓", widths), _header(layout.columns, widths, style), _rule("┡━╇┩", widths)]
    for index, row in enumerate(rows):
        lines += [separator] if index else []
        lines += _row(row, layout.columns, widths, style)
    lines += [_rule("└─┴┘", widths), *_totals(counts, style)]
    return "\n".join(lines) + "\n"


def html_table(name: str, rows: Sequence[Sequence[str]], counts: WeightCounts) -> str:
    """Returns the summary of a model as HTML.

    Args:
        name: the model's name.
        rows: for each layer its name, output shape and number of parameters.
        counts: the numbers below the table.
    """
    from html import escape  # only notebooks need it

    def line(cells: Sequence[str], tag: str) -> str:
        aligned = zip(cells, ("left", "left", "right"), strict=False)
        return "".join(f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in aligned)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    totals = "<br>".join(escape(text.strip()) for text in _totals(counts, Style()))
    return (
        f"<div><p><strong>Model: {escape(name)}</strong></p>"
        f"<table><thead><tr>{line(HEADER[:3], 'th')}</tr></thead><tbody>{body}</tbody></table><p>{totals}</p></div>"
    )


def between(names: Sequence[str], layer_range: object) -> slice:
    """Returns the slice of the layers from the first match of one pattern to the last match of the other.

    Args:
        names: the names of the layers.
        layer_range: two names or regular expressions; None for all layers.

    Raises:
        ValueError: if `layer_range` is anything else, or a pattern matches no layer.
    """
    if layer_range is None:
        return slice(None)
    patterns = list(layer_range) if isinstance(layer_range, (tuple, list)) else []
    if len(patterns) != 2 or not all(isinstance(pattern, str) for pattern in patterns):  # noqa: PLR2004 # the two ends
        msg = f"`layer_range` must be two names of layers, first and last, got {layer_range!r}"
        raise ValueError(msg)
    matches = [[i for i, name in enumerate(names) if re.match(pattern, name)] for pattern in patterns]
    if not all(matches):
        msg = f"`layer_range={patterns}` names no layer; the layers are: {listing(names)}"
        raise ValueError(msg)
    ends = matches if min(matches[0]) <= max(matches[1]) else matches[::-1]
    return slice(min(ends[0]), max(ends[1]) + 1)


def _column_widths(line_length: int, layout: Layout) -> list[int]:
    """Returns the number of characters in each column without borders and padding, which are taken evenly from all."""
    default = CONNECTED_ENDS if layout.connected else ENDS
    ends = [real(end, "positions", 0.0) for end in layout.positions or default]
    count = len(layout.columns)
    if layout.show_trainable:
        ends = [*(0.9 * end for end in ends), 1.0]
    ends_in_text = [0, *(int(end * line_length) for end in ends)]
    widths = [end - start for start, end in itertools.pairwise(ends_in_text)][:count]
    if len(widths) < count or min(widths) < NARROWEST_COLUMN:
        msg = (
            f"`positions` must give {len(default)} columns of at least {NARROWEST_COLUMN} characters in `line_length="
            f"{line_length}`, got {layout.positions}"
        )
        raise ValueError(msg)
    excess = max(sum(widths) + 3 * count + 1 - line_length, 0)
    for index in range(count):
        reduction = round(excess / (count - index))
        widths[index] -= reduction
        excess -= reduction
    return widths


def _rule(characters: str, widths: Sequence[int]) -> str:
    """Returns a horizontal line; `characters` are its left end, body, crossing and right end."""
    left, body, crossing, right = tuple(characters)
    return left + crossing.join(body * (width + 2) for width in widths) + right


def _header(columns: Sequence[int], widths: Sequence[int], style: Style) -> str:
    cells = [
        ALIGN[column](cut(HEADER[column], width), width)
        for column, width in zip(columns, widths, strict=True)
    ]
    space = style.heading(" ")
    return f"┃{'┃'.join(f'{space}{style.heading(cell)}{space}' for cell in cells)}┃"


def cut(text: str, width: int) -> str:
    """Returns `text`, shortened to `width` characters if it is longer."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _row(texts: Sequence[str], numbers: Sequence[int], widths: Sequence[int], style: Style) -> list[str]:
    """Returns the lines of one row of the table, as many as its longest cell needs."""
    from itertools import zip_longest

    columns = [
        _cell(text, number, width, style) for text, number, width in zip(texts, numbers, widths, strict=True)
    ]
    blank = [" " * width for width in widths]
    lines = zip_longest(*columns)
    return [f"│ {' │ '.join(cell or blank[i] for i, cell in enumerate(line))} │" for line in lines]


def _cell(text: str, column: int, width: int, style: Style) -> list[str]:
    """Returns the lines of a cell in colors, each `width` characters wide."""
    from textwrap import wrap

    characters, begin, lines = style.colored(text, column), 0, []
    for line in wrap(text, width, break_long_words=False, break_on_hyphens=False):
        begin = text.index(line, begin)
        shown = "".join(characters[begin : begin + len(line)])
        if len(line) > width:
            shown = cut(line, width)
        for color in {style.kind, style.none, style.number} - {""}:
            shown = shown.replace(f"{PLAIN}\x1b[{color}m", "")  # join neighbours of the same color
        left, _, right = ALIGN[column]("\0", width - min(len(line), width) + 1).partition("\0")
        lines.append(left + shown + right)
        begin += len(line)
    return lines


def _totals(counts: WeightCounts, style: Style) -> list[str]:
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
    """Returns a number of bytes in the largest unit that gives at least 1."""
    step = 1024
    for unit in ("B", "KB", "MB", "GB"):
        if count < step:
            return f"{count:.2f} {unit}"
        count /= step
    return f"{count:.2f} TB"
