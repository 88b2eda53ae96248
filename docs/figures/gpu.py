"""Draws how a GPU trains small networks: what each block holds, what a batch takes, teams, and the ways of running."""

from __future__ import annotations

from figures.svg import Drawing


def blocks() -> Drawing:
    """Draws what a cluster of 16 blocks keeps in shared memory while it trains the network 784-128-10."""
    drawing = Drawing(
        760,
        292,
        "Sixteen blocks of a cluster, each with eight of the 128 hidden units",
        "A block owns 8 of the 128 hidden units: their columns of W1, their biases and the rows of W2 that they feed, all with "
        "Adam's m and v. These stay in its shared memory for the whole run. Blocks exchange 32 × 10 numbers twice in each batch: "
        "partial sums of the outputs, and then the gradient of the loss.",
    )
    drawing.box(2, 8, 150, 52, "plain", "memory of the GPU\nimages, labels, order", "small")
    drawing.arrow((111, 60), (111, 96))
    drawing.arrow((152, 34), (345, 34), (345, 96))
    drawing.arrow((152, 34), (619, 34), (619, 96))
    drawing.text(384, 26, "every block reads the 32 images of a batch", "faint middle")
    for index, (name, units) in enumerate((("block 0", "0–7"), ("block 1", "8–15"), ("block 15", "120–127"))):
        _block(drawing, (2, 236, 510)[index], name, units)
    drawing.text(489, 170, "…", "strong middle")
    drawing.line((111, 246), (111, 272), (619, 272), (619, 246), kind="meet")
    drawing.line((345, 246), (345, 272), kind="meet")
    drawing.text(
        365,
        288,
        "partial sums of h W2, and then the gradient of the loss",
        "faint middle",
    )
    return drawing


def _block(drawing: Drawing, x: float, name: str, units: str) -> None:
    drawing.box(x, 96, 218, 150, "none")
    drawing.text(x + 10, 116, name, "strong")
    drawing.text(x + 208, 116, f"units {units}", "small end")
    drawing.box(x + 10, 128, 62, 108, "plain", "x\n32 × 784\nbytes", "small")
    drawing.box(x + 78, 128, 62, 108, "weight", "W1, m, v\n784 × 8", "small")
    drawing.box(x + 146, 128, 62, 48, "data", "h\n32 × 8", "small")
    drawing.box(x + 146, 184, 62, 52, "weight", "W2, m, v\n8 × 10", "small")


# What a block does in a batch, and how many hundred cycles bench/GPU.md predicts for it.
_PHASES = (
    ("x W1", 15.8, "data"),
    ("relu", 3.5, "data"),
    ("h W2", 3.5, "data"),
    ("copies", 7.5, "plain"),
    ("sums", 4.0, "step"),
    ("loss", 6.0, "step"),
    ("zeros", 5.5, "plain"),
    ("dz", 3.0, "step"),
    ("dh", 4.5, "weight"),
    ("gradient of W1 and W2, Adam", 30.1, "weight"),
)
# The phases in which a block waits for the others.
_WAITS = (3, 6)


def batch_on_cluster() -> Drawing:
    """Draws the phases of a batch in two of the blocks of a cluster."""
    drawing = Drawing(
        760,
        176,
        "Two of 16 blocks over one batch, with two barriers of the cluster",
        "One batch in two of the 16 blocks. Widths are the cycles that <code>bench/GPU.md</code> predicts; they were "
        "not measured on a GPU. A barrier has two halves. A block that has written its parts of the sums arrives, starts the copies of "
        "the next batch, and only then waits for the others. It adds up the sums of its two images and computes their loss. At "
        "the second barrier it counts metrics and notes which pixels of the next batch are zero, and then reads the gradient "
        "of the other images.",
    )
    unit = 690 / sum(cycles for _, cycles, _ in _PHASES)
    ends: list[float] = []
    for row, name in enumerate(("block 0", "block 15")):
        y = 18 + 64 * row
        drawing.text(2, y + 26, name, "small")
        x = 64.0
        for phase, cycles, kind in _PHASES:
            width = cycles * unit
            words = phase if width > 7 * len(phase) else phase.replace(" ", "\n")
            drawing.box(x, y, width - 2, 44, kind, words, "small")
            x += width
            ends.append(x - 1)
    for wait in _WAITS:
        for x, word in ((ends[wait - 1], "arrive"), (ends[wait], "wait")):
            drawing.line((x, 10), (x, 136), kind="meet")
            drawing.text(x, 150, word, "faint middle")
    drawing.arrow((64, 162), (330, 162))
    drawing.text(68, 174, "time", "faint")
    return drawing


def teams() -> Drawing:
    """Draws how teams of blocks divide a large batch, and what a second kernel makes of their gradients."""
    drawing = Drawing(
        760,
        230,
        "128 teams have all weights and 128 samples of a batch each; a second kernel adds their gradients and steps the weights",
        "The network 32-64-64-16 with 16,384 samples a batch. A team, here a block, has all weights in its shared memory. It goes "
        "through its 128 samples in two micro-batches, and leaves the gradient by all weights in memory of the GPU. The second "
        "kernel adds the gradients of all teams, always in the same order, and steps the weights.",
    )
    drawing.text(2, 24, "samples", "small")
    drawing.text(2, 84, "first kernel", "strong")
    drawing.text(2, 150, "gradients", "small")
    drawing.text(2, 208, "second kernel", "strong")
    for index, (name, samples) in enumerate(
        (("team 0", "0–127"), ("team 1", "128–255"), ("team 127", "16,256–16,383"))
    ):
        x = (120, 290, 570)[index]
        drawing.box(x, 8, 150, 26, "data", samples, "small")
        drawing.arrow((x + 75, 34), (x + 75, 52))
        drawing.box(x, 52, 150, 56, "none")
        drawing.text(x + 8, 68, name, "small strong")
        drawing.box(x + 8, 74, 62, 26, "weight", "W1 W2 W3", "small")
        drawing.box(x + 76, 74, 31, 26, "step", "64", "small")
        drawing.box(x + 110, 74, 31, 26, "step", "64", "small")
        drawing.arrow((x + 75, 108), (x + 75, 132))
        drawing.box(x, 132, 150, 26, "weight", "dW1 dW2 dW3", "small")
        drawing.arrow((x + 75, 158), (x + 75, 186))
    drawing.text(505, 84, "…", "strong middle")
    drawing.text(505, 150, "…", "strong middle")
    drawing.box(
        120, 186, 600, 34, "step", "sum of all gradients, Adam: new W1 W2 W3 for the next batch", "small"
    )
    return drawing


def ways_of_running() -> Drawing:
    """Draws what the host and the GPU do for some batches in each way of running."""
    drawing = Drawing(
        760,
        440,
        "Host and GPU over a few batches: one kernel, two kernels a batch, captured kernels, and kernels started one by one",
        "The ways of running, not to scale. Blue: the kernels on the GPU; batches are dark and light by turns. First: the host only "
        "starts one kernel, which takes the batches from a list. Second and third: the host starts a whole graph of kernels, up to "
        "32 batches, by one call. Last: what is started for the first time, and all predictions, are started kernel by kernel.",
    )
    _way(drawing, 0, "one kernel", "small networks", launches=(0.0,), batches=_kernels(12, 1))
    _way(drawing, 110, "two kernels", "with large batches", launches=(0.0,), batches=_kernels(5, 2))
    _way(drawing, 220, "captured kernels", "others, repeated", launches=(0.0,), batches=_kernels(3, 5))
    _way(
        drawing,
        330,
        "one by one",
        "predictions, first runs",
        launches=tuple(0.045 * i for i in range(15)),
        batches=_kernels(3, 5),
    )
    return drawing


def _kernels(batches: int, kernels: int) -> list[tuple[float, float, int]]:
    """Returns (begin, width, batch) of each kernel, as parts of the time axis."""
    gap = 0.0 if kernels == 1 else 0.014
    width = 0.9 / (batches * kernels) - gap
    return [(0.06 + (width + gap) * i, width, i // kernels) for i in range(batches * kernels)]


def _way(
    drawing: Drawing,
    y: float,
    name: str,
    used: str,
    launches: tuple[float, ...],
    batches: list[tuple[float, float, int]],
) -> None:
    left, width = 150.0, 600.0
    drawing.text(2, y + 30, name, "strong")
    drawing.text(2, y + 48, used, "faint")
    drawing.text(left - 8, y + 26, "host", "small end")
    drawing.text(left - 8, y + 70, "GPU", "small end")
    drawing.box(left, y + 8, width, 28, "none")
    drawing.box(left, y + 52, width, 28, "none")
    for begin in launches:
        drawing.mark(left + width * begin + 2, y + 12, 18, 20, "hot", 0.8)
    drawing.arrow((left + 12, y + 36), (left + 12, y + 58), (left + width * batches[0][0], y + 58))
    for begin, size, batch in batches:
        drawing.mark(
            left + width * begin, y + 56, width * size - 1, 20, "cold", 0.85 if batch % 2 == 0 else 0.5
        )
