"""What a step does with gradients: optimizers and constraints, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optimizer_cases import as_formula

from random_networks.forward import Weights
from random_networks.layers import Network
from random_networks.parts import Made

Array = NDArray[Any]


# Constraints: functions of a kernel and options, in NumPy.


def norms(w: Array) -> Array:
    return np.sqrt((w * w).sum(axis=0, keepdims=True))


def min_max_norm(w: Array, options: Mapping[str, Any]) -> Array:
    rate, size = options["rate"], norms(w)
    wanted = rate * np.clip(size, options["min_value"], options["max_value"]) + (1 - rate) * size
    return w * (wanted / (1e-7 + size))


CONSTRAINTS: dict[str, Callable[[Array, Mapping[str, Any]], Array]] = {
    "constraints.NonNeg": lambda w, _: np.maximum(w, 0),
    "constraints.MaxNorm": lambda w, options: (
        w * (np.clip(norms(w), 0, options["max_value"]) / (1e-7 + norms(w)))
    ),
    "constraints.UnitNorm": lambda w, _: w / (1e-7 + norms(w)),
    "constraints.MinMaxNorm": min_max_norm,
}


def optimizer_spec(optimizer: Made) -> dict[str, Any]:
    """Returns the mapping of `reference_optimizers` from the arguments of Keras."""
    return as_formula(optimizer.name.removeprefix("optimizers."), dict(optimizer.options))


# Learning rate schedules: functions of the number of steps before, and of options.


def decays(options: Mapping[str, Any], step: int) -> float:
    """Returns how often the rate has decayed."""
    decays = step / options["decay_steps"]
    return math.floor(decays) if options["staircase"] else decays


def polynomial(options: Mapping[str, Any], step: int) -> float:
    first, last, steps = (
        options[name] for name in ("initial_learning_rate", "end_learning_rate", "decay_steps")
    )
    steps = steps * max(1, math.ceil(step / steps)) if options["cycle"] else steps
    return last + (first - last) * (1 - min(step, steps) / steps) ** options["power"]


def cosine(options: Mapping[str, Any], step: int) -> float:
    first, alpha, steps = (options[name] for name in ("initial_learning_rate", "alpha", "decay_steps"))
    warm = options.get("warmup_steps", 0)
    if step < warm:
        return first + (options["warmup_target"] - first) * step / warm
    peak, done = options.get("warmup_target", first), min(step - warm, steps) / steps
    return peak * ((1 - alpha) * (1 + math.cos(math.pi * done)) / 2 + alpha)


def piecewise(options: Mapping[str, Any], step: int) -> float:
    passed = sum(step > boundary for boundary in options["boundaries"])
    return options["values"][passed]


SCHEDULES: dict[str, Callable[[Mapping[str, Any], int], float]] = {
    "ExponentialDecay": lambda options, step: (
        options["initial_learning_rate"] * options["decay_rate"] ** decays(options, step)
    ),
    "InverseTimeDecay": lambda options, step: (
        options["initial_learning_rate"] / (1 + options["decay_rate"] * decays(options, step))
    ),
    "PolynomialDecay": polynomial,
    "CosineDecay": cosine,
    "PiecewiseConstantDecay": piecewise,
}


def learning_rate(optimizer: Made, step: int) -> float:
    """Returns the learning rate of a step, from the number of steps before."""
    rate = optimizer.options["learning_rate"]
    return SCHEDULES[rate.name.split(".")[-1]](rate.options, step) if isinstance(rate, Made) else rate


def constrain(network: Network, trained: Weights) -> None:
    for name, (kernel, *_) in trained.items():
        if made := network.leaves[name].options.get("kernel_constraint"):
            kernel[...] = CONSTRAINTS[made.name](kernel, made.options)
