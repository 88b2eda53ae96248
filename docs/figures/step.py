"""Draws the microkernel and its three epilogues."""

from __future__ import annotations

from figures.svg import Drawing

_ENDINGS = [
    ("forward", "x W", "+ bias, activation", "h, once", "data"),
    ("gradient by the input", "dz W\u1d40", "· derivative of the activation", "dx, once", "step"),
    ("gradient by the weights", "x\u1d40 dz", "Adam: m, v and W step", "m, v, W: no gradient", "weight"),
]


def epilogues() -> Drawing:
    """Draws a register tile of a product, and its epilogues in the three products of a dense layer."""
    drawing = Drawing(
        760,
        300,
        "A tile of a matrix product in registers, handed to one of three epilogues",
        "The loop in the middle is the same for every product. What differs is the epilogue, which gets the finished tile "
        "before it leaves the core: the gradient of the weights is used up there, and is never an array in memory.",
    )
    _operands(drawing)
    for index, (name, product, does, stores, kind) in enumerate(_ENDINGS):
        y = 14 + 96 * index
        middle = y + 36
        drawing.arrow((318, 150), (352, 150), (352, middle), (384, middle))
        drawing.box(384, y, 236, 72, kind)
        drawing.text(396, y + 20, name, "strong")
        drawing.text(396, y + 41, f"tile of {product}")
        drawing.text(396, y + 59, does)
        drawing.arrow((620, middle), (646, middle))
        drawing.text(652, middle - 4, "stores", "faint")
        for line, part in enumerate(stores.split(": ")):
            drawing.text(652, middle + 12 + 15 * line, part, "small")
    return drawing


def _operands(drawing: Drawing) -> None:
    drawing.text(20, 100, "A: some rows", "small")
    drawing.box(20, 110, 80, 80)
    drawing.mark(20, 130, 80, 22, "cold", 0.45)
    drawing.text(118, 20, "B: some columns", "small")
    drawing.box(128, 30, 80, 60)
    drawing.mark(154, 30, 26, 60, "hot", 0.45)
    drawing.arrow((104, 141), (234, 141))
    drawing.arrow((167, 94), (167, 112), (280, 112), (280, 122))
    drawing.box(238, 122, 80, 56, "weight", "8 x 32\nin registers", "small")
    drawing.text(344, 206, "for k = 0, 1, 2, …", "small end")
    drawing.text(344, 223, "tile += a[:, k] b[k, :]", "code end")
