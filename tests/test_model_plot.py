"""Tests of utils.plot_model, which draws the boxes and arrows of a model."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import engine as keras
from engine.utils import model_plot

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def model() -> keras.Sequential:
    return keras.Sequential(
        [
            keras.layers.Flatten(input_shape=(4, 4), name="rows"),
            keras.layers.Dense(8, activation="relu", name="<hidden & co>"),
            keras.layers.BatchNormalization(name="norm", trainable=False),
            keras.layers.Dense(3, activation="softmax", name="last"),
        ],
        name="small",
    )


def texts(path: Path) -> list[str]:
    return [str(text.text) for text in ElementTree.parse(path).iter(f"{SVG}text")]


def boxes(path: Path) -> list[tuple[float, ...]]:
    rects = ElementTree.parse(path).iter(f"{SVG}rect")
    return [tuple(float(rect.attrib[key]) for key in ("x", "y", "width", "height")) for rect in rects]


def test_classes_alone(model: keras.Sequential, tmp_path: Path) -> None:
    path = tmp_path / "model.svg"
    assert keras.utils.plot_model(model, path) is None
    assert texts(path) == ["Flatten", "Dense", "BatchNormalization", "Dense"]
    assert ElementTree.parse(path).getroot().attrib["aria-label"] == "rows, <hidden & co>, norm, last"
    arrows = list(ElementTree.parse(path).iter(f"{SVG}path"))
    assert len(arrows) == 2 * 3


def test_everything(model: keras.Sequential, tmp_path: Path) -> None:
    path = tmp_path / "model.svg"
    keras.utils.plot_model(
        model,
        str(path),
        show_shapes=True,
        show_dtype=True,
        show_layer_names=True,
        show_layer_activations=True,
        show_trainable=True,
        expand_nested=True,
    )
    shapes = ["(None, 4, 4)", "(None, 16)", "(None, 8)", "(None, 8)", "(None, 3)"]
    between = [
        [f"Input shape: {a}", f"Output shape: {b}", "Output dtype: float32"]
        for a, b in itertools.pairwise(shapes)
    ]
    assert texts(path) == [
        "rows (Flatten)", *between[0],
        "<hidden & co> (Dense)", "Activation: relu", *between[1], "Trainable",
        "norm (BatchNormalization)", *between[2], "Non-trainable",
        "last (Dense)", "Activation: softmax", *between[3], "Trainable",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rankdir", "axis", "sign"), [("TB", 1, 1), ("LR", 0, 1), ("BT", 1, -1), ("RL", 0, -1)]
)
def test_directions(rankdir: str, axis: int, sign: int, model: keras.Sequential, tmp_path: Path) -> None:
    path = tmp_path / "model.svg"
    keras.utils.plot_model(model, path, rankdir=rankdir)
    placed = dict(zip(texts(path), boxes(path), strict=True))
    first, last = placed["Flatten"][axis], placed["BatchNormalization"][axis]
    assert (last - first) * sign > 0
    root = ElementTree.parse(path).getroot()
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for x, y, wide, high in boxes(path):
        assert 0 < x < x + wide < width
        assert 0 < y < y + high < height


def test_boxes_hold_their_texts(model: keras.Sequential, tmp_path: Path) -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    path = tmp_path / "model.svg"
    keras.utils.plot_model(model, path, show_shapes=True, show_layer_names=True, show_layer_activations=True)
    for element, (_, _, width, _) in zip(
        ElementTree.parse(path).iter(f"{SVG}text"), boxes(path), strict=True
    ):
        bold = "bold" if element.attrib.get("font-weight") else "normal"
        font = FontProperties(family="DejaVu Sans", weight=bold)
        drawn = TextPath((0, 0), str(element.text), size=float(element.attrib["font-size"]), prop=font)
        assert drawn.get_extents().width < width


def test_png_by_default(model: keras.Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keras.utils.plot_model(model, dpi=100)
    keras.utils.plot_model(model, "twice", dpi=200)
    sizes = [struct.unpack(">II", Path(name).read_bytes()[16:24]) for name in ("model.png", "twice.png")]
    assert sizes[1] == pytest.approx([2 * size for size in sizes[0]], abs=2)
    keras.utils.plot_model(model, "model.pdf")
    assert Path("model.pdf").read_bytes().startswith(b"%PDF")


def test_notebooks_get_a_picture(
    model: keras.Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    display = SimpleNamespace(
        SVG=lambda filename: ("svg", filename), Image=lambda filename: ("image", filename)
    )
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    for kind, name in (("svg", "a.svg"), ("image", "a.png")):
        assert keras.utils.plot_model(model, tmp_path / name) == (kind, str(tmp_path / name))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"to_file": "a.doc"}, ValueError, "`to_file` must end in one of .*\\.png.*, got 'a.doc'"),
        ({"rankdir": "UP"}, ValueError, "`rankdir` must be one of 'TB', 'LR', 'BT', 'RL', got 'UP'"),
        ({"dpi": 0}, ValueError, "`dpi` must be at least 1"),
        ({"dpi": 10**6}, ValueError, "makes a picture of more than 65535 pixels"),
        ({"show_shapes": "yes"}, TypeError, "`show_shapes` must be True or False"),
        ({"splines": "round"}, ValueError, "`splines` must be one of"),
    ],
)
def test_refusals(  # noqa: PLR0917 # of pytest
    options: Any,
    error: type[Exception],
    message: str,
    model: keras.Sequential,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        keras.utils.plot_model(model, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="This model has not yet been built"):
        keras.utils.plot_model(keras.Sequential([keras.layers.Dense(3)]), tmp_path / "a.svg")


def test_svg_needs_nothing_else(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; import engine as keras\n"
        "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])\n"
        "keras.utils.plot_model(model, 'a.svg'); keras.utils.plot_model(model)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "ImportError: a picture in .png (.svg does without) needs matplotlib" in result.stderr
    assert "pip install matplotlib" in result.stderr
    assert texts(tmp_path / "a.svg") == ["Dense"]


def test_custom_activations_have_names(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, activation=keras.layers.LeakyReLU(0.1))]
    )
    keras.utils.plot_model(model, tmp_path / "a.svg", show_layer_activations=True)
    assert texts(tmp_path / "a.svg") == ["Dense", "Activation: LeakyReLU"]
    assert model_plot.DIRECTIONS[0] == "TB"
