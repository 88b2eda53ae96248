"""Who owns what, and when two threads meet."""

from __future__ import annotations

from figures.svg import Drawing

_KINDS = {0: "data", 1: "weight"}


def owners() -> Drawing:
    """Which thread owns which columns of each layer."""
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


# Names, and widths that only say what is long and what is short.
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
    """What two threads do during a batch, and where they wait."""
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
