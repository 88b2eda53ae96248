"""Imports of optional packages, the extras of `pyproject.toml`, with a message that says how to install them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

# The packages of each extra in `pyproject.toml`. Messages name the packages and not the extra, since that advice is right
# however the engine was installed. On Python 3.10 pyfive imports fsspec without declaring it, and KerasTuner imports six.
PACKAGES = {
    "plot": ("matplotlib",),
    "pandas": ("pandas",),
    "tensorboard": ("tensorboard",),
    "sklearn": ("scikit-learn",),
    "tuner": ("keras-tuner", "six"),
    "tune": ("optuna",),
    "onnx": ("onnx",),
    "torch": ("torch",),
    "joblib": ("joblib", "cloudpickle"),
    "dask": ("dask[array,dataframe,distributed]",),
    "ray": (*(("ray[data]",) if sys.version_info < (3, 14) else ()), "cloudpickle"),
    "arrow": ("pyarrow",),
    "files": ("h5py", "pyfive", *(("fsspec",) if sys.version_info < (3, 11) else ()), "safetensors"),
}


def extra(module: str, name: str, wanted_by: str, instead: str = "") -> Any:
    """Imports and returns an optional module.

    Args:
        module: the module to import.
        name: the extra that installs it.
        wanted_by: the feature that needs it, for the message.
        instead: what the user can do without it, for the message.

    Raises:
        ImportError: if the module can't be imported. The message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        todo = f"pip install {' '.join(PACKAGES[name])}" + (f", or {instead}" if instead else "")
        msg = f"{wanted_by} needs {package}, which can't be imported ({error}): {todo}"
        raise ImportError(msg) from error
