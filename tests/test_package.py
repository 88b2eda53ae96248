"""Tests of `import engine`, of its errors, and of the installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest requires it

import engine as keras
from engine import _core
from engine._base.extras import PACKAGES

ROOT = Path(__file__).parents[1]
# The size limit of the package without the data set, with kernels of three instruction sets.
MOST_BYTES = 8_200_000


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_data_sets_are_imported_on_first_use() -> None:
    code = "import sys, engine; print('engine.datasets' in sys.modules, engine.datasets.mnist.__name__)"
    assert run_python(code).stdout == "False engine.datasets.mnist\n"


def test_a_missing_extension_says_how_to_install() -> None:
    result = run_python("import sys; sys.modules['engine._core'] = None; import engine")
    assert "ImportError: the compiled part of engine, engine._core, can't be imported" in result.stderr
    assert "pip install" in result.stderr


def test_messages_name_the_packages_of_the_extras() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, packages in PACKAGES.items():
        required = [Requirement(text) for text in metadata["optional-dependencies"][extra]]
        assert sorted(packages) == sorted(
            each.name + (f"[{','.join(sorted(each.extras))}]" if each.extras else "")
            for each in required
            if each.marker is None or each.marker.evaluate()
        )


def test_no_text_advises_to_install_from_an_index() -> None:
    """The package is not on any index yet."""
    files = [
        ROOT / "README.md",
        *(file for folder in ("docs", "python") for file in (ROOT / folder).rglob("*")),
    ]
    advice = re.compile(r"pip install [^\n`]*mlp-engine")
    assert [
        str(file)
        for file in files
        if file.suffix in {".md", ".rst", ".py"} and advice.search(file.read_text(encoding="utf-8"))
    ] == []


def test_the_installed_code_is_small() -> None:
    package = Path(keras.__file__).parent
    core = next(package.glob("_core.*.so"), None)
    if core is None or b".debug_info" in core.read_bytes():
        pytest.skip("an editable installation, or one for a debugger")
    # `data` is the data set; caches are Python's.
    files = [path for path in package.rglob("*") if path.is_file()]
    code = [path for path in files if not {"data", "__pycache__"} & set(path.relative_to(package).parts)]
    assert sum(path.stat().st_size for path in code) <= MOST_BYTES


def test_what_only_tests_need_is_not_installed() -> None:
    package = Path(keras.__file__).parent
    assert [*package.rglob("engine_test_kernels*"), *package.parent.glob("engine_test_kernels*")] == []
    assert not hasattr(_core, "Kernels")


def test_names_of_keras() -> None:
    assert set(dir(keras)) == set(keras.__all__)
    assert keras.models.Sequential is keras.Sequential
    assert keras.layers.Input is keras.Input
    assert keras.__version__
    with pytest.raises(AttributeError, match="module 'engine' has no attribute 'layerz'"):
        _ = keras.layerz
