"""Tests of the core's memory: blocks are reused, at most 64 MiB of large ones are kept, and calls leave nothing behind.

Each test has its own process, so that other tests do not use or free its pages. All pages have one size, since the
kernel could otherwise merge small pages to large ones in the background and count the added memory.
"""

from __future__ import annotations

import os
import sys

import pytest
from numerics import run_script

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts Linux' pages"),
    pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer keeps what is freed"),
]

PAGES = """
import ctypes, gc, resource, sys, tracemalloc
from pathlib import Path
import numpy as np
import engine as keras

PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0

def resident():
    "Bytes of this process in memory."
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
"""

FAULTS = """
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

LARGE_MODELS = """
rows, features = 4096, 2048
x, y = np.ones((rows, features), np.float32), np.zeros(rows)

def train(hidden):
    layers = [keras.Input((features,)), *(keras.layers.Dense(n, "relu") for n in (hidden, hidden))]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=rows, verbose=0)

train(64)
before = resident()
for hidden in (1024, 1100, 1200):  # 50 to 70 MiB of activations and gradients each, in one block
    train(hidden)
print(resident() - before)
"""

PREDICTIONS = """
CALLS = 250_000
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")])
x = np.ones((1, 6), np.float32)
out = np.empty((1, 3), np.float32) if INTO_OUT else None

def ask(count):
    for _ in range(count):
        model.predict(x, out=out)

ask(10_000)
before, blocks = resident(), sys.getallocatedblocks()
ask(CALLS)
print((resident() - before) / CALLS, sys.getallocatedblocks() - blocks)
tracemalloc.start()
ask(100)
first = tracemalloc.get_traced_memory()[0]
ask(1000)
print(tracemalloc.get_traced_memory()[0] - first)
"""

SIZES = """
model = keras.Sequential(
    [keras.Input((300,)), keras.layers.Dense(96, "relu"), keras.layers.Dense(10, "softmax")]
)
x = np.random.default_rng(1).standard_normal((300, 300), np.float32)
x[100:200, 50:] = 0  # rows whose zeros are skipped
model.predict(x)
before = resident()
for rows in range(1, 301):
    model.predict(x[:rows])
print(resident() - before)
"""

MANY_MODELS = """
M_ARENA_MAX = -8  # each thread would begin in an arena of its own, with holes
assert ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1) == 1
x, y = np.ones((64, 16), np.float32), np.arange(64) % 10

def build():
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def train(count):
    keras.fit_many([build] * count, x, y, epochs=2, verbose=0)

def after(times):
    for _ in range(times):
        train(100)
        there = resident()
    return there

before = after(2)
print((after(6) - before) / 600)
"""


def numbers(script: str) -> list[float]:
    """Returns the numbers that `script` prints in a new process."""
    return [float(word) for word in run_script(PAGES + script).split()]


def test_a_model_uses_the_memory_that_another_has_left() -> None:
    first, _, last = numbers(FAULTS)
    assert first > 1500  # pages of 4 KiB for records of about 400 bytes
    assert last < first / 4


def test_what_large_models_took_goes_back() -> None:
    (growth,) = numbers(LARGE_MODELS)
    assert growth < (64 + 24) << 20


def test_many_models_leave_nothing_behind() -> None:
    (bytes_a_model,) = numbers(MANY_MODELS)
    # One has 3,500 bytes of weights, and each of two states of its optimizer as many.
    assert bytes_a_model < 2000


@pytest.mark.parametrize("into_out", [False, True])
def test_predictions_leave_nothing_behind(into_out: bool) -> None:
    bytes_a_call, blocks, traced = numbers(f"INTO_OUT = {into_out}{PREDICTIONS}")
    assert bytes_a_call < 0.5
    assert blocks < 100
    assert traced < 1000


def test_predictions_of_all_sizes_share_their_scratch() -> None:
    """Predictions of all sizes leave no more memory allocated than the largest needs."""
    (growth,) = numbers(SIZES)
    assert growth < 1 << 20
