"""Values and gradients of random functions of arrays are those that JAX computes in float64.

`RANDOM_FUNCTIONS=1000` is the number of functions, by default 30: `make fuzz` runs 1,000.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_functions import RandomFunction

import engine
from engine import ops

SEEDS = range(int(os.environ.get("RANDOM_FUNCTIONS", "30")))
TOLERANCE = 1e-5  # relative to 1 + the largest number that JAX computes: the engine computes in float32

# The functions of each step are compiled together, since JAX takes far longer to compile them one by one. With the
# level 0 that `conftest.py` chooses, XLA compiles some gradients of `hypot` wrongly.
COMPILER_OPTIONS = {"xla_backend_optimization_level": 1}


@pytest.fixture(autouse=True)
def lengths_of_one() -> Iterator[None]:
    """Lets a softmax be taken over an axis of length 1 without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "softmax over axis")
        yield


class JaxOps:
    """JAX's functions, by the names that they have in `engine.ops`."""

    softsign = staticmethod(jax.nn.soft_sign)

    def __getattr__(self, name: str) -> Any:
        modules = (jnp, jax.nn, jax.scipy.special, jax.lax, jax.ops)
        return next(getattr(module, name) for module in modules if hasattr(module, name))


def assert_same(found: Any, wanted: Any, what: str, case: str) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, f"the {what} has another shape in {case}"
    error = np.abs(found - wanted).max() / (1 + np.abs(wanted).max())
    assert error < TOLERANCE, f"the {what} differs by {error:.1e} from\n{wanted}\nin {case}"


@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_gradients(seed: int) -> None:
    random = RandomFunction(seed, ops)
    arrays, case = random.arguments, f"seed {seed}: {random}"
    numbers = tuple(range(len(arrays)))
    with jax.enable_x64(True):
        in_jax = jax.value_and_grad(random.defined_with(JaxOps(), jnp), numbers)
        value, gradients = jax.jit(in_jax, compiler_options=COMPILER_OPTIONS)(
            *(jnp.asarray(array, jnp.float64) for array in arrays)
        )
    function = random.defined_with(ops, np)
    try:
        at_once = function(*arrays)
        recorded, slopes = engine.value_and_grad(function, numbers)(*arrays)
    except Exception as error:
        msg = f"{type(error).__name__} in {case}"
        raise AssertionError(msg) from error
    assert_same(at_once, value, "value of arrays", case)
    assert_same(recorded, value, "value of the recorded function", case)
    for name, slope, gradient in zip("abc", slopes, gradients, strict=False):
        if slope is None:  # the function reads the argument nowhere
            slope = np.zeros(gradient.shape)  # noqa: PLW2901
        assert_same(slope, gradient, f"gradient by {name}", case)
