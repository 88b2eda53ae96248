"""Draws which thread owns which weights, and where two threads wait for each other."""

from __future__ import annotations

from figures.svg import Drawing

_KINDS = {0: "data", 1: "weight"}


def owners() -> Drawing:
    """Draws which thread owns which columns of each layer."""
    drawing = Drawing(
        700,
        232,
        "Columns of weights and hidden units divided between two threads",
        "Each thread owns half of the hidden units: their columns of W1 with Adam's m and v, their bias, and the rows of W2 "
        "that they feed. What it owns, no other thread writes.",
    )
    for thread, kind in _KINDS.items():
        drawing.box(10 + 84 * thread, 6, 16, 14, kind)
        drawing.text(32 + 84 * thread, 18, f"thread {thread}", "small")
    drawing.box(10, 44, 60, 150, "plain", "x\n32 rows\n784", "small")
    drawing.text(84, 124, "·")
    for thread, kind in _KINDS.items():
        drawing.box(
            100 + 75 * thread,
            44,
            75,
            150,
            kind,
            f"W1, m, v\ncolumns\n{64 * thread}–{64 * thread + 63}",
            "small",
        )
        drawing.box(300 + 75 * thread, 84, 75, 70, kind, f"h\n{64 * thread}–{64 * thread + 63}", "small")
        drawing.box(500, 64 + 55 * thread, 60, 55, kind, f"W2\n{64 * thread}–{64 * thread + 63}", "small")
    drawing.arrow((252, 119), (296, 119))
    drawing.text(274, 110, "relu", "small middle")
    drawing.text(474, 124, "·")
    drawing.arrow((564, 119), (606, 119))
    drawing.box(610, 94, 60, 50, "step", "z\n10", "small")
    drawing.text(640, 164, "summed", "faint middle")
    drawing.text(640, 178, "by both", "faint middle")
    return drawing


def loops() -> Drawing:
    """Draws which parts of the operands of two products belong to which of two threads."""
    drawing = Drawing(
        760,
        200,
        "Two products whose loops are shared by two threads, and which parts of the operands each thread touches",
        "Colours say which thread touches a part; what both read is grey. Left, the threads share loop n. Right, the next "
        "product reads the same value. If its threads share loop k, each reads the columns that it has written itself. If they "
        "shared loop n, each would need all columns, and so a barrier before.",
    )
    _product(drawing, 2, "share n", ("%0[b,k]", "W1[k,n]", "%1[b,n]"), ("", "columns", "columns"))
    _product(drawing, 400, "share k", ("%1[b,k]", "W2[k,n]", "sums"), ("columns", "rows", ""))
    return drawing


def _product(
    drawing: Drawing, x: float, split: str, names: tuple[str, str, str], parts: tuple[str, str, str]
) -> None:
    """Draws the matrices of a product from `x` on. `parts` is the axis along which threads divide each, or ""."""
    drawing.text(x, 16, split, "strong")
    _divided(drawing, x, 74, 76, 62, parts[0], names[0])
    _divided(drawing, x + 106, 30, 110, 106, parts[1], names[1])
    drawing.text(x + 88, 110, "·")
    drawing.arrow((x + 222, 105), (x + 250, 105))
    if parts[2]:
        _divided(drawing, x + 256, 74, 96, 62, parts[2], names[2])
    else:
        for thread, kind in _KINDS.items():
            drawing.box(x + 256, 66 + 40 * thread, 84, 34, kind, names[2], "small")
    for thread, kind in _KINDS.items():
        drawing.box(x + 84 * thread, 176, 16, 14, kind)
        drawing.text(x + 22 + 84 * thread, 188, f"thread {thread}", "small")
    drawing.box(x + 168, 176, 16, 14, "plain")
    drawing.text(x + 190, 188, "both", "small")


def _divided(drawing: Drawing, x: float, y: float, width: float, height: float, axis: str, name: str) -> None:
    """Draws a matrix whose halves along `axis` have the colours of the threads, with its name below."""
    if not axis:
        drawing.box(x, y, width, height, "plain")
    for thread, kind in _KINDS.items():
        if axis == "columns":
            drawing.box(x + width / 2 * thread, y, width / 2, height, kind)
        elif axis == "rows":
            drawing.box(x, y + height / 2 * thread, width, height / 2, kind)
    drawing.text(x + width / 2, y + height + 18, name, "code middle")


# Names, and widths that do not show exact times.
_SPANS = [
    ("gather", 60, "plain"),
    ("h = relu(x W1 + b1)", 190, "data"),
    ("h W2", 50, "data"),
    ("", 0, "meet"),
    ("loss", 56, "step"),
    ("dh", 46, "weight"),
    ("W2", 40, "weight"),
    ("W1: Adam", 210, "weight"),
]


def timeline() -> Drawing:
    """Draws what two threads do during a batch, and where they wait."""
    drawing = Drawing(
        760,
        158,
        "Two threads over one batch, with a single barrier",
        "One batch on two threads, not to scale. Both gather all rows, each computes the sums of its own hidden units; at the "
        "barrier ten numbers per sample cross, after which each computes the loss for itself and goes back through what it "
        "owns.",
    )
    for thread in range(2):
        y = 16 + 62 * thread
        drawing.text(2, y + 27, f"thread {thread}", "small")
        x = 66.0
        for name, width, kind in _SPANS:
            if kind == "meet":
                drawing.line((x + 7, 6), (x + 7, 134), kind="meet")
                x += 14
                continue
            drawing.box(x, y, width - 3, 42, kind, name, "small")
            x += width
    drawing.text(373, 150, "barrier", "faint middle")
    drawing.arrow((66, 142), (330, 142))
    drawing.text(70, 156, "time", "faint")
    return drawing
