"""The table that `summary` prints, in Keras' form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine._checks import integer

HEADER = ("Layer (type)", "Output Shape", "Param #")
# Where columns end, as shares of the line, and what borders and padding take from each.
ENDS = (0.45, 0.80, 1.0)
BORDERS = (3, 4, 3)
FULL_WIDTH, NARROWEST = 88, 40
BYTES_PER_PARAM = 4


class Counts(NamedTuple):
    """Numbers of parameters; `optimizer` is None before the first step."""

    trainable: int
    non_trainable: int
    optimizer: int | None


def table(name: str, rows: Sequence[tuple[str, str, str]], counts: Counts, line_length: int | None) -> str:
    """The summary of a model, lines ending in newlines.

    Args:
        name: the model's name.
        rows: layer, output shape and number of parameters of each layer.
        counts: what stands below the table.
        line_length: width in characters; None is that of the terminal, at most 88.
    """
    if line_length is None:
        import shutil  # it brings the compression modules along

        line_length = max(min(FULL_WIDTH, shutil.get_terminal_size().columns - 4), NARROWEST)
    widths = _column_widths(integer(line_length, "line_length", NARROWEST))
    separator = _rule("├─┼┤", widths)
    lines = [f'Model: "{name}"']
    lines += [_rule("┏━┳┓", widths), *_cells(HEADER, widths, "┃"), _rule("┡━╇┩", widths)]
    for index, row in enumerate(rows):
        lines += [separator] if index else []
        lines += _cells(row, widths, "│")
    lines += [_rule("└─┴┘", widths), *_totals(counts)]
    return "\n".join(lines) + "\n"


def _column_widths(line_length: int) -> list[int]:
    ends = [int(end * line_length) for end in ENDS]
    starts = [0, *ends[:-1]]
    return [end - start - border for start, end, border in zip(starts, ends, BORDERS, strict=True)]


def _rule(characters: str, widths: Sequence[int]) -> str:
    """A horizontal line; `characters` are its left end, body, crossing and right end."""
    left, body, crossing, right = tuple(characters)
    return left + crossing.join(body * (width + 2) for width in widths) + right


def _cells(texts: Sequence[str], widths: Sequence[int], border: str) -> list[str]:
    """One row of the table, on as many lines as its longest text needs."""
    from itertools import zip_longest
    from textwrap import wrap

    columns = [wrap(text, width) for text, width in zip(texts, widths, strict=True)]
    lines = []
    for layer, output_shape, params in zip_longest(*columns, fillvalue=""):
        cells = (layer.ljust(widths[0]), output_shape.ljust(widths[1]), params.rjust(widths[2]))
        lines.append(f"{border} {f' {border} '.join(cells)} {border}")
    return lines


def _totals(counts: Counts) -> list[str]:
    shown = {
        "Total params": counts.trainable + counts.non_trainable + (counts.optimizer or 0),
        "Trainable params": counts.trainable,
        "Non-trainable params": counts.non_trainable,
    }
    if counts.optimizer is not None:
        shown["Optimizer params"] = counts.optimizer
    return [f" {label}: {count:,} ({_size(count * BYTES_PER_PARAM)})" for label, count in shown.items()]


def _size(count: float) -> str:
    """Bytes in the largest unit that gives at least 1."""
    step = 1024
    for unit in ("B", "KB", "MB", "GB"):
        if count < step:
            return f"{count:.2f} {unit}"
        count /= step
    return f"{count:.2f} TB"
