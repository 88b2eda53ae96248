"""Compares ROC and precision-recall curves with their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from sklearn import metrics

from engine import plots


@pytest.fixture(autouse=True)
def headless() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def area(ax: Any, line: int = 0) -> float:
    """Returns the area that the legend shows."""
    return float(ax.lines[line].get_label().split()[-1])


def auc_by_pairs(truth: np.ndarray, scores: np.ndarray) -> float:
    above = scores[truth == 1][:, np.newaxis] - scores[truth == 0]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def precision_recall_by_definition(truth: np.ndarray, scores: np.ndarray) -> tuple[list[float], list[float]]:
    precision, recall = [], []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        said = scores >= threshold
        precision.append(float(np.sum(said & (truth == 1)) / said.sum()))
        recall.append(float(np.sum(said & (truth == 1)) / truth.sum()))
    return precision, recall


samples = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


@settings(deadline=None, max_examples=30)  # drawing is slow
@given(samples)
def test_areas(pairs: list[tuple[int, int]]) -> None:
    truth, scores = np.array(pairs).T
    try:
        roc = plots.roc_curve(truth, scores / 5)
        assert area(roc) == pytest.approx(auc_by_pairs(truth, scores), abs=6e-5)
        x, y = roc.lines[0].get_data()
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        curve = plots.precision_recall_curve(truth, scores / 5)
        precision, recall = precision_recall_by_definition(truth, scores)
        expected = np.sum(np.diff(recall, prepend=0.0) * precision)
        assert area(curve) == pytest.approx(expected, abs=6e-5)
        points = set(zip(*np.round(curve.lines[0].get_data(), 9), strict=True))
        assert set(zip(np.round(recall, 9), np.round(precision, 9), strict=True)) <= points
    finally:
        plt.close("all")


def test_points_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    truth, scores = rng.integers(0, 2, 300), rng.integers(0, 40, 300) / 40
    x, y, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(plots.roc_curve(truth, scores).lines[0].get_data(), (x, y))
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    curve = plots.precision_recall_curve(truth, scores)
    points = set(zip(*np.round(curve.lines[0].get_data(), 9), strict=True))
    assert set(zip(np.round(recall[:-1], 9), np.round(precision[:-1], 9), strict=True)) <= points
    assert area(curve) == pytest.approx(metrics.average_precision_score(truth, scores), abs=6e-5)


def test_a_curve_per_class() -> None:
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([0, 1, 3], 20))  # class 2 does not occur
    scores = rng.random((60, 4))
    scores[np.arange(60), truth] += 0.3
    ax = plots.roc_curve(truth, scores, display_labels=["ant", "bee", "cow", "dog"])
    names = [line.get_label().split(":")[0] for line in ax.lines[:-1]]
    assert names == ["ant", "bee", "dog"]
    assert area(ax, 2) == pytest.approx(auc_by_pairs(truth == 3, scores[:, 3]), abs=6e-5)
    assert ax.get_legend() is not None
    ax.figure.canvas.draw()


def test_two_columns_are_one_curve() -> None:
    outputs = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    assert (
        area(plots.roc_curve([0, 1, 1], outputs)) == area(plots.roc_curve([0, 1, 1], outputs[:, 1:])) == 1.0
    )


def test_many_classes_can_be_told_apart() -> None:
    truth = np.arange(30) % 10
    ax = plots.precision_recall_curve(truth, np.eye(10)[truth])
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(looks) == 10


@pytest.mark.parametrize(
    ("y_true", "y_score", "message"),
    [
        ([0, 1], [0.5], "`y_true` has 2 samples but `y_score` has 1"),
        ([1, 1], [0.5, 0.6], "samples of two classes at least, but all are of class 1"),
        ([0, 2], [0.5, 0.6], "`y_true` has class 2, but `y_score` has 2 classes"),
        ([0, 1], [0.5, np.inf], "`y_score` must be finite, but row 1"),
        ([0, 1], np.zeros((2, 2, 2)), "`y_score` must hold outputs"),
        ([0.5, 1], [0.5, 0.6], "row 0 holds 0.5"),
    ],
)
@pytest.mark.parametrize("curve", [plots.roc_curve, plots.precision_recall_curve])
def test_refusals(curve: Any, y_true: Any, y_score: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        curve(y_true, y_score)
    assert plt.get_fignums() == []
