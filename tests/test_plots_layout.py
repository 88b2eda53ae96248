"""Checks that texts in plots do not overlap, that they lie within the figure, and that frames are complete."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from engine import plots

NAMES = {
    "numbers": None,
    "short": ["ham", "spam"],
    "long": ["healthy patients of the trial", "sick"],
    "three": ["ant", "bee", "grasshopper"],
    "clothes": [
        "T-shirt",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
}


@pytest.fixture(autouse=True)
def headless() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("names", NAMES)
def test_words_of_a_confusion_matrix(names: str) -> None:
    labels = NAMES[names]
    truth = list(range(2 if labels is None else len(labels)))
    ax = plots.confusion_matrix(truth, truth, display_labels=labels)
    figure = ax.figure
    figure.canvas.draw()
    words = [*ax.texts, *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label, ax._left_title]
    boxes = [word.get_window_extent() for word in words]
    whole = Bbox([(-1, -1), (figure.bbox.width + 1, figure.bbox.height + 1)])
    below = ax.get_xticklabels()
    for box in [*boxes, *(label.get_window_extent() for label in below)]:
        assert Bbox.union([box, whole]).bounds == whole.bounds
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    if not any(label.get_rotation() for label in below):
        assert not any(
            one.get_window_extent().overlaps(other.get_window_extent()) for one, other in pairwise(below)
        )


@pytest.mark.parametrize("dpi", [60, 70, 72, 100, 150])
@pytest.mark.parametrize("count", [3, 8])
def test_frames_of_pictures_are_whole(count: int, dpi: int) -> None:
    white = np.zeros((count, 28, 28))
    ax = plots.worst_mistakes(white, [0] * count, [1] * count)
    figure = ax.figure
    figure.set_dpi(dpi)
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3].min(axis=2)
    frames = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert len(frames) == count
    for frame in frames:
        middle_x, middle_y = int((frame.x0 + frame.x1) / 2), int((frame.y0 + frame.y1) / 2)
        sides = [(frame.x0, middle_y), (frame.x1, middle_y), (middle_x, frame.y0), (middle_x, frame.y1)]
        for x, y in sides:
            left, low = max(0, int(x) - 2), max(0, int(y) - 2)
            assert drawn[low : low + 5, left : left + 5].min() < 230  # grey on white
