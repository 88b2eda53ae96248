"""Networks with branches and code of users: the same bits on any number of threads and under every instruction set."""

from __future__ import annotations

import json
from functools import lru_cache

import graph_bits_worker
import pytest
from graph_bits_worker import CASES
from numerics import run_python

from engine import _core

ISAS = _core.build_info()["runnable"]


@lru_cache
def digests(isa: str) -> dict[str, list[str]]:
    """Returns, for each case, digests of the trained weights for several numbers of threads."""
    result = run_python([graph_bits_worker.__file__], ENGINE_ISA=isa)
    assert result.returncode == 0, result.stderr
    found: dict[str, list[str]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("case", [each.__name__ for each in CASES])
@pytest.mark.parametrize("isa", ISAS)
def test_the_bits_are_the_same(case: str, isa: str) -> None:
    assert set(digests(isa)[case]) == {digests(ISAS[0])[case][0]}
