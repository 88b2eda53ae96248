"""Tests of engine.plots: contents, axes, and errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from conftest import Blobs, classifier
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from sklearn import metrics

import engine as keras
from engine import plots
from engine.callbacks import History

NBSP = "\u00a0"


@pytest.fixture(autouse=True)
def headless() -> Iterator[None]:
    backend = mpl.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)


@pytest.fixture
def ax() -> Axes:
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def labels(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def title(ax: Axes) -> str:
    return ax.get_title(loc="left")


# ---- Curves


def history_of(**values: list[float]) -> dict[str, list[float]]:
    return values


def test_learning_curves_have_a_panel_per_metric() -> None:
    axes = plots.learning_curves(
        history_of(accuracy=[0.5, 0.6], loss=[2.0, 1.0], val_loss=[2.5, 1.5], val_auc=[0.4, 0.5])
    )
    assert [title(ax) for ax in axes] == ["loss", "accuracy", "auc"]
    assert labels(axes[0]) == ["training", "validation"]
    np.testing.assert_array_equal(axes[0].lines[1].get_xydata(), [[1, 2.5], [2, 1.5]])
    assert [line.get_label() for line in axes[2].lines] == ["validation"]
    assert {ax.get_xlabel() for ax in axes} == {"epoch"}
    axes[0].figure.canvas.draw()


def test_history_plots_itself(blobs: Blobs) -> None:
    history = classifier().fit(blobs.x, blobs.y, epochs=5, verbose=0, validation_split=0.2, validation_freq=2)
    loss = history.plot("loss")
    assert isinstance(loss, Axes)
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(loss.lines[1].get_xdata(), [2, 4])
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), history.history["val_loss"])
    assert history.plot(["accuracy", "loss"]).shape == (2,)


def test_history_as_a_frame(blobs: Blobs) -> None:
    model = classifier()
    history = model.fit(
        blobs.x, blobs.y, epochs=5, initial_epoch=2, verbose=0, validation_split=0.2, validation_freq=2
    )
    frame = history.to_frame()
    assert list(frame.columns) == list(history.history)
    assert list(frame.index) == [2, 3, 4]
    assert frame.index.name == "epoch"
    assert frame["loss"].tolist() == history.history["loss"]
    assert frame["val_loss"].isna().tolist() == [True, False, True]
    assert frame["val_loss"][3] == history.history["val_loss"][0]


def test_a_history_that_was_written_to() -> None:
    history = History()
    history.history["loss"] = [3.0, 2.0]
    assert history.to_frame()["loss"].tolist() == [3.0, 2.0]
    assert History().to_frame().empty
    np.testing.assert_array_equal(history.plot("loss").lines[0].get_xdata(), [1, 2])


def test_two_trainings_in_one_history(blobs: Blobs) -> None:
    history, model = History(), classifier()
    for _ in range(2):
        model.fit(blobs.x, blobs.y, epochs=2, verbose=0, callbacks=[history])
    assert list(history.to_frame().index) == [0, 1, 0, 1]
    np.testing.assert_array_equal(history.plot("loss").lines[0].get_xdata(), [1, 2, 3, 4])


@pytest.mark.parametrize("epochs", [1, 300])
def test_few_and_many_epochs(epochs: int, ax: Axes) -> None:
    plots.learning_curves({"loss": list(np.linspace(1, 0, epochs))}, "loss", ax=ax)
    assert (ax.lines[0].get_marker() == "o") == (epochs == 1)


@pytest.mark.parametrize(
    ("history", "options", "error", "message"),
    [
        ({}, {}, ValueError, "`history` is empty"),
        ({"loss": []}, {}, ValueError, "`history` is empty"),
        ([1.0], {}, TypeError, "`history` must be what fit\\(\\) returned, or a mapping .* got list"),
        ({"loss": "high"}, {}, ValueError, "a list of numbers for 'loss', got 'high'"),
        ({"loss": [1.0, 2.0], "val_loss": [1.0]}, {}, ValueError, "2 epochs but only 1 of 'val_loss'"),
        ({"loss": [1.0]}, {"metrics": "los"}, ValueError, "got 'los'; did you mean 'loss'\\? It has: loss"),
        ({"loss": [1.0]}, {"metrics": "val_loss"}, ValueError, "got 'val_loss'"),
        ({"loss": [1.0]}, {"ax": [1, 2]}, ValueError, "as many Axes as there are `metrics`, 1, got 2"),
        ({"loss": [1.0]}, {"ax": 3}, TypeError, "`ax` must be Axes of matplotlib, got 3"),
    ],
)
def test_what_learning_curves_refuse(
    history: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plots.learning_curves(history, **options)


# ---- Predictions


def test_confusion_matrix(ax: Axes) -> None:
    assert plots.confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0], ax=ax) is ax
    assert texts(ax) == [
        "1", "1", "1", "1", "2",
        f"50.0{NBSP}%", f"100.0{NBSP}%", f"66.7{NBSP}%", "right",
    ]  # fmt: skip
    assert [text.get_position() for text in ax.texts][:2] == [(0, 0), (1, 0)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("answer", "true class")


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [("true", ["75.0", "25.0"]), ("pred", ["75.0", "100.0"]), ("all", ["60.0", "20.0"])],
)
def test_shares_in_a_confusion_matrix(normalize: str, expected: list[str], ax: Axes) -> None:
    plots.confusion_matrix([0, 0, 0, 0, 1], [0, 0, 0, 1, 0], normalize=normalize, ax=ax)
    assert texts(ax)[:2] == [f"{share}{NBSP}%" for share in expected]


@pytest.mark.parametrize(
    ("y_true", "y_pred", "display_labels", "names"),
    [
        ([3, 5], [3, 3], None, ["3", "5"]),
        ([3, 5], [3, 3], ["three", "five"], ["three", "five"]),
        ([0, 2], [0, 0], ["a", "b", "c"], ["a", "b", "c"]),
        ([0, 1], [[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]], None, ["0", "1", "2"]),
        ([[1, 0], [0, 1]], [0, 1], None, ["0", "1"]),
        ([0, 0], [[0.2], [0.9]], ["no", "yes"], ["no", "yes"]),
        (["b", "a"], ["c", "a"], None, ["a", "b", "c"]),
        ([True, False], [True, True], None, ["0", "1"]),
    ],
)
def test_classes_of_a_confusion_matrix(
    y_true: Any, y_pred: Any, display_labels: Any, names: list[str], ax: Axes
) -> None:
    plots.confusion_matrix(y_true, y_pred, display_labels=display_labels, ax=ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == names
    assert [label.get_text() for label in ax.get_yticklabels()] == names


def test_a_confusion_matrix_of_many_classes_has_no_numbers(ax: Axes) -> None:
    classes = np.arange(200)
    plots.confusion_matrix(classes, classes[::-1], ax=ax)
    assert texts(ax) == []
    assert len(ax.get_xticklabels()) <= 30


@pytest.mark.parametrize(
    ("y_true", "y_pred", "options", "message"),
    [
        ([0, 1], [0], {}, "`y_true` has 2 samples but `y_pred` has 1"),
        (["a", "b"], ["a"], {}, "`y_true` has 2 samples but `y_pred` has 1"),
        (["a"], [0], {}, "`y_true` must hold class indices"),
        ([0, 1.5], [0, 1], {}, "row 1 holds 1.5"),
        ([], [], {}, "`y_true` must hold class indices"),
        ([0, 1], [0, 1], {"display_labels": ["a"]}, "`display_labels` has 1 names, but .* 2 classes: 0, 1"),
        ([0, 1], [0, 1], {"normalize": "rows"}, "`normalize` must be one of 'none', 'true', 'pred', 'all'"),
    ],
)
def test_what_a_confusion_matrix_refuses(y_true: Any, y_pred: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.confusion_matrix(y_true, y_pred, **options)
    assert plt.get_fignums() == []


def test_worst_mistakes(ax: Axes, rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (4, 28, 28), np.uint8)
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    plots.worst_mistakes(images, [0, 0, 0, 1], outputs, display_labels=["cat", "dog"], ax=ax)
    assert texts(ax) == [f"cat read as dog,\n80.00{NBSP}%", f"cat read as dog,\n60.00{NBSP}%"]
    assert title(ax) == "The most confident of 2 mistakes"
    np.testing.assert_array_equal(ax.images[0].get_array(), images[1])
    plots.worst_mistakes(images, [0, 0, 0, 1], outputs, n=1, ax=ax)


@pytest.mark.parametrize("shape", [(28, 28), (784,), (28, 28, 1), (28, 28, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_every_form(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> None:
    images = rng.integers(0, 2, (3, *shape)).astype(dtype)
    ax = plots.worst_mistakes(images, [1, 1, 1], [0.1, 0.2, 0.9])
    assert len(ax.images) == 2
    ax.figure.canvas.draw()


def test_no_mistakes(ax: Axes) -> None:
    plots.worst_mistakes(np.zeros((2, 4, 4)), [0, 1], [[0.9, 0.1], [0.1, 0.9]], ax=ax)
    assert title(ax) == "No mistakes"
    assert len(ax.images) == 0


def test_images_that_are_not_square(ax: Axes) -> None:
    plots.worst_mistakes(np.zeros((1, 12)), [0], [1.0], image_shape=(3, 4), ax=ax)
    assert ax.images[0].get_array().shape == (3, 4)


@pytest.mark.parametrize(
    ("x", "y_true", "y_pred", "options", "message"),
    [
        (np.zeros((2, 7)), [0, 1], [0.1, 0.2], {}, "holds no images .* pass `image_shape`"),
        (np.zeros((2, 6)), [0, 1], [0.1, 0.2], {"image_shape": (2, 2)}, "has 4 pixels, but there are 6"),
        (np.zeros((2, 4, 4, 2)), [0, 1], [0.1, 0.2], {}, "holds no images"),
        (np.zeros((3, 4, 4)), [0, 1], [0.1, 0.2], {}, "`y_true` has 2 samples but `x` has 3"),
        (np.zeros((2, 4, 4)), [0, 2], [0.1, 0.2], {}, "`y_true` has class 2, but `y_pred` has 2 classes"),
        (np.zeros((2, 4, 4)), [0, 1], [0.1, np.nan], {}, "`y_pred` must be finite, but row 1 isn't"),
        (np.zeros((2, 4, 4)), [0, 1], ["a", "b"], {}, "`y_pred` must hold outputs of a model"),
        (np.zeros((2, 4, 4)), [0, 1], [0.1, 0.2], {"n": 0}, "`n` must be at least 1"),
    ],
)
def test_what_worst_mistakes_refuse(x: Any, y_true: Any, y_pred: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.worst_mistakes(x, y_true, y_pred, **options)


# ---- All functions


def draw_all(ax: Axes | None) -> list[Axes]:
    y, scores = [0, 1, 1, 0], np.array([0.1, 0.8, 0.4, 0.6])
    return [
        plots.learning_curves({"loss": [1.0, 0.5], "val_loss": [1.0, 0.7]}, "loss", ax=ax),
        plots.confusion_matrix(y, [0, 1, 0, 0], ax=ax),
        plots.roc_curve(y, scores, ax=ax),
        plots.precision_recall_curve(y, scores, ax=ax),
        plots.worst_mistakes(np.zeros((4, 3, 3)), y, scores, ax=ax),
        plots.weight_images(np.eye(4), ax=ax),
    ]


def test_given_axes_leave_pyplot_alone(ax: Axes) -> None:
    settings = dict(mpl.rcParams)
    assert all(drawn is ax for drawn in draw_all(ax))
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_each_picture_has_a_figure_of_its_own(style: str, tmp_path: Path) -> None:
    with mpl.rc_context(), plt.style.context(style):
        axes = draw_all(None)
        assert len(plt.get_fignums()) == len({id(ax.figure) for ax in axes}) == len(axes)
        for number, ax in enumerate(axes):
            ax.figure.savefig(tmp_path / f"{number}.png")
            ax.figure.savefig(tmp_path / f"{number}.svg")


def test_without_matplotlib() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import engine; engine.callbacks.History().plot()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: engine.plots needs matplotlib, which can't be imported" in result.stderr
    assert "pip install matplotlib" in result.stderr


def test_pictures_cost_nothing_until_drawn() -> None:
    code = "import sys, engine; print({'matplotlib', 'pandas', 'tensorboard'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


# Checks that texts in plots do not overlap, that they lie within the figure, and that frames are complete.


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


# Compares ROC and precision-recall curves with their definitions.


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


# Tests of plots of weights, and of their labels from column names.


def test_column_names_are_kept(blobs: Blobs, ax: Axes) -> None:
    model = classifier()
    names = ["age", "height", "weight", "pulse", "steps", "sleep"]
    model.fit(pd.DataFrame(blobs.x, columns=names), blobs.y, verbose=0)
    assert model._feature_names == names
    plots.weight_images(model, ax=ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == names
    model.fit(blobs.x, blobs.y, verbose=0)
    assert model._feature_names is None
    model.fit(pd.DataFrame(blobs.x), blobs.y, verbose=0)
    assert model._feature_names is None


def test_weights_as_pictures(ax: Axes) -> None:
    model = keras.Sequential([keras.Input((6, 4)), keras.layers.Flatten(), keras.layers.Dense(20)])
    plots.weight_images(model, n=10, columns=4, ax=ax)
    assert len(ax.images) == 10
    kernel = model.get_weights()[0]
    np.testing.assert_array_equal(ax.images[3].get_array(), kernel[:, 3].reshape(6, 4))
    end = np.abs(kernel[:, :10]).max()
    assert ax.images[0].get_clim() == (-end, end)
    assert title(ax) == f"Weights of {model.layers[1].name}, the first 10 of 20 units"
    assert title(plots.weight_images(model.layers[1], image_shape=(4, 6))).startswith("Weights of dense")


def test_weights_of_what_is_no_picture(ax: Axes) -> None:
    plots.weight_images(np.zeros((5, 3)), feature_names="abcde", ax=ax)
    assert ax.images[0].get_array().shape == (3, 5)
    assert plots.weight_images(np.ones((9, 2)), feature_names=range(9)).images[0].get_array().shape == (2, 9)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (np.zeros(3), {}, "`weights` must be a model or layer .* got ndarray"),
        (np.full((2, 2), np.nan), {}, "a finite array"),
        (keras.Sequential([keras.layers.Dense(2)]), {}, "`weights` must be .* has been built"),
        (keras.layers.Flatten(), {}, "`weights` must be"),
        (np.zeros((4, 2)), {"feature_names": ["a"]}, "`feature_names` has 1 names, but .* 4 inputs"),
        (np.zeros((4, 2)), {"image_shape": (3, 3)}, "has 9 pixels, but there are 4"),
        (np.zeros((4, 2)), {"image_shape": (4,)}, "`image_shape` must be \\(height, width\\)"),
    ],
)
def test_what_weight_images_refuse(weights: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.weight_images(weights, **options)
