"""The two orders in which the terms of a product are added."""

from __future__ import annotations

from itertools import pairwise

from figures.svg import Drawing


def orders() -> Drawing:
    """Draws the sum of 784 products in chains, and that of 80 products in slices."""
    drawing = Drawing(
        760,
        446,
        "784 terms summed in four chains of 256, which are added in order, and 80 terms summed in five slices of 16, which are "
        "added in pairs",
        "Above, one output of a layer with 784 inputs and more than 16 units: chains of 256 terms, added in order. Below, one "
        "output of a layer with 80 inputs and at most 16 units: slices of 16 terms, added in pairs. Within a chain or a slice "
        "each term is one fused multiply-add, in the order of the inputs. Neither the width of the vectors nor the number of "
        "threads appears in this picture.",
    )
    _sums(drawing, 8, [0, 256, 512, 768, 784], 0.86, "((s0 + s1) + s2) + s3", "+ bias, activation")
    _sums(drawing, 234, [*range(0, 96, 16)], 9.2, "(((s0 + bias) + s1) + (s2 + s3)) + s4", "activation")
    return drawing


def _sums(drawing: Drawing, y: float, edges: list[int], unit: float, total: str, after: str) -> None:
    """Draws the inputs between `edges`, each `unit` wide, the sums of their terms, and `total`."""
    x = 10.0
    for number, (begin, end) in enumerate(pairwise(edges)):
        width = max((end - begin) * unit, 62)
        wide = width > 100
        inputs = f"inputs {begin}–{end - 1}" if wide else f"{begin}–{end - 1}"
        drawing.box(x, y, width - 8, 34, "data", inputs, "small")
        middle = x + width / 2 - 4
        drawing.arrow((middle, y + 34), (middle, y + 56))
        drawing.box(x, y + 56, width - 8, 52, "weight")
        drawing.text(middle, y + 78, f"s{number}", "strong middle")
        drawing.text(middle, y + 97, "fma, fma, fma, …" if wide else "fma, …", "small middle")
        drawing.arrow((middle, y + 108), (middle, y + 134))
        x += width
    drawing.box(10, y + 134, x - 18, 34, "step", total, "code")
    drawing.arrow(((x - 8) / 2, y + 168), ((x - 8) / 2, y + 188))
    drawing.text((x - 8) / 2, y + 206, after, "middle")
