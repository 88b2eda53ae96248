"""Compares the output with that of Keras, byte by byte, in a file and on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from printing import SEPARATOR

SCRIPT = Path(__file__).with_name("printing.py")
COLUMNS, LINES = "100", "40"
CASES = [
    *(f"{kind}-{verbose}" for kind in ("epochs", "validation") for verbose in ("0", "1", "2", "auto")),
    *(f"{kind}-1" for kind in ("plain", "frequency", "long", "stopping", "plateau", "schedule")),
    *(f"{kind}-{verbose}" for kind in ("evaluate", "predict") for verbose in ("0", "1", "2")),
    "stopping-2", "plateau-2", "summary-1",
]  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {
        "COLUMNS": COLUMNS,
        "LINES": LINES,
        "TERM": "xterm-256color",
        "PYTHONIOENCODING": "utf-8",
    }


def into_a_file(library: str) -> bytes:
    command = [sys.executable, str(SCRIPT), library, *CASES]
    return subprocess.run(command, env=environment(), check=True, capture_output=True, timeout=300).stdout


def on_a_terminal(library: str) -> bytes:
    """Reads until the process has closed the terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, str(SCRIPT), library, *CASES]
    with subprocess.Popen(command, env=environment(), stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # on Linux, the end is an OSError
            while piece := os.read(ours, 65536):
                printed += piece
    os.close(ours)
    assert process.returncode == 0
    return printed


@pytest.fixture(scope="module", params=[into_a_file, on_a_terminal])
def printed(request: pytest.FixtureRequest) -> dict[str, tuple[str, str]]:
    """Returns, by case, what Keras prints and what the engine prints."""
    theirs, ours = (request.param(library).decode().split(SEPARATOR) for library in ("keras", "engine"))
    return {case: (theirs[i], ours[i]) for i, case in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES)
def test_same_bytes(case: str, printed: dict[str, tuple[str, str]]) -> None:
    theirs, ours = printed[case]
    assert ours == theirs
