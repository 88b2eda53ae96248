"""The folders of the core from Python down to the kernels, and the graph of one batch."""

from __future__ import annotations

from typing import NamedTuple

from figures.svg import Drawing


def rooms() -> Drawing:
    """The folders of the code, from the call in Python down to the kernels."""
    rows = [
        ("model.fit(x, y)", "python/engine", "names, shapes, messages; callbacks and history", "data"),
        ("Program, Run", "csrc/bindings", "checks of arrays; the interpreter's lock is released", "plain"),
        ("Graph", "csrc/graph", "what is computed: values and operations", "weight"),
        ("Device, Program", "csrc/runtime", "weights, and what every device can do", "plain"),
        ("Schedule", "csrc/cpu", "how: kernels, threads, barriers, memory", "step"),
        ("KernelTable", "csrc/kernels", "loops over memory, compiled per instruction set", "plain"),
        ("Relu, Adam, …", "csrc/formulas", "the arithmetic of one number, written once", "plain"),
    ]
    drawing = Drawing(
        720,
        56 * len(rows) - 8,
        "Seven folders from model.fit down to the formulas",
        "Each folder uses only those below it. Everything under the first row is C++, and an epoch enters it once.",
    )
    for index, (name, place, job, kind) in enumerate(rows):
        y = 56 * index + 2
        drawing.box(2, y, 170, 38, kind, name, "strong")
        drawing.text(192, y + 24, place, "code")
        drawing.text(330, y + 24, job)
        if index:
            drawing.arrow((87, y - 16), (87, y))
    return drawing


class _Box(NamedTuple):
    """An operation: the middle of its box, and its lines of text."""

    x: float
    y: float
    text: str
    kind: str


_WIDTH, _HEIGHT = 112.0, 46.0
_TOP, _MIDDLE, _BOTTOM = 40.0, 152.0, 264.0

_OPERATIONS = {
    "read": _Box(60, _TOP, "read_input\nscale 1/255", "data"),
    "hidden": _Box(226, _TOP, "dense\nrelu", "data"),
    "output": _Box(392, _TOP, "dense", "data"),
    "loss": _Box(558, _TOP, "loss\nsoftmax + c.e.", "step"),
    "metric": _Box(704, _TOP, "metric", "step"),
    "gradient": _Box(392, _BOTTOM, "dense_input_\ngradient, relu\u2032", "weight"),
    "output step": _Box(558, _BOTTOM, "dense_weight_\nstep", "weight"),
    "hidden step": _Box(226, _BOTTOM, "dense_weight_\nstep", "weight"),
    "sum losses": _Box(704, _BOTTOM, "add_losses\nadd_metric", "step"),
}


def operations() -> Drawing:
    """The graph of one training batch of the network 784-128-10."""
    drawing = Drawing(
        776,
        300,
        "The operations of one training batch of the network 784-128-10, and the values between them",
        "The graph of one training batch of the network 784-128-10. Boxes are operations, arrows are values, and W1 and W2 are "
        "weights with their biases and optimizer state. Blue: forward pass. Green: loss and metric. Red: backward pass.",
    )
    for box in _OPERATIONS.values():
        drawing.box(box.x - _WIDTH / 2, box.y - _HEIGHT / 2, _WIDTH, _HEIGHT, box.kind, box.text, "small")
    for before, after, value in (
        ("read", "hidden", "%0"),
        ("hidden", "output", "%1"),
        ("output", "loss", "%2"),
        ("loss", "metric", "%5"),
    ):
        _right(drawing, _OPERATIONS[before], _OPERATIONS[after], value)
    for name, place in (("W1", 226.0), ("W2", 392.0)):
        drawing.box(place - 30, _MIDDLE - 13, 60, 26, "plain", name, "small")
        drawing.arrow((place, _MIDDLE - 13), (place, _TOP + _HEIGHT / 2))
    # The backward pass.
    down = _BOTTOM - _HEIGHT / 2
    drawing.arrow((558, _TOP + _HEIGHT / 2), (558, down))
    drawing.text(564, _MIDDLE - 20, "%4", "code")
    drawing.arrow((558, _MIDDLE + 40), (412, _MIDDLE + 40), (412, down))
    drawing.arrow((336, _BOTTOM), (282, _BOTTOM))
    drawing.text(309, _BOTTOM - 8, "%7", "code middle")
    drawing.arrow((392, _MIDDLE + 13), (392, down))
    drawing.arrow((226, down), (226, _MIDDLE + 13))
    drawing.text(232, _MIDDLE + 52, "updates", "faint")
    drawing.arrow((516, down), (516, _MIDDLE), (422, _MIDDLE))
    drawing.text(469, _MIDDLE - 7, "updates", "faint middle")
    drawing.arrow((704, _TOP + _HEIGHT / 2), (704, down))
    drawing.text(710, _MIDDLE - 20, "%6", "code")
    drawing.arrow((590, _TOP + _HEIGHT / 2), (590, _MIDDLE + 20), (672, _MIDDLE + 20), (672, down))
    drawing.text(631, _MIDDLE + 12, "%3", "code middle")
    # What the forward pass leaves for the gradients.
    drawing.arrow((143, _TOP), (143, _BOTTOM), (170, _BOTTOM))
    drawing.text(137, _MIDDLE, "%0", "code end")
    drawing.arrow((309, _TOP), (309, _MIDDLE + 64), (372, _MIDDLE + 64), (372, down))
    drawing.arrow((372, _MIDDLE + 64), (537, _MIDDLE + 64), (537, down))
    drawing.text(303, _MIDDLE, "%1", "code end")
    return drawing


def _right(drawing: Drawing, before: _Box, after: _Box, value: str) -> None:
    start, end = before.x + _WIDTH / 2, after.x - _WIDTH / 2
    drawing.arrow((start, before.y), (end, after.y))
    drawing.text((start + end) / 2, before.y - 8, value, "code middle")
