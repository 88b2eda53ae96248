"""Words in pictures lie beside one another, within the picture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from matplotlib import pyplot as plt
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
