"""Checks an installed wheel in an environment that has only NumPy: `python tests/smoke.py`."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from pathlib import Path

import numpy as np

import engine as keras
from engine import cli, cython_api

# SHA-256 of the weights after training with seed 7, on every system, instruction set and number of threads.
WEIGHTS = "40c52f52bb60cc16ca3d90ccf40a6a067192bdeaaa5b7b6f65658c58dd4ef43c"
LEAST_ACCURACY = 0.85


def train(threads: int | None) -> tuple[keras.Sequential, str]:
    """Trains the textbook network on some of the images. Returns the model and the SHA-256 of its weights."""
    keras.config.set_threads(threads)
    keras.utils.set_random_seed(7)
    (x, y), _ = keras.datasets.mnist.load_data()
    model = keras.Sequential(
        [
            keras.layers.Flatten(input_shape=(28, 28)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:5000] / 255.0, y[:5000], epochs=2, verbose=0)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights()))
    return model, digest.hexdigest()


def openmp_libraries() -> set[str]:
    """Returns the paths of loaded OpenMP libraries; none if the system does not tell."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.exists() else []
    return {line.split()[-1] for line in lines if "gomp" in line or "libomp" in line}


def main() -> None:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled(), "the import has switched the GIL on"
    assert cli.main(["info"]) == 0
    assert cython_api.Predictor is not None
    package = Path(keras.__file__).parent
    strangers = {path for path in openmp_libraries() if not path.startswith(str(package.parent))}
    assert not strangers, f"the wheel must bring its own OpenMP library, but uses {strangers}"

    model, weights = train(None)
    assert weights == WEIGHTS, f"other weights than elsewhere: {weights}"
    assert train(1)[1] == weights, "one thread trains to other weights"
    assert train(2)[1] == weights, "two threads train to other weights"
    _, (x_test, y_test) = keras.datasets.mnist.load_data()
    _, accuracy = model.evaluate(x_test / 255.0, y_test, verbose=0)
    assert accuracy > LEAST_ACCURACY, f"accuracy {accuracy}"

    if hasattr(os, "fork"):  # a forked child starts its own threads
        child = os.fork()
        if child == 0:
            os._exit(train(2)[1] != weights)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "a forked child can't train"
    sys.stdout.write(f"accuracy          {accuracy:.2%}\nSHA-256           {weights}\n")


if __name__ == "__main__":
    main()
