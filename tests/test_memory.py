"""Memory of the core: large blocks are used again, and no more than 64 MiB of them are kept."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engine as keras

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts Linux' pages")

WORKER = """
import ctypes, gc, resource
import numpy as np
import engine as keras

PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
x = np.zeros((20_000, 784), np.uint8)
x[:, ::4] = 7
y = np.arange(20_000) % 2

def faults_of_a_fit():
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(64, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    gc.collect()  # the model before
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    model.fit(x, y, batch_size=512, verbose=0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(*(faults_of_a_fit() for _ in range(3)))
"""


def test_a_model_uses_the_memory_that_another_has_left() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True)
    first, _, last = map(int, done.stdout.split())
    assert first > 1500  # 4 KiB each, of records of some 400 bytes
    assert last < first / 4


def test_what_large_models_took_goes_back() -> None:
    rows, features = 4096, 2048
    x, y = np.ones((rows, features), np.float32), np.zeros(rows)

    def train(hidden: int) -> None:
        layers = [keras.Input((features,)), *(keras.layers.Dense(n, "relu") for n in (hidden, hidden))]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x, y, batch_size=rows, verbose=0)

    train(64)
    before = _resident_mib()
    for hidden in (1024, 1100, 1200):  # 50 to 70 MiB of activations and gradients each, in one block
        train(hidden)
        gc.collect()
    assert _resident_mib() - before < 64 + 24


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages / 256
