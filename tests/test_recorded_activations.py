"""Formulas of activations as recorded code gets them from the core: beside the kernels, and in exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from corners import derivatives
from onnx.reference import ReferenceEvaluator
from reference_activations import CASES, FORMULAS

import engine as keras
from engine._tracing.core_formulas import core_formula
from engine._tracing.primitives import elementwise
from engine.activations._apply import apply
from engine.export import c_functions, onnx_format

X = np.concatenate([np.linspace(-9, 9, 721), [-1e20, -1e6, -100, -0.0, 100, 1e6, 1e20]])
X = X.astype(np.float32)[:, None]


@pytest.mark.parametrize(("name", "constants"), CASES)
def test_the_recorded_formula_is_that_of_the_kernels(name: str, constants: tuple[float, ...]) -> None:
    fields: Any = {"activation": name, "parameters": constants}
    recorded = keras.layers.Lambda(lambda x: elementwise(core_formula(fields), x))
    model = keras.Sequential([keras.Input((1,)), recorded])
    np.testing.assert_allclose(model.predict(X, verbose=0), apply(fields, X), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    "name", ["silu", "gelu", "mish", "softsign", "tanh_shrink", "selu", "elu", "squareplus"]
)
def test_derivatives_of_recorded_activations(name: str) -> None:
    """The slope beside its formula, the second derivative beside its differences, and both finite far from 0."""
    function, formula = getattr(keras.activations, name), FORMULAS[name]
    constants, step = formula.constants[0], 1e-5
    places = [*np.linspace(-7.03, 7.11, 51), -1e6, -100.0, 100.0, 1e6]
    x = np.float32(places).astype(float)
    _, slope, second = derivatives(function, places)
    np.testing.assert_allclose(slope, formula.slope(x, *constants), rtol=2e-5, atol=2e-6)
    differences = (formula.slope(x + step, *constants) - formula.slope(x - step, *constants)) / (2 * step)
    np.testing.assert_allclose(second, differences, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mish", "gelu", "selu", "sparse_plus"])
def test_onnx_writes_the_formula_of_the_core(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the formats have no form of their own of an activation."""
    for table in (c_functions.ACTIVATIONS, onnx_format.ACTIVATIONS):
        monkeypatch.delitem(table, name)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name), keras.layers.Dense(2)])
    x = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32) * 3
    model.export(tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx")
    (outputs,) = ReferenceEvaluator(graph).run(None, {graph.graph.input[0].name: x})
    np.testing.assert_allclose(outputs, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    model.export(tmp_path / "m.h")
    assert "m_predict(" in (tmp_path / "m.h").read_text("utf-8")
