"""Checks that the small calls of the engine, and of NumPy, do their work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import small_functions
from bench.calls import FAMILIES, WORK
from bench.tasks import Call
from bench.worker import CallSession


@pytest.mark.parametrize("what", WORK)
@pytest.mark.parametrize("rows", [1, 33])
def test_engine_does_the_work(what: str, rows: int) -> None:
    session = CallSession("engine", Call(what, rows, 2), Path())
    session.start()
    session.finish()


@pytest.mark.parametrize("what", ["compiled", "eager", *FAMILIES])
def test_numpy_does_the_work(what: str) -> None:
    session = CallSession("numpy", Call(what, 4, 1), Path())
    session.start()
    session.finish()


def test_small_functions_do_what_those_of_numpy_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(small_functions, "BLOCKS", 1)
    monkeypatch.setattr(small_functions, "CALLS", 1)
    monkeypatch.setattr(small_functions, "confine", lambda threads: None)
    monkeypatch.setattr("sys.argv", ["small_functions"])
    with np.errstate():
        small_functions.main()
    assert f"{len(small_functions.ALL)} calls: " in capsys.readouterr().out
