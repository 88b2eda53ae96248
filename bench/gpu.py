"""Builds the engine for GPUs, checks it, and times it beside PyTorch and JAX: `python -m bench.gpu`.

It is meant to take less than 8 minutes on a machine with an H100 and 16 cores, and needs no network: nvcc on PATH, and what
`make test` and `make bench` install. Parts can be left out, and what was found is in reports/gpu.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "gpu"
SITE = BUILD / "site"

# A training of each way to run, for the tools that look for errors of memory and order.
SANITIZED = """
import numpy as np
import engine as keras

rng = np.random.default_rng(0)
x, y = rng.integers(0, 256, (300, 784), dtype="uint8"), rng.integers(0, 10, 300)
for optimizer, batch_size in (("adam", 32), ("adagrad", 32), ("adam", 150)):
    with keras.device("cuda"):
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Dense(128, "relu"), keras.layers.Dense(10, "softmax")]
        model = keras.Sequential([keras.Input((784,)), *layers])
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, batch_size=batch_size, epochs=1, verbose=0)
        model.predict(x, verbose=0)
"""
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")

# Prints which kernels, and which products by cuBLASLt, a batch of a wide network needs.
EXPLAINED = """
import engine as keras

with keras.device("cuda"):
    layers = [keras.layers.Dense(2500, "relu"), keras.layers.Dense(2500, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((784,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
print(keras.utils.explain_batch(model, batch_size=1024).partition("Schedule: ")[2])
"""

# Times that others have published, for comparison with the last table.
KNOWN = """\
Known from elsewhere: tiny-cuda-nn on an RTX 3090 trains 1.2 to 2.0e8 samples a second with networks 64 wide, 0.74 to
0.96e8 with networks 128 wide; cuda-mnist takes 1.3 s for a run on an RTX 3060."""


def run(*command: str | Path, seconds: float, **environment: str) -> bool:
    """Runs a command, whose output is shown, and returns whether it succeeded within so many seconds."""
    print(f"\n== {' '.join(map(str, command))[:200]}", flush=True)
    begin = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        print(f"== took more than {seconds:.0f} s", flush=True)
        return False
    except FileNotFoundError:
        print(f"== there is no {command[0]}", flush=True)
        return False
    print(f"== status {done.returncode} after {time.monotonic() - begin:.0f} s", flush=True)
    return done.returncode == 0


def build() -> bool:
    """Compiles the core with csrc/cuda, and puts it with the package into a folder of its own."""
    options = ["-DENGINE_CUDA=ON", "-DENGINE_TEST_MODULE=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    configured = run(
        *("cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", f"-DPython_EXECUTABLE={sys.executable}", *options),
        seconds=60,
    )
    if not (configured and run("cmake", "--build", BUILD, seconds=400)):
        return False
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(ROOT / "python" / "engine", SITE / "engine", ignore=shutil.ignore_patterns("*.so"))
    return run("cmake", "--install", BUILD, "--prefix", SITE, seconds=60)


def main() -> int:
    """Returns the exit status: 1 if something failed, else 0."""
    options = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.partition(":")[0])
    add = options.add_argument
    add("--installed", action="store_true", help="measure the engine that is installed, without a build")
    add("--no-tests", action="store_true", help="leave tests/cuda out")
    add("--no-sanitizer", action="store_true", help="leave compute-sanitizer out")
    add("--rounds", type=int, default=3, help="how often everything is timed; default: 3")
    args, others = options.parse_known_args()

    run(
        "nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,memory.total", "--format=csv", seconds=30
    )
    good = args.installed or build()
    if not good:
        return 1
    path = {} if args.installed else {"PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}"}
    good = run(sys.executable, "-m", "engine", "info", seconds=60, **path)
    good &= run(sys.executable, "-c", EXPLAINED, seconds=60, **path)
    if not args.no_tests:
        good &= run(sys.executable, "-m", "pytest", "-q", "-n", "8", "tests/cuda", seconds=200, **path)
    if not args.no_sanitizer:
        for tool in TOOLS:
            command = (
                "compute-sanitizer",
                "--tool",
                tool,
                "--error-exitcode",
                "1",
                sys.executable,
                "-c",
                SANITIZED,
            )
            good &= run(*command, seconds=60, **path)
    suites = ("--suites", "gpu,gpu-tiny,gpu-wide", "--rounds", str(args.rounds), "--json", "reports/gpu.json")
    good &= run(sys.executable, "-m", "bench", *suites, *others, seconds=400, **path)
    print(KNOWN)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
