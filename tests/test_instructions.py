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
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from numerics import RUNNABLE, import_environment

from engine import _core

# Batch 32 of 784-128-10 with Adam, one thread, AVX2, by compiler: `uint8` are images of MNIST, whose zeros are
# skipped, `normal` is data without zeros. Valgrind knows no AVX-512.
RECORDED: dict[str, dict[str, int]] = {
    "GCC 12": {"uint8": 858_600, "normal": 2_184_400},
}
# Two runs differ by less than 0.01 %. Other versions of Python and NumPy differ in what they do once per epoch.
TOLERANCE = 1.03
# If the count is less than half, the step is not faster: the run did not train.
LEAST = 0.5

STEPS_PER_EPOCH, EPOCHS = 16, 10
ISA = "avx2"

# Instructions are counted between `start` and `stop`, so that valgrind need not look at what is imported before.
REQUESTS = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void stop(const char* name) { CALLGRIND_STOP_INSTRUMENTATION; CALLGRIND_DUMP_STATS_AT(name); }
"""
SCRIPT = f"""
    import ctypes, sys
    import numpy as np
    import engine as keras
    from engine.datasets import mnist

    requests = ctypes.CDLL(sys.argv[1])
    (x, y), _ = mnist.load_data()
    x, y = x[:512].reshape(512, 784), y[:512]
    noise = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    keras.utils.set_random_seed(1)
    for kind, rows, layers in (("uint8", x, [keras.layers.Rescaling(1 / 255)]), ("normal", noise, [])):
        layers += [keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10, activation="softmax")]
        model = keras.Sequential([keras.Input((784,)), *layers])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(rows, y, batch_size=32, verbose=0)
        for epochs in (1, {1 + EPOCHS}):
            requests.start()
            model.fit(rows, y, batch_size=32, epochs=epochs, verbose=0)
            requests.stop(f"{{kind}} {{epochs}}".encode())
"""


def compiler() -> str:
    """Returns the name and major version of the compiler."""
    return str(_core.build_info()["compiler"]).partition(".")[0]


def count() -> dict[str, int]:
    """Returns the instructions per step, from the difference of two trainings with different numbers of epochs."""
    with TemporaryDirectory() as folder:
        library, counts = Path(folder, "requests.so"), Path(folder, "counts")
        build = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library]
        subprocess.run(build, input=REQUESTS, text=True, check=True)
        options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counts}"]
        result = subprocess.run(
            ["valgrind", *options, sys.executable, "-c", textwrap.dedent(SCRIPT), library],
            # Hashes change the number of collisions in Python's dictionaries, so their seed is fixed.
            env=import_environment(
                ENGINE_ISA=ISA, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0"
            ),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if result.returncode != 0:
            msg = f"valgrind ended with {result.returncode}: {result.stderr}"
            raise RuntimeError(msg)
        texts = [file.read_text() for file in Path(folder).glob("counts.*")]
    found = [re.search(r"Client Request: (\w+) (\d+)\n(?:.*\n)*?totals: (\d+)", text) for text in texts]
    totals = {(each[1], int(each[2])): int(each[3]) for each in found if each}
    return {
        kind: (totals[kind, 1 + EPOCHS] - totals[kind, 1]) // (EPOCHS * STEPS_PER_EPOCH)
        for kind in ("uint8", "normal")
    }


@pytest.mark.skipif(
    not Path("/usr/include/valgrind/callgrind.h").exists() or shutil.which("valgrind") is None,
    reason="valgrind or its headers are not installed",
)
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
