"""A library to preload that makes allocations or new threads fail, built from `faults.cpp` with the system's compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What is in the paths of the modules whose calls of malloc count, and from how many bytes on. NumPy ends the process
# itself where some of its small allocations fail, so that of its own only those of arrays count.
WATCHED = {"/engine/_core.": 0, "/_multiarray_umath.": 1024}

needs_faults = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("c++") is None or "LD_PRELOAD" in os.environ,
    reason="preloads a library on Linux, built with c++; a sanitizer preloads its own",
)


def build_faults(folder: Path) -> str:
    """The path of the library, built in `folder`."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.cpp")
    command = ["c++", "-std=c++17", "-O1", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    return str(library)


class Faults:
    """What a process that has the library preloaded tells it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.faults_watch.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        for name, least in WATCHED.items():
            self._library.faults_watch(name.encode(), least)
        self._library.faults_arm.argtypes = [ctypes.c_long, ctypes.c_long]
        self._library.faults_disarm.restype = ctypes.c_long

    def arm(self, first: int, count: int = 1) -> None:
        """Let `count` allocations fail, from number `first` from now on; count alone if `first` is negative."""
        self._library.faults_arm(first, count)

    def disarm(self) -> int:
        """The number of allocations since `arm`."""
        return int(self._library.faults_disarm())

    def limit_threads(self, limit: int) -> None:
        """Let no more than `limit` threads be alive at a time beside those that are now."""
        self._library.faults_limit_threads(limit)
