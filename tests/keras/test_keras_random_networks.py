"""Random networks are trained to the weights that formulas in float64 give, by every kind of program.

`RANDOM_NETWORKS` is the number of networks, by default 6, and `FIRST_NETWORK` the number of the first: `make fuzz-networks`
trains 300. A number is the seed of all that is random in its network. A failure prints a small program that fails.
"""

from __future__ import annotations

import os

import pytest
from random_networks.cases import draw_case
from random_networks.checks import CHECKS, UntamedError
from random_networks.shrinking import smallest

FIRST = int(os.environ.get("FIRST_NETWORK", "0"))
MOST_DRAWS = 3
NUMBERS = range(FIRST, FIRST + int(os.environ.get("RANDOM_NETWORKS", "6")))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("check", CHECKS)
def test_training(check: str, number: int) -> None:
    for again in range(MOST_DRAWS):
        try:
            failed = smallest(draw_case(number, again), CHECKS[check])
            break
        except UntamedError:
            if again == MOST_DRAWS - 1:
                raise
    if failed is not None:
        case, error = failed
        msg = (
            f"network {number}, {check}: {type(error).__name__}: {error}\nin this program, which "
            f"`make fuzz-networks FIRST_NETWORK={number} NETWORKS=1` finds again:\n\n{case}"
        )
        pytest.fail(msg, pytrace=False)
