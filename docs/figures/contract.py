"""The order in which the terms of a sum are added."""

from __future__ import annotations

from itertools import pairwise

from figures.svg import Drawing


def chains() -> Drawing:
    """The sum of 784 products as four chains."""
    drawing = Drawing(
        760,
        226,
        "784 terms summed in chains of 256, which are added in order",
        "One output of a layer with 784 inputs. Within a chain each term is one fused multiply-add, in the order of the "
        "inputs; then the chains are added, in order, and a zero. Neither the vector's width nor the number of threads "
        "appears in this picture.",
    )
    edges = [0, 256, 512, 768, 784]
    x, unit = 10.0, 0.86
    total = ""
    for number, (begin, end) in enumerate(pairwise(edges)):
        width = max((end - begin) * unit, 62)
        wide = width > 100
        drawing.box(
            x,
            8,
            width - 8,
            34,
            "data",
            f"inputs {begin}–{end - 1}" if wide else f"{begin}–{end - 1}",
            "small",
        )
        drawing.arrow((x + width / 2 - 4, 42), (x + width / 2 - 4, 64))
        drawing.box(x, 64, width - 8, 52, "weight")
        middle = x + width / 2 - 4
        drawing.text(middle, 86, f"s{number}", "strong middle")
        drawing.text(middle, 105, "fma, fma, fma, …" if wide else "fma, …", "small middle")
        drawing.arrow((middle, 116), (middle, 142))
        total = f"({total} + s{number})" if total else f"s{number}"
        x += width
    drawing.box(10, 142, x - 18, 34, "step", f"{total[1:-1]} + 0", "code")
    drawing.arrow(((x - 8) / 2, 176), ((x - 8) / 2, 196))
    drawing.text((x - 8) / 2, 214, "+ bias, activation", "middle")
    return drawing
