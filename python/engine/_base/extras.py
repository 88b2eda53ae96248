"""Packages that bring one feature more, and a message for where they are missing."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

# The packages of each extra in `pyproject.toml`. Messages name the packages themselves: that advice holds however
# this package was installed. pyfive imports fsspec on Python 3.10 without asking for it.
PACKAGES = {
    "plot": ("matplotlib",),
    "pandas": ("pandas",),
    "tensorboard": ("tensorboard",),
    "sklearn": ("scikit-learn",),
    "onnx": ("onnx",),
    "torch": ("torch",),
    "files": ("h5py", "pyfive", *(("fsspec",) if sys.version_info < (3, 11) else ()), "safetensors"),
}


def extra(module: str, name: str, wanted_by: str, instead: str = "") -> Any:
    """Import a package that only some installations have.

    Args:
        module: to import.
        name: of the extra that brings it.
        wanted_by: what needs it, for the message.
        instead: what to do without it.

    Returns:
        The module.

    Raises:
        ImportError: if it can't be imported; the message tells how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        todo = f"pip install {' '.join(PACKAGES[name])}" + (f", or {instead}" if instead else "")
        msg = f"{wanted_by} needs {package}, which can't be imported ({error}): {todo}"
        raise ImportError(msg) from error
