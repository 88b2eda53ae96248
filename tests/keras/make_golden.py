"""Runs the cases of `keras_cases.py` in Keras and saves the results: `python tests/keras/make_golden.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
from keras_cases import CASES, GOLDEN, run


def main() -> None:
    """Writes the file."""
    found = {
        f"{name}/{key}": value for name, case in CASES.items() for key, value in run(keras, case).items()
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, version=np.array(keras.__version__), **found)
    sys.stdout.write(f"{GOLDEN}: {len(CASES)} cases, Keras {keras.__version__}\n")


if __name__ == "__main__":
    main()
