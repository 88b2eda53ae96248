"""From a Keras call to the kernels, and the list of steps that a compiled network is."""

from __future__ import annotations

from typing import NamedTuple

from figures.svg import Drawing


def rooms() -> Drawing:
    """The layers of the code, from Python's call down to the kernels."""
    rows = [
        ("model.fit(x, y)", "python/engine", "names, shapes, messages; callbacks and history", "data"),
        ("Program, Run", "csrc/bindings", "checks of arrays; the interpreter's lock released", "plain"),
        ("Plan", "csrc/plan", "buffers, and a list of steps: plain data", "weight"),
        ("Executor", "csrc/cpu", "a team of threads walks the list, batch after batch", "step"),
        ("KernelTable", "csrc/kernels", "one source, compiled for each instruction set", "plain"),
    ]
    drawing = Drawing(
        720,
        60 * len(rows) - 8,
        "Five layers from model.fit down to the kernels",
        "What happens on the way down. Python is entered once per epoch; everything below the first row is C++.",
    )
    for index, (name, place, job, kind) in enumerate(rows):
        y = 60 * index + 2
        drawing.box(2, y, 170, 40, kind, name, "strong")
        drawing.text(192, y + 25, place, "code")
        drawing.text(312, y + 25, job)
        if index:
            drawing.arrow((87, y - 18), (87, y))
    return drawing


class _Step(NamedTuple):
    name: str
    does: str
    reads: str
    writes: str
    kind: str


_STEPS = [
    _Step("gather", "rows in the epoch's order, bytes become floats / 255", "data set", "x", "data"),
    _Step("dense forward", "h = relu(x W1 + b1)", "x, W1, b1", "h", "data"),
    _Step("partial products", "own units of h times W2: sums of ten outputs", "h, W2", "sums", "data"),
    _Step("sum partials", "z = all threads' sums + b2", "sums, b2", "z", "data"),
    _Step("loss", "softmax, crossentropy and its gradient", "z, y", "p, dz, losses", "step"),
    _Step("metric", "accuracy", "p, y", "hits", "step"),
    _Step("transpose", "so that vectors run along the samples", "dz", "dz\u1d40", "weight"),
    _Step("dense backward input", "dh = (dz W2\u1d40) · relu\u2032(h)", "dz, W2, h", "dh", "weight"),
    _Step("dense backward weights", "W2, b2 and their m, v: a step of Adam", "h, dz", "W2, b2", "weight"),
    _Step("dense backward weights", "W1, b1 and their m, v: a step of Adam", "x, dh", "W1, b1", "weight"),
    _Step("reduce", "losses and hits into the epoch's totals", "losses, hits", "totals", "step"),
]


def steps() -> Drawing:
    """One batch of the textbook network as the list that two threads walk."""
    row, top = 34, 30
    drawing = Drawing(
        760,
        top + row * len(_STEPS) + 30,
        "The eleven steps of a batch of the network 784-128-10, with one barrier",
        "A batch of the network 784-128-10 with Adam, as two threads run it. Blue: forwards. Green: loss and metrics. "
        "Red: backwards. The dashed line is the one place where the threads wait for each other.",
    )
    for x, heading in ((2, "step"), (178, "what it does"), (545, "reads"), (650, "writes")):
        drawing.text(x, 16, heading, "faint")
    y = float(top)
    for step in _STEPS:
        if step.name == "sum partials":
            drawing.line((0, y + 10), (700, y + 10), kind="meet")
            drawing.text(706, y + 14, "barrier", "faint")
            y += 24
        drawing.box(2, y, 164, row - 8, step.kind, step.name, "small")
        drawing.text(178, y + 17, step.does)
        drawing.text(545, y + 17, step.reads, "code")
        drawing.text(650, y + 17, step.writes, "code")
        y += row
    return drawing
