"""Builds and controls `faults.cpp`, a library that makes allocations and new threads fail if it is preloaded."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Parts of the paths of modules whose allocations are counted and may fail, each with the least number of bytes. NumPy
# itself ends the process if some of its small allocations fail, so only its large ones are counted, which are arrays.
WATCHED = {"/engine/_core.": 0, "/_multiarray_umath.": 1024}

needs_faults = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("c++") is None or "LD_PRELOAD" in os.environ,
    reason="preloads a library on Linux, built with c++; a sanitizer preloads its own",
)


def build_faults(folder: Path) -> str:
    """Builds the library in `folder`, and returns its path."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.cpp")
    command = ["c++", "-std=c++17", "-O1", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    return str(library)


class Faults:
    """The functions of the library, for a process that has it preloaded."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.faults_watch.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        for name, least in WATCHED.items():
            self._library.faults_watch(name.encode(), least)
        self._library.faults_arm.argtypes = [ctypes.c_long, ctypes.c_long]
        self._library.faults_disarm.restype = ctypes.c_long
        self._library.faults_limit_starts.argtypes = [ctypes.c_long]

    def arm(self, first: int, count: int = 1) -> None:
        """Lets `count` allocations fail, beginning with number `first` from now on. If `first` is negative, none fails."""
        self._library.faults_arm(first, count)

    def disarm(self) -> int:
        """Returns the number of allocations since `arm`, after which none fails."""
        return int(self._library.faults_disarm())

    def limit_threads(self, limit: int) -> None:
        """Limits the number of threads that can be started in addition to those that exist now."""
        self._library.faults_limit_threads(limit)

    def limit_starts(self, starts: int) -> None:
        """Lets `starts` more threads start and none after them, even if threads end; any number if it is negative."""
        self._library.faults_limit_starts(starts)
