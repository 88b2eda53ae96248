"""Tests of ONNX files: outputs in onnxruntime, contents, and the ONNX checker."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from exported import CASES, TOLERANCE, Array, extreme_cases, require_close, scaled_inputs
from onnx.reference import ReferenceEvaluator

import engine as keras
from engine.layers.core import named_leaves


def exported(model: keras.Sequential, folder: Path, **options: Any) -> Any:
    model.export(folder / "m.onnx", **options)
    return onnx.load(folder / "m.onnx")


def run(model: Any, x: Array) -> Array:
    """Computes outputs with onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # only errors: it warns of names that its own optimizer makes
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    (name,) = [each.name for each in session.get_inputs()]
    (outputs,) = session.run(None, {name: x})
    return np.asarray(outputs)


def evaluate(model: Any, x: Array) -> Array:
    """Computes outputs with ONNX's reference evaluator, which follows the definitions of the operators strictly."""
    (outputs,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    return np.asarray(outputs)


# NumPy's products sum 4,096 terms in a single chain.
@pytest.mark.parametrize(("run", "tolerance"), [(run, TOLERANCE), (evaluate, 4 * TOLERANCE)])
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_predict(
    name: str, run: Callable[[Any, Array], Array], tolerance: float, tmp_path: Path
) -> None:
    case = CASES[name]
    model = case.model()
    graph = exported(model, tmp_path)
    onnx.checker.check_model(graph, full_check=True)
    for rows in (9, 1):
        x = case.inputs(rows)
        outputs = run(graph, x)
        assert outputs.shape == (rows, *(model.output_shape[1:]))
        np.testing.assert_allclose(outputs, model.predict(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "scale"), extreme_cases())
def test_outputs_are_those_of_predict_for_extreme_inputs(name: str, scale: float, tmp_path: Path) -> None:
    model, x = CASES[name].model(), scaled_inputs(CASES[name], scale)
    require_close(run(exported(model, tmp_path), x), model.predict(x))


@pytest.mark.parametrize("opset", [14, 17, 18, 21])
@pytest.mark.parametrize(
    "name", ["mnist", "layer_normalization", "one_hot", "activation_sparsemax", "permute"]
)
def test_later_opsets(name: str, opset: int, tmp_path: Path) -> None:
    case = CASES[name]
    graph = exported(case.model(), tmp_path, opset_version=opset)
    assert graph.opset_import[0].version == opset
    x = case.inputs()
    np.testing.assert_allclose(run(graph, x), case.model().predict(x), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_outputs_of_layers_have_their_shapes_with_a_free_batch(name: str, tmp_path: Path) -> None:
    model = CASES[name].model()
    graph = exported(model, tmp_path).graph
    known = {each.name: each.type.tensor_type.shape.dim for each in [*graph.value_info, *graph.output]}
    shape: tuple[int | None, ...] = model.input_shape
    uses = Counter[str]()
    for name_within, layer in named_leaves(model._parts_in_order):
        shape = layer.compute_output_shape(shape)
        uses[name_within] += 1
        batch, *sizes = known[
            name_within if uses[name_within] == 1 else f"{name_within}_{uses[name_within] - 1}"
        ]
        assert (batch.dim_param, *(size.dim_value for size in sizes)) == ("batch", *shape[1:])


def test_names_are_those_of_the_layers(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((4,), name="pixels"),
            keras.layers.Dense(3, "relu", name="hidden"),
            keras.layers.Dropout(0.5, name="nothing"),
            keras.layers.Dense(2, name="classes"),
        ],
        name="net",
    )
    graph = exported(model, tmp_path).graph
    assert graph.name == "net"
    assert [each.name for each in graph.input] == ["pixels"]
    assert [each.name for each in graph.output] == ["classes"]
    outputs = [name for node in graph.node for name in node.output]
    assert outputs == ["hidden/Gemm", "hidden", "nothing", "classes"]
    names = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    assert list(names) == ["hidden/kernel", "hidden/bias", "classes/kernel", "classes/bias"]
    for array, weight in zip(names.values(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, weight)


def test_a_layer_named_as_the_input(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, name="x")])
    graph = exported(model, tmp_path).graph
    assert [graph.input[0].name, graph.output[0].name] == ["x_1", "x"]


def test_opset_and_version_are_stated(tmp_path: Path) -> None:
    model = exported(CASES["mnist"].model(), tmp_path)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert (model.producer_name, model.producer_version) == ("mlp-engine", keras.__version__)
    assert {each.key: each.value for each in model.metadata_props}["mlp-engine"] == keras.__version__


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float64", "float16"])
def test_the_input_has_the_dtype_of_the_model(dtype: str, tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((6,), dtype=dtype), keras.layers.Rescaling(1 / 255), keras.layers.Dense(3)]
    )
    x = np.random.default_rng(0).integers(0, 256, (5, 6)).astype(dtype)
    outputs = run(exported(model, tmp_path), x)
    np.testing.assert_allclose(outputs, model.predict(x.astype(np.float32)), rtol=TOLERANCE, atol=TOLERANCE)


def test_a_transposition_is_one(tmp_path: Path) -> None:
    nodes = [node.op_type for node in exported(CASES["permute_turned_round"].model(), tmp_path).graph.node]
    assert nodes == ["Transpose"]


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import engine as k\n"
        "k.Sequential([k.Input((2,)), k.layers.Dense(1)]).export('m.onnx')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "ImportError: export to ONNX needs onnx, which can't be imported" in result.stderr
    assert "pip install onnx" in result.stderr
    assert not list(tmp_path.iterdir())


def test_models_beyond_what_a_file_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.export.onnx_format.MOST_BYTES", 100)
    with pytest.raises(ValueError, match=r"407,\d+ bytes of weights, but .* at most 2 GiB"):
        CASES["mnist"].model().export(tmp_path / "m.onnx")


def test_weights_of_a_layer_that_comes_again_are_there_once(tmp_path: Path) -> None:
    tied = keras.layers.Dense(4, name="tied")
    model = keras.Sequential([keras.Input((4,)), tied, keras.layers.ReLU(), tied])
    graph = exported(model, tmp_path).graph
    assert sorted(array.name for array in graph.initializer) == ["tied/bias", "tied/kernel"]
    assert [node.output[0] for node in graph.node if "tied" in node.output[0]] == ["tied", "tied_1"]


@pytest.mark.parametrize("name", ["", " ", "a b", 'it\'s "q"', "ü", "x" * 300, "a:b", "a\nb", ".."])
def test_any_name_that_a_layer_may_have(name: str, tmp_path: Path) -> None:
    layers = [keras.Input((3,), name=name), keras.layers.Dense(4, name=name), keras.layers.Dense(2)]
    model = keras.Sequential(layers, name=name)
    graph = exported(model, tmp_path)
    onnx.checker.check_model(graph, full_check=True)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(run(graph, x), model.predict(x), rtol=TOLERANCE, atol=TOLERANCE)
