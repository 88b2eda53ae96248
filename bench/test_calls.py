"""Checks that the small calls of the engine, and of NumPy, do their work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.calls import WORK
from bench.tasks import Call
from bench.worker import CallSession


@pytest.mark.parametrize("what", WORK)
@pytest.mark.parametrize("rows", [1, 33])
def test_engine_does_the_work(what: str, rows: int) -> None:
    session = CallSession("engine", Call(what, rows, 2), Path())
    session.start()
    session.finish()


@pytest.mark.parametrize("what", ["compiled", "eager"])
def test_numpy_does_the_work(what: str) -> None:
    session = CallSession("numpy", Call(what, 4, 1), Path())
    session.start()
    session.finish()
