"""What `import engine` brings, and what it says when it can't."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest

import engine as keras
import engine.models.sequential


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_data_sets_are_imported_on_first_use() -> None:
    code = "import sys, engine; print('engine.datasets' in sys.modules, engine.datasets.mnist.__name__)"
    assert run_python(code).stdout == "False engine.datasets.mnist\n"


def test_a_missing_extension_says_how_to_install() -> None:
    result = run_python("import sys; sys.modules['engine._core'] = None; import engine")
    assert "ImportError: the compiled part of engine, engine._core, can't be imported" in result.stderr
    assert "pip install" in result.stderr


def test_names_of_keras() -> None:
    assert set(dir(keras)) == set(keras.__all__)
    assert keras.models.Sequential is keras.Sequential
    assert keras.layers.Input is keras.Input
    assert keras.__version__
    with pytest.raises(AttributeError, match="module 'engine' has no attribute 'layerz'"):
        _ = keras.layerz


def test_examples_in_docstrings() -> None:
    results = doctest.testmod(engine.models.sequential)
    assert (results.failed, results.attempted > 0) == (0, True)
