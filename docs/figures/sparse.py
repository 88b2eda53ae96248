"""Draws a digit of MNIST and its record of nonzero pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.svg import Drawing

_BLOCK = 256
_SHOWN = 8


def record(image: NDArray[np.uint8]) -> Drawing:
    """Draws the record of an image, uint8 (28, 28)."""
    row = image.reshape(-1)
    found = np.flatnonzero(row)
    drawing = Drawing(
        760,
        300,
        f"An image of 784 bytes, of which {len(found)} are not zero, and its record",
        f"An image of MNIST and its record. Of {row.size} bytes {len(found)} are not zero; the products of the first layer "
        "visit those alone. Ends and positions say where they are, in blocks of 256 inputs: the chains of the sum.",
    )
    _pixels(drawing, image)
    _tape(drawing, row)
    edges = [*range(0, row.size, _BLOCK), row.size]
    ends = [int(np.count_nonzero(row[:end])) for end in edges[1:]]
    values: list[tuple[str, list[Any], bool]] = [
        ("ends of blocks", ends, False),
        ("positions in their blocks", (found % _BLOCK)[:_SHOWN].tolist(), True),
        ("bytes", row[found][:_SHOWN].tolist(), True),
    ]
    for index, (name, numbers, cut) in enumerate(values):
        y = 132 + 54 * index
        drawing.text(244, y, name, "faint")
        for place, number in enumerate(numbers):
            drawing.box(
                244 + 46 * place, y + 8, 42, 26, ("data", "plain", "weight")[index], str(number), "code"
            )
        if cut:
            drawing.text(244 + 46 * len(numbers) + 6, y + 26, f"… {len(found)} in all", "small")
    return drawing


def _pixels(drawing: Drawing, image: NDArray[np.uint8]) -> None:
    size = 7.4
    drawing.box(4, 20, 28 * size, 28 * size, "none")
    for (i, j), value in np.ndenumerate(image):
        if value:
            drawing.mark(
                4 + j * size, 20 + i * size, size - 0.6, size - 0.6, "cold", 0.25 + 0.75 * value / 255
            )
    drawing.text(4, 14, "28 x 28 bytes", "faint")
    drawing.text(4, 248, "zeros are not drawn", "faint")


def _tape(drawing: Drawing, row: NDArray[np.uint8]) -> None:
    unit = 500 / row.size
    drawing.text(244, 14, "the same as one row of 784, in blocks of 256", "faint")
    drawing.box(244, 20, 500, 44, "none")
    for place in np.flatnonzero(row):
        drawing.mark(244 + place * unit, 21, unit, 42, "cold", 0.25 + 0.75 * row[place] / 255)
    for begin, end in pairwise([*range(0, row.size, _BLOCK), row.size]):
        drawing.line((244 + end * unit, 20), (244 + end * unit, 72))
        count = int(np.count_nonzero(row[begin:end]))
        drawing.text(244 + (begin + end) / 2 * unit, 84, str(count), "small middle")
    drawing.text(244, 100, "not zero, by block", "faint")
