"""Values, gradients and second derivatives of random functions of arrays are those that JAX computes in float64.

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
from jax_functions import JaxOps
from random_functions import RandomFunction

import engine
from engine import ops

SEEDS = range(int(os.environ.get("RANDOM_FUNCTIONS", "30")))
TOLERANCE = 1e-5  # relative to 1 + the largest number that JAX computes: the engine computes in float32


@pytest.fixture(autouse=True)
def lengths_of_one() -> Iterator[None]:
    """Lets a softmax be taken over an axis of length 1 without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "softmax over axis")
        yield


def assert_same(found: Any, wanted: Any, what: str, case: str) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, f"the {what} has another shape in {case}"
    error = np.abs(found - wanted).max() / (1 + np.abs(wanted).max())
    assert error < TOLERANCE, f"the {what} differs by {error:.1e} from\n{wanted}\nin {case}"


def in_jax(function: Any, arrays: list[Any]) -> Any:
    """Returns what a function of arrays returns in float64. It is compiled as a whole: JAX takes far longer for its parts."""
    with jax.enable_x64(True):
        found = jax.jit(function)(*(jnp.asarray(array, jnp.float64) for array in arrays))
        return jax.tree.map(np.asarray, found)


def assert_same_gradients(found: Any, wanted: Any, what: str, case: str) -> None:
    for name, slope, gradient in zip("abc", found, wanted, strict=False):
        known = np.zeros(gradient.shape) if slope is None else slope  # None: nothing depends on the argument
        assert_same(known, gradient, f"{what} by {name}", case)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_gradients(seed: int) -> None:
    random = RandomFunction(seed, ops)
    arrays, case = random.arguments, f"seed {seed}: {random}"
    numbers = tuple(range(len(arrays)))
    value, gradients = in_jax(jax.value_and_grad(random.defined_with(JaxOps(), jnp), numbers), arrays)
    function = random.defined_with(ops, np)
    try:
        at_once = function(*arrays)
        recorded, slopes = engine.value_and_grad(function, numbers)(*arrays)
    except Exception as error:
        msg = f"{type(error).__name__} in {case}"
        raise AssertionError(msg) from error
    assert_same(at_once, value, "value of arrays", case)
    assert_same(recorded, value, "value of the recorded function", case)
    assert_same_gradients(slopes, gradients, "gradient", case)


def with_penalty(function: Any, value_and_grad: Any, numpy_like: Any, numbers: tuple[int, ...]) -> Any:
    """Returns a function that adds the squares of the gradients to the value of `function`."""

    def penalised(*arrays: Any) -> Any:
        value, gradients = value_and_grad(function, numbers)(*arrays)
        return value + sum(numpy_like.sum(slope * slope) for slope in gradients if slope is not None)

    return penalised


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_second_derivatives(seed: int) -> None:
    random = RandomFunction(seed, ops)
    arrays, case = random.arguments, f"seed {seed}: {random}"
    numbers = tuple(range(len(arrays)))
    penalised = with_penalty(random.defined_with(JaxOps(), jnp), jax.value_and_grad, jnp, numbers)
    value, gradients = in_jax(jax.value_and_grad(penalised, numbers), arrays)
    penalised = with_penalty(random.defined_with(ops, np), engine.value_and_grad, ops, numbers)
    found, slopes = engine.value_and_grad(penalised, numbers)(*arrays)
    assert_same(found, value, "value with its penalty", case)
    assert_same_gradients(slopes, gradients, "second derivative", case)


@pytest.mark.parametrize("seed", SEEDS)
def test_functions_of_single_elements(seed: int) -> None:
    """`vmap` of values, of gradients and of their Jacobian, over arrays and numbers that all elements share."""
    random = RandomFunction(seed, ops)
    # Which branch is taken must not depend on the rounding of a sum that is 0.
    random.text = random.text.replace(") > 0, lambda", ") > 0.01, lambda")
    first, *shared = random.arguments
    batch = np.stack([first, 0.98 * first, 0.95 * first], -1).astype("float32")
    arrays, numbers = [batch, *shared], tuple(range(len(random.arguments)))
    axes = (-1, *[None] * len(shared))
    case = f"seed {seed}: {random}"

    def wanted(of: Any) -> Any:
        return in_jax(jax.vmap(of(random.defined_with(JaxOps(), jnp)), axes), arrays)

    function = random.defined_with(ops, np)
    try:
        values, slopes = engine.vmap(engine.value_and_grad(function, numbers), axes)(*arrays)
        compiled = engine.function(engine.vmap(engine.jacobian(lambda *given: [function(*given)]), axes))
        (rows,) = compiled(*arrays)
    except Exception as error:
        msg = f"{type(error).__name__} in {case}"
        raise AssertionError(msg) from error
    assert compiled.refusal is None
    value, gradients = wanted(lambda function: jax.value_and_grad(function, numbers))
    assert_same(values, value, "value of elements", case)
    assert_same_gradients(slopes, gradients, "gradient of elements", case)
    assert_same(rows, gradients[0], "Jacobian of elements", case)
