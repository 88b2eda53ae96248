"""Finds and imports `engine_test_kernels`, the compiled module that only the tests need."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

NAME = "engine_test_kernels"
ROOT = Path(__file__).resolve().parents[1]


def folder_of_module() -> Path:
    """Returns the folder of the module that pip built for this Python, or else of the newest that CMake built."""
    built = list(ROOT.glob(f"build/*/tests/{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"))
    if not built:
        msg = (
            f"the compiled module {NAME}, which the tests need, was not found: run `make test`, which builds it, or "
            "build the project with CMake and -DENGINE_TEST_MODULE=ON; it is then found in build/*/tests, and "
            "elsewhere through PYTHONPATH"
        )
        raise ImportError(msg)
    by_pip = [file for file in built if file.parents[1].name.startswith("cp3")]  # named by the tag of a wheel
    return max(by_pip or built, key=lambda file: file.stat().st_mtime).parent


if importlib.util.find_spec(NAME) is None:
    sys.path.append(str(folder_of_module()))

from engine_test_kernels import Kernels, accumulate, matmul  # noqa: E402

__all__ = ["Kernels", "accumulate", "matmul"]
