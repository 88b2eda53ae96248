"""Counts the instructions of a training step with valgrind. Slower code fails here, even if a clock could not show it.

`python tests/test_instructions.py` prints the counts. After a change that is meant to change them, record those of a
release build here. Also record lower counts, since otherwise they could rise again unnoticed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from numerics import RUNNABLE, import_environment

from engine import _core

# Batch 32 of 784-128-10 with Adam, one thread, AVX2, by compiler: `uint8` are images of MNIST, whose zeros are
# skipped, `normal` is data without zeros. Valgrind knows no AVX-512.
RECORDED: dict[str, dict[str, int]] = {
    "GCC 12": {"uint8": 852_000, "normal": 2_174_000},
}
# Two runs differ by less than 0.01 %. Other versions of Python and NumPy differ in what they do once per epoch.
TOLERANCE = 1.03
# If the count is less than half, the step is not faster: the run did not train.
LEAST = 0.5

STEPS_PER_EPOCH, EPOCHS = 16, 10
ISA = "avx2"

SCRIPT = """
    import sys
    import numpy as np
    import engine as keras
    from engine.datasets import mnist

    (x, y), _ = mnist.load_data()
    x, y = x[:512].reshape(512, 784), y[:512]
    noise = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    scaling = keras.layers.Rescaling(1 / 255)

    def train(x, layers, epochs):
        model = keras.Sequential(
            [
                keras.Input((784,)),
                *layers,
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)

    keras.utils.set_random_seed(1)
    train(x, [scaling], int(sys.argv[1]))
    train(noise, [], int(sys.argv[2]))
"""


def compiler() -> str:
    """Returns the name and major version of the compiler."""
    return str(_core.build_info()["compiler"]).partition(".")[0]


def instructions(epochs: tuple[int, int]) -> int:
    """Returns the instructions of a process that trains some epochs on either kind of data."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c"]
    result = subprocess.run(
        [*command, textwrap.dedent(SCRIPT), *map(str, epochs)],
        # Hashes change the number of collisions in Python's dictionaries, so their seed is fixed.
        env=import_environment(
            ENGINE_ISA=ISA, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0"
        ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or not found:
        msg = f"valgrind ended with {result.returncode}: {result.stderr}"
        raise RuntimeError(msg)
    return int(found[1])


def count() -> dict[str, int]:
    """Returns the instructions per step, from the difference of two runs with different numbers of epochs."""
    with ThreadPoolExecutor(2) as pool:  # in parallel, which changes no count
        base, *more = pool.map(instructions, [(1, 1), (1 + EPOCHS, 1), (1, 1 + EPOCHS)])
    return {
        kind: (total - base) // (EPOCHS * STEPS_PER_EPOCH)
        for kind, total in zip(["uint8", "normal"], more, strict=True)
    }


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer is loaded")
@pytest.mark.skipif(ISA not in RUNNABLE, reason=f"needs {ISA}")
@pytest.mark.skipif(compiler() not in RECORDED, reason=f"no counts are recorded for {compiler()}")
def test_a_step_takes_no_more_instructions_than_recorded() -> None:
    recorded, found = RECORDED[compiler()], count()
    assert all(found[kind] <= TOLERANCE * recorded[kind] for kind in recorded), (
        f"found {found}, recorded {recorded}; the top of this file says what to do"
    )
    assert all(found[kind] > LEAST * recorded[kind] for kind in recorded), f"{found} is too few to be true"


if __name__ == "__main__":
    sys.stdout.write(f'    "{compiler()}": {count()},\n')
