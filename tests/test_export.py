"""Tests of what all export formats share: models, arguments, files."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import Doubled
from exported import CASES, every_layer, layers_in_cases

import engine as keras
from engine.export import c_format, onnx_format
from engine.export.graph import LOWERINGS, MERGING


def small(*layers: keras.layers.Layer) -> keras.Sequential:
    return keras.Sequential([keras.Input((3,)), *(layers or [keras.layers.Dense(2)])])


def test_every_layer_is_in_a_case() -> None:
    assert every_layer() - MERGING.keys() - layers_in_cases() == set(), "tests/exported.py"


def test_both_tables_have_the_same_rows() -> None:
    source = Path(__file__).parents[1] / "csrc" / "formulas" / "kinds.h"
    wanted = {*re.findall(r'\{Activation::\w+, "(\w+)"', source.read_text(encoding="utf-8"))} - {"linear"}
    assert len(wanted) > 25
    rows = {"softmax", "log_softmax", "sparsemax"}  # of which the core has no formula for single elements
    assert rows <= wanted & {*c_format.OPERATIONS}
    assert {*onnx_format.OPERATIONS, *onnx_format.ACTIVATIONS} == {*c_format.OPERATIONS}


def test_every_operation_of_the_core_has_its_meaning() -> None:
    source = Path(__file__).parents[1] / "csrc" / "graph" / "layer.cpp"
    layers, _ = source.read_text(encoding="utf-8").split("// Of traced functions.")
    names = {*re.findall(r"^    \{\"(\w+)\", read_", layers, re.MULTILINE)}
    # Layers in Python cannot be exported, and those that merge inputs have a table of their own.
    assert names - {"custom", "add", "concatenate"} == LOWERINGS.keys(), "engine/export/graph.py"


def test_arguments_are_those_of_keras() -> None:
    names = list(inspect.signature(keras.Sequential.export).parameters)
    assert names[:5] == ["self", "filepath", "format", "verbose", "input_signature"]


@pytest.mark.parametrize("suffix", ["onnx", "h"])
def test_files_are_the_same_each_time(suffix: str, tmp_path: Path) -> None:
    model = CASES["mnist"].model()
    files = [tmp_path / f"{number}" / f"m.{suffix}" for number in range(2)]
    for file in files:
        file.parent.mkdir()
        model.export(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_suffix_or_format_decides(tmp_path: Path) -> None:
    model = small()
    model.export(tmp_path / "a.ONNX")
    model.export(str(tmp_path / "b.bin"), format="onnx")
    model.export(tmp_path / "c", "c")
    assert (tmp_path / "a.ONNX").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert "c_predict" in (tmp_path / "c").read_text(encoding="utf-8")


def test_verbose_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small().export(tmp_path / "m.h")
    assert capsys.readouterr().out == ""
    small().export(tmp_path / "m.h", verbose=True)
    assert capsys.readouterr().out.startswith("Exported model 'sequential")


class OfValues(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs if float(inputs[0, 0]) > 0 else -inputs


@pytest.mark.parametrize(
    ("layer", "reason"),
    [(Doubled, "without a `gradient`"), (OfValues, r"test_export.py:\d+: .*float\(\) of it")],
)
@pytest.mark.parametrize("suffix", ["onnx", "h"])
def test_layers_that_python_computes_are_refused(
    layer: type[keras.layers.Layer], reason: str, suffix: str, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input((2,)), layer(name="mine")])
    with pytest.raises(
        ValueError,
        match=rf"layer 'mine' \({layer.__name__}\) computes its outputs in Python in every batch.*{reason}",
    ):
        model.export(tmp_path / f"m.{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["onnx", "h"])
def test_weights_that_are_not_finite_are_refused(suffix: str, tmp_path: Path) -> None:
    model = small()
    model.set_weights([np.full((3, 2), np.nan), np.zeros(2)])
    with pytest.raises(ValueError, match=r"layer 'dense.*' has weights that are NaN or infinite"):
        model.export(tmp_path / f"m.{suffix}")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("m.pt",), ValueError, r"'m.pt' doesn't tell the format .* 'onnx' .* 'c' \(.h\)"),
        (("m",), ValueError, "doesn't tell the format"),
        (("m", "tf_saved_model"), ValueError, "`format` must be 'onnx' or 'c', got 'tf_saved_model'"),
        (("m.onnx", "litert"), ValueError, "got 'litert'"),
        (("m", "openvino"), ValueError, "got 'openvino'"),
        ((3,), TypeError, "`filepath` must be a path, got 3"),
        (("m.h", None, "yes"), TypeError, "`verbose` must be True or False"),
        (("m.h", None, None, [(None, 3)]), ValueError, "`input_signature` must be None"),
        (("none/m.h",), FileNotFoundError, "there is no folder '.*none': make it first"),
        (("/proc/m.onnx",), OSError, "can't write '/proc/m.onnx'"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small().export(*arguments)


@pytest.mark.parametrize(
    ("suffix", "options", "error", "message"),
    [
        ("h", {"opset_version": 17}, TypeError, "'c' has no argument `opset_version`. It takes: prefix"),
        ("onnx", {"opset_versio": 17}, TypeError, "no argument `opset_versio`; did you mean 'opset_version'"),
        ("onnx", {"opset_version": 12}, ValueError, "`opset_version` must be at least 13, got 12"),
        ("onnx", {"opset_version": 10**6}, ValueError, "`opset_version` must be at most"),
        ("onnx", {"opset_version": "17"}, TypeError, "`opset_version` must be an integer"),
        ("h", {"prefix": "7up"}, ValueError, "`prefix` must start with a letter .* got '7up'"),
        ("h", {"prefix": "a-b"}, ValueError, "got 'a-b'"),
        ("h", {"prefix": ""}, ValueError, "got ''"),
        ("h", {"prefix": 3}, ValueError, "got 3"),
    ],
)
def test_wrong_options(
    suffix: str, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / f"m.{suffix}").write_bytes(b"old")
    with pytest.raises(error, match=message):
        small().export(tmp_path / f"m.{suffix}", **options)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("model", [keras.Sequential(), keras.Sequential([keras.layers.Dense(2)])])
def test_a_model_without_weights_says_what_to_do(model: keras.Sequential, tmp_path: Path) -> None:
    for suffix in ("onnx", "h"):
        with pytest.raises(ValueError, match=r"has no weights yet, so no export\(\): give it an input shape"):
            model.export(tmp_path / f"m.{suffix}")


def test_export_from_a_callback_writes_the_weights_of_the_moment(tmp_path: Path) -> None:
    model = small()
    model.compile("sgd", "mse")
    first: list[Any] = []

    def export(epoch: int, logs: Any) -> None:
        del logs
        model.export(tmp_path / f"{epoch}.h", prefix="m")
        first.append(model.get_weights())

    callback = keras.callbacks.LambdaCallback(on_epoch_end=export)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0, callbacks=[callback])
    texts = [(tmp_path / f"{epoch}.h").read_text(encoding="utf-8") for epoch in range(2)]
    assert texts[0] != texts[1]
    assert f"{first[0][0].flat[0]!s}f," in texts[0]
